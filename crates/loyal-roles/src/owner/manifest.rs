//! What a version consists of, as roots: its weights, its documents (`docs/protocol.md`, *Roots*).

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use loyal_types::{
    Hash, Tree,
    hash::{Abi, abi_encode},
    keccak256,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

const CHUNK_BYTES: usize = 1 << 20;
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
const PATH_BYTES_MAX: usize = 512;

/// A file of a version's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it lies in the folder, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The root of its chunks ([`digest_of`]).
    pub digest: Hash,
}

/// The root of a folder of weights: a tree over `keccak256(abi.encode(path, bytes, fileDigest))`, paths relative, with
/// `/`, sorted by their bytes. Files and folders whose names begin with a point are not part of it.
///
/// # Errors
/// The folder cannot be read, is empty, or holds a name that is no UTF-8.
pub fn weights_root(folder: &Path) -> Result<Hash> {
    root_of(&entries(folder)?)
}

/// The files of a folder of weights, in their order.
///
/// # Errors
/// As [`weights_root`].
pub fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let mut files = BTreeMap::new();
    collect(folder, "", &mut files)?;
    if files.is_empty() {
        return Err(Error::file(folder, "there is no file in it; give the folder of a model"));
    }
    let entry = |(relative, path): (String, PathBuf)| {
        let mut file = File::open(&path).map_err(|error| Error::file(&path, error))?;
        let (bytes, digest) = digest_of(&mut file, &path)?;
        Ok(Entry { path: relative, bytes, digest })
    };
    files.into_iter().map(entry).collect()
}

/// The root over files that are named, before they are at hand. Whoever was given the list has to check that its paths
/// lead nowhere else ([`is_plain`]).
///
/// # Errors
/// Their paths do not ascend, or there are more than a tree holds.
pub fn root_of(entries: &[Entry]) -> Result<Hash> {
    if !entries.is_sorted_by(|one, other| one.path < other.path) {
        return Err(Error::refused(
            "the files of weights are listed in another order than that of their paths",
        ));
    }
    let digest = |entry: &Entry| {
        let (path, bytes) = (Abi::Bytes(entry.path.as_bytes()), Abi::Uint(entry.bytes.into()));
        keccak256(&abi_encode(&[path, bytes, Abi::Hash(entry.digest)]))
    };
    tree(&entries.iter().map(digest).collect::<Vec<_>>(), Path::new("weights"))
}

/// Whether a path of a list stays in its folder, and is one that a folder's root would count.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
    };
    path.len() <= PATH_BYTES_MAX && path.split('/').all(plain)
}

/// The hash of a document: JSON in its one form (RFC 8785), any other text as one JSON string.
///
/// # Errors
/// The file cannot be read, or is no UTF-8.
pub fn document_hash(path: &Path) -> Result<Hash> {
    let size = std::fs::metadata(path).map_err(|error| Error::file(path, error))?.len();
    if size > DOCUMENT_BYTES_MAX {
        return Err(Error::file(path, format!("{size} bytes are more than a document may have (16 MiB)")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    let canonical = serde_json_canonicalizer::to_vec(&value).map_err(|error| Error::file(path, error))?;
    Ok(keccak256(&canonical))
}

/// The root over documents, sorted by their names.
///
/// # Errors
/// There are more than a tree holds.
pub fn manifest_root(documents: &BTreeMap<String, Hash>) -> Result<Hash> {
    tree(&documents.values().copied().collect::<Vec<_>>(), Path::new("documents"))
}

fn collect(folder: &Path, before: &str, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))? {
        let path = entry.map_err(|error| Error::file(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::file(&path, "the name is not UTF-8"))?;
        if name.starts_with('.') {
            continue;
        }
        let relative = format!("{before}{name}");
        if path.is_dir() {
            collect(&path, &format!("{relative}/"), files)?;
        } else {
            files.insert(relative, path);
        }
    }
    Ok(())
}

/// How many bytes a file has, and the root over its chunks of a MiB. `of` is named in errors.
///
/// # Errors
/// It cannot be read.
pub fn digest_of(mut file: impl Read, of: &Path) -> Result<(u64, Hash)> {
    let (mut chunks, mut size) = (Vec::new(), 0_u64);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        let read = file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
        read.map_err(|error| Error::file(of, error))?;
        if chunk.is_empty() {
            break;
        }
        size += chunk.len() as u64;
        chunks.push(keccak256(&chunk));
    }
    Ok((size, tree(&chunks, of)?))
}

fn tree(digests: &[Hash], of: &Path) -> Result<Hash> {
    Ok(Tree::plain(digests).map_err(|error| Error::file(of, error))?.root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_weights_follows_from_paths_and_bytes_alone() {
        let write = |files: &[(&str, &[u8])]| {
            let folder = tempfile::tempdir().unwrap();
            for (path, bytes) in files {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            weights_root(folder.path())
        };
        let large = vec![7; CHUNK_BYTES + 1];
        let root = write(&[("b/c", b"1"), ("a", &large), (".hidden", b"x")]).unwrap();
        assert_eq!(root, write(&[("a", &large), ("b/c", b"1")]).unwrap());
        // By hand: two chunks of `a`, one of `b/c`.
        let file = |path: &[u8], size: u128, chunks: &[Hash]| {
            let digest = Tree::plain(chunks).unwrap().root();
            keccak256(&abi_encode(&[Abi::Bytes(path), Abi::Uint(size), Abi::Hash(digest)]))
        };
        let chunks = [keccak256(&large[..CHUNK_BYTES]), keccak256(&[7])];
        let entries = [file(b"a", CHUNK_BYTES as u128 + 1, &chunks), file(b"b/c", 1, &[keccak256(b"1")])];
        assert_eq!(root, Tree::plain(&entries).unwrap().root());
        for other in [&[("a", &b"1"[..])][..], &[("b/c", b"2"), ("a", &large)], &[("b", b"1"), ("a", &large)]]
        {
            assert_ne!(root, write(other).unwrap());
        }
        assert!(write(&[(".only", b"x")]).unwrap_err().to_string().contains("there is no file in it"));
    }

    #[test]
    fn listed_paths_stay_in_their_folder() {
        for good in ["config.json", "a/b-c_d.safetensors", "weights 1/é"] {
            assert!(is_plain(good), "{good}");
        }
        let long = "a".repeat(600);
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", ".git", "a/.b", "c:\\x", "a\\b", "a\nb", &long] {
            assert!(!is_plain(bad), "{bad}");
        }
        let entry = |path: &str| Entry { path: path.to_owned(), bytes: 1, digest: Hash::ZERO };
        assert!(root_of(&[entry("a"), entry("b")]).is_ok());
        assert!(root_of(&[entry("b"), entry("a")]).is_err() && root_of(&[entry("a"), entry("a")]).is_err());
    }

    #[test]
    fn documents_mean_the_same_in_any_layout() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |text: &str| {
            let path = folder.path().join("document");
            std::fs::write(&path, text).unwrap();
            document_hash(&path).unwrap()
        };
        assert_eq!(hash("{\"b\": 1.0, \"a\": [true]}\n"), keccak256(br#"{"a":[true],"b":1}"#));
        assert_eq!(hash("Use it well.\n"), keccak256(br#""Use it well.\n""#));
    }
}
