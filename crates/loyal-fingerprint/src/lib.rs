#![doc = include_str!("../README.md")]

pub mod fingerprint;
pub mod scheme;
pub mod commitment;
pub mod query;
pub mod frame;
mod predict;
pub mod evidence;
pub mod error;

pub use error::{Error, Result};
pub use evidence::PValue;
pub use fingerprint::FingerprintSet;
pub use scheme::Scheme;
