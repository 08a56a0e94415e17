//! Rows of the embedding matrix, picked by token; the gradient is scattered back.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::rows;

pub(super) struct Embedding {
    pub(super) tokens: Arc<Vec<u32>>,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, weight: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (vocabulary, width) = layout.shape().dims2()?;
        let weight = rows::slice(weight, layout)?;
        let mut picked = Vec::with_capacity(self.tokens.len() * width);
        for &token in self.tokens.iter() {
            let start = token as usize * width;
            match weight.get(start..start + width) {
                Some(row) => picked.extend_from_slice(row),
                None => bail!("token {token} is outside the vocabulary of {vocabulary}"),
            }
        }
        Ok((CpuStorage::F32(picked), Shape::from((self.tokens.len(), width))))
    }

    fn bwd(&self, weight: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        if !weight.track_op() {
            return Ok(None);
        }
        let (vocabulary, width) = weight.dims2()?;
        let mut scattered = vec![0.0; vocabulary * width];
        rows::with(gradient, |gradient| {
            for (&token, row) in self.tokens.iter().zip(gradient.chunks_exact(width)) {
                let start = token as usize * width;
                for (sum, number) in scattered[start..start + width].iter_mut().zip(row) {
                    *sum += number;
                }
            }
            Ok(())
        })?;
        Tensor::from_vec(scattered, (vocabulary, width), weight.device()).map(Some)
    }
}
