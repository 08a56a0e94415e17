//! The crate through its public interface.

mod gradient;
mod shared;
mod stories;
mod tokenizer;
