#![doc = include_str!("../README.md")]

pub mod adamw;
pub mod checkpoint;
pub mod config;
pub mod corpus;
pub mod decoder;
pub mod error;
pub mod evaluate;
pub mod generate;
pub mod gguf;
pub mod gradient;
mod kernels;
pub mod llama;
pub mod lora;
pub mod ops;
pub mod pairs;
pub mod pretrain;
pub mod quantize;
pub mod sampler;
pub mod template;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub use config::Config;
pub use decoder::{Decoder, Session};
pub use error::{Error, Result};
pub use llama::{Batch, Llama, Parameters};
pub use quantize::Precision;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
