//! A clock for a new chain's first blocks: they are dated back, so that what takes weeks is over when the chain begins to serve.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loyal_types::Clock;

use crate::clock::SystemClock;

/// A time that was set, until it is set free: from then on it is this computer's.
#[derive(Debug, Default)]
pub(super) struct Past(AtomicU64);

impl Past {
    /// Stands still at a time, in unix seconds.
    pub(super) fn set(&self, unix_seconds: u64) {
        self.0.store(unix_seconds.max(1), Ordering::SeqCst);
    }

    /// Is this computer's time from here on.
    pub(super) fn catch_up(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

impl Clock for Past {
    fn unix_seconds(&self) -> u64 {
        match self.0.load(Ordering::SeqCst) {
            0 => SystemClock.unix_seconds(),
            set => set,
        }
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_time_stands_still_until_it_is_set_free() {
        let past = Past::default();
        let now = past.unix_seconds();
        past.set(now - 86_400);
        assert_eq!(past.unix_seconds(), now - 86_400);
        past.catch_up();
        assert!(past.unix_seconds() >= now);
    }
}
