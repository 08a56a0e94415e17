//! An allocator that counts: how much memory an input made its parser hold at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's allocator, with a count of the bytes held and a limit past which it refuses.
#[derive(Debug)]
pub(crate) struct Counting;

// SAFETY: every call goes to `System` unchanged, or is refused with the null pointer that `GlobalAlloc` allows.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of `alloc`, and it is passed on as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, and it is passed on as it is.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While a block is copied, the old and the new one are both held; only the growth is counted.
        if size > layout.size() && !take(size - layout.size()) {
            return std::ptr::null_mut();
        }
        HELD.fetch_sub(layout.size().saturating_sub(size), Relaxed);
        // SAFETY: `pointer` and `layout` come from this allocator, and so from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `pointer` and `layout` come from this allocator, and so from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn take(bytes: usize) -> bool {
    let held = HELD.fetch_add(bytes, Relaxed).saturating_add(bytes);
    if held > LIMIT.load(Relaxed) {
        HELD.fetch_sub(bytes, Relaxed);
        PEAK.fetch_max(held, Relaxed);
        return false;
    }
    PEAK.fetch_max(held, Relaxed);
    true
}

/// Runs `work`; returns what it returned and the most bytes it held beyond what was held before. An allocation that
/// would pass `limit` is refused, which ends the process: the parent sees that.
pub(crate) fn peak_of<T>(limit: usize, work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    LIMIT.store(before.saturating_add(limit), Relaxed);
    let result = work();
    LIMIT.store(usize::MAX, Relaxed);
    (result, PEAK.load(Relaxed).saturating_sub(before))
}
