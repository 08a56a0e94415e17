#![doc = include_str!("../README.md")]

pub mod error;
pub mod host;
pub mod hosting;
pub mod owner;

pub use error::{Error, Result};
