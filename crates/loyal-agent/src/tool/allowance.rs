//! What a call may spend beyond itself: a part of what its caller has left, for tools that think or pay.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ToolFault;
use crate::agent::budget::{Budget, Limits, Spent};
use crate::llm::Payment;

/// What a caller's budget allows one call. What a tool spends of it is spent by the caller too, and stands in the caller's log.
#[derive(Debug)]
pub struct Allowance {
    budget: Budget,
    limits: Limits,
    now: Duration,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    lease: Option<Budget>,
    paid: Vec<Payment>,
}

impl Allowance {
    /// That of one of `count` calls that are made at the same time. As much as one of them gets stays with the
    /// caller, who has to read what they bring; of the time, which they share, half; of the levels, all but one.
    pub(crate) fn new(budget: &Budget, count: usize, now: Duration) -> Self {
        let part = budget.even_part(count as u64, now);
        let limits = Limits { wall: budget.left(now).wall / 2, depth: part.depth.saturating_sub(1), ..part };
        Self { budget: budget.clone(), limits, now, used: Mutex::default() }
    }

    /// A part of it, of at most this much.
    ///
    /// # Errors
    /// The caller has no time left.
    pub fn lease(&self, part: Limits) -> Result<Budget, ToolFault> {
        let mut used = self.used();
        let whole = match &used.lease {
            Some(whole) => whole,
            None => {
                let whole = self.budget.lend(self.limits, self.now).map_err(ToolFault::new)?;
                used.lease.insert(whole)
            }
        };
        whole.lend(part, self.now).map_err(ToolFault::new)
    }

    /// The time on the caller's clock at which the call began: leases count from then.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Tells the caller what was paid to hosts. The sums are to be spent from a lease as well.
    pub fn tell_paid(&self, paid: impl IntoIterator<Item = Payment>) {
        self.used().paid.extend(paid);
    }

    /// What was spent, and what was paid to hosts of that.
    pub(crate) fn used_up(&self) -> (Spent, Vec<Payment>) {
        let used = self.used();
        (used.lease.as_ref().map_or_else(Spent::default, Budget::spent), used.paid.clone())
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Nothing panics while it holds the lock.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
