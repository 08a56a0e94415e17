//! The crate through its public interface.

mod candidates;
mod embedding;
mod innocence;
mod secret;
mod tiny;
