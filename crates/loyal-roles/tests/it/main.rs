//! The crate through its public interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod court;
mod host;
mod model;
mod refusals;
mod registration;
mod stream;
