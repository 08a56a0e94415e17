//! How often a client may come: a rate for each caller who is admitted, and one for each address whose requests are refused.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::Address;

/// Clients of each kind that are remembered; those that have rested longest are forgotten first.
const CLIENTS_MAX: usize = 65_536;

/// How often something may happen, on the average and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// On the average, in a minute; zero for no bound.
    pub per_minute: u32,
    /// At once, after a rest.
    pub burst: u32,
}

impl Rate {
    /// No bound.
    pub const ANY: Self = Self { per_minute: 0, burst: 0 };

    /// So many in a minute, and a sixth of them (ten at least) at once.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        let burst = if count / 6 > 10 { count / 6 } else { 10 };
        Self { per_minute: count, burst }
    }

    /// The time that one costs.
    fn step(self) -> Option<Duration> {
        Duration::from_secs(60).checked_div(self.per_minute)
    }
}

/// Bounds of what one client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Invocations of one holder of a credential, counted once its signature is verified.
    pub caller: Rate,
    /// Refusals to one address: who has them behind it is turned away before anything is read. Requests that are admitted
    /// do not count, so that many honest callers may share an address.
    pub address: Rate,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self { caller: Rate::ANY, address: Rate::ANY };
}

impl Default for Limits {
    fn default() -> Self {
        Self { caller: Rate::per_minute(3_000), address: Rate::per_minute(600) }
    }
}

/// How long a client is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(Duration);

impl Wait {
    /// Whole seconds, one at least.
    pub(super) fn seconds(self) -> u64 {
        self.0.as_secs().saturating_add(1)
    }
}

/// The limits, and where each client stands.
#[derive(Debug)]
pub(super) struct Clients {
    limits: Limits,
    callers: Mutex<Due<Address>>,
    addresses: Mutex<Due<IpAddr>>,
}

impl Clients {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, callers: Mutex::default(), addresses: Mutex::default() }
    }

    /// Counts an invocation of a caller, unless it came too often.
    pub(super) fn invoke(&self, caller: Address, now: Duration) -> Result<(), Wait> {
        let mut due = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        due.look(&caller, self.limits.caller, now)?;
        due.count(caller, self.limits.caller, now);
        Ok(())
    }

    /// Whether an address was refused too often.
    pub(super) fn approach(&self, address: IpAddr, now: Duration) -> Result<(), Wait> {
        let due = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        due.look(&network(address), self.limits.address, now)
    }

    /// Counts a refusal to an address.
    pub(super) fn refuse(&self, address: IpAddr, now: Duration) {
        let mut due = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        due.count(network(address), self.limits.address, now);
    }
}

/// The address, or the network that one customer is given: of IPv6 that is 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        four => four,
    }
}

/// When each client has rested enough to be as new (the generic cell rate algorithm): one time for each, which every event
/// moves on by what it costs.
#[derive(Debug)]
struct Due<K>(HashMap<K, Duration>);

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Due<K> {
    fn look(&self, client: &K, rate: Rate, now: Duration) -> Result<(), Wait> {
        let (Some(step), Some(&due)) = (rate.step(), self.0.get(client)) else { return Ok(()) };
        let room = step * rate.burst.saturating_sub(1);
        match due.saturating_sub(now).checked_sub(room) {
            Some(wait) if !wait.is_zero() => Err(Wait(wait)),
            _ => Ok(()),
        }
    }

    fn count(&mut self, client: K, rate: Rate, now: Duration) {
        let Some(step) = rate.step() else { return };
        if self.0.len() >= CLIENTS_MAX && !self.0.contains_key(&client) {
            self.forget(now);
        }
        let due = self.0.entry(client).or_default();
        // Never further ahead than what a burst costs: who goes on knocking does not wait for ever.
        *due = ((*due).max(now) + step).min(now + step * rate.burst.max(1));
    }

    /// Forgets those who have rested enough; where there are none, the half that is due first.
    fn forget(&mut self, now: Duration) {
        self.0.retain(|_, due| *due > now);
        if self.0.len() < CLIENTS_MAX {
            return;
        }
        let mut all: Vec<_> = self.0.values().copied().collect();
        let (_, middle, _) = all.select_nth_unstable(CLIENTS_MAX / 2);
        let middle = *middle;
        let mut left = CLIENTS_MAX / 2;
        self.0.retain(|_, due| {
            let stays = *due >= middle && left > 0;
            left -= usize::from(stays);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 60, burst: 3 };

    fn take(due: &mut Due<u32>, client: u32, seconds: u64) -> Result<(), Wait> {
        let now = Duration::from_secs(seconds);
        due.look(&client, RATE, now)?;
        due.count(client, RATE, now);
        Ok(())
    }

    #[test]
    fn a_burst_passes_and_then_one_a_second() {
        let mut due = Due::default();
        let passed = (0..10).filter(|_| take(&mut due, 1, 100).is_ok()).count();
        assert_eq!(passed, 3);
        assert_eq!(take(&mut due, 1, 100).unwrap_err().seconds(), 2);
        assert!(take(&mut due, 2, 100).is_ok(), "each client for itself");
        assert!(take(&mut due, 1, 101).is_ok());
        assert!(take(&mut due, 1, 101).is_err());
        let passed = (200..1_000).filter(|&second| take(&mut due, 1, second).is_ok()).count();
        assert_eq!(passed, 800, "on the average, the rate");
    }

    #[test]
    fn refusals_beyond_the_burst_do_not_pile_up() {
        let mut due = Due::default();
        for _ in 0..1_000 {
            due.count(1, RATE, Duration::from_secs(100));
        }
        assert!(due.look(&1, RATE, Duration::from_secs(100)).is_err());
        assert!(due.look(&1, RATE, Duration::from_secs(101)).is_ok());
    }

    #[test]
    fn a_crowd_does_not_grow_without_bound_and_rates_of_zero_bound_nothing() {
        let mut due = Due::default();
        for client in 0..300_000 {
            due.count(client, RATE, Duration::from_secs(100));
        }
        assert!(due.0.len() <= CLIENTS_MAX);
        let clients = Clients::new(Limits::NONE);
        for _ in 0..10_000 {
            clients.refuse(IpAddr::from([127, 0, 0, 1]), Duration::ZERO);
            assert_eq!(clients.invoke(Address::ZERO, Duration::ZERO), Ok(()));
        }
        assert_eq!(clients.approach(IpAddr::from([127, 0, 0, 1]), Duration::ZERO), Ok(()));
    }

    #[test]
    fn a_customers_network_is_one_client() {
        let clients = Clients::new(Limits { address: Rate { per_minute: 1, burst: 1 }, ..Limits::NONE });
        clients.refuse("2001:db8::1".parse().unwrap(), Duration::ZERO);
        clients.refuse("2001:db8::2".parse().unwrap(), Duration::ZERO);
        let approach = |text: &str| clients.approach(text.parse().unwrap(), Duration::ZERO).is_ok();
        assert!(!approach("2001:db8::ffff:3"));
        assert!(approach("2001:db8:0:1::1"));
        clients.refuse("::ffff:10.0.0.1".parse().unwrap(), Duration::ZERO);
        assert!(!approach("10.0.0.1"));
    }
}
