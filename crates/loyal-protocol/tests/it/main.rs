//! The embedded chain through its public interface.
#![allow(clippy::print_stderr, reason = "tests name what they measured")]
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "a test's helpers are tests too")]

mod account;
mod alloy;
mod blocks;
mod client;
mod clients;
mod conformance;
mod durable;
mod evidence;
mod http;
mod kit;
mod ledger;
mod npm;
mod reader;
mod server;
mod vectors;
