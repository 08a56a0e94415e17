//! Time, as an argument: no library crate asks the system for it.

use std::time::Duration;

/// A source of time. The binary passes the system's; tests pass one they control.
pub trait Clock: Sync {
    /// Seconds since the Unix epoch.
    fn unix_seconds(&self) -> u64;

    /// Milliseconds since the Unix epoch; whole seconds where a clock knows no better.
    fn unix_millis(&self) -> u64 {
        self.unix_seconds().saturating_mul(1_000)
    }

    /// Time since a fixed, arbitrary start; never goes backwards.
    fn elapsed(&self) -> Duration;
}
