//! The crate through its public interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../examples/court/probe.rs"]
mod probe;
#[path = "../../examples/court/story.rs"]
mod story;
#[path = "../../examples/court/town.rs"]
mod town;

mod court;
mod defence;
mod gated;
mod host;
mod ledger;
mod model;
mod refusals;
mod registration;
mod stories;
mod stream;
mod trials;
mod validator;
