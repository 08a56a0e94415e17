#![doc = include_str!("../README.md")]

pub mod agent;
pub mod client;
mod error;
pub mod event;
pub mod llm;
pub mod mcp;
mod outbound;
pub mod provenance;
pub mod python;
pub mod response;
pub mod secret;
pub mod serve;
pub mod session;
pub mod tool;
pub mod ulid;

pub use agent::{Agent, agent};
pub use client::Client;
pub use error::{Error, Result};
pub use event::Event;
pub use response::{ResponseHandler, TextStream};
pub use session::{Query, Session};
pub use ulid::Ulid;
