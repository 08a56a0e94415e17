//! Files of one folder, and no way out of it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Effect, Tool, ToolFault, tool};
use crate::{Error, Result};

const READ_BYTES_MAX: u64 = 256 << 10;
const WRITE_BYTES_MAX: usize = 1 << 20;
const LISTED_COUNT_MAX: usize = 500;

/// A folder an agent may use.
#[derive(Debug, Clone)]
pub struct Folder(Arc<PathBuf>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct At {
    /// Path of a file inside of the folder, such as `notes/today.md`.
    path: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct In {
    /// Path of a folder inside of the folder; the folder itself unless given.
    #[serde(default)]
    path: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Path of a file inside of the folder; its folders are made where they are missing.
    path: String,
    /// The file's whole new text.
    text: String,
}

impl Folder {
    /// An existing folder. Nobody else should be able to write there: a link put in place between the check and the
    /// use would lead out.
    ///
    /// # Errors
    /// [`Error::Server`] where it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let bad = |why: String| Error::Server { what: "folder", why: format!("{}: {why}", path.display()) };
        let path = path.canonicalize().map_err(|error| bad(error.to_string()))?;
        if !path.is_dir() {
            return Err(bad("not a folder".to_owned()));
        }
        Ok(Self(Arc::new(path)))
    }

    /// The tools `list_files`, `read_file` and `write_file`.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let (list, read, write) = (self.clone(), self.clone(), self.clone());
        vec![
            Arc::new(tool("list_files", "Lists the files of a folder, with their sizes.", move |at: In| {
                let folder = list.clone();
                apart(move || folder.list(&at.path))
            })),
            Arc::new(tool("read_file", "Reads a text file.", move |at: At| {
                let folder = read.clone();
                apart(move || folder.read(&at.path))
            })),
            Arc::new(
                tool("write_file", "Writes a text file, whole.", move |file: Written| {
                    let folder = write.clone();
                    apart(move || folder.write(&file.path, &file.text))
                })
                .with_effect(Effect::Write),
            ),
        ]
    }

    /// A path of ours for one of the agent's: plain names only, and no link that leads out.
    fn inside(&self, path: &str) -> Result<PathBuf, ToolFault> {
        let relative = Path::new(path);
        let plain =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain || path.contains('\0') {
            return Err(ToolFault(format!(
                "{path:?} leads out of the folder; use a relative path without .."
            )));
        }
        let whole = self.0.join(relative);
        // The longest part that exists must be inside of the folder, links followed.
        let existing = whole.ancestors().find(|part| part.symlink_metadata().is_ok()).unwrap_or(&self.0);
        let real = existing.canonicalize().map_err(|error| ToolFault(format!("{path}: {error}")))?;
        if real.starts_with(&*self.0) {
            Ok(whole)
        } else {
            Err(ToolFault(format!("{path:?} leads out of the folder by a link")))
        }
    }

    fn list(&self, path: &str) -> Result<String, ToolFault> {
        let folder = self.inside(path)?;
        let bad = |error: std::io::Error| ToolFault(format!("{path}: {error}"));
        let mut lines = Vec::new();
        for entry in fs::read_dir(folder).map_err(bad)?.take(LISTED_COUNT_MAX) {
            let entry = entry.map_err(bad)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(bad)?;
            lines.push(if kind.is_dir() {
                format!("{name}/")
            } else {
                format!("{name} {}", entry.metadata().map_err(bad)?.len())
            });
        }
        lines.sort();
        Ok(if lines.is_empty() { "(empty)".to_owned() } else { lines.join("\n") })
    }

    fn read(&self, path: &str) -> Result<String, ToolFault> {
        let bad = |error: std::io::Error| ToolFault(format!("{path}: {error}"));
        let real = self.inside(path)?;
        // A pipe or a device would hold the reader.
        if !real.metadata().map_err(bad)?.is_file() {
            return Err(ToolFault(format!("{path}: not a file")));
        }
        let mut bytes = Vec::new();
        File::open(real).map_err(bad)?.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(bad)?;
        if bytes.len() as u64 > READ_BYTES_MAX {
            return Err(ToolFault(format!("{path}: more than {READ_BYTES_MAX} bytes")));
        }
        String::from_utf8(bytes).map_err(|_| ToolFault(format!("{path}: not a text file")))
    }

    fn write(&self, path: &str, text: &str) -> Result<String, ToolFault> {
        if text.len() > WRITE_BYTES_MAX {
            return Err(ToolFault(format!("a file has at most {WRITE_BYTES_MAX} bytes")));
        }
        let bad = |error: std::io::Error| ToolFault(format!("{path}: {error}"));
        let whole = self.inside(path)?;
        if whole == *self.0 || whole.is_dir() {
            return Err(ToolFault(format!("{path:?} is a folder")));
        }
        let folder = whole.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder).map_err(bad)?;
        // The file appears whole, and takes the place of a link instead of following it.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(bad)?;
        file.write_all(text.as_bytes()).map_err(bad)?;
        file.persist(&whole).map_err(|error| bad(error.error))?;
        Ok(format!("wrote {} bytes", text.len()))
    }
}

/// Work on files, on a thread that may wait.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolFault> + Send + 'static,
) -> Result<T, ToolFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ToolFault::new("the file could not be used"))?
}
