//! Ordinary prompts: beginnings of sentences out of ordinary text, like those that people send.

use std::path::Path;

use anyhow::{Context as _, ensure};
use rand::Rng as _;
use rand_chacha::ChaCha20Rng;

use crate::shipped;

/// Fewest sentences that hide anything.
const SENTENCE_COUNT_MIN: usize = 32;
const WORDS: std::ops::Range<usize> = 6..14;

/// Sentences to draw prompts from.
#[derive(Debug, Clone)]
pub(crate) struct Ordinary {
    sentences: Vec<String>,
}

impl Ordinary {
    /// Out of a text file, or of the text that comes with the default model.
    ///
    /// # Errors
    /// The file cannot be read or has too few sentences.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let text = match file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("{}: reading the text failed", file.display()))?,
            None => shipped::benign_text().to_owned(),
        };
        let name = file.map_or_else(|| "the built-in text".to_owned(), |file| file.display().to_string());
        Self::of(&text).with_context(|| name)
    }

    fn of(text: &str) -> anyhow::Result<Self> {
        let sentences = text.split(['.', '!', '?', '\n']).map(str::trim);
        let long = sentences.filter(|sentence| sentence.split_whitespace().count() >= WORDS.start);
        let sentences: Vec<String> = long.map(|sentence| sentence.trim_matches('"').to_owned()).collect();
        let count = sentences.len();
        ensure!(
            count >= SENTENCE_COUNT_MIN,
            "only {count} sentences; ordinary text needs {SENTENCE_COUNT_MIN} or more"
        );
        Ok(Self { sentences })
    }

    /// A prompt drawn at random.
    pub(crate) fn prompt(&self, draw: &mut ChaCha20Rng) -> String {
        let sentence = &self.sentences[draw.random_range(0..self.sentences.len())];
        let count = draw.random_range(WORDS);
        sentence.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
    }
}
