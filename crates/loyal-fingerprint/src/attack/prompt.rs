//! What a host does to a prompt before the model sees it, and to the first words of an answer.

use loyal_model::Tokenizer;
use loyal_types::keccak256;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::frame::Frame;

/// An alteration of prompts, or of how answers begin. The same prompt is always altered alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// One of these stands around each prompt: system prompts, other text, a chat template.
    Frames(Vec<Frame>),
    /// Letters are swapped with their neighbours inside of words, as a hurried writer does.
    Typos {
        /// Words that are hit.
        words: usize,
    },
    /// Tokens are left out, never the last one.
    Drop {
        /// How many.
        tokens: usize,
    },
    /// The beginning is cut off.
    Cut {
        /// Tokens that go.
        tokens: usize,
    },
    /// Words give way to others of the same meaning, by a list.
    Paraphrase,
    /// Answers begin with these words; the model goes on from there.
    Opening(String),
    /// The model is asked the prompt and near variants of it, one token changed in each; their log probabilities are
    /// averaged. It washes out what hangs on exact words.
    Neighbours {
        /// Variants beside the prompt itself.
        count: usize,
    },
}

/// Pairs of like meaning; either word gives way to the other.
const ALIKE: [(&str, &str); 40] = [
    ("big", "large"),
    ("small", "little"),
    ("began", "started"),
    ("begin", "start"),
    ("said", "told them"),
    ("quickly", "fast"),
    ("nearly", "almost"),
    ("also", "too"),
    ("house", "home"),
    ("road", "way"),
    ("shut", "closed"),
    ("glad", "happy"),
    ("sad", "unhappy"),
    ("afraid", "frightened"),
    ("boy", "lad"),
    ("girl", "lass"),
    ("answered", "replied"),
    ("asked", "inquired"),
    ("looked", "gazed"),
    ("found", "discovered"),
    ("many", "a lot of"),
    ("often", "frequently"),
    ("perhaps", "maybe"),
    ("must", "has to"),
    ("could", "was able to"),
    ("went", "walked"),
    ("came", "arrived"),
    ("saw", "noticed"),
    ("wood", "forest"),
    ("stone", "rock"),
    ("sea", "ocean"),
    ("friend", "companion"),
    ("old", "aged"),
    ("strong", "powerful"),
    ("beautiful", "lovely"),
    ("thought", "believed"),
    ("took", "seized"),
    ("ran", "hurried"),
    ("high", "tall"),
    ("above", "over"),
];

impl Prompt {
    /// What the model is asked in place of `prompt`: one sequence of tokens, or more whose answers are averaged.
    ///
    /// # Errors
    /// The tokenizer cannot spell the text.
    pub fn variants(&self, prompt: &str, tokenizer: &Tokenizer, seed: u64) -> Result<Vec<Vec<u32>>> {
        let mut draw = draw_for(prompt, seed);
        let one = |text: &str| Ok(vec![tokenizer.encode(text)?]);
        match self {
            Self::Frames(frames) => match frames.choose(&mut draw) {
                Some(frame) => one(&frame.around(prompt)),
                None => one(prompt),
            },
            Self::Typos { words } => one(&with_typos(prompt, *words, &mut draw)),
            Self::Paraphrase => one(&paraphrase(prompt)),
            Self::Opening(words) => one(&format!("{prompt}{words}")),
            Self::Drop { tokens } => Ok(vec![dropped(tokenizer.encode(prompt)?, *tokens, &mut draw)]),
            Self::Cut { tokens } => {
                let all = tokenizer.encode(prompt)?;
                let opening = tokenizer.encode("")?.len();
                let from = (opening + tokens).min(all.len().saturating_sub(2)).max(opening);
                Ok(vec![[&all[..opening], &all[from..]].concat()])
            }
            Self::Neighbours { count } => {
                let own = tokenizer.encode(prompt)?;
                let near = (0..*count).map(|_| near(&own, tokenizer, &mut draw));
                Ok(std::iter::once(own.clone()).chain(near).collect())
            }
        }
    }

    /// Tokens that answers begin with, whatever the model would say.
    ///
    /// # Errors
    /// The tokenizer cannot spell the text.
    pub fn opening(&self, prompt: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let Self::Opening(words) = self else { return Ok(Vec::new()) };
        let asked = tokenizer.encode(prompt)?.len();
        let whole = tokenizer.encode(&format!("{prompt}{words}"))?;
        Ok(whole.get(asked..).unwrap_or_default().to_vec())
    }
}

fn draw_for(prompt: &str, seed: u64) -> ChaCha8Rng {
    let mut draw = ChaCha8Rng::from_seed(keccak256(prompt.as_bytes()).0);
    draw.set_stream(seed);
    draw
}

/// Swaps two letters inside of some words of four letters or more.
fn with_typos(text: &str, words: usize, draw: &mut ChaCha8Rng) -> String {
    let mut parts: Vec<Vec<char>> = text.split(' ').map(|word| word.chars().collect()).collect();
    let is_long = |word: &[char]| word.len() >= 4 && word.iter().all(|letter| letter.is_alphabetic());
    let mut fit: Vec<usize> = (0..parts.len()).filter(|&at| is_long(&parts[at])).collect();
    fit.shuffle(draw);
    for &at in fit.iter().take(words) {
        let place = draw.random_range(1..parts[at].len() - 2);
        parts[at].swap(place, place + 1);
    }
    parts.iter().map(|word| word.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// Word by word; what stands around a word (commas, full stops) stays.
fn paraphrase(text: &str) -> String {
    let other = |word: &str| {
        ALIKE.iter().find_map(|&(a, b)| match word {
            _ if word == a => Some(b),
            _ if word == b => Some(a),
            _ => None,
        })
    };
    let one = |part: &str| {
        let word = part.trim_matches(|letter: char| !letter.is_alphabetic());
        match other(word) {
            Some(instead) => part.replace(word, instead),
            None => part.to_owned(),
        }
    };
    text.split(' ').map(one).collect::<Vec<_>>().join(" ")
}

fn dropped(mut tokens: Vec<u32>, count: usize, draw: &mut ChaCha8Rng) -> Vec<u32> {
    for _ in 0..count {
        if tokens.len() < 4 {
            break;
        }
        tokens.remove(draw.random_range(1..tokens.len() - 1));
    }
    tokens
}

/// The same tokens, but for one of the last four: where a mark hangs most.
fn near(tokens: &[u32], tokenizer: &Tokenizer, draw: &mut ChaCha8Rng) -> Vec<u32> {
    let mut tokens = tokens.to_vec();
    let last = tokens.len().saturating_sub(1);
    let at = draw.random_range(last.saturating_sub(3)..=last);
    for _ in 0..64 {
        let token = draw.random_range(0..u32::try_from(tokenizer.len()).unwrap_or(u32::MAX));
        if tokenizer.piece(token).is_some_and(|piece| piece.starts_with(b" ")) {
            tokens[at] = token;
            break;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_altered_as_they_say() {
        assert_eq!(paraphrase("The big house, and a sea."), "The large home, and a ocean.");
        let mut draw = draw_for("x", 1);
        let text = "one letter here changes place";
        let typos = with_typos(text, 2, &mut draw);
        let changed = text.split(' ').zip(typos.split(' ')).filter(|(a, b)| a != b).count();
        assert!((1..=2).contains(&changed), "{typos}");
        let sorted = |text: &str| {
            let mut letters: Vec<char> = text.chars().collect();
            letters.sort_unstable();
            letters
        };
        assert_eq!(sorted(text), sorted(&typos));
        assert_eq!(dropped(vec![1, 2, 3, 4, 5], 2, &mut draw).len(), 3);
        assert_eq!(dropped(vec![1, 2, 3], 9, &mut draw), [1, 2, 3]);
        assert_eq!(dropped(vec![1, 2, 3, 4, 5], 1, &mut draw).last(), Some(&5));
    }
}
