//! A model's weights on disk: safetensors, single or sharded, memory-mapped and checked before use.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const DTYPES: &str = "F32, BF16, F16";
const REMEDY: &str = "download the file again or check that it is safetensors";

/// How numbers are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// IEEE 754 single precision, 4 bytes.
    F32,
    /// The upper half of an f32, 2 bytes.
    Bf16,
    /// IEEE 754 half precision, 2 bytes (read only).
    F16,
}

impl Stored {
    /// Bytes of one number.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// The name `config.json` uses ("float32").
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }
}

/// One tensor inside a mapped file.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// How its numbers are stored, little-endian.
    pub stored: Stored,
    /// Its shape, outermost dimension first.
    pub shape: &'a [usize],
    /// Its bytes, row-major.
    pub bytes: &'a [u8],
}

impl View<'_> {
    /// The numbers as f32, row-major.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let pairs = || self.bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        match self.stored {
            Stored::F32 => {
                self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Stored::Bf16 => pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
            Stored::F16 => pairs().map(|bits| f16::from_bits(bits).to_f32()).collect(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    file: usize,
    stored: Stored,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

/// Where a tensor's bytes lie.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    file: usize,
    range: std::ops::Range<usize>,
}

/// The weights of one folder. Opening reads headers only; pages come in as tensors are used.
#[derive(Debug)]
pub struct Weights {
    files: Vec<(PathBuf, Mmap)>,
    entries: BTreeMap<String, Entry>,
}

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// A file is missing, truncated, malformed, or holds a data type other than F32, BF16 and F16.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        let names = if folder.join(SINGLE).exists() || !index.exists() {
            vec![SINGLE.to_owned()]
        } else {
            shard_names(&index)?
        };
        let mut weights = Self { files: Vec::new(), entries: BTreeMap::new() };
        for name in names {
            weights.map(&folder.join(name))?;
        }
        Ok(weights)
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn open_file(path: &Path) -> Result<Self> {
        let mut weights = Self { files: Vec::new(), entries: BTreeMap::new() };
        weights.map(path)?;
        Ok(weights)
    }

    /// The `__metadata__` of the first file's header.
    ///
    /// # Errors
    /// The header is malformed.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let Some((path, map)) = self.files.first() else { return Ok(BTreeMap::new()) };
        let (_, metadata) =
            SafeTensors::read_metadata(map).map_err(|e| Error::malformed(path, describe(&e), REMEDY))?;
        Ok(metadata.metadata().clone().unwrap_or_default().into_iter().collect())
    }

    fn map(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(|source| Error::file(path, "opening", source))?;
        // SAFETY: the map is read-only; Loyal replaces weight files by renaming, never in place, and a
        // file that somebody truncates meanwhile ends the process by SIGBUS instead of reading elsewhere.
        #[allow(unsafe_code, reason = "memory maps are unsafe by nature")]
        let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::file(path, "mapping", source))?;
        let entries = header(&map, path)?;
        for (name, mut entry) in entries {
            entry.file = self.files.len();
            if self.entries.contains_key(&name) {
                let problem = format!("tensor {name} stands in two shards");
                return Err(Error::malformed(path, problem, "each tensor must stand in one"));
            }
            self.entries.insert(name, entry);
        }
        self.files.push((path.to_owned(), map));
        Ok(())
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Bytes of all mapped files.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|(_, map)| map.len()).sum()
    }

    /// How the first matrix is stored (the whole file's precision, in practice).
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        self.entries.values().find(|entry| entry.shape.len() == 2).map(|entry| entry.stored)
    }

    /// A tensor by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<View<'_>> {
        let entry = self.entries.get(name)?;
        let bytes = &self.files[entry.file].1[entry.range.clone()];
        Some(View { stored: entry.stored, shape: &entry.shape, bytes })
    }

    /// Where a tensor lies, for [`Weights::slice`].
    pub(crate) fn locate(&self, name: &str) -> Option<Location> {
        self.entries.get(name).map(|entry| Location { file: entry.file, range: entry.range.clone() })
    }

    /// The bytes at a place that [`Weights::locate`] found.
    pub(crate) fn slice(&self, location: &Location) -> &[u8] {
        &self.files[location.file].1[location.range.clone()]
    }

    /// A tensor by name, which must have `shape`.
    ///
    /// # Errors
    /// It is absent or has another shape.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<View<'_>> {
        let mismatch = |found: String| Error::Mismatch {
            path: self.files.first().map(|(path, _)| path.clone()).unwrap_or_default(),
            name: name.to_owned(),
            expected: format!("shape {shape:?}"),
            found,
        };
        match self.get(name) {
            None => Err(mismatch("no such tensor".to_owned())),
            Some(view) if view.shape != shape => Err(mismatch(format!("shape {:?}", view.shape))),
            Some(view) => Ok(view),
        }
    }

    /// Checks that every parameter `config` asks for is there, with its shape, and holds finite numbers
    /// where `finite` asks to look.
    ///
    /// # Errors
    /// The first parameter that does not fit.
    pub fn check(&self, config: &Config) -> Result<()> {
        for (name, shape) in config.parameters() {
            self.expect(&name, &shape)?;
        }
        Ok(())
    }
}

fn shard_names(index: &Path) -> Result<Vec<String>> {
    let text = std::fs::read(index).map_err(|source| Error::file(index, "reading", source))?;
    let remedy = "it must hold {\"weight_map\": {tensor: file}}";
    let value: Value = serde_json::from_slice(&text).map_err(|e| Error::malformed(index, e, remedy))?;
    let map =
        value["weight_map"].as_object().ok_or_else(|| Error::malformed(index, "no weight_map", remedy))?;
    let mut names = std::collections::BTreeSet::new();
    for name in map.values() {
        let name =
            name.as_str().ok_or_else(|| Error::malformed(index, "a file name is no string", remedy))?;
        if name.contains(['/', '\\']) || name.starts_with('.') || !name.ends_with(".safetensors") {
            let problem = format!("shard {name:?} is not a safetensors file beside it");
            return Err(Error::malformed(index, problem, "shards must stand in the same folder"));
        }
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().collect())
}

/// Reads and checks the header of a safetensors file: offsets inside the file, sizes that fit shapes.
fn header(bytes: &[u8], path: &Path) -> Result<Vec<(String, Entry)>> {
    let remedy = REMEDY;
    let (header_bytes, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| Error::malformed(path, describe(&e), remedy))?;
    let start = header_bytes + 8;
    let mut entries = Vec::new();
    for (name, info) in metadata.tensors() {
        let stored = match info.dtype {
            Dtype::F32 => Stored::F32,
            Dtype::BF16 => Stored::Bf16,
            Dtype::F16 => Stored::F16,
            other => {
                let what = format!("data type {other:?} of tensor {name}");
                return Err(Error::Unsupported { path: path.to_owned(), what, supported: DTYPES });
            }
        };
        let range = start + info.data_offsets.0..start + info.data_offsets.1;
        let count = info.shape.iter().try_fold(stored.size(), |size, &n| size.checked_mul(n));
        if range.end > bytes.len() || count != Some(range.len()) {
            let problem = format!("tensor {name} does not fit its bytes {range:?} of {}", bytes.len());
            return Err(Error::malformed(path, problem, remedy));
        }
        entries.push((name, Entry { file: 0, stored, shape: info.shape.clone(), range }));
    }
    Ok(entries)
}

fn describe(error: &safetensors::SafeTensorError) -> String {
    match error {
        safetensors::SafeTensorError::MetadataIncompleteBuffer => "the file is truncated".to_owned(),
        other => format!("{other}"),
    }
}

/// Checks the header of a safetensors file held in memory; the entry point of the fuzz target.
///
/// # Errors
/// As [`Weights::open`]; `path` is named in them.
pub fn check_bytes(bytes: &[u8], path: &Path) -> Result<usize> {
    header(bytes, path).map(|entries| entries.len())
}

/// One named tensor to be written.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// The Hugging Face name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its numbers, row-major.
    pub numbers: &'a [f32],
}

/// Writes `path` as safetensors, whole or not at all: a temporary file beside it is synced and renamed.
///
/// # Errors
/// The folder cannot be written or the disk is full; nothing is left behind.
pub fn save(path: &Path, tensors: &[Named<'_>], stored: Stored) -> Result<()> {
    save_with(path, tensors, stored, &BTreeMap::new())
}

/// [`save`] with further entries in the header's `__metadata__`.
///
/// # Errors
/// As [`save`].
pub fn save_with(
    path: &Path,
    tensors: &[Named<'_>],
    stored: Stored,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut header = serde_json::Map::new();
    let mut entries = serde_json::json!({"format": "pt"});
    for (name, text) in metadata {
        entries[name] = Value::String(text.clone());
    }
    header.insert("__metadata__".to_owned(), entries);
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.numbers.len() * stored.size();
        let dtype = match stored {
            Stored::F32 => "F32",
            Stored::Bf16 => "BF16",
            Stored::F16 => "F16",
        };
        let info = serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [offset, end]});
        header.insert(tensor.name.to_owned(), info);
        offset = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    write_atomically(path, |file| {
        let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(&text)?;
        for tensor in tensors {
            for number in tensor.numbers {
                match stored {
                    Stored::F32 => file.write_all(&number.to_le_bytes())?,
                    Stored::Bf16 => file.write_all(&bf16::from_f32(*number).to_le_bytes())?,
                    Stored::F16 => file.write_all(&f16::from_f32(*number).to_le_bytes())?,
                }
            }
        }
        file.flush()
    })
}

/// Writes a file whole or not at all: into a temporary file in the same folder, synced, then renamed.
///
/// # Errors
/// The folder cannot be written or the disk is full; the old file, if any, stays as it was.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let failed = |source| Error::file(path, "writing", source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder).map_err(failed)?;
    fill(file.as_file_mut()).map_err(failed)?;
    readable_by_others(file.as_file()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Temporary files are private; a model is not a secret.
fn readable_by_others(file: &File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}
