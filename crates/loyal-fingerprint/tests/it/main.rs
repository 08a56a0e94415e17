//! The crate through its public interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attack;
mod candidates;
mod embedding;
mod hearing;
mod innocence;
mod secret;
mod tilting;
mod tiny;
mod tracing;
mod uniformity;
