#![doc = include_str!("../README.md")]

pub mod attack;
pub mod check;
pub mod commitment;
pub mod copies;
pub mod embed;
pub mod error;
pub mod evidence;
pub mod fingerprint;
pub mod frame;
pub mod innocence;
mod journal;
pub mod pool;
mod predict;
pub mod query;
pub mod report;
pub mod scheme;
pub mod trace;
pub mod watch;

pub use error::{Error, Result};
pub use evidence::PValue;
pub use fingerprint::FingerprintSet;
pub use pool::Pool;
pub use report::Report;
pub use scheme::Scheme;
