//! The crate through its public interface.

mod generate;
mod golden;
mod gradient;
mod quantize;
mod sampler;
mod shared;
mod stories;
mod template;
mod tokenizer;
mod train;
mod wrong_input;
