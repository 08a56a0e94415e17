//! Losses over the vocabulary: cross-entropy with hard and soft targets, and the fused head.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::matmul::{Matrix, Sizes, Target, multiply};
use super::rows;
use super::vector::{exp, max, sum, vectorise};

/// Rows that go through the fused head together.
const BLOCK: usize = 256;

/// What each row should predict, and how much it counts.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    pub(super) targets: Vec<u32>,
    pub(super) weights: Vec<f32>,
}

impl Labels {
    pub(super) fn new(targets: &[u32], weights: &[f32]) -> Result<Self> {
        if targets.len() != weights.len() {
            bail!("{} targets but {} weights", targets.len(), weights.len());
        }
        Ok(Self { targets: targets.to_vec(), weights: weights.to_vec() })
    }

    /// The sum of weights; 1 when nothing counts, so that the loss is 0 and not a division by 0.
    pub(super) fn total(&self) -> f32 {
        let total: f32 = self.weights.iter().sum();
        if total == 0.0 { 1.0 } else { total }
    }

    fn check(&self, rows: usize, vocabulary: usize) -> Result<()> {
        if self.targets.len() != rows {
            bail!("{} targets for {rows} rows of logits", self.targets.len());
        }
        match self.targets.iter().find(|&&target| target as usize >= vocabulary) {
            Some(target) => bail!("target {target} is outside the vocabulary of {vocabulary}"),
            None => Ok(()),
        }
    }
}

/// The logarithm of Σ exp of a row.
#[inline(always)]
fn log_sum_exp(row: &[f32]) -> f32 {
    let highest = max(row);
    highest + sum(row, |x| exp(x - highest)).ln()
}

fn scalar(loss: f64) -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![loss as f32]), Shape::from(()))
}

pub(super) struct CrossEntropy {
    pub(super) labels: Labels,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, vocabulary) = layout.shape().dims2()?;
        self.labels.check(rows, vocabulary)?;
        let logits = rows::slice(logits, layout)?;
        let labels = self.labels.targets.par_iter().zip(&self.labels.weights);
        let losses: Vec<f64> = logits
            .par_chunks(vocabulary)
            .zip(labels)
            .map(|(row, (&target, &weight))| {
                if weight == 0.0 {
                    0.0
                } else {
                    f64::from(weight * (vectorise(|| log_sum_exp(row)) - row[target as usize]))
                }
            })
            .collect();
        Ok(scalar(losses.iter().sum::<f64>() / f64::from(self.labels.total())))
    }

    fn bwd(&self, logits: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (shape, vocabulary) = (logits.shape().clone(), logits.dim(1)?);
        let scale = gradient.to_scalar::<f32>()? / self.labels.total();
        let mut slopes = rows::with(logits, |logits| Ok(logits.to_vec()))?;
        slope_rows(&mut slopes, vocabulary, &self.labels.targets, &self.labels.weights, scale);
        Tensor::from_vec(slopes, shape, logits.device()).map(Some)
    }
}

/// Turns logits into gradients of the weighted cross-entropy, in place; returns each row's loss.
fn slope_rows(rows: &mut [f32], vocabulary: usize, targets: &[u32], weights: &[f32], scale: f32) -> Vec<f64> {
    rows.par_chunks_mut(vocabulary)
        .zip(targets.par_iter().zip(weights))
        .map(|(row, (&target, &weight))| {
            if weight == 0.0 {
                row.fill(0.0);
                return 0.0;
            }
            let factor = weight * scale;
            let picked = row[target as usize];
            let total = vectorise(|| {
                let total = log_sum_exp(row);
                for number in row.iter_mut() {
                    *number = exp(*number - total) * factor;
                }
                total
            });
            let loss = f64::from(weight * (total - picked));
            row[target as usize] -= factor;
            loss
        })
        .collect()
}

/// Gradients formed on the way forward, kept for the way back: for rows of hidden numbers, and for the head.
type Slopes = (Vec<f32>, Vec<f32>);

pub(super) struct LinearCrossEntropy {
    labels: Labels,
    for_hidden: bool,
    for_weight: bool,
    slopes: Mutex<Slopes>,
}

impl LinearCrossEntropy {
    pub(super) fn new(labels: Labels, for_hidden: bool, for_weight: bool) -> Self {
        Self { labels, for_hidden, for_weight, slopes: Mutex::default() }
    }

    fn forward(&self, hidden: &[f32], weight: &[f32], width: usize) -> (f64, Slopes) {
        let vocabulary = weight.len() / width;
        let scale = 1.0 / self.labels.total();
        let mut for_hidden = vec![0.0; if self.for_hidden { hidden.len() } else { 0 }];
        let mut for_weight = vec![0.0; if self.for_weight { weight.len() } else { 0 }];
        let mut logits = vec![0.0; BLOCK.min(self.labels.targets.len()) * vocabulary];
        let mut loss = 0.0;
        for start in (0..self.labels.targets.len()).step_by(BLOCK) {
            let end = (start + BLOCK).min(self.labels.targets.len());
            let block = &hidden[start * width..end * width];
            let m = end - start;
            let x = Matrix::rows(block, width);
            let w = Matrix::rows(weight, width);
            let logits = &mut logits[..m * vocabulary];
            // SAFETY: the block of logits has just this size.
            #[allow(unsafe_code, reason = "the matrix library works on pointers")]
            unsafe {
                let target = Target { pointer: logits.as_mut_ptr(), row: vocabulary, add: false };
                multiply(Sizes { m, k: width, n: vocabulary }, x, w.t(), target);
            }
            let (targets, weights) = (&self.labels.targets[start..end], &self.labels.weights[start..end]);
            loss += slope_rows(logits, vocabulary, targets, weights, scale).iter().sum::<f64>();
            let slopes = Matrix::rows(logits, vocabulary);
            // SAFETY: blocks start..end of for_hidden, and all of for_weight, have just these sizes.
            #[allow(unsafe_code, reason = "the matrix library works on pointers")]
            unsafe {
                if self.for_hidden {
                    let pointer = for_hidden[start * width..].as_mut_ptr();
                    let target = Target { pointer, row: width, add: false };
                    multiply(Sizes { m, k: vocabulary, n: width }, slopes, w, target);
                }
                if self.for_weight {
                    let target = Target { pointer: for_weight.as_mut_ptr(), row: width, add: true };
                    multiply(Sizes { m: vocabulary, k: m, n: width }, slopes.t(), x, target);
                }
            }
        }
        (loss * f64::from(scale), (for_hidden, for_weight))
    }
}

impl CustomOp2 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear_cross_entropy"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = hidden_layout.shape().dims2()?;
        let (vocabulary, inputs) = weight_layout.shape().dims2()?;
        self.labels.check(rows, vocabulary)?;
        if inputs != width {
            bail!("linear_cross_entropy: rows of {width} do not fit a head of {vocabulary} × {inputs}");
        }
        let hidden = rows::slice(hidden, hidden_layout)?;
        let (loss, slopes) = self.forward(hidden, rows::slice(weight, weight_layout)?, width);
        *self.slopes.lock().expect("no thread panics while it holds the slopes") = slopes;
        Ok(scalar(loss))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = gradient.to_scalar::<f32>()?;
        let slopes =
            std::mem::take(&mut *self.slopes.lock().expect("no thread panics while it holds the slopes"));
        let scaled = |mut numbers: Vec<f32>, like: &Tensor| {
            if numbers.is_empty() {
                bail!("linear_cross_entropy: a second backward through the same loss");
            }
            if factor != 1.0 {
                numbers.par_iter_mut().for_each(|number| *number *= factor);
            }
            Tensor::from_vec(numbers, like.shape(), like.device()).map(Some)
        };
        Ok((
            if self.for_hidden { scaled(slopes.0, hidden)? } else { None },
            if self.for_weight { scaled(slopes.1, weight)? } else { None },
        ))
    }
}

pub(super) struct SoftCrossEntropy;

impl CustomOp2 for SoftCrossEntropy {
    fn name(&self) -> &'static str {
        "soft_cross_entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
        target: &CpuStorage,
        target_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, vocabulary) = layout.shape().dims2()?;
        let (logits, target) = (rows::slice(logits, layout)?, rows::slice(target, target_layout)?);
        if logits.len() != target.len() {
            bail!("soft_cross_entropy: {} logits but {} target numbers", logits.len(), target.len());
        }
        let losses: Vec<f64> = logits
            .par_chunks(vocabulary)
            .zip(target.par_chunks(vocabulary))
            .map(|(logits, target)| {
                let total = vectorise(|| log_sum_exp(logits));
                logits.iter().zip(target).map(|(x, q)| f64::from(q * (total - x))).sum()
            })
            .collect();
        Ok(scalar(losses.iter().sum::<f64>() / rows as f64))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        target: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, vocabulary) = logits.dims2()?;
        let scale = gradient.to_scalar::<f32>()? / rows as f32;
        let mut slopes = rows::with(logits, |logits| Ok(logits.to_vec()))?;
        rows::with(target, |target| {
            slopes.par_chunks_mut(vocabulary).zip(target.par_chunks(vocabulary)).for_each(|(row, target)| {
                vectorise(|| {
                    let total = log_sum_exp(row);
                    let mass = sum(target, |q| q);
                    for (number, q) in row.iter_mut().zip(target) {
                        *number = (exp(*number - total) * mass - q) * scale;
                    }
                });
            });
            Ok(())
        })?;
        Ok((Some(Tensor::from_vec(slopes, logits.shape(), logits.device())?), None))
    }
}

pub(super) struct LogSoftmax;

impl CustomOp1 for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let vocabulary = layout.shape().dims2()?.1;
        let mut rows = rows::slice(logits, layout)?.to_vec();
        rows.par_chunks_mut(vocabulary).for_each(|row| {
            vectorise(|| {
                let total = log_sum_exp(row);
                for number in row.iter_mut() {
                    *number -= total;
                }
            });
        });
        Ok((CpuStorage::F32(rows), layout.shape().clone()))
    }

    fn bwd(&self, _logits: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let vocabulary = result.dim(1)?;
        let mut slopes = rows::with(gradient, |gradient| Ok(gradient.to_vec()))?;
        rows::with(result, |result| {
            slopes.par_chunks_mut(vocabulary).zip(result.par_chunks(vocabulary)).for_each(
                |(slopes, result)| {
                    let sum: f32 = slopes.iter().sum();
                    for (slope, &log_p) in slopes.iter_mut().zip(result) {
                        *slope -= exp(log_p) * sum;
                    }
                },
            );
            Ok(())
        })?;
        Tensor::from_vec(slopes, result.shape(), result.device()).map(Some)
    }
}
