//! The crate through its public interface.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it lacks"
)]

mod generate;
mod gguf;
mod golden;
mod gradient;
mod quantize;
mod sampler;
mod shared;
mod stories;
mod template;
mod tokenizer;
mod train;
mod wrong_input;
