//! The endpoints of a watch: addresses on the command line, or lines of a file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use loyal_fingerprint::watch::Money;

use crate::endpoint::Access;

/// An endpoint to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its address.
    pub(super) url: String,
    /// Name of the model there; the first one it lists unless given.
    pub(super) model: Option<String>,
    /// Where its API key is read from.
    pub(super) access: Option<Access>,
    /// What a request costs at most.
    pub(super) price: Option<Money>,
    /// Requests in any 24 hours, if not as many as to all others.
    pub(super) requests_a_day: Option<u64>,
}

impl Entry {
    /// An endpoint of which the address alone is known.
    pub(super) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), model: None, access: None, price: None, requests_a_day: None }
    }

    /// Reads a list: on each line an address and, with spaces between, `model=`, `key-env=`, `key-file=`, `price=` and
    /// `requests-a-day=`; what follows a `#` at the beginning of a line or behind a space is for people.
    ///
    /// # Errors
    /// The file cannot be read; a line is no endpoint.
    pub(super) fn list(file: &Path) -> anyhow::Result<Vec<Self>> {
        let shown = file.display();
        let text =
            std::fs::read_to_string(file).with_context(|| format!("{shown}: reading the list failed"))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let entry = Self::parse(line, folder).with_context(|| format!("{shown}, line {}", at + 1))?;
            entries.extend(entry);
        }
        ensure!(!entries.is_empty(), "{shown}: no endpoint is in it; write one address on each line");
        Ok(entries)
    }

    fn parse(line: &str, folder: &Path) -> anyhow::Result<Option<Self>> {
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(url) = words.next() else { return Ok(None) };
        ensure!(
            url.starts_with("https://") || url.starts_with("http://"),
            "{url:?} is no address; it must begin with https:// or http://"
        );
        let mut entry = Self::at(url);
        for word in words {
            let (name, value) = word
                .split_once('=')
                .filter(|(_, value)| !value.is_empty())
                .with_context(|| format!("{word:?}: write name=value"))?;
            let is_new = match name {
                "model" => entry.model.replace(value.to_owned()).is_none(),
                "key-env" => entry.access.replace(Access::Variable(value.to_owned())).is_none(),
                "key-file" => entry.access.replace(Access::File(folder.join(value))).is_none(),
                "price" => entry.price.replace(value.parse()?).is_none(),
                "requests-a-day" => {
                    let count = value.parse().with_context(|| format!("{word:?}: write a number"))?;
                    entry.requests_a_day.replace(count).is_none()
                }
                // The value may be a key that somebody wrote here by mistake: it is not repeated.
                _ => bail!(
                    "{name:?} is not known here; write model, key-env, key-file, price or requests-a-day \
                     (a key itself is never written into a list)"
                ),
            };
            ensure!(is_new, "{name} stands there twice");
        }
        Ok(Some(entry))
    }
}

/// All endpoints, those of the command line first.
///
/// # Errors
/// The list cannot be read, one endpoint is named twice, or what costs money has no bound.
pub(super) fn entries(
    urls: &[String],
    list: Option<&PathBuf>,
    budget: Option<Money>,
) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = urls.iter().map(|url| Entry::at(url)).collect();
    if let Some(list) = list {
        entries.extend(Entry::list(list)?);
    }
    ensure!(!entries.is_empty(), "name endpoints to watch: addresses, or --list FILE with one on each line");
    for (at, one) in entries.iter().enumerate() {
        let same = |other: &Entry| {
            other.url.trim_end_matches('/') == one.url.trim_end_matches('/') && other.model == one.model
        };
        ensure!(!entries[..at].iter().any(same), "{} is named twice", one.url);
        ensure!(
            one.access.is_none() || one.price.is_some(),
            "{}: where an API key is shown, somebody pays: say what a request costs at most with price= (0 if nothing)",
            one.url
        );
        ensure!(
            budget.is_some() || one.price.is_none_or(|price| price == Money::ZERO),
            "{}: requests cost money; say with --budget how much may be spent in all",
            one.url
        );
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Option<Entry>> {
        Entry::parse(line, Path::new("lists"))
    }

    #[test]
    fn lines_are_read() {
        assert_eq!(parse("  # nothing").unwrap(), None);
        assert_eq!(parse("").unwrap(), None);
        let entry =
            parse("https://a.example/v1 model=m key-file=k price=0.0004 requests-a-day=40 # soon").unwrap();
        let expected = Entry {
            url: "https://a.example/v1".to_owned(),
            model: Some("m".to_owned()),
            access: Some(Access::File("lists/k".into())),
            price: Some("0.0004".parse().unwrap()),
            requests_a_day: Some(40),
        };
        assert_eq!(entry, Some(expected));
    }

    #[test]
    fn wrong_lines_are_told() {
        for (line, word) in [
            ("a.example", "no address"),
            ("https://a model", "name=value"),
            ("https://a model=", "name=value"),
            ("https://a key-env=A key-file=b", "twice"),
            ("https://a price=much", "money"),
            ("https://a requests-a-day=few", "number"),
        ] {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(word), "{line}: {error}");
        }
        let error = format!("{:#}", parse("https://a key=sk-secret").unwrap_err());
        assert!(error.contains("key-env") && !error.contains("sk-secret"), "{error}");
    }

    #[test]
    fn what_costs_money_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        let of = |text: &str, budget: Option<&str>| {
            std::fs::write(&list, text).unwrap();
            let budget = budget.map(|sum| sum.parse().unwrap());
            entries(&[], Some(&list), budget).map_err(|error| format!("{error:#}"))
        };
        assert!(of("https://a key-env=A", None).unwrap_err().contains("price="));
        assert!(of("https://a key-env=A price=1", None).unwrap_err().contains("--budget"));
        assert_eq!(of("https://a key-env=A price=1", Some("5")).unwrap().len(), 1);
        assert_eq!(of("https://a key-env=A price=0", None).unwrap().len(), 1);
        assert!(of("https://a\nhttps://a/", None).unwrap_err().contains("twice"));
        assert!(of("# none", None).unwrap_err().contains("no endpoint"));
    }
}
