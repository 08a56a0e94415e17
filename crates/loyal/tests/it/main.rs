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
mod gateway;
mod help;
mod hub;
mod measures;
mod model;
mod prover;
mod pull;
mod story;
mod stranger;
mod talk;
mod training;
mod watch;
mod wrong_input;
