//! A matrix product with a transposed weight, with gradients that come out contiguous.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::matmul::{Matrix, Sizes, Target, multiply};
use super::rows;

pub(super) struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (m, k) = x_layout.shape().dims2()?;
        let (n, inputs) = weight_layout.shape().dims2()?;
        if inputs != k {
            bail!("linear: rows of {k} numbers do not fit a weight of {n} × {inputs}");
        }
        let (x, weight) = (rows::slice(x, x_layout)?, rows::slice(weight, weight_layout)?);
        let y = product(Sizes { m, k, n }, Matrix::rows(x, k), Matrix::rows(weight, k).t());
        Ok((CpuStorage::F32(y), Shape::from((m, n))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (m, k) = x.dims2()?;
        let n = weight.dim(0)?;
        let to_tensor = |numbers, shape: (usize, usize)| Tensor::from_vec(numbers, shape, x.device());
        rows::with(gradient, |g| {
            let g = Matrix::rows(g, n);
            let for_x = x.track_op().then(|| {
                rows::with(weight, |weight| {
                    to_tensor(product(Sizes { m, k: n, n: k }, g, Matrix::rows(weight, k)), (m, k))
                })
            });
            let for_weight = weight.track_op().then(|| {
                rows::with(x, |x| {
                    to_tensor(product(Sizes { m: n, k: m, n: k }, g.t(), Matrix::rows(x, k)), (n, k))
                })
            });
            Ok((for_x.transpose()?, for_weight.transpose()?))
        })
    }
}

/// A fresh (m × n) product of whole matrices.
pub(super) fn product(sizes: Sizes, a: Matrix, b: Matrix) -> Vec<f32> {
    let mut numbers = vec![0.0; sizes.m * sizes.n];
    let target = Target { pointer: numbers.as_mut_ptr(), row: sizes.n, add: false };
    // SAFETY: callers pass matrices of whole slices with these sizes, and the target was just made.
    #[allow(unsafe_code, reason = "the matrix library works on pointers")]
    unsafe {
        multiply(sizes, a, b, target);
    }
    numbers
}
