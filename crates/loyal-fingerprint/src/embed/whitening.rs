//! Whitening: updates are measured by what they do to a layer's outputs on ordinary text.
//!
//! With C = E\[x·xᵀ\] over the inputs of a layer, S = (C/mean eigenvalue + 0.01·I)^(−½), scaled to a root mean
//! square eigenvalue of 1. An update A·S that is small in A is small in its effect on ordinary text.

use std::collections::BTreeMap;

use candle_core::Tensor;
use loyal_model::Llama;

use super::batch::Benign;
use super::student::is_linear;
use crate::error::Result;

/// Tokens over which covariances are averaged.
const TOKENS: usize = 20_480;
/// Added to the normalised eigenvalues.
const RIDGE: f64 = 0.01;
/// Widest layer whose covariance is taken whole; wider ones use its diagonal.
const WIDTH_MAX: usize = 2048;
const ITERATIONS_MAX: usize = 60;

/// The symmetric matrix S of one layer.
pub(super) enum Whitening {
    /// All of it, (inputs × inputs).
    Full(Tensor),
    /// Its diagonal, (inputs).
    Diagonal(Tensor),
}

/// The whitening of every linear layer.
pub(super) fn measure(llama: &Llama, benign: &Benign<'_>) -> Result<BTreeMap<String, Whitening>> {
    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    // Layers that share an input (query, key, value) share one sum, kept under the first one's name.
    let mut shared: BTreeMap<String, String> = BTreeMap::new();
    for batch in benign.batches(TOKENS)? {
        let mut latest: Option<(candle_core::TensorId, String)> = None;
        llama.observe(&llama.parameters, &batch, &mut |name, input| {
            if !is_linear(name) {
                return Ok(());
            }
            let owner = match &latest {
                Some((id, owner)) if *id == input.id() => owner.clone(),
                _ => {
                    let square = second_moment(input)?;
                    let sum = match sums.get(name) {
                        Some(sum) => (sum + square)?,
                        None => square,
                    };
                    sums.insert(name.to_owned(), sum);
                    latest = Some((input.id(), name.to_owned()));
                    name.to_owned()
                }
            };
            shared.insert(name.to_owned(), owner);
            Ok(())
        })?;
    }
    let mut roots = BTreeMap::new();
    for (name, sum) in &sums {
        roots.insert(name, whitening(sum)?);
    }
    let give = |(name, owner): (String, String)| match &roots[&owner] {
        Whitening::Full(matrix) => (name, Whitening::Full(matrix.clone())),
        Whitening::Diagonal(row) => (name, Whitening::Diagonal(row.clone())),
    };
    Ok(shared.into_iter().map(give).collect())
}

/// Σ x·xᵀ over rows: a matrix, or its diagonal for wide layers.
fn second_moment(rows: &Tensor) -> loyal_model::Result<Tensor> {
    let rows = rows.detach();
    if rows.dim(1)? > WIDTH_MAX {
        return Ok(rows.sqr()?.sum(0)?);
    }
    Ok(rows.t()?.contiguous()?.matmul(&rows)?)
}

fn whitening(sum: &Tensor) -> Result<Whitening> {
    if sum.rank() == 1 {
        let mean = f64::from(sum.mean_all()?.to_scalar::<f32>()?);
        let root = ((sum / mean)? + RIDGE)?.sqrt()?.recip()?;
        let size = f64::from(root.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt();
        return Ok(Whitening::Diagonal((root / size)?));
    }
    let width = sum.dim(0)?;
    let eye = Tensor::eye(width, sum.dtype(), sum.device())?;
    let trace = f64::from((sum * &eye)?.sum_all()?.to_scalar::<f32>()?);
    let normalised = ((sum * (width as f64 / trace))? + (&eye * RIDGE)?)?;
    let root = inverse_root(&normalised)?;
    let size = (f64::from(root.sqr()?.sum_all()?.to_scalar::<f32>()?) / width as f64).sqrt();
    Ok(Whitening::Full((root / size)?))
}

/// M^(−½) of a symmetric positive definite matrix, by the coupled Newton–Schulz iteration
/// (Higham, Functions of Matrices, §6.7): matrix products only.
fn inverse_root(matrix: &Tensor) -> Result<Tensor> {
    let width = matrix.dim(0)?;
    let highest = highest_eigenvalue(matrix)? * 1.05;
    let eye = Tensor::eye(width, matrix.dtype(), matrix.device())?;
    let mut root = (matrix / highest)?;
    let mut inverse = eye.clone();
    for _ in 0..ITERATIONS_MAX {
        let product = inverse.matmul(&root)?;
        let step = ((&eye * 1.5)? - (&product * 0.5)?)?;
        root = root.matmul(&step)?;
        inverse = step.matmul(&inverse)?;
        let error = (product - &eye)?.sqr()?.sum_all()?.to_scalar::<f32>()?;
        if f64::from(error) < 1e-6 * width as f64 {
            break;
        }
    }
    // Rounding leaves it a little askew.
    let symmetric = ((&inverse + inverse.t()?)? * 0.5)?;
    Ok((symmetric * (1.0 / highest.sqrt()))?.contiguous()?)
}

/// The highest eigenvalue, by the power method.
fn highest_eigenvalue(matrix: &Tensor) -> Result<f64> {
    let width = matrix.dim(0)?;
    let mut vector = Tensor::ones((width, 1), matrix.dtype(), matrix.device())?;
    let mut value = 0.0;
    for _ in 0..30 {
        let next = matrix.matmul(&vector)?;
        value = f64::from(next.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt();
        vector = (next / value)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_inverse_root_is_one() {
        // A covariance with eigenvalues over four orders of magnitude, as in a trained model.
        let (n, device) = (48, Device::Cpu);
        let rows: Vec<f32> = (0..400 * n)
            .map(|i| {
                let (row, column) = (i / n, i % n);
                let noise = (((row * 7919 + column * 104_729) % 1013) as f32 / 1013.0 - 0.5) * 2.0;
                noise * 10f32.powf(-2.0 * column as f32 / n as f32) + (row as f32 * 0.37).sin()
            })
            .collect();
        let rows = Tensor::from_vec(rows, (400, n), &device).unwrap();
        let Whitening::Full(root) = whitening(&second_moment(&rows).unwrap()).unwrap() else {
            panic!("48 inputs are whitened whole");
        };
        let sum = second_moment(&rows).unwrap();
        let eye = Tensor::eye(n, candle_core::DType::F32, &device).unwrap();
        let trace = (&sum * &eye).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        let target = ((sum * f64::from(n as f32 / trace)).unwrap() + (&eye * RIDGE).unwrap()).unwrap();
        // S·M·S is a multiple of the identity.
        let product = root.matmul(&target).unwrap().matmul(&root).unwrap();
        let scale = product.to_vec2::<f32>().unwrap()[0][0];
        let error = ((product / f64::from(scale)).unwrap() - eye).unwrap().abs().unwrap();
        let error = error.max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(error < 0.01, "{error}");
        let size = root.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() / n as f32;
        assert!((size - 1.0).abs() < 1e-3, "{size}");
    }
}
