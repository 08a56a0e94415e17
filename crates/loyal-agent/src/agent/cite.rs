//! Where the quotations of an answer stand in what was read.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::check::quotations;
use crate::provenance::Provenance;
use crate::tool::Output;

/// Shorter quotations are names and titles, and stand in many places.
const CHARACTERS_MIN: usize = 8;
/// Citations of one answer.
const COUNT_MAX: usize = 100;

/// A quotation, and its place in a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The bytes of the answer that are quoted, from and to.
    pub answer: (usize, usize),
    /// Whose words they are.
    pub source: Provenance,
    /// SHA-256 of the source's text, as it stands in the log of the run.
    pub source_sha256: String,
    /// The bytes of that text, from and to.
    pub place: (usize, usize),
}

/// The citations of an answer: each quotation with the first source that has it. Space and case may differ.
pub(super) fn cite(answer: &str, sources: &[Output]) -> Vec<Citation> {
    let plain: Vec<_> = sources.iter().map(|source| Plain::new(&source.text)).collect();
    let long = quotations(answer).filter(|quoted| quoted.chars().count() >= CHARACTERS_MIN);
    let found = long.filter_map(|quoted| {
        let wanted = Plain::new(quoted).text;
        let (index, place) =
            plain.iter().enumerate().find_map(|(index, plain)| Some((index, plain.find(&wanted)?)))?;
        // The quotation is a part of the answer, so their distance is its place.
        let start = quoted.as_ptr() as usize - answer.as_ptr() as usize;
        let Output { text, provenance } = &sources[index];
        let hash = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Citation {
            answer: (start, start + quoted.len()),
            source: provenance.clone(),
            source_sha256: hash,
            place,
        })
    });
    found.take(COUNT_MAX).collect()
}

/// A text in small letters with single spaces, and where each byte of it comes from.
struct Plain {
    text: String,
    /// For each byte of `text`: the bytes of the character it comes from.
    places: Vec<(usize, usize)>,
}

impl Plain {
    fn new(text: &str) -> Self {
        let mut plain = Self { text: String::new(), places: Vec::new() };
        let mut space = None;
        for (at, c) in text.char_indices() {
            let place = (at, at + c.len_utf8());
            if c.is_whitespace() {
                space = space.or(Some(place));
                continue;
            }
            if let Some(place) = space.take()
                && !plain.text.is_empty()
            {
                plain.push(' ', place);
            }
            c.to_lowercase().for_each(|c| plain.push(c, place));
        }
        plain
    }

    fn push(&mut self, c: char, place: (usize, usize)) {
        self.text.push(c);
        self.places.resize(self.text.len(), place);
    }

    fn find(&self, wanted: &str) -> Option<(usize, usize)> {
        if wanted.is_empty() {
            return None;
        }
        let at = self.text.find(wanted)?;
        Some((self.places[at].0, self.places[at + wanted.len() - 1].1))
    }
}
