//! A portrait of whoever answers: ordinary prompts with what came back, by which a changed model is noticed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::check::{Said, Shown};

/// Two log probabilities of the same model at the same place differ by no more, whatever the batch they were made in.
const CHANGE_MIN: f32 = 0.5;
/// Of a list of log probabilities the likeliest ones are compared: the others waver with a host's arithmetic.
const COMPARED: usize = 5;
/// One prompt may be answered otherwise by accident; so many may not.
const DIFFERENT_MIN: usize = 2;
/// Fewer answers say nothing.
const COMPARED_PROMPTS_MIN: usize = 3;

/// Ordinary prompts and their answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Portrait(Vec<Pictured>);

/// One prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pictured {
    prompt: String,
    /// The first token that came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<u32>,
    /// Log probabilities at its place, likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rated: Vec<(u32, f32)>,
}

/// Whether two portraits are of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// They are.
    Same,
    /// They are not: so many answers of so many differ.
    Other {
        /// Prompts answered otherwise.
        different: usize,
        /// Prompts answered both times.
        compared: usize,
    },
    /// Too little can be seen.
    Unknown,
}

impl Portrait {
    /// Of prompts with what was answered to each.
    pub fn of<'a>(answers: impl Iterator<Item = (&'a str, Option<&'a [Said]>)>) -> Self {
        let pictured = |(prompt, said): (&str, Option<&[Said]>)| {
            let first = said.and_then(<[Said]>::first);
            let rated = match first.map(|one| &one.shown) {
                Some(Shown::Top(list)) => list.iter().take(COMPARED).copied().collect(),
                _ => Vec::new(),
            };
            Pictured { prompt: prompt.to_owned(), token: first.map(|one| one.token), rated }
        };
        Self(answers.map(pictured).collect())
    }

    /// Its prompts: asked again, they make a portrait that can be compared.
    #[must_use]
    pub fn prompts(&self) -> Vec<String> {
        self.0.iter().map(|one| one.prompt.clone()).collect()
    }

    /// Whether `later`, of the same prompts, is of the same model.
    #[must_use]
    pub fn likeness(&self, later: &Self) -> Likeness {
        let pairs: Vec<(&Pictured, &Pictured)> = self
            .0
            .iter()
            .filter_map(|one| Some((one, later.0.iter().find(|other| other.prompt == one.prompt)?)))
            .filter(|(one, other)| one.token.is_some() && other.token.is_some())
            .collect();
        let different = pairs.iter().filter(|(one, other)| one.differs(other)).count();
        match pairs.len() {
            0..COMPARED_PROMPTS_MIN => Likeness::Unknown,
            compared if different >= DIFFERENT_MIN => Likeness::Other { different, compared },
            _ => Likeness::Same,
        }
    }
}

impl Pictured {
    fn differs(&self, other: &Self) -> bool {
        if self.rated.is_empty() || other.rated.is_empty() {
            return self.token != other.token;
        }
        let there: HashMap<u32, f32> = other.rated.iter().copied().collect();
        let shared = self.rated.iter().filter_map(|(token, x)| Some((x - there.get(token)?).abs()));
        // A token that left the list proves nothing: the ends of two lists may differ.
        shared.clone().any(|far| far > CHANGE_MIN) || shared.count() * 2 < self.rated.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portrait(answers: &[Option<Said>]) -> Portrait {
        let prompts: Vec<String> = (0..answers.len()).map(|at| format!("prompt {at}")).collect();
        Portrait::of(
            prompts
                .iter()
                .zip(answers)
                .map(|(prompt, said)| (prompt.as_str(), said.as_ref().map(std::slice::from_ref))),
        )
    }

    fn rated(list: &[(u32, f32)]) -> Option<Said> {
        Some(Said { token: list[0].0, shown: Shown::Top(list.to_vec()) })
    }

    fn plain(token: u32) -> Option<Said> {
        Some(Said { token, shown: Shown::Nothing })
    }

    #[test]
    fn one_accident_is_no_change_and_two_are() {
        let first = portrait(&[plain(1), plain(2), plain(3), plain(4)]);
        assert_eq!(first.likeness(&portrait(&[plain(1), plain(9), plain(3), plain(4)])), Likeness::Same);
        let other = Likeness::Other { different: 2, compared: 3 };
        assert_eq!(first.likeness(&portrait(&[None, plain(9), plain(8), plain(4)])), other);
        assert_eq!(first.likeness(&portrait(&[plain(1), plain(2), None, None])), Likeness::Unknown);
        assert_eq!(first.likeness(&Portrait::default()), Likeness::Unknown);
    }

    #[test]
    fn log_probabilities_tell_more_than_text() {
        let list = [(1, -0.2), (2, -2.0), (3, -3.0), (4, -4.0)];
        let first = portrait(&[rated(&list), rated(&list), rated(&list)]);
        let near = [(1, -0.25), (2, -2.1), (3, -3.3), (7, -4.0)];
        assert_eq!(first.likeness(&portrait(&[rated(&near), rated(&near), rated(&near)])), Likeness::Same);
        let tuned = [(1, -0.9), (2, -1.0), (3, -3.0), (4, -4.0)];
        let later = portrait(&[rated(&tuned), rated(&list), rated(&tuned)]);
        assert_eq!(first.likeness(&later), Likeness::Other { different: 2, compared: 3 });
    }

    #[test]
    fn it_survives_being_written() {
        let portrait = portrait(&[rated(&[(1, -0.123_456_7), (2, -2.0)]), plain(3), None]);
        let text = serde_json::to_string(&portrait).unwrap();
        assert_eq!(serde_json::from_str::<Portrait>(&text).unwrap(), portrait);
    }
}
