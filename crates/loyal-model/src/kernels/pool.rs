//! Threads that wait for small pieces of work without sleeping in between.
//!
//! A decoder has some thirty parallel sections a token, each of 10 to 1000 µs. Waking a thread takes as
//! long as the shorter ones, so workers look for work for a while before they sleep. Pieces are
//! claimed one by one: a worker that the operating system holds up delays only the piece it has begun.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{JoinHandle, Thread};

/// Rounds of looking for work before a worker sleeps: about 50 µs.
const LOOKS_MAX: u32 = 3000;
/// Rounds of waiting for the others before the caller lets another process run.
const WAITS_MAX: u32 = 2000;
/// Pieces of one section; they must fit in [`Ticket`]'s fields.
pub(crate) const PIECES_MAX: usize = 4095;

/// One section's work, on the caller's stack.
struct Task<'a> {
    run: &'a (dyn Fn(usize) + Sync),
}

/// The state all threads agree on, in one word: section number, pieces, pieces already claimed.
#[derive(Clone, Copy)]
struct Ticket(u64);

impl Ticket {
    const fn new(section: u64, pieces: usize) -> Self {
        Self(section << 24 | (pieces as u64) << 12)
    }

    const fn section(self) -> u64 {
        self.0 >> 24
    }

    const fn pieces(self) -> usize {
        (self.0 >> 12 & 0xFFF) as usize
    }

    const fn claimed(self) -> usize {
        (self.0 & 0xFFF) as usize
    }

    const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    const fn is_open(self) -> bool {
        self.claimed() < self.pieces()
    }
}

/// Each on its own cache line: workers read `ticket` all the time.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Line<T>(T);

#[derive(Debug, Default)]
struct Shared {
    ticket: Line<AtomicU64>,
    done: Line<AtomicUsize>,
    task: AtomicPtr<()>,
    panicked: AtomicBool,
    quit: AtomicBool,
}

#[derive(Debug)]
struct Worker {
    handle: JoinHandle<()>,
    asleep: Arc<AtomicBool>,
}

/// A few threads that share sections of work with the thread that calls.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: OnceLock<Vec<Worker>>,
    section: Mutex<u64>,
    threads: usize,
}

impl Pool {
    /// A pool of `threads` threads, the caller's included. The others start with the first section.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            shared: Arc::default(),
            workers: OnceLock::new(),
            section: Mutex::new(0),
            threads: threads.clamp(1, 256),
        }
    }

    /// Threads that work on a section.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `run` with every number below `pieces`, each once, and returns when all calls have returned.
    /// A section that is asked for while another one runs is done by its caller alone.
    pub(crate) fn run(&self, pieces: usize, run: &(dyn Fn(usize) + Sync)) {
        debug_assert!(pieces <= PIECES_MAX, "more pieces than a ticket can count");
        let section = if self.threads > 1 && pieces > 1 { self.section.try_lock().ok() } else { None };
        let Some(mut section) = section else {
            (0..pieces).for_each(run);
            return;
        };
        *section += 1;
        let workers = self.workers.get_or_init(|| self.start());
        let task = Task { run };
        self.shared.done.0.store(0, Ordering::Relaxed);
        self.shared.task.store((&raw const task).cast_mut().cast(), Ordering::Release);
        self.shared.ticket.0.store(Ticket::new(*section, pieces).0, Ordering::SeqCst);
        for worker in workers {
            if worker.asleep.load(Ordering::SeqCst) {
                worker.handle.thread().unpark();
            }
        }
        // Even when a piece panics here, workers must be done with `task` before this frame goes away.
        let outcome = catch_unwind(AssertUnwindSafe(|| while self.shared.work_once() {}));
        self.close(*section, pieces);
        drop(section);
        let panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        match outcome {
            Err(cause) => resume_unwind(cause),
            Ok(()) => assert!(!panicked, "a piece of work panicked"),
        }
    }

    /// Lets nobody claim more pieces of this section, and waits for those that were claimed.
    fn close(&self, section: u64, pieces: usize) {
        let closed = Ticket::new(section, 0).0;
        let last = Ticket(self.shared.ticket.0.swap(closed, Ordering::AcqRel));
        debug_assert!(last.section() == section && last.pieces() == pieces, "sections do not overlap");
        let mut waits = 0;
        while self.shared.done.0.load(Ordering::Acquire) < last.claimed() {
            waits += 1;
            if waits < WAITS_MAX { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    fn start(&self) -> Vec<Worker> {
        let start_one = |_| {
            let asleep = Arc::new(AtomicBool::new(false));
            let (shared, flag) = (Arc::clone(&self.shared), Arc::clone(&asleep));
            let builder = std::thread::Builder::new().name("loyal-decoder".to_owned());
            // Where no thread can be had, the others do its work.
            let handle = builder.spawn(move || shared.serve(&flag)).ok()?;
            Some(Worker { handle, asleep })
        };
        (1..self.threads).filter_map(start_one).collect()
    }

    /// Splits `out` into chunks of `chunk` numbers and calls `run` with each and its index.
    pub(crate) fn for_each_chunk(
        &self,
        out: &mut [f32],
        chunk: usize,
        run: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) {
        let count = out.len().div_ceil(chunk.max(1));
        let per_piece = count.div_ceil(PIECES_MAX).max(1);
        let (start, len) = (Shareable::new(out.as_mut_ptr()), out.len());
        self.run(count.div_ceil(per_piece), &|piece| {
            for index in piece * per_piece..count.min((piece + 1) * per_piece) {
                let from = index * chunk;
                // SAFETY: `from` lies inside `out` because `index < count`; pieces, and so chunks, are
                // handed out once each and do not overlap; `out` is borrowed until `run` returns.
                #[allow(unsafe_code, reason = "disjoint parts of one slice in several threads")]
                let part =
                    unsafe { std::slice::from_raw_parts_mut(start.get().add(from), chunk.min(len - from)) };
                run(index, part);
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        for worker in self.workers.take().into_iter().flatten() {
            Thread::unpark(worker.handle.thread());
            // A worker that panicked outside a piece has said so on its own.
            drop(worker.handle.join());
        }
    }
}

impl Shared {
    fn serve(&self, asleep: &AtomicBool) {
        let mut looks = 0;
        while !self.quit.load(Ordering::Relaxed) {
            if catch_unwind(AssertUnwindSafe(|| self.work_once())).unwrap_or(true) {
                looks = 0;
            } else if looks < LOOKS_MAX {
                looks += 1;
                std::hint::spin_loop();
            } else {
                asleep.store(true, Ordering::SeqCst);
                // Looked at once more after saying so: the caller either sees the flag or we see the ticket.
                let work = Ticket(self.ticket.0.load(Ordering::SeqCst)).is_open();
                if !work && !self.quit.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                asleep.store(false, Ordering::SeqCst);
                looks = 0;
            }
        }
    }

    /// Claims and does one piece; answers whether there was one.
    fn work_once(&self) -> bool {
        let ticket = Ticket(self.ticket.0.load(Ordering::Acquire));
        if !ticket.is_open() {
            return false;
        }
        let task = self.task.load(Ordering::Acquire).cast_const().cast::<Task<'_>>();
        let claim =
            self.ticket.0.compare_exchange(ticket.0, ticket.next().0, Ordering::AcqRel, Ordering::Relaxed);
        if claim.is_err() {
            return true;
        }
        let guard = Done(self);
        // SAFETY: the exchange succeeded, so section and claims were the same all along (section numbers do
        // not come back), and `task` was read in between: it is this section's. Its frame lives on, because
        // `close` waits until every claimed piece is done, and the guard counts this one after the call.
        #[allow(unsafe_code, reason = "a task on another thread's stack")]
        let run = unsafe { (*task).run };
        run(ticket.claimed());
        drop(guard);
        true
    }
}

/// Counts a piece as done, panicked or not.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
        }
        self.0.done.0.fetch_add(1, Ordering::Release);
    }
}

/// A pointer that several threads may hold; each use says why it is sound.
#[derive(Clone, Copy)]
pub(super) struct Shareable(*mut f32);

impl Shareable {
    pub(super) const fn new(pointer: *mut f32) -> Self {
        Self(pointer)
    }

    pub(super) const fn get(self) -> *mut f32 {
        self.0
    }
}

// SAFETY: the pointer is only followed in places that show that threads touch disjoint numbers.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Shareable {}
// SAFETY: as for `Send`.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Shareable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        let pool = Pool::new(3);
        for round in 0..2000usize {
            let pieces = round % 37;
            let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            pool.run(pieces, &|piece| {
                counts[piece].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_section_inside_a_section_runs_alone() {
        let pool = Pool::new(2);
        let count = AtomicUsize::new(0);
        pool.run(8, &|_| {
            pool.run(8, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(count.load(Ordering::Relaxed), 64);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        let result =
            catch_unwind(AssertUnwindSafe(|| pool.run(64, &|piece| assert!(piece != 40, "on purpose"))));
        assert!(result.is_err());
        let mut numbers = vec![0.0; 1000];
        pool.for_each_chunk(&mut numbers, 7, &|index, chunk| chunk.fill(index as f32));
        assert!(numbers.iter().enumerate().all(|(i, &number)| number == (i / 7) as f32));
    }
}
