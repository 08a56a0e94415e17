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
mod pull;
mod store;
mod stranger;
mod talk;
mod training;
mod up;
mod wrong_input;
