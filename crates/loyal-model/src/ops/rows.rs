//! Contiguous f32 rows inside tensors.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The numbers of a contiguous f32 CPU storage.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let numbers = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&numbers[start..end]),
        None => bail!("a fused operation needs contiguous rows"),
    }
}

/// Calls `read` with the numbers of a CPU tensor.
pub(super) fn with<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(slice(storage, layout)?),
        _ => bail!("a fused operation runs on the CPU only"),
    }
}

/// A raw pointer that threads share to write disjoint parts of one buffer.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *mut f32);

// SAFETY: every user hands disjoint ranges to its threads and joins them before the buffer is read.
#[allow(unsafe_code, reason = "disjoint parts of one buffer are written in parallel")]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "disjoint parts of one buffer are written in parallel")]
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer, moved `offset` numbers on. A method, so closures capture the whole wrapper.
    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
