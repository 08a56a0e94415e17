#![doc = include_str!("../README.md")]

pub mod error;
pub mod host;

pub use error::{Error, Result};
