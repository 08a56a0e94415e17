//! The system's clock, handed to everything that needs time.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use loyal_types::Clock;

/// The clock of this computer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

#[allow(clippy::disallowed_methods, reason = "the binary is where time comes from")]
impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    fn unix_millis(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}
