//! Matrix products with AVX2, FMA and F16C.
#![allow(
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    reason = "vector instructions over pointers; see each SAFETY note"
)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Inputs, Layout, MatrixView, Out};
use crate::quantize::{BLOCK, GROUP, SCALE_BYTES, Width};

const F32: u8 = 0;
const BF16: u8 = 1;
const F16: u8 = 2;

/// Products of some rows with all inputs.
///
/// # Safety
/// The processor has the instructions; `matrix` is whole; `rows` lies inside it and, for packed layouts,
/// starts at a block; `inputs` are as long as its columns and, for packed layouts, quantized; `out` has room
/// for every input and row, and no other thread writes these rows.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn rows(
    layout: Layout,
    matrix: MatrixView<'_>,
    rows: Range<usize>,
    inputs: &Inputs,
    out: Out,
) {
    match layout {
        Layout::F32 => plain::<F32>(matrix, rows, inputs, out),
        Layout::Bf16 => plain::<BF16>(matrix, rows, inputs, out),
        Layout::F16 => plain::<F16>(matrix, rows, inputs, out),
        Layout::Packed(width) => packed(width, matrix, rows, inputs, out),
    }
}

/// # Safety
/// As [`rows`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn plain<const FORMAT: u8>(matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    let count = inputs.count();
    let row_bytes = matrix.layout.bytes(1, matrix.columns);
    let mut row = rows.start;
    while row < rows.end {
        let wide = rows.end - row >= 4;
        let mut input = 0;
        while input < count {
            let tile = Tile {
                weights: matrix.bytes.as_ptr().add(row * row_bytes),
                row_bytes,
                inputs: inputs.numbers.as_ptr().add(input * matrix.columns),
                columns: matrix.columns,
                out: out.start.get().add(input * out.stride + row),
                stride: out.stride,
            };
            input += match (wide, count - input) {
                (true, 1) => tile.run::<FORMAT, 4, 1>(),
                (true, _) => tile.run::<FORMAT, 4, 2>(),
                (false, _) => tile.run::<FORMAT, 1, 1>(),
            };
        }
        row += if wide { 4 } else { 1 };
    }
}

/// A few rows and a few inputs whose products are kept in registers.
struct Tile {
    weights: *const u8,
    row_bytes: usize,
    inputs: *const f32,
    columns: usize,
    out: *mut f32,
    stride: usize,
}

impl Tile {
    /// Answers how many inputs it did.
    ///
    /// # Safety
    /// There are `R` rows and `T` inputs, with room for their products.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run<const FORMAT: u8, const R: usize, const T: usize>(&self) -> usize {
        let mut sums = [[_mm256_setzero_ps(); T]; R];
        let whole = self.columns / 8 * 8;
        let mut column = 0;
        while column < whole {
            let mut inputs = [_mm256_setzero_ps(); T];
            for (t, input) in inputs.iter_mut().enumerate() {
                *input = _mm256_loadu_ps(self.inputs.add(t * self.columns + column));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weights = load::<FORMAT>(self.weights.add(r * self.row_bytes), column);
                for t in 0..T {
                    sums[t] = _mm256_fmadd_ps(weights, inputs[t], sums[t]);
                }
            }
            column += 8;
        }
        for (r, sums) in sums.iter().enumerate() {
            for (t, &sum) in sums.iter().enumerate() {
                let mut total = add_up(sum);
                for column in whole..self.columns {
                    let weight = one::<FORMAT>(self.weights.add(r * self.row_bytes), column);
                    total += weight * *self.inputs.add(t * self.columns + column);
                }
                *self.out.add(t * self.stride + r) = total;
            }
        }
        T
    }
}

/// Eight weights as f32.
///
/// # Safety
/// They lie inside the row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load<const FORMAT: u8>(row: *const u8, column: usize) -> __m256 {
    match FORMAT {
        F32 => _mm256_loadu_ps(row.cast::<f32>().add(column)),
        BF16 => {
            let bits = _mm_loadu_si128(row.cast::<u16>().add(column).cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
        }
        _ => _mm256_cvtph_ps(_mm_loadu_si128(row.cast::<u16>().add(column).cast())),
    }
}

/// One weight as f32.
///
/// # Safety
/// It lies inside the row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn one<const FORMAT: u8>(row: *const u8, column: usize) -> f32 {
    let bits = || row.cast::<u16>().add(column).read_unaligned();
    match FORMAT {
        F32 => row.cast::<f32>().add(column).read_unaligned(),
        BF16 => half::bf16::from_bits(bits()).to_f32(),
        _ => half::f16::from_bits(bits()).to_f32(),
    }
}

/// The sum of all lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_up(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_hadd_ps(four, four);
    _mm_cvtss_f32(_mm_hadd_ps(two, two))
}

/// # Safety
/// As [`rows`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn packed(width: Width, matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    let (count, groups) = (inputs.count(), matrix.columns.div_ceil(GROUP));
    for row in rows.clone().step_by(BLOCK) {
        let block = matrix.bytes.as_ptr().add(row / BLOCK * groups * width.group_bytes());
        for input in 0..count {
            let mut totals = [_mm256_setzero_ps(); 2];
            for group in 0..groups {
                let start = block.add(group * width.group_bytes());
                let codes = inputs.codes.as_ptr().add((input * groups + group) * GROUP);
                let scale = _mm256_set1_ps(*inputs.scales.as_ptr().add(input * groups + group));
                let sums = match width {
                    Width::Eight => eight(start.add(SCALE_BYTES), codes),
                    Width::Four => four(start.add(SCALE_BYTES), codes),
                };
                for half in 0..2 {
                    let scales = _mm256_mul_ps(_mm256_loadu_ps(start.cast::<f32>().add(half * 8)), scale);
                    totals[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[half]), scales, totals[half]);
                }
            }
            let mut lanes = [0.0f32; BLOCK];
            _mm256_storeu_ps(lanes.as_mut_ptr(), totals[0]);
            _mm256_storeu_ps(lanes.as_mut_ptr().add(8), totals[1]);
            let wanted = (rows.end - row).min(BLOCK);
            let out = out.start.get().add(input * out.stride + row);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), out, wanted);
        }
    }
}

/// Integer products of one group of a block of eight-bit rows.
///
/// # Safety
/// A group of weights and one of codes can be read.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn eight(weights: *const u8, codes: *const i8) -> [__m256i; 2] {
    let sign = _mm256_set1_epi8(-128);
    let mut sums = [_mm256_setzero_si256(); 2];
    for column in 0..GROUP / 4 {
        let codes = _mm256_set1_epi32(codes.add(column * 4).cast::<i32>().read_unaligned());
        for (half, sum) in sums.iter_mut().enumerate() {
            let weights = _mm256_loadu_si256(weights.add(column * 64 + half * 32).cast());
            *sum = add_products(*sum, _mm256_xor_si256(weights, sign), codes);
        }
    }
    sums
}

/// Integer products of one group of a block of four-bit rows.
///
/// # Safety
/// As [`eight`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn four(weights: *const u8, codes: *const i8) -> [__m256i; 2] {
    let (low_bits, offset) = (_mm256_set1_epi8(15), _mm256_set1_epi8(8));
    let mut sums = [_mm256_setzero_si256(); 2];
    for column in 0..GROUP / 8 {
        let first = _mm256_set1_epi32(codes.add(column * 8).cast::<i32>().read_unaligned());
        let second = _mm256_set1_epi32(codes.add(column * 8 + 4).cast::<i32>().read_unaligned());
        for (half, sum) in sums.iter_mut().enumerate() {
            let both = _mm256_loadu_si256(weights.add(column * 64 + half * 32).cast());
            let low = _mm256_sub_epi8(_mm256_and_si256(both, low_bits), offset);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_bits);
            *sum = add_products(*sum, low, first);
            *sum = add_products(*sum, _mm256_sub_epi8(high, offset), second);
        }
    }
    sums
}

/// Adds the products of signed bytes, four to a lane. Codes lie within ±127, so pairs fit in 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_products(sum: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(weights, codes));
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}
