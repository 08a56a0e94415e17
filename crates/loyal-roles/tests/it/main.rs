//! The crate through its public interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../examples/court/probe.rs"]
mod probe;
#[path = "../../examples/court/story.rs"]
mod story;
#[path = "../../examples/court/town.rs"]
mod town;

#[path = "../../../loyal-access/tests/it/kit.rs"]
#[allow(dead_code, reason = "the crate that it comes from uses all of it")]
mod kit;

mod court;
mod defence;
mod faults;
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
