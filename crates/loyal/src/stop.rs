//! Ctrl-C, noticed between two steps of long work instead of in the middle of one.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);
/// Whether there is work that a first Ctrl-C can stop.
static WORKING: AtomicBool = AtomicBool::new(true);

/// From here on the first Ctrl-C asks running work to stop; a second one ends the process at once.
pub(crate) fn listen() {
    let noticed = || {
        if ASKED.swap(true, Ordering::SeqCst) || !WORKING.load(Ordering::SeqCst) {
            #[allow(clippy::exit, reason = "a second Ctrl-C means now")]
            std::process::exit(130);
        }
    };
    // Only a second handler in one process fails, and then the first one does the work.
    let _ = ctrlc::set_handler(noticed);
}

/// Break once Ctrl-C was pressed.
pub(crate) fn asked() -> ControlFlow<()> {
    if ASKED.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A piece of work begins (`true`) or is over (`false`). While there is none, the first Ctrl-C ends the
/// process; each piece has a first Ctrl-C of its own.
pub(crate) fn working(now: bool) {
    WORKING.store(now, Ordering::SeqCst);
    ASKED.store(false, Ordering::SeqCst);
}
