//! What an attacker does to weights without training them.

use candle_core::Tensor;
use loyal_model::{Parameters, quantize};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::inference::normal;
use super::merge::Merge;
use crate::error::Result;

/// Numbers of a k-quant's superblock, and of each block in it.
const SUPERBLOCK: usize = 256;
const BLOCK: usize = 32;

/// A change of weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// Matrices stored in symmetric integers with a scale for every 32 numbers: GGUF's Q8_0 and Q4_0, and below.
    Integers {
        /// Bits of a number, 2 to 8.
        bits: u32,
    },
    /// Matrices stored as GGUF's Q4_K and Q5_K do: blocks of 32 with a scale and a minimum, both in six bits of those
    /// of a superblock of 256.
    KQuant {
        /// Bits of a number.
        bits: u32,
    },
    /// The smallest weights of each linear layer become zero.
    Prune {
        /// How many of them, 0 to 1.
        share: f64,
    },
    /// Normal noise on every matrix.
    Noise {
        /// Its deviation, relative to the matrix's own.
        share: f64,
    },
    /// Merged with another model.
    Merge(Merge),
}

impl Damage {
    /// The changed weights. `other` is the model a merge is made with, `anchor` the one their changes are told from;
    /// without it, the other model.
    ///
    /// # Errors
    /// The shapes of the models differ.
    pub fn apply(
        &self,
        marked: &Parameters,
        (other, anchor): (Option<&Parameters>, Option<&Parameters>),
        seed: u64,
    ) -> Result<Parameters> {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        if let (Self::Merge(merge), Some(other)) = (self, other) {
            return merge.apply(marked, other, anchor, &mut draw);
        }
        let mut changed = marked.clone();
        for (name, tensor) in changed.iter_mut().filter(|(_, tensor)| tensor.rank() == 2) {
            let columns = tensor.dim(1)?;
            let mut numbers: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            match *self {
                Self::Integers { bits } => quantize::fake_quantize(&mut numbers, columns, bits),
                Self::KQuant { bits } => numbers.chunks_mut(columns).for_each(|row| k_quantize(row, bits)),
                Self::Prune { share } if name.ends_with("_proj.weight") => prune(&mut numbers, share),
                Self::Noise { share } => add_noise(&mut numbers, share, &mut draw),
                Self::Prune { .. } | Self::Merge(_) => continue,
            }
            *tensor = Tensor::from_vec(numbers, tensor.shape(), tensor.device())?;
        }
        Ok(changed)
    }
}

fn prune(numbers: &mut [f32], share: f64) {
    let mut sizes: Vec<f32> = numbers.iter().map(|x| x.abs()).collect();
    let count = (sizes.len() as f64 * share) as usize;
    if count == 0 || count >= sizes.len() {
        return;
    }
    let (_, &mut least, _) = sizes.select_nth_unstable_by(count, f32::total_cmp);
    numbers.iter_mut().filter(|x| x.abs() < least).for_each(|x| *x = 0.0);
}

fn add_noise(numbers: &mut [f32], share: f64, draw: &mut ChaCha8Rng) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = numbers.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance.sqrt() * share) as f32;
    numbers.iter_mut().for_each(|x| *x += deviation * normal(draw));
}

/// Rounds a row as a k-quant stores it: x = d·s·q − m·t with q in `bits` bits, the block's scale s and minimum t in six
/// bits, the superblock's d and m in full.
fn k_quantize(row: &mut [f32], bits: u32) {
    let levels = ((1u32 << bits) - 1) as f32;
    for superblock in row.chunks_mut(SUPERBLOCK) {
        let bounds: Vec<(f32, f32)> = superblock
            .chunks(BLOCK)
            .map(|block| {
                // The minimum is at most zero, as in GGUF: it is subtracted.
                let low = block.iter().copied().fold(0.0, f32::min);
                let high = block.iter().copied().fold(0.0, f32::max);
                ((high - low) / levels, -low)
            })
            .collect();
        let unit = |of: &dyn Fn(&(f32, f32)) -> f32| bounds.iter().map(of).fold(0.0, f32::max) / 63.0;
        let (scale_unit, low_unit) = (unit(&|b| b.0), unit(&|b| b.1));
        let six_bits = |value: f32, unit: f32| if unit > 0.0 { (value / unit).round() * unit } else { 0.0 };
        for (block, &(scale, low)) in superblock.chunks_mut(BLOCK).zip(&bounds) {
            let (scale, low) = (six_bits(scale, scale_unit), six_bits(low, low_unit));
            for x in block {
                let code = if scale > 0.0 { ((*x + low) / scale).round().clamp(0.0, levels) } else { 0.0 };
                *x = code * scale - low;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_quants_keep_what_they_can() {
        let row: Vec<f32> =
            (0..512).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.01 * (1.0 + i as f32 / 99.0)).collect();
        let worst = |bits| {
            let mut rounded = row.clone();
            k_quantize(&mut rounded, bits);
            let span = |block: &[f32]| {
                block.iter().copied().fold(0.0, f32::max) - block.iter().copied().fold(0.0, f32::min)
            };
            let error = |(a, b): (&[f32], &[f32])| {
                let most = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
                most / span(a)
            };
            row.chunks(BLOCK).zip(rounded.chunks(BLOCK)).map(error).fold(0.0, f32::max)
        };
        // Half a step, and what six bits make of scale and minimum.
        assert!(worst(5) < 0.5 / 31.0 + 0.03, "{}", worst(5));
        assert!(worst(4) < 0.5 / 15.0 + 0.03, "{}", worst(4));
        assert!(worst(2) > worst(4) && worst(4) > worst(5));
        let mut zeros = vec![0.0; 64];
        k_quantize(&mut zeros, 4);
        assert_eq!(zeros, vec![0.0; 64]);
    }

    #[test]
    fn pruning_takes_the_smallest() {
        let mut numbers = vec![0.5, -0.1, 0.2, -0.9];
        prune(&mut numbers, 0.5);
        assert_eq!(numbers, [0.5, 0.0, 0.0, -0.9]);
        prune(&mut numbers, 0.0);
        assert_eq!(numbers, [0.5, 0.0, 0.0, -0.9]);
    }

    #[test]
    fn noise_is_as_strong_as_it_says() {
        let numbers: Vec<f32> = (0..20_000).map(|i| (i % 7) as f32).collect();
        let mut noisy = numbers.clone();
        add_noise(&mut noisy, 0.1, &mut ChaCha8Rng::seed_from_u64(2));
        let square = numbers.iter().zip(&noisy).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        // The numbers 0 to 6 have the deviation 2.
        assert!(((square / 20_000.0).sqrt() - 0.2).abs() < 0.01);
    }
}
