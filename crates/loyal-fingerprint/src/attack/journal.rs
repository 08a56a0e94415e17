//! Finished rows on disk, a JSON line each, so that a battery goes on where it was stopped.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::table::{Header, Line};
use crate::error::{Error, Result};

/// Longest journal that is read: a hundred thousand rows.
const BYTES_MAX: u64 = 128 << 20;

/// The file, open for more lines.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or begins the journal of the battery that `header` describes; answers the lines that are there. A last
    /// line that a crash has cut short is taken away.
    pub(super) fn open(path: &Path, header: &Header) -> Result<(Self, Vec<Line>)> {
        let failed = |doing| move |source| Error::file(path, doing, source);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("opening"))?;
        let mut bytes = Vec::new();
        (&file).take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed("reading"))?;
        let remedy = "it belongs to another battery: choose another folder, or move it away";
        if bytes.len() as u64 > BYTES_MAX {
            return Err(Error::malformed(path, "more than 128 MiB", remedy));
        }
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).map_err(failed("writing"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("writing"))?;
        let mut journal = Self { path: path.to_owned(), file };
        let mut texts = bytes[..whole].split(|&byte| byte == b'\n').filter(|text| !text.is_empty());
        let Some(first) = texts.next() else {
            journal.write(&serde_json::to_string(header).expect("a header has only string keys"))?;
            return Ok((journal, Vec::new()));
        };
        match serde_json::from_slice::<Header>(first) {
            Ok(found) if found == *header => {}
            _ => {
                return Err(Error::malformed(
                    path,
                    "its first line names other models, texts or settings",
                    remedy,
                ));
            }
        }
        let line = |(number, text): (usize, &[u8])| {
            serde_json::from_slice(text).map_err(|source| {
                Error::malformed(path, format!("line {}: {source}", number + 2), "take that line away")
            })
        };
        let lines = texts.enumerate().map(line).collect::<Result<Vec<Line>>>()?;
        Ok((journal, lines))
    }

    /// Adds a line, and waits until it is on disk.
    pub(super) fn push(&mut self, line: &Line) -> Result<()> {
        self.write(&serde_json::to_string(line).expect("a line has only string keys"))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let written =
            self.file.write_all(format!("{text}\n").as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| Error::file(&self.path, "writing", source))
    }
}
