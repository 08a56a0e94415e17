//! Ctrl-C, noticed between two steps of long work instead of in the middle of one.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on the first Ctrl-C asks running work to stop; a second one ends the process at once.
pub(crate) fn listen() {
    let noticed = || {
        if ASKED.swap(true, Ordering::SeqCst) {
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
