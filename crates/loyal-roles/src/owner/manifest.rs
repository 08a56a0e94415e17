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
use serde_json::Value;

use crate::error::{Error, Result};

const CHUNK_BYTES: usize = 1 << 20;
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// The root of a folder of weights: a tree over `keccak256(abi.encode(path, bytes, fileDigest))`, paths relative, with
/// `/`, sorted by their bytes. Files and folders whose names begin with a point are not part of it.
///
/// # Errors
/// The folder cannot be read, is empty, or holds a name that is no UTF-8.
pub fn weights_root(folder: &Path) -> Result<Hash> {
    let mut files = BTreeMap::new();
    collect(folder, "", &mut files)?;
    if files.is_empty() {
        return Err(Error::file(folder, "there is no file in it; give the folder of a model"));
    }
    let digests: Result<Vec<Hash>> = files.iter().map(|(path, file)| entry(path, file)).collect();
    tree(&digests?, folder)
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

/// One file: its chunks of a MiB in a tree of their own.
fn entry(relative: &str, path: &Path) -> Result<Hash> {
    let bad = |error: std::io::Error| Error::file(path, error);
    let mut file = File::open(path).map_err(bad)?;
    let (mut chunks, mut size) = (Vec::new(), 0_u64);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        Read::by_ref(&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map_err(bad)?;
        if chunk.is_empty() {
            break;
        }
        size += chunk.len() as u64;
        chunks.push(keccak256(&chunk));
    }
    let digest = tree(&chunks, path)?;
    Ok(keccak256(&abi_encode(&[Abi::Bytes(relative.as_bytes()), Abi::Uint(size.into()), Abi::Hash(digest)])))
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
