//! The books on the disk: frames in the log of an epoch, written by one thread that lets many share a `fdatasync`.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use alloy_primitives::{Address, B256};
use tokio::sync::oneshot;

use super::record::Record;
use super::rows::Rows;
use super::sums::Snapshot;
use crate::document::SignedCredential;
use crate::payment::ChannelTerms;
use crate::{Error, Result};

/// The most bytes of a record: a prompt is one of them, and escaped in JSON it grows.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// Writes that share a sync at most.
const GROUP_MAX: usize = 4_096;
const HEAD_BYTES: usize = 8;

/// What is to be written.
struct Job {
    epoch: u32,
    snapshot: Option<Snapshot>,
    bytes: Vec<u8>,
    done: oneshot::Sender<std::result::Result<(), Arc<str>>>,
}

/// The thread that writes.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    jobs: Mutex<Option<Sender<Job>>>,
    /// How long the newest log is, with what is queued.
    length: Mutex<(u32, u64)>,
    failed: Arc<OnceLock<Arc<str>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct Written {
    path: PathBuf,
    done: oneshot::Receiver<std::result::Result<(), Arc<str>>>,
}

impl Written {
    pub(super) async fn wait(self) -> Result<()> {
        match self.done.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Error::file(&self.path, why)),
            Err(_) => Err(Error::file(&self.path, "the writer ended")),
        }
    }
}

impl Journal {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let (sender, jobs) = channel();
        let failed = Arc::new(OnceLock::new());
        let writer = Writer { folder: folder.to_owned(), failed: Arc::clone(&failed), open: None };
        let thread = std::thread::Builder::new().name("books".to_owned()).spawn(move || writer.run(&jobs));
        let thread = Some(thread.map_err(|error| Error::file(folder, error))?);
        let length = Mutex::new((u32::MAX, 0));
        Ok(Self { folder: folder.to_owned(), jobs: Mutex::new(Some(sender)), length, failed, thread })
    }

    /// Queues records, and says where each will begin; whoever calls holds the books' lock, so that the order is that of
    /// the numbers.
    pub(super) fn write(
        &self,
        epoch: u32,
        snapshot: Option<Snapshot>,
        records: &[Record],
    ) -> Result<(Written, Vec<u64>)> {
        if let Some(why) = self.failed.get() {
            return Err(Error::file(&self.folder, format!("an earlier record could not be written: {why}")));
        }
        let path = log_path(&self.folder, epoch);
        let mut length = self.length.lock().unwrap_or_else(PoisonError::into_inner);
        if length.0 != epoch {
            *length = (epoch, std::fs::metadata(&path).map_or(0, |file| file.len()));
        }
        let mut bytes = Vec::with_capacity(2_048);
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            offsets.push(length.1 + bytes.len() as u64);
            frame(record, &mut bytes);
        }
        length.1 += bytes.len() as u64;
        let (done, waits) = oneshot::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.send(Job { epoch, snapshot, bytes, done }).is_ok()) {
            Some(true) => Ok((Written { path, done: waits }, offsets)),
            _ => Err(Error::file(&self.folder, "the writer ended")),
        }
    }
}

/// The last records are on the disk before the books are closed.
impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    folder: PathBuf,
    failed: Arc<OnceLock<Arc<str>>>,
    open: Option<(u32, File)>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(job) = jobs.try_recv()
            {
                group.push(job);
            }
            let written = match self.failed.get() {
                Some(why) => Err(Arc::clone(why)),
                None => self.write(&mut group).map_err(|error| {
                    let why: Arc<str> = error.to_string().into();
                    let _ = self.failed.set(Arc::clone(&why));
                    why
                }),
            };
            for job in group {
                let _ = job.done.send(written.clone());
            }
        }
    }

    fn write(&mut self, group: &mut [Job]) -> Result<()> {
        let mut bytes = Vec::new();
        for job in group {
            if let Some(snapshot) = job.snapshot.take() {
                self.sync(&mut bytes)?;
                write_snapshot(&self.folder, job.epoch, &snapshot)?;
            }
            if self.open.as_ref().is_none_or(|(epoch, _)| *epoch != job.epoch) {
                self.sync(&mut bytes)?;
                self.open = Some((job.epoch, open_log(&self.folder, job.epoch)?));
            }
            bytes.append(&mut job.bytes);
        }
        self.sync(&mut bytes)
    }

    fn sync(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let Some((epoch, file)) = &mut self.open else { return Ok(()) };
        if !bytes.is_empty() {
            let path = log_path(&self.folder, *epoch);
            file.write_all(bytes)
                .and_then(|()| file.sync_data())
                .map_err(|error| Error::file(&path, error))?;
            bytes.clear();
        }
        Ok(())
    }
}

fn frame(record: &Record, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend([0; HEAD_BYTES]);
    serde_json::to_writer(&mut *to, record).expect("records have only string keys");
    let body = start + HEAD_BYTES;
    let length = u32::try_from(to.len() - body).expect("a record is smaller than 4 GiB");
    let sum = crc32fast::hash(&to[body..]);
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
    to[start + 4..body].copy_from_slice(&sum.to_le_bytes());
}

/// The folder's lock, held as long as the file is open.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Error::file(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Refused(format!("{}: another process keeps these books", folder.display())))
        }
        Err(TryLockError::Error(error)) => Err(Error::file(&path, error)),
    }
}

pub(super) fn log_path(folder: &Path, epoch: u32) -> PathBuf {
    folder.join(format!("epoch-{epoch:010}.log"))
}

pub(super) fn snapshot_path(folder: &Path, epoch: u32) -> PathBuf {
    folder.join(format!("books-{epoch:010}.json"))
}

/// Epochs of which there is a log or a snapshot, oldest first.
pub(super) fn epochs(folder: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))? {
        let name = entry.map_err(|error| Error::file(folder, error))?.file_name();
        let name = name.to_string_lossy();
        let log = name.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".log"));
        let books = name.strip_prefix("books-").and_then(|rest| rest.strip_suffix(".json"));
        found.extend(log.or(books).and_then(|digits| digits.parse::<u32>().ok()));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn open_log(folder: &Path, epoch: u32) -> Result<File> {
    let path = log_path(folder, epoch);
    let wrong = |error: std::io::Error| Error::file(&path, error);
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(&path).map_err(wrong)?;
    // A new name must survive too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(wrong)?;
    Ok(file)
}

fn write_snapshot(folder: &Path, epoch: u32, snapshot: &Snapshot) -> Result<()> {
    let path = snapshot_path(folder, epoch);
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, snapshot)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Error::file(&path, error))
}

pub(super) fn read_snapshot(folder: &Path, epoch: u32) -> Result<Option<(u32, Snapshot)>> {
    let path = snapshot_path(folder, epoch);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let snapshot = serde_json::from_slice(&bytes).map_err(|error| Error::file(&path, error))?;
            Ok(Some((epoch, snapshot)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(&path, error)),
    }
}

/// Reads the log of an epoch; a torn end is set aside in a file of its own, and the log cut there.
pub(super) fn read(folder: &Path, epoch: u32, take: &mut dyn FnMut(Record, u64) -> Result<()>) -> Result<()> {
    let path = log_path(folder, epoch);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file(&path, error)),
    };
    let mut at = 0;
    let mut met = Met::default();
    while let Some((body, length)) = next(&bytes[at..]) {
        let record = parse(&path, body, at as u64)?;
        take(met.complete(record), at as u64).map_err(|error| Error::file(&path, error))?;
        at += length;
    }
    if at < bytes.len() {
        set_aside(&path, &bytes[at..], at)?;
    }
    Ok(())
}

/// Reads one record.
pub(super) fn read_at(folder: &Path, epoch: u32, offset: u64) -> Result<Record> {
    let path = log_path(folder, epoch);
    let wrong = |error: std::io::Error| Error::file(&path, error);
    let mut file = File::open(&path).map_err(wrong)?;
    file.seek(SeekFrom::Start(offset)).map_err(wrong)?;
    let mut bytes = vec![0; HEAD_BYTES];
    file.read_exact(&mut bytes).map_err(wrong)?;
    let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    bytes.resize(HEAD_BYTES + length.min(RECORD_BYTES_MAX), 0);
    file.read_exact(&mut bytes[HEAD_BYTES..]).map_err(wrong)?;
    match next(&bytes) {
        Some((body, _)) => parse(&path, body, offset),
        None => Err(Error::file(&path, format!("no record at byte {offset}"))),
    }
}

fn parse(path: &Path, body: &[u8], at: u64) -> Result<Record> {
    serde_json::from_slice(body).map_err(|error| Error::file(path, format!("record at byte {at}: {error}")))
}

/// Credentials and channels of a log, which its receipts name by their ids only.
#[derive(Default)]
struct Met {
    credentials: HashMap<B256, Arc<SignedCredential>>,
    channels: HashMap<B256, (Address, ChannelTerms)>,
}

impl Met {
    fn complete(&mut self, mut record: Record) -> Record {
        match &mut record {
            Record::Credential(id, signed) => drop(self.credentials.insert(*id, Arc::clone(signed))),
            Record::Channel(id, builder, terms) => drop(self.channels.insert(*id, (*builder, terms.clone()))),
            Record::Answered(answered) => {
                let invocation = &answered.invocation.invocation;
                answered.credential = self.credentials.get(&invocation.credentialId).cloned();
                answered.terms = self.channels.get(&invocation.channelId).cloned();
            }
        }
        record
    }
}

fn next(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let sum = u32::from_le_bytes(head[4..].try_into().ok()?);
    let body = rest.get(..length).filter(|_| length <= RECORD_BYTES_MAX)?;
    (crc32fast::hash(body) == sum).then_some((body, HEAD_BYTES + length))
}

fn set_aside(path: &Path, torn: &[u8], at: usize) -> Result<()> {
    let aside = path.with_extension(format!("torn-{at}"));
    let cut = || -> std::io::Result<()> {
        // It may hold prompts: private, as the log is.
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(torn)?;
        file.as_file().sync_all()?;
        file.persist(&aside).map_err(|error| error.error)?;
        let log = OpenOptions::new().write(true).open(path)?;
        log.set_len(at as u64)?;
        log.sync_all()
    };
    cut().map_err(|error| Error::file(path, error))
}

/// Removes logs and snapshots of epochs before `oldest`; the newest snapshot stays.
pub(super) fn remove_before(folder: &Path, oldest: u32) -> Result<()> {
    let all = epochs(folder)?;
    let newest = all.iter().rev().find(|&&epoch| snapshot_path(folder, epoch).exists()).copied();
    for epoch in all.into_iter().filter(|&epoch| epoch < oldest) {
        let snapshot = (Some(epoch) != newest).then(|| snapshot_path(folder, epoch));
        let log = log_path(folder, epoch);
        let rows = Rows::files(&log);
        for path in std::iter::once(log).chain(rows).chain(snapshot) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file(&path, error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
