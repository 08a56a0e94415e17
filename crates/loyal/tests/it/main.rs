//! The binary `loyal`, run as a person or a program runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod agents;
mod answers;
mod chain;
mod command;
mod default_model;
mod economy;
mod endings;
mod endpoint;
mod faults;
mod gateway;
mod help;
mod hub;
#[path = "../../../loyal-protocol/examples/economy/market.rs"]
#[allow(dead_code, clippy::print_stdout, reason = "the example uses all of it")]
mod market;
mod measures;
mod model;
mod paid;
mod prover;
mod pull;
mod store;
mod story;
mod stranger;
mod talk;
mod training;
mod up;
mod watch;
mod wrong_input;
