//! The arithmetic of the decoder: matrix products over stored weights, and the vector functions between
//! them, for AVX-512, AVX2 and any other processor, chosen when the program runs.
//!
//! Within one instruction set a product's value depends on its row and its input alone, not on how many
//! rows or inputs are worked on together: a batch answers bit for bit what its parts answer alone.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod pool;
mod portable;
mod vector;

use std::ops::Range;

pub(crate) use pool::Pool;
use pool::{PIECES_MAX, Shareable};
pub(crate) use portable::widen;

use crate::quantize::{BLOCK, GROUP, Width};

/// A section below this many bytes of weights (times inputs) is not worth a second thread: about 2 µs.
const SECTION_BYTES_MIN: usize = 48 << 10;
/// A piece of a section: large enough to stream, small enough that threads end together.
const PIECE_BYTES: usize = 128 << 10;

/// Which instructions the processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best set that this processor has.
    pub(crate) fn detect() -> Self {
        *Self::available().last().expect("the portable set is always there")
    }

    /// All sets that this processor has, slowest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 {
                sets.push(Self::Avx2);
            }
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 && avx512 {
                sets.push(Self::Avx512);
            }
        }
        sets
    }
}

/// How a matrix is laid out in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row-major f32, little-endian.
    F32,
    /// Row-major bf16.
    Bf16,
    /// Row-major f16.
    F16,
    /// [`crate::quantize::Packed`].
    Packed(Width),
}

impl Layout {
    /// Bytes of `rows` rows (for packed matrices: of their blocks).
    pub(crate) const fn bytes(self, rows: usize, columns: usize) -> usize {
        match self {
            Self::F32 => rows * columns * 4,
            Self::Bf16 | Self::F16 => rows * columns * 2,
            Self::Packed(width) => rows.div_ceil(BLOCK) * columns.div_ceil(GROUP) * width.group_bytes(),
        }
    }
}

/// A matrix in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatrixView<'a> {
    pub(crate) layout: Layout,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) bytes: &'a [u8],
}

/// Vectors to be multiplied, one after another, and (once [`Inputs::quantize`] ran) as eight-bit codes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Inputs {
    pub(crate) columns: usize,
    pub(crate) numbers: Vec<f32>,
    /// Padded to whole groups.
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl Inputs {
    /// Makes room for `count` vectors of `columns` numbers.
    pub(crate) fn resize(&mut self, count: usize, columns: usize) -> &mut [f32] {
        self.columns = columns;
        self.numbers.resize(count * columns, 0.0);
        &mut self.numbers
    }

    /// How many vectors there are.
    pub(crate) fn count(&self) -> usize {
        self.numbers.len() / self.columns.max(1)
    }

    /// Rounds all vectors to eight bits in groups of 32, for packed matrices.
    pub(crate) fn quantize(&mut self, isa: Isa) {
        let (count, groups) = (self.count(), self.columns.div_ceil(GROUP));
        self.codes.resize(count * groups * GROUP, 0);
        self.scales.resize(count * groups, 0.0);
        self.sums.resize(count * groups, 0);
        for index in 0..count {
            let numbers = &self.numbers[index * self.columns..(index + 1) * self.columns];
            let range = index * groups..(index + 1) * groups;
            let codes = &mut self.codes[index * groups * GROUP..(index + 1) * groups * GROUP];
            isa.quantize(numbers, codes, &mut self.scales[range.clone()], &mut self.sums[range]);
        }
    }
}

/// One matrix of a section and where its products go: `out[input * rows + row]`.
pub(crate) struct Product<'a> {
    pub(crate) matrix: MatrixView<'a>,
    pub(crate) out: &'a mut [f32],
}

/// Where a kernel writes: `start[input * stride + row]`.
#[derive(Clone, Copy)]
struct Out {
    start: Shareable,
    stride: usize,
}

/// Multiplies every input by every matrix, as one parallel section.
pub(crate) fn multiply(pool: &Pool, isa: Isa, inputs: &Inputs, products: &mut [Product<'_>]) {
    let count = inputs.count();
    let mut bytes = 0;
    let mut blocks = 0;
    for product in products.iter() {
        let matrix = product.matrix;
        assert_eq!(matrix.columns, inputs.columns, "inputs are as long as the matrix's rows");
        assert_eq!(product.out.len(), count * matrix.rows, "there is room for every product");
        assert_eq!(
            matrix.bytes.len(),
            matrix.layout.bytes(matrix.rows, matrix.columns),
            "the matrix is whole"
        );
        bytes += matrix.bytes.len();
        blocks += matrix.rows.div_ceil(BLOCK);
    }
    if count == 0 || blocks == 0 {
        return;
    }
    let outs: Vec<(MatrixView<'_>, Out)> = products
        .iter_mut()
        .map(|product| {
            let start = Shareable::new(product.out.as_mut_ptr());
            (product.matrix, Out { start, stride: product.matrix.rows })
        })
        .collect();
    let work = bytes * count.div_ceil(3);
    let wanted = if work < SECTION_BYTES_MIN { 1 } else { (work / PIECE_BYTES).max(2 * pool.threads()) };
    let per_piece = blocks.div_ceil(wanted.min(PIECES_MAX)).max(1);
    pool.run(blocks.div_ceil(per_piece), &|piece| {
        let mut skipped = 0;
        let wanted = piece * per_piece..blocks.min((piece + 1) * per_piece);
        for &(matrix, out) in &outs {
            let own = matrix.rows.div_ceil(BLOCK);
            let from = wanted.start.max(skipped) - skipped;
            let to = wanted.end.min(skipped + own).max(skipped) - skipped;
            if from < to {
                rows(isa, matrix, from * BLOCK..matrix.rows.min(to * BLOCK), inputs, out);
            }
            skipped += own;
        }
    });
}

/// Multiplies all inputs by some rows of a matrix. Sizes were checked by the caller; `rows` starts at a
/// block, and no other thread writes these rows' products.
fn rows(isa: Isa, matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    match (isa, matrix.layout) {
        (Isa::Portable, Layout::Packed(width)) => portable::packed(width, matrix, rows, inputs, out),
        (Isa::Portable, _) => portable::plain(matrix, rows, inputs, out),
        // SAFETY: `Isa::available` found these instructions; `multiply` and `Isa::dot` checked that the
        // matrix is whole, `rows` inside it, the inputs as long as its columns, and `out` large enough.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "vector instructions over checked slices")]
        (Isa::Avx2, layout) => unsafe { avx2::rows(layout, matrix, rows, inputs, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "vector instructions over checked slices")]
        (Isa::Avx512, layout) => unsafe { avx512::rows(layout, matrix, rows, inputs, out) },
    }
}

impl Isa {
    /// Dot products of every input with every row of a row-major matrix, in the calling thread:
    /// `out[input * stride + row]`.
    pub(crate) fn dot(self, matrix: &[f32], inputs: &Inputs, stride: usize, out: &mut [f32]) {
        let columns = inputs.columns;
        let count = matrix.len() / columns.max(1);
        assert_eq!(matrix.len(), count * columns, "the matrix has whole rows");
        assert!(stride >= count && out.len() >= stride * inputs.count(), "there is room for every product");
        let bytes = bytemuck::cast_slice(matrix);
        let view = MatrixView { layout: Layout::F32, rows: count, columns, bytes };
        rows(self, view, 0..count, inputs, Out { start: Shareable::new(out.as_mut_ptr()), stride });
    }
}

#[cfg(test)]
mod tests;
