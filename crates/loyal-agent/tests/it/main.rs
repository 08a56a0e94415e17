//! The agent crate through its public API: the wire, the server, the client, and the Python framework on both sides.
#![allow(
    clippy::unwrap_used,
    clippy::panic_in_result_fn,
    clippy::needless_pass_by_value,
    reason = "a test's helpers are tests too"
)]

mod browse;
mod budget;
mod chaos;
mod code;
mod history;
mod injection;
mod inner;
mod interop;
mod kit;
mod llm;
mod mcp;
mod openai;
mod others;
mod property;
mod python;
mod request;
mod resume;
mod secret;
mod serve;
mod think;
mod thinker;
mod tools;
mod visit;
mod wire;
