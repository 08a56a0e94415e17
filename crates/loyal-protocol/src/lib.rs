#![doc = include_str!("../README.md")]

pub mod devnet;
mod error;

pub mod asset;
pub mod chain;
pub mod channel;
pub mod contracts;
pub mod deploy;
mod failure;
mod key;
pub mod keystore;
pub mod message;
pub mod reader;
mod reason;
pub mod rpc;
pub mod seal;
pub mod signature;
pub mod walk;

pub use asset::Asset;
pub use chain::Client;
pub use channel::Channel;
pub use deploy::{Addresses, deploy};
pub use error::{Error, Result};
pub use failure::{Failure, Outcome};
pub use key::Key;
pub use walk::{Step, Walk};
