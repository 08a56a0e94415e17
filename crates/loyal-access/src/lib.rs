#![doc = include_str!("../README.md")]

pub mod admission;
pub mod application;
pub mod books;
pub mod caller;
pub mod customer;
mod digest;
pub mod document;
mod error;
pub mod gate;
pub mod issuer;
pub mod outbound;
mod payer;
pub mod payment;
pub mod redemption;
pub mod request;
pub mod sidecar;
pub mod sse;
pub mod terms;
pub mod verification;
pub mod view;
pub mod wallet;

pub use caller::{Answer, Caller};
pub use customer::Customer;
pub use error::{Error, Result};
pub use gate::Gate;
pub use wallet::Wallet;
