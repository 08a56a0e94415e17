//! The options that say how the next token is chosen.

use loyal_model::sampler::Sampling;
use loyal_types::Clock as _;

use crate::clock::SystemClock;

/// How the next token is chosen.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How tokens are chosen")]
pub(crate) struct SamplingArgs {
    /// Daring: 0 always takes the most probable token, 1 draws as the model believes, more is wilder.
    #[arg(long, value_name = "T", default_value_t = 0.8, value_parser = temperature)]
    temperature: f32,
    /// Draw only from the K most probable tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw only from the most probable tokens that together have probability P; 1 for all.
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = top_p)]
    top_p: f32,
    /// Draw only from tokens at least P times as probable as the best one; 0 for all.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = min_p)]
    min_p: f32,
    /// Start of the random numbers: the same seed gives the same answer [default: a new one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// The choice as the model takes it, with a seed from the clock where none was given.
    pub(crate) fn sampling(&self) -> Sampling {
        // Short enough to be typed again.
        let new = || (SystemClock.unix_seconds() ^ u64::from(std::process::id()) << 16) % 1_000_000;
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed.unwrap_or_else(new),
        }
    }
}

fn temperature(text: &str) -> Result<f32, String> {
    number(text, "give 0 or a positive number", |value| value >= 0.0 && value.is_finite())
}

fn top_p(text: &str) -> Result<f32, String> {
    number(text, "give a number above 0 and at most 1", |value| value > 0.0 && value <= 1.0)
}

fn min_p(text: &str) -> Result<f32, String> {
    number(text, "give a number from 0 to 1", |value| (0.0..=1.0).contains(&value))
}

fn number(text: &str, remedy: &str, fits: impl Fn(f32) -> bool) -> Result<f32, String> {
    text.parse().ok().filter(|&value| fits(value)).ok_or_else(|| remedy.to_owned())
}
