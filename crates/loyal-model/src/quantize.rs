//! Weights in fewer bits: symmetric integers in groups of 32 along a row, one scale a group.

use rayon::prelude::*;

/// Numbers of a row that share a scale.
pub const GROUP: usize = 32;
/// Rows that are stored side by side, so that one vector instruction serves them all.
pub(crate) const BLOCK: usize = 16;
/// Bytes of the scales of one group in one block.
pub(crate) const SCALE_BYTES: usize = BLOCK * 4;

/// How a decoder keeps its weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As precise as the file: f32 stays f32, bf16 and f16 stay as they are and are widened when used.
    F32,
    /// Rounded to bf16 where the file holds more.
    Bf16,
    /// Eight-bit integers, 9 bits a number with the scales; activations are rounded to eight bits too.
    Int8,
    /// Four-bit integers, 5 bits a number with the scales; activations are rounded to eight bits.
    Int4,
}

/// The width of a packed number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Codes from -127 to 127.
    Eight,
    /// Codes from -7 to 7.
    Four,
}

impl Width {
    /// The highest code.
    const fn level(self) -> f32 {
        match self {
            Self::Eight => 127.0,
            Self::Four => 7.0,
        }
    }

    /// What is added to a code to store it without a sign.
    pub(crate) const fn offset(self) -> i32 {
        match self {
            Self::Eight => 128,
            Self::Four => 8,
        }
    }

    /// Bytes of one group in one block, scales included.
    pub(crate) const fn group_bytes(self) -> usize {
        match self {
            Self::Eight => SCALE_BYTES + BLOCK * GROUP,
            Self::Four => SCALE_BYTES + BLOCK * GROUP / 2,
        }
    }

    /// Where in a group's codes the number at (`row` of the block, `column` of the group) stands: its byte,
    /// and by how many bits it is shifted.
    const fn place(self, row: usize, column: usize) -> (usize, u32) {
        match self {
            Self::Eight => (column / 4 * 64 + row * 4 + column % 4, 0),
            Self::Four => (column / 8 * 64 + row * 4 + column % 4, (column / 4 % 2) as u32 * 4),
        }
    }
}

/// A matrix packed for the integer kernels: blocks of 16 rows, each a sequence of groups of 32 columns, each
/// group 16 scales and then the codes, four columns of every row after another. Padding is zero.
#[derive(Debug, Clone)]
pub struct Packed {
    width: Width,
    rows: usize,
    columns: usize,
    buffer: Vec<u8>,
    start: usize,
}

impl Packed {
    /// Packs a row-major matrix of `columns` columns.
    ///
    /// # Panics
    /// `numbers` is no whole number of rows.
    #[must_use]
    pub fn new(numbers: &[f32], columns: usize, width: Width) -> Self {
        assert!(columns > 0 && numbers.len().is_multiple_of(columns), "a matrix has whole rows");
        let rows = numbers.len() / columns;
        let block_bytes = columns.div_ceil(GROUP) * width.group_bytes();
        let len = rows.div_ceil(BLOCK) * block_bytes;
        let mut buffer = vec![0u8; len + 63];
        let start = buffer.as_ptr().align_offset(64).min(63);
        let blocks = buffer[start..start + len].par_chunks_mut(block_bytes);
        blocks.zip(numbers.par_chunks(BLOCK * columns)).for_each(|(block, rows)| {
            pack_block(block, rows, columns, width);
        });
        Self { width, rows, columns, buffer, start }
    }

    /// Number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// The width of its numbers.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.width
    }

    /// The packed bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.rows.div_ceil(BLOCK) * self.columns.div_ceil(GROUP) * self.width.group_bytes();
        &self.buffer[self.start..self.start + len]
    }

    /// Writes one row's numbers, rounded as they are stored, to `out`.
    ///
    /// # Panics
    /// There is no such row, or `out` is no row long.
    pub fn unpack_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.columns, "the row and its length are the matrix's");
        let group_bytes = self.width.group_bytes();
        let first = row / BLOCK * self.columns.div_ceil(GROUP) * group_bytes;
        let groups = self.bytes()[first..].chunks_exact(group_bytes);
        let lane = row % BLOCK;
        for (numbers, group) in out.chunks_mut(GROUP).zip(groups) {
            let (scales, codes) = group.split_at(SCALE_BYTES);
            let scale = f32::from_le_bytes([0, 1, 2, 3].map(|i| scales[lane * 4 + i]));
            for (column, number) in numbers.iter_mut().enumerate() {
                let (byte, shift) = self.width.place(lane, column);
                let mask = if self.width == Width::Four { 15 } else { 255 };
                let code = i32::from(codes[byte] >> shift & mask) - self.width.offset();
                *number = code as f32 * scale;
            }
        }
    }
}

fn pack_block(block: &mut [u8], rows: &[f32], columns: usize, width: Width) {
    for (index, group) in block.chunks_exact_mut(width.group_bytes()).enumerate() {
        let (scales, codes) = group.split_at_mut(SCALE_BYTES);
        let zero = if width == Width::Four { 0x88 } else { 0x80 };
        codes.fill(zero);
        for (lane, row) in rows.chunks_exact(columns).enumerate() {
            let numbers = &row[index * GROUP..columns.min((index + 1) * GROUP)];
            let scale = scale(numbers, width.level());
            scales[lane * 4..lane * 4 + 4].copy_from_slice(&scale.to_le_bytes());
            for (column, &number) in numbers.iter().enumerate() {
                let (byte, shift) = width.place(lane, column);
                let stored = (code(number, scale, width.level()) as i32 + width.offset()) as u8;
                codes[byte] = codes[byte] & !(zero_mask(width) << shift) | stored << shift;
            }
        }
    }
}

const fn zero_mask(width: Width) -> u8 {
    match width {
        Width::Eight => 255,
        Width::Four => 15,
    }
}

/// The scale that brings the largest number of a group to the highest code.
fn scale(numbers: &[f32], level: f32) -> f32 {
    let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    largest / level
}

fn code(number: f32, scale: f32, level: f32) -> f32 {
    // A scale below the smallest normal number has no usable inverse; such a group is zero.
    if scale < f32::MIN_POSITIVE { 0.0 } else { (number / scale).round_ties_even().clamp(-level, level) }
}

/// What storing a row-major matrix in `bits` (2 to 8) bits a number does to it: rounds every number as
/// [`Packed`] does.
///
/// # Panics
/// `bits` is not from 2 to 8, or `rows` is no whole number of rows.
pub fn fake_quantize(rows: &mut [f32], columns: usize, bits: u32) {
    assert!((2..=8).contains(&bits), "integers of 2 to 8 bits");
    assert!(columns > 0 && rows.len().is_multiple_of(columns), "a matrix has whole rows");
    let level = ((1u32 << (bits - 1)) - 1) as f32;
    rows.par_chunks_mut(columns).for_each(|row| {
        for group in row.chunks_mut(GROUP) {
            let scale = scale(group, level);
            for number in group {
                *number = code(*number, scale, level) * scale;
            }
        }
    });
}
