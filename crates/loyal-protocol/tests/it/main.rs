//! The embedded chain through its public interface.
#![allow(clippy::print_stderr, reason = "tests name what they measured")]

mod account;
mod blocks;
mod conformance;
mod durable;
mod http;
mod kit;
mod npm;
