#![doc = include_str!("../README.md")]

pub mod devnet;
mod error;

pub mod chain;
pub mod contracts;
pub mod deploy;
mod failure;
mod key;
pub mod message;
pub mod reader;
pub mod rpc;

pub use chain::Client;
pub use deploy::{Addresses, deploy};
pub use error::{Error, Result};
pub use failure::{Failure, Outcome};
pub use key::Key;
