//! The gate and the caller, from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod bridge;
mod caller;
mod customer;
mod double;
mod gate;
mod interop;
mod kit;
#[path = "../../../loyal-protocol/examples/economy/market.rs"]
#[allow(dead_code, clippy::print_stdout, reason = "the example uses all of it")]
mod market;
mod sidecar;
mod verification;
mod wallet;
mod withheld;
mod x402;
