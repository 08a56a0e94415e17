#![doc = include_str!("../README.md")]

pub mod config;
pub mod error;
pub mod llama;
pub mod gradient;
pub mod adamw;
pub mod checkpoint;
pub mod lora;
pub mod train;
pub mod corpus;
pub mod pretrain;
pub mod ops;
pub mod tokenizer;
pub mod sampler;
pub mod quantize;
mod kernels;
pub mod decoder;
pub mod generate;
pub mod evaluate;
pub mod weights;

pub use config::Config;
pub use decoder::{Decoder, Session};
pub use error::{Error, Result};
pub use llama::{Batch, Llama, Parameters};
pub use quantize::Precision;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
