//! Callers whose connection ended in the middle of a stream: some come back, some have left.
//!
//! Over HTTP the two look alike. A caller that comes back sends the same invocation again; one that has left sends nothing, or asks
//! for the receipt of what it was sent so far. Until one of these, or for a while, the work goes on.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// The invocations whose callers are away.
#[derive(Debug)]
pub(super) struct Absences {
    away: Mutex<HashMap<B256, watch::Sender<State>>>,
    max: Duration,
}

/// What is known of a caller that is away.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    has_asked_again: bool,
    has_left: bool,
}

impl Absences {
    /// Callers are waited for as long as `max`.
    pub(super) fn new(max: Duration) -> Self {
        Self { away: Mutex::default(), max }
    }

    /// A caller's connection ended.
    pub(super) fn begin(self: &Arc<Self>, invocation: B256) -> Absence {
        let (tell, state) = watch::channel(State::default());
        self.away().insert(invocation, tell);
        Absence { all: Arc::clone(self), invocation, state, wait: Box::pin(sleep(self.max)) }
    }

    /// The same invocation was sent again: where its caller was away, it is waited for anew.
    pub(super) fn ask_again(&self, invocation: B256) {
        if let Some(tell) = self.away().get(&invocation) {
            tell.send_modify(|state| state.has_asked_again = true);
        }
    }

    /// Somebody wants the receipt: where the caller was away, it has left. Returns once what it was sent is charged.
    pub(super) async fn end(&self, invocation: B256) {
        let tell = self.away().get(&invocation).cloned();
        if let Some(tell) = tell {
            tell.send_modify(|state| state.has_left = true);
            tell.closed().await;
        }
    }

    fn away(&self) -> MutexGuard<'_, HashMap<B256, watch::Sender<State>>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's absence, until this is dropped.
#[derive(Debug)]
pub(super) struct Absence {
    all: Arc<Absences>,
    invocation: B256,
    state: watch::Receiver<State>,
    /// As long as it is waited for.
    wait: Pin<Box<Sleep>>,
}

impl Absence {
    /// Returns when the caller is waited for no longer.
    pub(super) async fn over(&mut self) {
        while self.is_open().await {}
    }

    /// Whether the caller asked again; waits for it as long as it is waited for.
    pub(super) async fn has_asked_again(&mut self) -> bool {
        while !self.state.borrow().has_asked_again {
            if !self.is_open().await {
                return false;
            }
        }
        true
    }

    /// Waits for something new; whether the caller is still waited for.
    async fn is_open(&mut self) -> bool {
        if self.state.borrow_and_update().has_left {
            return false;
        }
        tokio::select! {
            () = &mut self.wait => false,
            changed = self.state.changed() => {
                self.wait = Box::pin(sleep(self.all.max));
                changed.is_ok()
            }
        }
    }
}

impl Drop for Absence {
    fn drop(&mut self) {
        self.all.away().remove(&self.invocation);
    }
}
