//! The crate through its public interface.

mod golden;
mod gradient;
mod shared;
mod stories;
mod template;
mod tokenizer;
mod train;
