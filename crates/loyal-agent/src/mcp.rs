//! The Model Context Protocol: tools of foreign servers for our agents, and our tools for foreign agents.

mod connection;
mod http;
mod pins;
mod remote;
mod server;

pub use connection::{Connection, Listed, Refused};
pub use pins::Pins;
pub use server::{Served, serve};
pub(crate) use server::{Session, described};
