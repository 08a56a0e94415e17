//! The browser crate through its public API, with the Chromium of this machine and pages from a server of the test.
#![allow(
    clippy::unwrap_used,
    clippy::panic_in_result_fn,
    clippy::needless_pass_by_value,
    reason = "a test's helpers are tests too"
)]

mod act;
mod faults;
mod fields;
mod kit;
mod media;
mod reach;
mod see;
mod tabs;
mod trace;
