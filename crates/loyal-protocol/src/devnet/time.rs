//! The time of blocks: the clock's, pushed ahead on development chains, and never back.

use crate::{Error, Result};

/// How block time differs from the clock's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds ahead of the clock.
    pub(crate) ahead: u64,
    /// The timestamp of the next block, where it was set.
    pub(crate) next: Option<u64>,
}

impl Time {
    /// The timestamp of the block after one of `parent`'s, when the clock says `now`.
    pub(crate) fn timestamp(self, parent: u64, now: u64) -> u64 {
        self.next.unwrap_or_else(|| now.saturating_add(self.ahead)).max(parent + 1)
    }

    /// After a block with `timestamp`: a set timestamp is used up, and time goes on from it.
    pub(crate) fn after(self, timestamp: u64, now: u64) -> Self {
        match self.next {
            None => self,
            Some(_) => Self { ahead: timestamp.saturating_sub(now), next: None },
        }
    }

    pub(crate) fn increase(&mut self, seconds: u64) -> Result<u64> {
        let ahead = self.ahead.checked_add(seconds).filter(|ahead| *ahead < 1 << 40);
        self.ahead =
            ahead.ok_or_else(|| Error::Request { what: format!("{seconds} seconds is too far ahead") })?;
        Ok(self.ahead)
    }

    pub(crate) fn set_next(&mut self, timestamp: u64, parent: u64) -> Result<()> {
        if timestamp <= parent || timestamp >= 1 << 41 {
            let what = format!("timestamp {timestamp} is not between the last block's, {parent}, and 2^41");
            return Err(Error::Request { what });
        }
        self.next = Some(timestamp);
        Ok(())
    }
}
