#![doc = include_str!("../README.md")]

pub mod clock;
pub mod evidence;
pub mod hash;
pub mod origin;
pub mod tree;

pub use clock::Clock;
pub use evidence::{Bits, Chance, Evidence};
pub use hash::{Hash, keccak256};
pub use origin::Origin;
pub use tree::{Proof, Tree};
