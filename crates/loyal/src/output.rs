//! Standard output and standard error: where data goes, where talk goes, and what a closed pipe means.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::ending::Ending;

/// Writes data to standard output and sends it off at once.
///
/// # Errors
/// [`Ending::PipeClosed`] where the reader has gone; else the system's reason.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ending::PipeClosed.into()),
        Err(error) => {
            Err(error).context("standard output: writing failed; free some space or write elsewhere")
        }
    }
}

/// [`write()`] with a line break behind.
///
/// # Errors
/// As [`write()`].
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    write(&format!("{text}\n"))
}

/// A JSON value on one line.
///
/// # Errors
/// As [`write()`].
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<()> {
    line(&value.to_string())
}

/// Rows of a name and a value, the values below each other.
///
/// # Errors
/// As [`write()`].
pub(crate) fn pairs(rows: &[(&str, String)]) -> anyhow::Result<()> {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let bold = io::stdout().is_terminal();
    let mut text = String::new();
    for (name, value) in rows {
        let gap = " ".repeat(width - name.chars().count() + 2);
        let name = if bold { format!("\x1b[1m{name}\x1b[0m") } else { (*name).to_owned() };
        // A value of several lines stays in its column.
        let value = value.replace('\n', &format!("\n{}", " ".repeat(width + 2)));
        text.push_str(&format!("{name}{gap}{value}\n"));
    }
    write(&text)
}

/// Says something on standard error. Nobody listening there is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong, with what would help.
pub(crate) fn complain(error: &anyhow::Error) {
    let label = if io::stderr().is_terminal() { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
    say(&format!("{label} {}", told(error)));
}

/// An error and its causes, each once: many an error's own text says its cause already.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        match (text.is_empty(), text.contains(&cause)) {
            (true, _) => cause,
            (false, true) => text,
            (false, false) => format!("{text}: {cause}"),
        }
    })
}

/// 1234567 as "1,234,567".
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes for people: "10.6 MB".
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(unit, _)| bytes as f64 >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    #[test]
    fn a_cause_is_told_once() {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let path = std::path::PathBuf::from("secret.json");
        let file = loyal_fingerprint::Error::File { path, doing: "reading", source: missing() };
        assert_eq!(super::told(&file.into()), "secret.json: reading failed: no such file");
        let plain = anyhow::Error::from(missing()).context("reading secret.json");
        assert_eq!(super::told(&plain), "reading secret.json: no such file");
        let none: anyhow::Result<()> = Err(anyhow::anyhow!("too short"));
        assert_eq!(super::told(&none.context("the reference").unwrap_err()), "the reference: too short");
    }
}
