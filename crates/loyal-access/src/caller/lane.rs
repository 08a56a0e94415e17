//! Which of a caller's channels are in use: one invocation at a time on each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The numbers of channels that are free.
#[derive(Debug)]
pub(super) struct Lanes {
    free: Arc<Mutex<BTreeSet<u32>>>,
    permits: Arc<Semaphore>,
}

/// A channel's number, this caller's until it is dropped.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) index: u32,
    free: Arc<Mutex<BTreeSet<u32>>>,
    /// Given back after the number is.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    pub(super) fn new(count: u32) -> Self {
        let permits = Arc::new(Semaphore::new(count as usize));
        Self { free: Arc::new(Mutex::new((0..count).collect())), permits }
    }

    /// The lowest free number, as soon as there is one: low channels have deposits, high ones need them first.
    pub(super) async fn take(&self) -> Lane {
        let permit = self.permits.clone().acquire_owned().await.ok();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.pop_first().expect("there are as many numbers as places");
        Lane { index, free: self.free.clone(), _permit: permit }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).insert(self.index);
    }
}
