//! Matrix products with AVX-512 (F, BW, VL, DQ and VNNI).
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
unsafe fn plain<const FORMAT: u8>(matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    let count = inputs.count();
    let row_bytes = matrix.layout.bytes(1, matrix.columns);
    let mut row = rows.start;
    while row < rows.end {
        let weights = matrix.bytes.as_ptr().add(row * row_bytes);
        let out_row = out.start.get().add(row);
        let wide = rows.end - row >= 8;
        let mut input = 0;
        while input < count {
            let tile = Tile {
                weights,
                row_bytes,
                inputs: inputs.numbers.as_ptr().add(input * matrix.columns),
                columns: matrix.columns,
                out: out_row.add(input * out.stride),
                stride: out.stride,
            };
            input += match (wide, count - input) {
                (true, 1) => tile.run::<FORMAT, 8, 1>(),
                (true, 2) => tile.run::<FORMAT, 8, 2>(),
                (true, _) => tile.run::<FORMAT, 8, 3>(),
                (false, 1..=3) => tile.run::<FORMAT, 1, 1>(),
                (false, _) => tile.run::<FORMAT, 1, 4>(),
            };
        }
        row += if wide { 8 } else { 1 };
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
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn run<const FORMAT: u8, const R: usize, const T: usize>(&self) -> usize {
        let mut sums = [[_mm512_setzero_ps(); T]; R];
        let whole = self.columns / 16 * 16;
        let mut column = 0;
        while column < whole {
            self.step::<FORMAT, R, T>(column, !0, &mut sums);
            column += 16;
        }
        if column < self.columns {
            self.step::<FORMAT, R, T>(column, (1u16 << (self.columns - column)) - 1, &mut sums);
        }
        for (t, out) in (0..T).map(|t| (t, self.out.add(t * self.stride))) {
            if R == 8 {
                let eight = std::array::from_fn(|r| sums[r % R][t]);
                _mm256_storeu_ps(out, add_up(eight));
            } else {
                for (r, sum) in sums.iter().enumerate() {
                    // The same order of additions as for eight rows.
                    let eight = [sum[t]; 8];
                    *out.add(r) = _mm256_cvtss_f32(add_up(eight));
                }
            }
        }
        T
    }

    /// # Safety
    /// As [`Tile::run`]; `mask` keeps the reads inside the row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn step<const FORMAT: u8, const R: usize, const T: usize>(
        &self,
        column: usize,
        mask: __mmask16,
        sums: &mut [[__m512; T]; R],
    ) {
        let mut inputs = [_mm512_setzero_ps(); T];
        for (t, input) in inputs.iter_mut().enumerate() {
            *input = _mm512_maskz_loadu_ps(mask, self.inputs.add(t * self.columns + column));
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let weights = load::<FORMAT>(self.weights.add(r * self.row_bytes), column, mask);
            for t in 0..T {
                sums[t] = _mm512_fmadd_ps(weights, inputs[t], sums[t]);
            }
        }
    }
}

/// Sixteen weights as f32.
///
/// # Safety
/// `mask` keeps the reads inside the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
unsafe fn load<const FORMAT: u8>(row: *const u8, column: usize, mask: __mmask16) -> __m512 {
    match FORMAT {
        F32 => _mm512_maskz_loadu_ps(mask, row.cast::<f32>().add(column)),
        BF16 => {
            let bits = _mm256_maskz_loadu_epi16(mask, row.cast::<i16>().add(column));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
        }
        _ => _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row.cast::<i16>().add(column))),
    }
}

/// The sums of the lanes of eight vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
fn add_up(eight: [__m512; 8]) -> __m256 {
    let fold = |v: __m512| _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
    let v: [__m256; 8] = std::array::from_fn(|i| fold(eight[i]));
    let low = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    let high = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    let left = _mm256_permute2f128_ps::<0x20>(low, high);
    let right = _mm256_permute2f128_ps::<0x31>(low, high);
    _mm256_add_ps(left, right)
}

/// # Safety
/// As [`rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
unsafe fn packed(width: Width, matrix: MatrixView<'_>, rows: Range<usize>, inputs: &Inputs, out: Out) {
    let (count, groups) = (inputs.count(), matrix.columns.div_ceil(GROUP));
    let mut row = rows.start;
    while row < rows.end {
        let lanes = (rows.end - row).min(BLOCK);
        let mut input = 0;
        while input < count {
            let block = Block {
                bytes: matrix.bytes.as_ptr().add(row / BLOCK * groups * width.group_bytes()),
                groups,
                codes: inputs.codes.as_ptr().add(input * groups * GROUP),
                scales: inputs.scales.as_ptr().add(input * groups),
                sums: inputs.sums.as_ptr().add(input * groups),
                out: out.start.get().add(input * out.stride + row),
                stride: out.stride,
                mask: ((1u32 << lanes) - 1) as __mmask16,
            };
            input += match (width, count - input) {
                (Width::Eight, 1) => block.eight::<1>(),
                (Width::Eight, 2 | 3) => block.eight::<2>(),
                (Width::Eight, _) => block.eight::<4>(),
                (Width::Four, 1) => block.four::<1>(),
                (Width::Four, 2 | 3) => block.four::<2>(),
                (Width::Four, _) => block.four::<4>(),
            };
        }
        row += BLOCK;
    }
}

/// Sixteen packed rows and a few quantized inputs.
struct Block {
    bytes: *const u8,
    groups: usize,
    codes: *const i8,
    scales: *const f32,
    sums: *const i32,
    out: *mut f32,
    stride: usize,
    mask: __mmask16,
}

impl Block {
    /// Answers how many inputs it did.
    ///
    /// # Safety
    /// There are `T` inputs, with room for the products that `mask` keeps.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn eight<const T: usize>(&self) -> usize {
        let mut totals = [_mm512_setzero_ps(); T];
        for group in 0..self.groups {
            let start = self.bytes.add(group * Width::Eight.group_bytes());
            let mut sums = self.offsets::<T>(group, Width::Eight);
            for four in 0..GROUP / 4 {
                let weights = _mm512_loadu_si512(start.add(SCALE_BYTES + four * 64).cast());
                for (t, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_dpbusd_epi32(*sum, weights, self.codes::<T>(t, group, four));
                }
            }
            self.scale::<T>(start, group, &sums, &mut totals);
        }
        self.store::<T>(&totals)
    }

    /// As [`Block::eight`].
    ///
    /// # Safety
    /// As [`Block::eight`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn four<const T: usize>(&self) -> usize {
        let low_bits = _mm512_set1_epi8(15);
        let mut totals = [_mm512_setzero_ps(); T];
        for group in 0..self.groups {
            let start = self.bytes.add(group * Width::Four.group_bytes());
            let mut sums = self.offsets::<T>(group, Width::Four);
            for eight in 0..GROUP / 8 {
                let both = _mm512_loadu_si512(start.add(SCALE_BYTES + eight * 64).cast());
                let low = _mm512_and_si512(both, low_bits);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_bits);
                for (t, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_dpbusd_epi32(*sum, low, self.codes::<T>(t, group, eight * 2));
                    *sum = _mm512_dpbusd_epi32(*sum, high, self.codes::<T>(t, group, eight * 2 + 1));
                }
            }
            self.scale::<T>(start, group, &sums, &mut totals);
        }
        self.store::<T>(&totals)
    }

    /// Weights are stored without a sign; what that adds is taken away beforehand.
    ///
    /// # Safety
    /// As [`Block::eight`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn offsets<const T: usize>(&self, group: usize, width: Width) -> [__m512i; T] {
        let mut sums = [_mm512_setzero_si512(); T];
        for (t, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_set1_epi32(-width.offset() * *self.sums.add(t * self.groups + group));
        }
        sums
    }

    /// Four codes of input `t`, in every lane.
    ///
    /// # Safety
    /// As [`Block::eight`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn codes<const T: usize>(&self, t: usize, group: usize, four: usize) -> __m512i {
        let at = (t * self.groups + group) * GROUP + four * 4;
        _mm512_set1_epi32(self.codes.add(at).cast::<i32>().read_unaligned())
    }

    /// # Safety
    /// As [`Block::eight`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn scale<const T: usize>(
        &self,
        start: *const u8,
        group: usize,
        sums: &[__m512i; T],
        totals: &mut [__m512; T],
    ) {
        let scales = _mm512_loadu_ps(start.cast());
        for t in 0..T {
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(*self.scales.add(t * self.groups + group)));
            totals[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t]), scale, totals[t]);
        }
    }

    /// # Safety
    /// As [`Block::eight`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")]
    unsafe fn store<const T: usize>(&self, totals: &[__m512; T]) -> usize {
        for (t, &total) in totals.iter().enumerate() {
            _mm512_mask_storeu_ps(self.out.add(t * self.stride), self.mask, total);
        }
        T
    }
}
