#![doc = include_str!("../README.md")]

pub mod fingerprint;
pub mod scheme;
pub mod commitment;
pub mod query;
pub mod frame;
pub mod embed;
pub mod check;
pub mod evidence;
pub mod report;
mod predict;
pub mod error;

pub use error::{Error, Result};
pub use evidence::PValue;
pub use fingerprint::FingerprintSet;
pub use report::Report;
pub use scheme::Scheme;
