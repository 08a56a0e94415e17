#![doc = include_str!("../README.md")]

pub mod action;
pub mod browser;
mod cdp;
mod error;
pub mod launch;
pub mod media;
mod page;
pub mod repeat;
pub mod snapshot;
pub mod trace;
mod world;

pub use action::{Acted, Action};
pub use browser::{Browser, Limits};
pub use error::{Error, Result};
pub use launch::{Launch, Reach};
pub use snapshot::{Node, Ref, Snapshot};
