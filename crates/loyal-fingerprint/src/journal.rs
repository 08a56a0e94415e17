//! Append-only files of JSON lines, each holding the hash of the line before: what a process did, durable before it
//! does more.
//!
//! A line is `{"previous": hash, "time": unix seconds, "event": …}`; the first one's `previous` is zero. A line that a
//! crash cut short was never acted upon and is taken away when the file is opened again; any other fault is an error.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use loyal_types::{Hash, keccak256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// 65,536 attempts of sixteen positions take less.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<T> {
    /// keccak256 of the line before, without its line break; zero for the first.
    pub previous: Hash,
    /// Seconds since the Unix epoch.
    pub time: u64,
    /// What happened.
    pub event: T,
}

impl<T: Serialize> Line<T> {
    /// The line as it stands in the file.
    fn text(&self) -> String {
        serde_json::to_string(self).expect("events have only string keys")
    }

    /// What the next line calls its previous one.
    pub(crate) fn hash(&self) -> Hash {
        keccak256(self.text().as_bytes())
    }
}

/// What a file of events calls itself and its remedy, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What to do about a file that was changed.
    pub(crate) remedy: &'static str,
    /// Who else may have it open.
    pub(crate) busy: &'static str,
}

/// A file of events, open for more of them.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    file: File,
    path: PathBuf,
    head: Hash,
    is_whole: bool,
    events: PhantomData<T>,
}

/// How long the file is locked against others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Wait until others are done.
    Waiting,
    /// Fail where somebody else has it.
    Trying,
}

impl<T: Serialize + DeserializeOwned + PartialEq> Journal<T> {
    /// Opens `path`, or makes it (mode 0600), locked while this lives, and reads what is in it.
    pub(crate) fn open(path: &Path, kind: Kind, lock: Lock) -> Result<(Self, Vec<Line<T>>)> {
        let failed = |source| Error::file(path, "opening", source);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        match lock {
            Lock::Waiting => file.lock().map_err(failed)?,
            Lock::Trying => file.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => Error::Busy { path: path.to_owned(), by: kind.busy },
                TryLockError::Error(source) => failed(source),
            })?,
        }
        let bytes = read_bounded(&mut file, path)?;
        let (lines, whole) = parse(&bytes, path, kind)?;
        if whole < bytes.len() {
            file.set_len(whole as u64).and_then(|()| file.sync_all()).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        if lines.is_empty() {
            sync_folder(path).map_err(failed)?;
        }
        let head = lines.last().map_or(Hash::ZERO, Line::hash);
        Ok((Self { file, path: path.to_owned(), head, is_whole: true, events: PhantomData }, lines))
    }

    /// Writes one event. When this returns, it is on the disk.
    pub(crate) fn append(&mut self, time: u64, event: T) -> Result<()> {
        if !self.is_whole {
            let problem = "an earlier line could not be written".to_owned();
            return Err(Error::malformed(&self.path, problem, "run the command again: it repairs the file"));
        }
        let line = Line { previous: self.head, time, event };
        let text = line.text();
        // Numbers that JSON cannot hold would make a file that nobody can read again.
        if serde_json::from_str::<Line<T>>(&text).ok().as_ref() != Some(&line) {
            let problem = "an event that does not survive being written";
            return Err(Error::argument("event", problem, "give finite numbers only"));
        }
        self.is_whole = false;
        let written =
            self.file.write_all(format!("{text}\n").as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| Error::file(&self.path, "writing", source))?;
        self.is_whole = true;
        self.head = line.hash();
        Ok(())
    }
}

/// Reads the bytes of a file of events; also tells how many of them are whole lines.
pub(crate) fn parse<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    kind: Kind,
) -> Result<(Vec<Line<T>>, usize)> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut lines: Vec<Line<T>> = Vec::new();
    let mut head = Hash::ZERO;
    for (number, text) in bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
        let text = &text[..text.len() - 1];
        let wrong =
            |problem: String| Error::malformed(path, format!("line {}: {problem}", number + 1), kind.remedy);
        let line: Line<T> = serde_json::from_slice(text).map_err(|source| wrong(source.to_string()))?;
        if line.previous != head {
            return Err(wrong("it does not follow from the line before".to_owned()));
        }
        // One spelling only, so that a line's hash can be found again from what it says.
        if line.text().as_bytes() != text {
            return Err(wrong("it is not written as this program writes".to_owned()));
        }
        head = keccak256(text);
        lines.push(line);
    }
    Ok((lines, whole))
}

/// The whole content of a file that must not be huge.
pub(crate) fn read_bounded(file: &mut File, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::file(path, "reading", source))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::malformed(path, "more than 1 GiB", "it is no file of this program"));
    }
    Ok(bytes)
}

/// Makes a new name in a folder durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { remedy: "mend it", busy: "another" };

    fn open(path: &Path) -> Result<(Journal<String>, Vec<Line<String>>)> {
        Journal::open(path, KIND, Lock::Trying)
    }

    #[test]
    fn what_was_written_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, lines) = open(&path).unwrap();
        assert!(lines.is_empty());
        journal.append(1, "one".to_owned()).unwrap();
        journal.append(2, "two".to_owned()).unwrap();
        assert!(matches!(open(&path), Err(Error::Busy { .. })), "it is locked while it is open");
        let head = journal.head;
        drop(journal);
        let (journal, lines) = open(&path).unwrap();
        assert_eq!(lines.iter().map(|line| line.event.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(journal.head, head);
    }

    /// Cut anywhere, the file opens again with the lines that were whole, and goes on.
    #[test]
    fn a_torn_line_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path).unwrap();
        journal.append(1, "one".to_owned()).unwrap();
        let first = std::fs::metadata(&path).unwrap().len() as usize;
        journal.append(2, "two".to_owned()).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, lines) = open(&path).unwrap();
            assert_eq!(lines.len(), usize::from(cut >= first), "cut at {cut}");
            journal.append(3, "three".to_owned()).unwrap();
            drop(journal);
            assert_eq!(open(&path).unwrap().1.len(), lines.len() + 1);
        }
    }

    #[test]
    fn changed_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path).unwrap();
        for word in ["one", "two", "three"] {
            journal.append(1, word.to_owned()).unwrap();
        }
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let swapped = format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]);
        let missing = format!("{}\n{}\n", lines[0], lines[2]);
        let spaced = text.replace("\"time\":1", "\"time\": 1");
        for changed in [text.replace("two", "too"), swapped, missing, spaced, format!("{text}rubbish\n")] {
            assert_ne!(changed, text);
            std::fs::write(&path, &changed).unwrap();
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains("line ") && error.contains("mend it"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), changed, "a refused file stays as it was");
        }
    }
}
