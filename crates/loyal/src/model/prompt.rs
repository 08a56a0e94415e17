//! Texts given to a model: on the command line, in a file, through a pipe.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::ending::Ending;

/// Sorts one or two words of the command line into a folder and a prompt. A single word that names a folder,
/// or is written like a path, is the folder; any other is the prompt.
///
/// # Errors
/// The prompt is not UTF-8.
pub(crate) fn sort(
    words: &[&OsStr],
    prompt_elsewhere: bool,
) -> anyhow::Result<(Option<PathBuf>, Option<String>)> {
    match words {
        [] => Ok((None, None)),
        [one] if prompt_elsewhere || is_path(one) => Ok((Some(PathBuf::from(one)), None)),
        [one] => Ok((None, Some(text(one)?))),
        [_, _, ..] if prompt_elsewhere => {
            Err(Ending::Usage("give the prompt once: as PROMPT or by --prompt-file".to_owned()).into())
        }
        [folder, prompt, ..] => Ok((Some(PathBuf::from(folder)), Some(text(prompt)?))),
    }
}

fn is_path(word: &OsStr) -> bool {
    let path = Path::new(word);
    let written = word.to_string_lossy();
    path.is_dir() || path.components().count() > 1 && !written.contains(char::is_whitespace)
}

fn text(word: &OsStr) -> anyhow::Result<String> {
    let remedy = "the prompt on the command line is not UTF-8; put it in a UTF-8 file and use --prompt-file";
    word.to_str().map(str::to_owned).ok_or_else(|| Ending::Usage(remedy.to_owned()).into())
}

/// The prompt in `file`, or else on standard input, without the line break at its end.
///
/// # Errors
/// Nobody gives one, or it cannot be read or is not UTF-8.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<String> {
    let mut prompt = match file {
        Some(file) if file != Path::new("-") => read_file(file)?,
        _ if io::stdin().is_terminal() => {
            let problem = "there is no prompt; write it behind the command, or use --prompt-file or a pipe";
            return Err(Ending::Usage(problem.to_owned()).into());
        }
        _ => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("standard input: reading failed")?;
            utf8(bytes, "standard input")?
        }
    };
    if prompt.ends_with('\n') {
        prompt.truncate(prompt.len() - if prompt.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(prompt)
}

/// A text file.
///
/// # Errors
/// It cannot be read or is not UTF-8.
pub(crate) fn read_file(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let bytes =
        fs::read(file).with_context(|| format!("{shown}: reading the text failed; check the path"))?;
    utf8(bytes, &shown.to_string())
}

/// `bytes` as text; `source` is named in the error.
///
/// # Errors
/// They are not UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>, source: &str) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{source}: not UTF-8 text from byte {place} on; save it as UTF-8")
    })
}
