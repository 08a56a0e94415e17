//! A file that only grows, line by line, each with its checksum and each on the disk before anybody goes on.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Bytes of a checksum in front of a line, with the space behind it.
const SUM_BYTES: usize = 9;
/// How far from a file's end its last whole line is looked for.
const TAIL_BYTES_MAX: u64 = 4 << 20;

/// A file of lines.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// A line was torn and could not be taken back: nothing more is written.
    is_torn: bool,
}

impl Journal {
    /// Opens a file, gives each of its lines to `each`, and cuts off what a crash left behind the last whole one.
    ///
    /// # Errors
    /// [`Error::File`] where a line before the last one is broken, or `each` refuses one.
    pub(crate) fn open(path: &Path, mut each: impl FnMut(&str) -> Result<()>) -> Result<Self> {
        let file = opened(path)?;
        let mut reader = BufReader::new(&file);
        let (mut bytes, mut line, mut number) = (0_u64, Vec::new(), 0_u64);
        let mut broken: Option<u64> = None;
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(|error| Error::file(path, error))?;
            if read == 0 {
                break;
            }
            number += 1;
            match checked(&line) {
                Some(text) if broken.is_none() => {
                    each(text)?;
                    bytes += read as u64;
                }
                None if broken.is_none() => broken = Some(number),
                _ => {}
            }
            if let Some(broken) = broken.filter(|broken| *broken < number) {
                let why =
                    format!("line {broken} is damaged, and others follow it; restore the file from a copy");
                return Err(Error::file(path, why));
            }
        }
        Self::at(path, file, bytes)
    }

    /// Opens a file of which only the end is looked at.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open_end(path: &Path) -> Result<Self> {
        let mut file = opened(path)?;
        let wrong = |error: std::io::Error| Error::file(path, error);
        let length = file.metadata().map_err(wrong)?.len();
        let from = length.saturating_sub(TAIL_BYTES_MAX);
        file.seek(SeekFrom::Start(from)).map_err(wrong)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(wrong)?;
        loop {
            let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
                if from > 0 {
                    return Err(Error::file(path, "its end is damaged; restore the file from a copy"));
                }
                return Self::at(path, file, 0);
            };
            tail.truncate(end + 1);
            let start = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            // A line that begins before the tail is taken as it is.
            if checked(&tail[start..]).is_some() || (start == 0 && from > 0) {
                return Self::at(path, file, from + tail.len() as u64);
            }
            tail.truncate(start);
        }
    }

    fn at(path: &Path, file: File, bytes: u64) -> Result<Self> {
        let mut journal = Self { path: path.to_owned(), file, bytes, is_torn: false };
        journal.cut().map_err(|error| Error::file(path, error))?;
        Ok(journal)
    }

    /// How long the file is.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a line, which is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::File`]; the file is then as before.
    pub(crate) fn append(&mut self, text: &str) -> Result<()> {
        if self.is_torn {
            return Err(Error::file(
                &self.path,
                "an earlier write broke off; free some space, then start again",
            ));
        }
        let line = summed(text);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.is_torn = self.cut().is_err();
            return Err(Error::file(&self.path, error));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Puts one line in the place of all.
    ///
    /// # Errors
    /// [`Error::File`]; the file is then as before.
    pub(crate) fn replace(&mut self, text: &str) -> Result<()> {
        let line = summed(text);
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<File> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(line.as_bytes())?;
            file.as_file().sync_all()?;
            let file = file.persist(&self.path).map_err(|error| error.error)?;
            sync_folder(folder)?;
            Ok(file)
        };
        self.file = write().map_err(|error| Error::file(&self.path, error))?;
        self.bytes = line.len() as u64;
        self.is_torn = false;
        Ok(())
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.sync_all()
    }
}

/// Every line of a file that is whole, without opening it for writing.
///
/// # Errors
/// [`Error::File`]; a file that is not there has no lines.
pub(crate) fn read(path: &Path, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file(path, error)),
    };
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    while reader.read_until(b'\n', &mut line).map_err(|error| Error::file(path, error))? > 0 {
        if let Some(text) = checked(&line) {
            each(text)?;
        }
        line.clear();
    }
    Ok(())
}

/// Makes the names in a folder as durable as the files.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn opened(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| Error::file(path, error))
}

fn summed(text: &str) -> String {
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
}

/// A line's text, where it is whole.
fn checked(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (sum, text) = (line.get(..SUM_BYTES - 1)?, line.get(SUM_BYTES..)?);
    (u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(text.as_bytes())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        Journal::open(path, |line| {
            found.push(line.to_owned());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_lines_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, |_| Ok(())).unwrap();
        for text in ["one", "two", "three"] {
            journal.append(text).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            let count = whole[..length].iter().filter(|byte| **byte == b'\n').count();
            for by_end in [false, true] {
                std::fs::write(&path, &whole[..length]).unwrap();
                if by_end {
                    Journal::open_end(&path).unwrap().append("more").unwrap();
                } else {
                    Journal::open(&path, |_| Ok(())).unwrap().append("more").unwrap();
                }
                let expected: Vec<_> =
                    ["one", "two", "three"][..count].iter().chain(&["more"]).copied().collect();
                assert_eq!(lines(&path).unwrap(), expected);
            }
        }
    }

    #[test]
    fn damage_before_the_end_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, |_| Ok(())).unwrap();
        journal.append("one").unwrap();
        journal.append("two").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(lines(&path).unwrap_err().to_string().contains("line 1 is damaged"));
    }

    #[test]
    fn one_line_takes_the_place_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, |_| Ok(())).unwrap();
        journal.append("one").unwrap();
        journal.append("two").unwrap();
        journal.replace("both").unwrap();
        journal.append("three").unwrap();
        assert_eq!(lines(&path).unwrap(), ["both", "three"]);
    }
}
