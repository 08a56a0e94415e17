#![doc = include_str!("../README.md")]

pub mod case;
pub mod court;
pub mod defence;
pub mod error;
pub mod governance;
pub mod host;
pub mod hosting;
pub mod owner;
pub mod prover;
pub mod simulation;
pub mod stake;
pub mod ticket;
pub mod turn;
pub mod validator;

pub use error::{Error, Result};
