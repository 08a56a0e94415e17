//! What the system lets an interpreter's process use. It binds itself before it reads the first line of code.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The signal of a process that asked for memory it could not have: `SIGABRT`.
pub(super) const ABORT: i32 = 6;
/// The signal of a process that used up its time: `SIGXCPU`, or `SIGKILL` a moment later.
pub(super) const PROCESSOR: i32 = 24;

/// All the environment there is: mimalloc shall not set memory aside before it is needed, because that counts as used.
pub(super) const ENVIRONMENT: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_RESERVE", "0"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

/// Binds this process for good.
///
/// # Errors
/// Where the system refuses a limit: no code may be run then.
pub(super) fn bind(memory_bytes: u64, processor_seconds: u64) -> io::Result<()> {
    let set = |resource, most: u64| {
        // What was bound tighter before stays so.
        let most = getrlimit(resource).maximum.map_or(most, |known| known.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(io::Error::from)
    };
    set(Resource::As, mapped_bytes()?.saturating_add(memory_bytes))?;
    set(Resource::Cpu, processor_seconds)?;
    set(Resource::Core, 0)?;
    set(Resource::Fsize, 0)?;
    set(Resource::Nproc, 0)?;
    // The two pipes and the empty standard error are open; nothing else will be.
    set(Resource::Nofile, 3)
}

/// What is mapped already: the program itself.
#[cfg(target_os = "linux")]
fn mapped_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let size = text.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes = size.and_then(|size| size.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kilobytes.ok_or_else(|| io::Error::other("/proc/self/status cannot be read"))? << 10)
}

/// Other systems do not tell; a bound far above what a program of ours maps.
#[cfg(not(target_os = "linux"))]
fn mapped_bytes() -> io::Result<u64> {
    Ok(1 << 30)
}
