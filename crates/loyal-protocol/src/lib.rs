#![doc = include_str!("../README.md")]

pub mod devnet;
mod error;

pub use error::{Error, Result};
