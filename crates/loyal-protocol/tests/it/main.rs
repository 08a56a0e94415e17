//! The embedded chain through its public interface.
#![allow(clippy::print_stderr, reason = "tests name what they measured")]

mod blocks;
mod conformance;
mod http;
mod kit;
mod npm;
