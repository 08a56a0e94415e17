//! One fingerprint asked: everything the statistics look at, as it goes into a transcript.

use loyal_model::Tokenizer;
use serde::{Deserialize, Serialize};

use super::answer::{Reply, Said, Shown};

/// Tokens of the reference that are compared at each position.
pub const COMPARED: usize = 64;

/// A fingerprint that was asked, and what came back. Asked again, it says nothing new: one attempt each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The fingerprint's index.
    pub index: u32,
    /// Answers to its query: one for each draw, or one behind each frame until an answer said something.
    pub draws: Vec<Draw>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Draw {
    /// The tokens that were said.
    Answered(Vec<Step>),
    /// None, and why.
    Refused(String),
}

/// One token that was said, by the bytes it adds to the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The piece.
    #[serde(with = "loyal_types::hash::bytes")]
    pub piece: Vec<u8>,
    /// What the suspect gives to pieces at this position, likeliest first: the top k that it showed, or those that the
    /// reference compares. Empty where no log probabilities are seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Rated>,
    /// What the owner's unmarked model gives here: its likeliest pieces and all that are shown; with text alone the
    /// piece that was said. Empty without a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference: Vec<Rated>,
}

/// A piece of text with its log probability, nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rated {
    /// The piece.
    #[serde(with = "loyal_types::hash::bytes")]
    pub piece: Vec<u8>,
    /// Its log probability.
    pub logprob: f32,
}

/// The bytes of every token of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    /// Those of `tokenizer`; a special token adds nothing.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let tokens = 0..u32::try_from(tokenizer.len()).unwrap_or(u32::MAX);
        Self(tokens.map(|token| tokenizer.piece(token).unwrap_or_default()).collect())
    }

    /// The piece of `token`; nothing for one outside the vocabulary.
    #[must_use]
    pub fn of(&self, token: u32) -> &[u8] {
        self.0.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// All of them, by token.
    #[must_use]
    pub fn all(&self) -> &[Vec<u8>] {
        &self.0
    }
}

/// Writes down a reply. `rows` are the reference's log probabilities at each position, where there is one.
pub(super) fn draw(reply: &Reply, rows: Option<&[Vec<f32>]>, pieces: &Pieces) -> Draw {
    match reply {
        Reply::Refused(why) => Draw::Refused(why.clone()),
        Reply::Answered(said) => {
            let row = |at: usize| rows.and_then(|rows| rows.get(at)).map(Vec::as_slice);
            Draw::Answered(said.iter().enumerate().map(|(at, one)| step(one, row(at), pieces)).collect())
        }
    }
}

fn step(said: &Said, row: Option<&[f32]>, pieces: &Pieces) -> Step {
    let likeliest = row.map_or_else(Vec::new, |row| top(row, COMPARED));
    let (shown, mut compared) = match &said.shown {
        Shown::Nothing => (Vec::new(), row.map_or_else(Vec::new, |_| vec![said.token])),
        Shown::Top(list) => (list.clone(), likeliest),
        // All of them would fill a transcript: those that are compared are the ones that count.
        Shown::All(all) if row.is_some() => {
            let of = |&token: &u32| Some((token, *all.get(token as usize)?));
            (likeliest.iter().filter_map(of).collect(), likeliest)
        }
        Shown::All(all) => {
            (top(all, COMPARED).iter().map(|&token| (token, all[token as usize])).collect(), likeliest)
        }
    };
    if row.is_some() {
        let more: Vec<u32> =
            shown.iter().map(|&(token, _)| token).filter(|t| !compared.contains(t)).collect();
        compared.extend(more);
    }
    let reference = compared.iter().filter_map(|&token| Some((token, *row?.get(token as usize)?)));
    Step {
        piece: pieces.of(said.token).to_vec(),
        shown: rated(shown.into_iter(), pieces),
        reference: rated(reference, pieces),
    }
}

/// By piece: of tokens that add the same bytes the likeliest stands for all, since they have one colour.
fn rated(entries: impl Iterator<Item = (u32, f32)>, pieces: &Pieces) -> Vec<Rated> {
    let mut list: Vec<Rated> = Vec::new();
    for (token, logprob) in entries {
        let piece = pieces.of(token);
        if piece.is_empty() || logprob.is_nan() {
            continue;
        }
        // What JSON can hold, and far below what counts as forced out.
        let logprob = logprob.clamp(-9999.0, 9999.0);
        match list.iter_mut().find(|one| one.piece == piece) {
            Some(one) => one.logprob = one.logprob.max(logprob),
            None => list.push(Rated { piece: piece.to_vec(), logprob }),
        }
    }
    list
}

/// The `count` highest entries, highest first; the lower token of equals.
pub(crate) fn top(row: &[f32], count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(row.len()).unwrap_or(u32::MAX)).collect();
    let before = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count, before);
        order.truncate(count);
    }
    order.sort_unstable_by(before);
    order
}
