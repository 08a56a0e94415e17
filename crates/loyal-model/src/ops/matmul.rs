//! Matrix products over strided f32 slices.

use gemm::Parallelism;

/// A matrix inside a slice: element (i, j) stands at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub(super) pointer: *const f32,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Matrix {
    /// Row-major, `row` numbers from one row to the next.
    pub(super) fn rows(numbers: &[f32], row: usize) -> Self {
        Self { pointer: numbers.as_ptr(), row, column: 1 }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        Self { pointer: self.pointer, row: self.column, column: self.row }
    }
}

/// Sizes of a product: (m × k) · (k × n).
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
}

/// Where a product goes: row-major, `row` numbers from one row to the next; added to what is there, or not.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) pointer: *mut f32,
    pub(super) row: usize,
    pub(super) add: bool,
}

/// `target (+)= a · b`, on all threads of the pool.
///
/// # Safety
/// All elements that `sizes` reaches must lie inside live buffers, and nobody else may touch the target's.
#[allow(unsafe_code, reason = "the matrix library works on pointers")]
pub(super) unsafe fn multiply(sizes: Sizes, a: Matrix, b: Matrix, target: Target) {
    // SAFETY: passed on to the caller.
    unsafe { product(sizes, a, b, target, Parallelism::Rayon(0)) }
}

/// [`multiply`] on the calling thread alone.
///
/// # Safety
/// As [`multiply`].
#[allow(unsafe_code, reason = "the matrix library works on pointers")]
pub(super) unsafe fn multiply_here(sizes: Sizes, a: Matrix, b: Matrix, target: Target) {
    // SAFETY: passed on to the caller.
    unsafe { product(sizes, a, b, target, Parallelism::None) }
}

#[allow(unsafe_code, reason = "the matrix library works on pointers")]
unsafe fn product(sizes: Sizes, a: Matrix, b: Matrix, target: Target, threads: Parallelism) {
    let Sizes { m, k, n } = sizes;
    let old = if target.add { 1.0 } else { 0.0 };
    // SAFETY: the caller vouches for the ranges.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.pointer,
            1,
            target.row as isize,
            target.add,
            a.pointer,
            a.column as isize,
            a.row as isize,
            b.pointer,
            b.column as isize,
            b.row as isize,
            old,
            1.0f32,
            false,
            false,
            false,
            threads,
        );
    }
}
