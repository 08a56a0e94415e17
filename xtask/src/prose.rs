//! Which forbidden words of the vocabulary a Rust file or a Markdown document uses.

use anyhow::{Context as _, Result};

use crate::finding::Finding;
use crate::source::Source;
use crate::vocabulary::{Forbidden, Vocabulary};

/// In a Rust file: its public names, documentation, comments and messages, before its tests.
///
/// # Errors
/// When the file is not Rust.
pub fn in_rust(vocabulary: &Vocabulary, path: &str, text: &str) -> Result<Vec<Finding>> {
    let source = Source::parse(text).with_context(|| path.to_owned())?;
    let names = source.public_names.iter().flat_map(|name| {
        let found = vocabulary.in_name(&name.text);
        found
            .into_iter()
            .map(|forbidden| finding(path, name.line, &format!("the public name {}", name.text), forbidden))
    });
    let prose = source.prose.iter().flat_map(|piece| {
        let found = vocabulary.in_prose(&without_addresses(&piece.text));
        found.into_iter().map(|forbidden| finding(path, piece.line, "the text", forbidden))
    });
    Ok(names.chain(prose).collect())
}

/// In a Markdown document, outside of its fenced code.
pub fn in_markdown(vocabulary: &Vocabulary, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fence || fenced {
            continue;
        }
        let found = vocabulary.in_prose(&without_addresses(line));
        findings.extend(found.into_iter().map(|forbidden| finding(path, index + 1, "the text", forbidden)));
    }
    findings
}

fn finding(path: &str, line: usize, place: &str, forbidden: &Forbidden) -> Finding {
    let phrase = forbidden.phrase.join(" ");
    let problem =
        format!("{place} says \"{phrase}\"; the word is {} (docs/vocabulary.md)", forbidden.instead);
    Finding::new(path, line, problem)
}

/// The text without link targets and addresses, which are not ours to name.
fn without_addresses(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for (index, piece) in text.split("](").enumerate() {
        let piece = if index == 0 { piece } else { piece.split_once(')').map_or("", |(_, after)| after) };
        for word in piece.split_whitespace().filter(|word| !word.contains("://")) {
            kept.push_str(word);
            kept.push(' ');
        }
    }
    kept
}
