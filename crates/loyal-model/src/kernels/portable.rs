//! Matrix products without special instructions; what the other kernels are tested against.

use std::ops::Range;

use half::{bf16, f16};

use super::{Inputs, Layout, MatrixView, Out};
use crate::quantize::{BLOCK, GROUP, SCALE_BYTES, Width};

const LANES: usize = 16;

/// Writes one product.
fn write(out: Out, input: usize, row: usize, number: f32) {
    // SAFETY: `kernels::multiply` and `Isa::dot` made `out` large enough for every input and row, and no
    // other thread writes this row.
    #[allow(unsafe_code, reason = "disjoint rows of one slice in several threads")]
    unsafe {
        *out.start.get().add(input * out.stride + row) = number;
    }
}

pub(super) fn plain(matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    let columns = matrix.columns;
    let row_bytes = matrix.layout.bytes(1, columns);
    let mut weights = vec![0.0; columns];
    for row in rows {
        widen(matrix.layout, &matrix.bytes[row * row_bytes..(row + 1) * row_bytes], &mut weights);
        for (index, input) in inputs.numbers.chunks_exact(columns).enumerate() {
            write(out, index, row, dot(&weights, input));
        }
    }
}

/// Reads row-major numbers as f32.
pub(crate) fn widen(layout: Layout, bytes: &[u8], numbers: &mut [f32]) {
    let pairs = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match layout {
        Layout::F32 => {
            for (number, four) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
                *number = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
        }
        Layout::Bf16 => {
            numbers.iter_mut().zip(pairs).for_each(|(n, bits)| *n = bf16::from_bits(bits).to_f32());
        }
        Layout::F16 => numbers.iter_mut().zip(pairs).for_each(|(n, bits)| *n = f16::from_bits(bits).to_f32()),
        Layout::Packed(_) => debug_assert!(false, "packed matrices are unpacked by `Packed`"),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

pub(super) fn packed(width: Width, matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    let groups = matrix.columns.div_ceil(GROUP);
    let block_bytes = groups * width.group_bytes();
    for first in rows.clone().step_by(BLOCK) {
        let block = &matrix.bytes[first / BLOCK * block_bytes..][..block_bytes];
        for input in 0..inputs.count() {
            let mut sums = [0.0f32; BLOCK];
            for (index, group) in block.chunks_exact(width.group_bytes()).enumerate() {
                let at = input * groups + index;
                let codes = &inputs.codes[at * GROUP..(at + 1) * GROUP];
                let whole = products(width, &group[SCALE_BYTES..], codes);
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let scale = f32::from_le_bytes([0, 1, 2, 3].map(|i| group[lane * 4 + i]));
                    *sum += whole[lane] as f32 * (scale * inputs.scales[at]);
                }
            }
            for row in first..rows.end.min(first + BLOCK) {
                write(out, input, row, sums[row - first]);
            }
        }
    }
}

/// Integer products of one group of every row in a block.
fn products(width: Width, weights: &[u8], codes: &[i8]) -> [i32; BLOCK] {
    let mut sums = [0i32; BLOCK];
    let (span, shifts): (usize, &[u32]) = match width {
        Width::Eight => (4, &[0]),
        Width::Four => (8, &[0, 4]),
    };
    for (weights, codes) in weights.chunks_exact(BLOCK * 4).zip(codes.chunks_exact(span)) {
        for (half, &shift) in shifts.iter().enumerate() {
            for (lane, sum) in sums.iter_mut().enumerate() {
                for column in 0..4 {
                    let stored = weights[lane * 4 + column];
                    let stored = if width == Width::Four { stored >> shift & 15 } else { stored };
                    *sum += (i32::from(stored) - width.offset()) * i32::from(codes[half * 4 + column]);
                }
            }
        }
    }
    sums
}
