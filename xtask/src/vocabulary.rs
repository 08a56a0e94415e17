//! The words of `docs/vocabulary.md`: its tables, and a search for what they forbid.

use anyhow::{Context as _, Result, bail};

/// Where a forbidden phrase is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In names and prose (written as `code`).
    Everywhere,
    /// In public names (written in *italics*).
    Names,
}

/// A phrase not to be used, and the word to use instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The phrase, as lower-case words.
    pub phrase: Vec<String>,
    /// Where it is looked for.
    pub reach: Reach,
    /// What to say instead.
    pub instead: String,
}

/// What the tables say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// From the tables `word | meaning | not`.
    pub forbidden: Vec<Forbidden>,
    /// From the table `phrase | whose`: others' standards, as lower-case words.
    pub foreign: Vec<Vec<String>>,
}

impl Vocabulary {
    /// Reads the tables out of the Markdown.
    ///
    /// # Errors
    /// When a row has another number of cells than its head, a word has no meaning, or there is no table at all.
    pub fn parse(markdown: &str) -> Result<Self> {
        let mut vocabulary = Self::default();
        let mut head: Vec<&str> = Vec::new();
        for (index, line) in markdown.lines().enumerate() {
            let Some(cells) = cells(line) else {
                head.clear();
                continue;
            };
            if head.is_empty() {
                head = cells;
                continue;
            }
            if cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-')) {
                continue;
            }
            if cells.len() != head.len() || cells[0].is_empty() || cells[1].is_empty() {
                bail!("line {}: a row needs {} cells, the first two not empty", index + 1, head.len());
            }
            match head[..] {
                ["word", "meaning", "not"] => vocabulary.add(cells[0], cells[2]),
                ["phrase", "whose"] => vocabulary.foreign.push(words(cells[0])),
                _ => bail!("line {}: a table of another kind: {head:?}", index + 1),
            }
        }
        vocabulary.forbidden.first().context("no table `word | meaning | not` with anything to look for")?;
        Ok(vocabulary)
    }

    fn add(&mut self, word: &str, not: &str) {
        for (mark, reach) in [('`', Reach::Everywhere), ('*', Reach::Names)] {
            // Between two marks lies every second piece.
            for phrase in not.split(mark).skip(1).step_by(2) {
                self.forbidden.push(Forbidden { phrase: words(phrase), reach, instead: word.to_owned() });
            }
        }
    }

    /// The forbidden phrases a piece of prose uses.
    pub fn in_prose(&self, text: &str) -> Vec<&Forbidden> {
        self.search(&words(text), |reach| reach == Reach::Everywhere)
    }

    /// The forbidden phrases a public name uses.
    pub fn in_name(&self, name: &str) -> Vec<&Forbidden> {
        self.search(&words(name), |_| true)
    }

    fn search(&self, words: &[String], reaches: impl Fn(Reach) -> bool) -> Vec<&Forbidden> {
        let free = |start: usize, length: usize| {
            !self.foreign.iter().any(|foreign| {
                occurrences(words, foreign).any(|at| at <= start && start + length <= at + foreign.len())
            })
        };
        self.forbidden
            .iter()
            .filter(|forbidden| reaches(forbidden.reach))
            .filter(|forbidden| {
                occurrences(words, &forbidden.phrase).any(|at| free(at, forbidden.phrase.len()))
            })
            .collect()
    }
}

/// The cells of a table's line, or `None` for a line of another kind.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn occurrences<'a>(words: &'a [String], phrase: &'a [String]) -> impl Iterator<Item = usize> + 'a {
    words
        .windows(phrase.len().max(1))
        .enumerate()
        .filter(move |(_, window)| window.iter().zip(phrase).all(|(word, wanted)| same(word, wanted)))
        .map(|(at, _)| at)
}

/// Equal, or the plural.
fn same(word: &str, wanted: &str) -> bool {
    word.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest == "s")
}

/// A text's words in lower case; `snake_case`, `kebab-case` and `CamelCase` are cut too.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut previous_lower = false;
    for letter in text.chars() {
        let boundary = letter.is_uppercase() && previous_lower;
        if (boundary || !letter.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        previous_lower = letter.is_lowercase() || letter.is_ascii_digit();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
