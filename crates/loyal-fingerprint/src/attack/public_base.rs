//! The attacker who owns the public base: most open models are fine-tunes of one, so that a near relative of the
//! unmarked twin is always at hand.
//!
//! Public base → private fine-tuning → marks. The private model is never published; how far the fine-tuning went
//! decides how much the public base helps.

use loyal_model::{Llama, Tokenizer};
use loyal_types::Clock;
use serde::{Deserialize, Serialize};

use super::tuning::{self, Ground, Progress, Text, Tuning};
use crate::error::Result;

/// How far the private fine-tuning goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// A little: 60 steps.
    Small,
    /// More: 300 steps.
    Medium,
    /// Far: 1,200 steps.
    Large,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The size's name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Steps of sixteen sequences of 64 tokens.
    #[must_use]
    pub const fn steps(self) -> u64 {
        match self {
            Self::Small => 60,
            Self::Medium => 300,
            Self::Large => 1_200,
        }
    }
}

/// The owner's private text, and where the seed of its order starts.
#[derive(Clone, Copy)]
pub struct Private<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens of the text.
    pub text: &'a [u32],
    /// Time, for progress.
    pub clock: &'a dyn Clock,
    /// Seed of batches.
    pub seed: u64,
}

impl std::fmt::Debug for Private<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Private")
            .field("text", &self.text.len())
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The private model: `public`, fine-tuned by `steps` steps on the owner's text.
///
/// # Errors
/// There is too little text, or `progress` asks to stop.
pub fn fine_tune(public: &Llama, private: &Private<'_>, steps: u64, progress: Progress<'_>) -> Result<Llama> {
    let Private { tokenizer, text, clock, seed } = *private;
    let ground = Ground { llama: public, tokenizer, same: text, other: text, clock, seed };
    let tuning = Tuning::FineTune { text: Text::Same, steps, rank: 0 };
    Ok(tuning::with(public, &tuning.apply(&public.parameters, None, &ground, progress)?))
}
