#![doc = include_str!("../README.md")]

pub mod config;
pub mod error;
pub mod weights;

pub use config::Config;
pub use error::{Error, Result};
pub use weights::Weights;
