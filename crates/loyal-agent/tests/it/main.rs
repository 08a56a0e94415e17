//! The agent crate through its public API: the wire, the server, the client, and the Python framework on both sides.

mod chaos;
mod history;
mod interop;
mod kit;
mod openai;
mod property;
mod python;
mod request;
mod resume;
mod serve;
mod wire;
