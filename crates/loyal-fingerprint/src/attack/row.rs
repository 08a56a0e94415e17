//! Attacks as data: what is done, and what the attacker owns.

use loyal_types::{Hash, keccak256};
use serde::{Deserialize, Serialize};

use super::adaptive::Aim;
use super::inference::Inference;
use super::prompt::Prompt;
use super::tuning::Tuning;
use super::weights::Damage;

/// A model an attacker may own beside the marked one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relative {
    /// The exact unmarked model: what an owner never publishes.
    Twin,
    /// The twin, fine-tuned by somebody else on other text.
    Sibling,
    /// The public base that the owner's private model was made from.
    Public,
}

/// What an attacker does; the parts follow each other.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attack {
    /// A change of the weights.
    pub weights: Option<Damage>,
    /// A training.
    pub tuning: Option<Tuning>,
    /// What is done to prompts.
    pub prompt: Option<Prompt>,
    /// What is done to logits.
    pub inference: Vec<Inference>,
    /// A last alteration of logits whose strength is chosen on the attacker's own text.
    pub aim: Option<Aim>,
    /// The model that is merged with, learnt from or asked beside.
    pub with: Option<Relative>,
    /// The model that a merge tells changes from.
    pub anchor: Option<Relative>,
}

/// Kinds of attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// None: the marked model as it is.
    Clean,
    /// Logits are altered.
    Inference,
    /// Text is drawn in other ways.
    Sampling,
    /// Prompts are altered, and first words.
    Prompt,
    /// Weights are rounded, pruned, or disturbed.
    Storage,
    /// Weights are merged with others.
    Merge,
    /// Weights are trained.
    Tuning,
    /// The attacker knows the scheme.
    Adaptive,
    /// The attacker owns the public base of a private model.
    PublicBase,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Clean,
        Self::Inference,
        Self::Sampling,
        Self::Prompt,
        Self::Storage,
        Self::Merge,
        Self::Tuning,
        Self::Adaptive,
        Self::PublicBase,
    ];

    /// The group's name on a command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Inference => "inference",
            Self::Sampling => "sampling",
            Self::Prompt => "prompt",
            Self::Storage => "storage",
            Self::Merge => "merge",
            Self::Tuning => "tuning",
            Self::Adaptive => "adaptive",
            Self::PublicBase => "public-base",
        }
    }
}

/// An attack with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The name, one of its own in a battery.
    pub name: String,
    /// Its kind.
    pub group: Group,
    /// Where it stands in a family of attacks that differ in strength only.
    pub swept: Option<Swept>,
    /// What is done.
    pub attack: Attack,
}

/// A place in a family of attacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swept {
    /// Name of the family.
    pub family: String,
    /// The strength.
    pub value: f64,
}

impl Row {
    /// keccak256 of the row's compact JSON: two rows of one name may differ in what they do.
    #[must_use]
    pub fn digest(&self) -> Hash {
        keccak256(&serde_json::to_vec(self).expect("a row has only string keys"))
    }

    /// Models the attacker owns beside the marked one.
    #[must_use]
    pub fn owns(&self) -> Vec<Relative> {
        let mut owned: Vec<Relative> = self.attack.with.into_iter().chain(self.attack.anchor).collect();
        owned.sort_unstable();
        owned.dedup();
        owned
    }
}
