//! A file that is on its way: what is there of it, and whether it is what it should be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// What the hub says about a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Digest {
    /// Of a large file: SHA-256, hexadecimal.
    Sha256(String),
    /// Of a small one: the SHA-1 that git gives its blob, hexadecimal.
    GitBlob(String),
}

impl Digest {
    /// Reads an etag as the hub writes it.
    pub(super) fn from_etag(etag: &str) -> Option<Self> {
        let digits = etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match digits.len() {
            64 => Some(Self::Sha256(digits)),
            40 => Some(Self::GitBlob(digits)),
            _ => None,
        }
    }

    /// Its hexadecimal digits.
    pub(crate) fn digits(&self) -> &str {
        let (Self::Sha256(digits) | Self::GitBlob(digits)) = self;
        digits
    }

    /// What it is called.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitBlob(_) => "git SHA-1",
        }
    }

    /// The same kind of digest of the file at `path`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of_file(&self, path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("{}: reading failed", path.display());
        let mut file = File::open(path).with_context(failed)?;
        let bytes = file.metadata().with_context(failed)?.len();
        let (mut sha256, mut sha1) = (Sha256::new(), Sha1::new_with_prefix(format!("blob {bytes}\0")));
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.with_context(failed)?,
            };
            match self {
                _ if count == 0 => break,
                Self::Sha256(_) => sha256.update(&buffer[..count]),
                Self::GitBlob(_) => sha1.update(&buffer[..count]),
            }
        }
        Ok(match self {
            Self::Sha256(_) => Self::Sha256(hex::encode(sha256.finalize())),
            Self::GitBlob(_) => Self::GitBlob(hex::encode(sha1.finalize())),
        })
    }
}

/// A file that grows.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    path: PathBuf,
}

impl Part {
    /// The part of `name` in `folder`. Another content has another part.
    pub(crate) fn new(folder: &Path, name: &str, digest: &Digest) -> Self {
        Self { path: folder.join(format!("{name}.{}.part", digest.digits())) }
    }

    /// How much of it is there.
    pub(crate) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |facts| facts.len())
    }

    pub(super) fn open(&self, append: bool) -> anyhow::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(append).truncate(!append);
        options.open(&self.path).with_context(|| self.failed())
    }

    pub(super) fn write(&self, file: &mut File, bytes: &[u8]) -> anyhow::Result<()> {
        file.write_all(bytes).with_context(|| self.failed())
    }

    pub(super) fn sync(&self, file: &File) -> anyhow::Result<()> {
        file.sync_all().with_context(|| self.failed())
    }

    pub(super) fn clear(&self) -> anyhow::Result<()> {
        if self.path.exists() { fs::remove_file(&self.path).with_context(|| self.failed()) } else { Ok(()) }
    }

    /// Holds the whole part against what the hub says; deletes it where that does not fit.
    pub(super) fn check(&self, digest: &Digest, bytes: u64) -> anyhow::Result<()> {
        if bytes == 0 && !self.path.exists() {
            self.open(false)?;
        }
        let found = digest.of_file(&self.path)?;
        if found == *digest && self.bytes() == bytes {
            return Ok(());
        }
        self.clear()?;
        bail!(
            "{}: the download is damaged: its {} is {}, but the hub says {}; it was deleted: run the command again, and if that \
             repeats, use another network or HF_ENDPOINT",
            self.path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .rsplit_once('.')
                .map_or("", |(name, _)| name),
            digest.name(),
            found.digits(),
            digest.digits()
        )
    }

    /// Gives the finished file its name.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn keep(&self, path: &Path) -> anyhow::Result<()> {
        fs::rename(&self.path, path).with_context(|| format!("{}: writing failed", path.display()))
    }

    fn failed(&self) -> String {
        let folder = self.path.parent().unwrap_or(&self.path);
        format!(
            "{}: writing failed; free some space or choose another --out, and run again to go on",
            folder.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags() {
        let (large, small) = ("ab".repeat(32), "CD".repeat(20));
        assert_eq!(Digest::from_etag(&format!("\"{large}\"")), Some(Digest::Sha256(large)));
        assert_eq!(Digest::from_etag(&format!("W/\"{small}\"")), Some(Digest::GitBlob("cd".repeat(20))));
        for odd in ["", "\"\"", "\"1234-5\"", "\"zz\""] {
            assert_eq!(Digest::from_etag(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_blob_is_hashed_as_git_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello");
        fs::write(&file, "hello\n").unwrap();
        // `git hash-object`, and `sha256sum`.
        let git = Digest::GitBlob(String::new()).of_file(&file).unwrap();
        assert_eq!(git.digits(), "ce013625030ba8dba906f756967f9e9ca394464a");
        let sha = Digest::Sha256(String::new()).of_file(&file).unwrap();
        assert_eq!(sha.digits(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    }
}
