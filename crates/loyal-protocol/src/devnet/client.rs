//! Requests per second of each client, known by its address, in a table of bounded size.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

use super::chain::hold;

/// Clients remembered at a time. Those that find no room share one bucket.
const CLIENT_COUNT_MAX: usize = 4_096;

/// What a client may still ask, and when that was counted.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Duration,
}

/// A bucket for each client, which fills with `per_second` requests a second and holds as many.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: f64,
    /// By network; none is the bucket of those without room.
    clients: Mutex<HashMap<Option<IpAddr>, Bucket>>,
}

impl Rates {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), clients: Mutex::default() }
    }

    /// Takes `count` requests from the bucket of `client`, if they are there.
    pub(crate) fn take(&self, client: IpAddr, count: usize, now: Duration) -> bool {
        let mut clients = hold(&self.clients);
        let mut key = Some(network(client));
        if clients.len() >= CLIENT_COUNT_MAX && !clients.contains_key(&key) {
            // A full bucket is that of a client never seen.
            clients.retain(|_, bucket| self.filled(*bucket, now) < self.per_second);
            if clients.len() >= CLIENT_COUNT_MAX {
                key = None;
            }
        }
        let bucket = clients.entry(key).or_insert(Bucket { level: self.per_second, at: now });
        *bucket = Bucket { level: self.filled(*bucket, now), at: now };
        let enough = bucket.level >= count as f64;
        if enough {
            bucket.level -= count as f64;
        }
        enough
    }

    fn filled(&self, bucket: Bucket, now: Duration) -> f64 {
        let since = now.saturating_sub(bucket.at).as_secs_f64();
        (bucket.level + since * self.per_second).min(self.per_second)
    }
}

/// Who counts as one client: an IPv4 address, or the /64 that an IPv6 client chooses its addresses from.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    use super::{CLIENT_COUNT_MAX, Rates, hold};

    const NOW: Duration = Duration::from_secs(9);

    fn client(index: u32) -> IpAddr {
        Ipv4Addr::from_bits(index).into()
    }

    #[test]
    fn a_client_has_a_bucket_of_its_own() {
        let rates = Rates::new(3);
        assert!(rates.take(client(1), 3, NOW) && !rates.take(client(1), 1, NOW));
        assert!(rates.take(client(2), 1, NOW));
        assert!(rates.take(client(1), 1, NOW + Duration::from_millis(400)));
        assert!(!rates.take(client(1), 1, NOW), "time that goes back fills nothing");
        assert!(!rates.take(client(3), 4, NOW), "more at once than a second has");
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let rates = Rates::new(1);
        let parse = |text: &str| text.parse().unwrap();
        assert!(rates.take(parse("2001:db8::1"), 1, NOW) && !rates.take(parse("2001:db8::2"), 1, NOW));
        assert!(rates.take(parse("2001:db8:0:1::1"), 1, NOW));
        assert!(rates.take(parse("10.0.0.1"), 1, NOW) && !rates.take(parse("::ffff:10.0.0.1"), 1, NOW));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_quiet() {
        let rates = Rates::new(2);
        let many = CLIENT_COUNT_MAX as u32 + 100;
        let admitted = (0..many).filter(|index| rates.take(client(*index), 1, NOW)).count();
        assert_eq!(admitted, CLIENT_COUNT_MAX + 2, "those without room share one bucket");
        assert!(hold(&rates.clients).len() <= CLIENT_COUNT_MAX + 1);
        assert!(rates.take(client(many), 1, NOW + Duration::from_secs(1)));
        assert_eq!(hold(&rates.clients).len(), 1);
    }
}
