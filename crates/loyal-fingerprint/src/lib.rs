#![doc = include_str!("../README.md")]

pub mod attack;
pub mod check;
pub mod commitment;
pub mod embed;
pub mod error;
pub mod evidence;
pub mod fingerprint;
pub mod frame;
pub mod innocence;
mod journal;
mod predict;
pub mod query;
pub mod report;
pub mod scheme;

pub use error::{Error, Result};
pub use evidence::PValue;
pub use fingerprint::FingerprintSet;
pub use report::Report;
pub use scheme::Scheme;
