//! Stores of weights: a folder, a bucket of S3's API, an address. What lies in one is named by its root, and checked by it.
//!
//! A store holds, below the root of some weights, their files and a list of them (`loyal-weights.json`). The root follows
//! from the list, and each file's digest stands in it: whoever knows the root trusts neither the store nor the way to it.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loyal_roles::owner::manifest::{self, Entry};
use loyal_types::Hash;
use serde::{Deserialize, Serialize};

mod bucket;
mod repository;
mod signature;

use bucket::Bucket;
pub(crate) use bucket::StoreArgs;
use repository::Repository;

/// Speaks to an address that somebody named, with the patience that large files take.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("loyal/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)));
    config.build().into()
}

const LIST: &str = "loyal-weights.json";
const FORMAT: &str = "loyal-weights";
const VERSION: u32 = 1;
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Somewhere that files lie by name.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// A folder of this machine, or one that is mounted.
    Folder(PathBuf),
    /// An address.
    Bucket(Box<Bucket>),
    /// A model's repository on the Hugging Face hub, which holds the weights of one root.
    Repository(Box<Repository>),
}

/// The list of some weights.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: String,
    version: u32,
    root: Hash,
    files: Vec<Entry>,
}

/// What was stored, or fetched.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The root of the weights.
    pub(crate) root: Hash,
    /// Where they lie.
    pub(crate) address: String,
    /// Files.
    pub(crate) files: usize,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// Files that were there before.
    pub(crate) kept: usize,
}

impl Store {
    /// The store at an address: `s3://bucket/prefix`, `hf://organisation/name`, `https://…` (to read), `file:/path`, or a path.
    ///
    /// # Errors
    /// It is no address of a store.
    pub(crate) fn at(address: &str, args: &StoreArgs) -> anyhow::Result<Self> {
        if address.starts_with("s3://") {
            return Ok(Self::Bucket(Box::new(Bucket::s3(address, args)?)));
        }
        if address.starts_with("hf://") {
            return Ok(Self::Repository(Box::new(Repository::at(address)?)));
        }
        if address.starts_with("http://") || address.starts_with("https://") {
            return Ok(Self::Bucket(Box::new(Bucket::web(address)?)));
        }
        let path =
            address.strip_prefix("file://").or_else(|| address.strip_prefix("file:")).unwrap_or(address);
        ensure!(
            !path.is_empty() && !path.contains("://"),
            "{address}: not an address of a store; write a folder, s3://bucket/prefix, hf://organisation/name or https://…"
        );
        Ok(Self::Folder(PathBuf::from(path)))
    }

    /// Whether a text is the address of a store, and not a folder of this machine.
    pub(crate) fn is_address(text: &str) -> bool {
        ["s3://", "hf://", "http://", "https://", "file:"].iter().any(|scheme| text.starts_with(scheme))
    }

    fn below(&self, name: &str) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(path.join(name)),
            Self::Bucket(bucket) => Self::Bucket(Box::new(bucket.below(name))),
            // A repository has revisions instead of roots.
            Self::Repository(_) => self.clone(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Folder(path) => {
                let whole = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                format!("file://{}", whole.display())
            }
            Self::Bucket(bucket) => bucket.shown().to_owned(),
            Self::Repository(repository) => repository.shown(),
        }
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<Box<dyn Read>>> {
        let path = match self {
            Self::Folder(folder) => folder.join(name),
            Self::Bucket(bucket) => return bucket.read(name),
            Self::Repository(repository) => return repository.read(name),
        };
        match fs::File::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Stores a file, whole or not at all.
    fn write(&self, name: &str, file: &Path) -> anyhow::Result<()> {
        let path = match self {
            Self::Folder(folder) => folder.join(name),
            Self::Bucket(bucket) => return bucket.write(name, file),
            Self::Repository(repository) => bail!("{}: written by commits", repository.shown()),
        };
        let place = path.parent().unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            fs::create_dir_all(place)?;
            let mut part = tempfile::Builder::new().prefix(".loyal-").tempfile_in(place)?;
            io::copy(&mut fs::File::open(file)?, &mut part)?;
            open_to_readers(&part)?;
            part.as_file().sync_all()?;
            part.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(|| format!("{}: writing failed", path.display()))
    }

    /// Whether a file lies there, as it is listed.
    fn holds(&self, entry: &Entry) -> anyhow::Result<bool> {
        let Some(mut reader) = self.read(&entry.path)? else { return Ok(false) };
        let found = manifest::digest_of(
            &mut (&mut reader).take(entry.bytes.saturating_add(1)),
            Path::new(&entry.path),
        )?;
        Ok(found == (entry.bytes, entry.digest))
    }

    /// The list of weights, and whether it has this root.
    fn list(&self, root: Hash) -> anyhow::Result<Vec<Entry>> {
        let shown = self.shown();
        let reader = self.read(LIST)?.with_context(|| format!("{shown}: no weights are stored there"))?;
        let mut text = Vec::new();
        reader.take(LIST_BYTES_MAX).read_to_end(&mut text).with_context(|| format!("{shown}/{LIST}"))?;
        let list: List = serde_json::from_slice(&text)
            .with_context(|| format!("{shown}/{LIST}: not a list of weights"))?;
        ensure!(
            list.format == FORMAT && list.version == VERSION,
            "{shown}/{LIST}: {:?} of version {}, not {FORMAT:?} of version {VERSION}",
            list.format,
            list.version
        );
        if let Some(bad) = list.files.iter().find(|entry| !manifest::is_plain(&entry.path)) {
            bail!("{shown}/{LIST}: {:?} is no path of weights", bad.path);
        }
        let found = manifest::root_of(&list.files)?;
        ensure!(found == root, "{shown}: these weights have root {found}, and {root} is wanted");
        Ok(list.files)
    }
}

/// A temporary file is its writer's alone; what is published is for readers.
fn open_to_readers(part: &tempfile::NamedTempFile) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        part.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    let _ = part;
    Ok(())
}

/// Stores the weights of a folder below their root, and reads each file back. What is there already stays; the list comes
/// last, so that nobody finds half of them. `tell` hears of each file.
///
/// # Errors
/// The folder cannot be read; the store refuses, or gives back something else.
pub(crate) fn publish(
    folder: &Path,
    store: &Store,
    tell: &mut dyn FnMut(&Entry, bool),
) -> anyhow::Result<Moved> {
    let files = manifest::entries(folder)?;
    if let Some(bad) = files.iter().find(|entry| !manifest::is_plain(&entry.path)) {
        bail!("{}: {:?} cannot be the name of a file of weights; rename it", folder.display(), bad.path);
    }
    let root = manifest::root_of(&files)?;
    let place = store.below(&root.to_string());
    if let Store::Repository(repository) = &place {
        return commit(folder, repository, (root, files), tell);
    }
    let mut kept = 0;
    for entry in &files {
        let is_there = place.holds(entry)?;
        if is_there {
            kept += 1;
        } else {
            place.write(&entry.path, &folder.join(&entry.path))?;
            check_stored(&place, entry)?;
        }
        tell(entry, is_there);
    }
    place.write(LIST, list_of(root, &files)?.path())?;
    moved(&place, root, kept)
}

/// Publishes by one commit what the repository does not have, and reads it back at that commit.
fn commit(
    folder: &Path,
    repository: &Repository,
    (root, files): (Hash, Vec<Entry>),
    tell: &mut dyn FnMut(&Entry, bool),
) -> anyhow::Result<Moved> {
    let before = Store::Repository(Box::new(repository.clone()));
    let mut missing = Vec::new();
    for entry in &files {
        let is_there = before.holds(entry)?;
        if !is_there {
            missing.push(entry);
        }
        tell(entry, is_there);
    }
    let kept = files.len() - missing.len();
    if missing.is_empty() && before.list(root).is_ok() {
        return moved(&before, root, kept);
    }
    let paths: Vec<&str> = missing.iter().map(|entry| entry.path.as_str()).collect();
    let made = repository.commit(folder, &paths, (LIST, list_of(root, &files)?.path()))?;
    let after = Store::Repository(Box::new(made));
    missing.iter().try_for_each(|entry| check_stored(&after, entry))?;
    moved(&after, root, kept)
}

fn check_stored(place: &Store, entry: &Entry) -> anyhow::Result<()> {
    ensure!(
        place.holds(entry)?,
        "{}/{}: the store gives back something else than was stored",
        place.shown(),
        entry.path
    );
    Ok(())
}

fn list_of(root: Hash, files: &[Entry]) -> anyhow::Result<tempfile::NamedTempFile> {
    let list = List { format: FORMAT.to_owned(), version: VERSION, root, files: files.to_vec() };
    let mut part = tempfile::NamedTempFile::new()?;
    part.write_all(&serde_json::to_vec_pretty(&list)?)?;
    Ok(part)
}

/// What lies at a place now.
fn moved(place: &Store, root: Hash, kept: usize) -> anyhow::Result<Moved> {
    let files = place.list(root)?;
    let bytes = files.iter().map(|entry| entry.bytes).sum();
    Ok(Moved { root, address: place.shown(), files: files.len(), bytes, kept })
}

/// Brings the weights of a root into a folder, each file checked before it has its name. `store` is the one they were
/// published to, or the folder of that root in it. A second run goes on with the files that are missing.
///
/// # Errors
/// The store does not have them, or has others; the folder cannot be written.
pub(crate) fn fetch(
    store: &Store,
    root: Hash,
    out: &Path,
    tell: &mut dyn FnMut(&Entry, bool),
) -> anyhow::Result<Moved> {
    let below = store.below(&root.to_string());
    let place = if store.read(LIST)?.is_some() { store.clone() } else { below };
    let files = place.list(root)?;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let own = Store::Folder(out.to_owned());
    let mut kept = 0;
    for entry in &files {
        let is_there = own.holds(entry)?;
        if is_there {
            kept += 1;
        } else {
            bring(&place, entry, out)?;
        }
        tell(entry, is_there);
    }
    let found = manifest::weights_root(out)?;
    ensure!(
        found == root,
        "{}: other files lie there besides the weights, so that its root is {found}; choose another folder",
        out.display()
    );
    moved(&place, root, kept)
}

fn bring(place: &Store, entry: &Entry, out: &Path) -> anyhow::Result<()> {
    let path = out.join(&entry.path);
    let wrong = || format!("{}/{}: not the file that the list names", place.shown(), entry.path);
    let reader =
        place.read(&entry.path)?.with_context(|| format!("{}/{}: missing", place.shown(), entry.path))?;
    let folder = path.parent().unwrap_or(out);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut part = tempfile::Builder::new().prefix(".loyal-").tempfile_in(folder)?;
    io::copy(&mut reader.take(entry.bytes.saturating_add(1)), &mut part).with_context(wrong)?;
    part.as_file().sync_all()?;
    let found = manifest::digest_of(&mut fs::File::open(part.path())?, part.path())?;
    ensure!(found == (entry.bytes, entry.digest), wrong());
    open_to_readers(&part)?;
    part.persist(&path).with_context(|| format!("{}: writing failed", path.display()))?;
    Ok(())
}
