//! The differentiable operations a Llama is trained with.
//!
//! On the CPU each is fused, forward and backward, over contiguous f32 rows; elsewhere it is composed of
//! the tensor engine's own operations. Candle's stock `rms_norm`, `rope`, `softmax_last_dim` and `sdpa` have
//! no backward and lose gradients silently, so none of them is used.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor};

mod attention;
mod embedding;
mod linear;
mod loss;
mod matmul;
mod norm;
mod rope;
mod rows;
mod swiglu;
pub(crate) mod vector;

pub use rope::Rotary;

/// Shape of causal self-attention over a batch of equally long rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Sequences in the batch.
    pub batch: usize,
    /// Tokens in each sequence.
    pub length: usize,
    /// Query heads.
    pub query: usize,
    /// Key and value heads; divides `query`.
    pub key_value: usize,
    /// Width of one head.
    pub size: usize,
}

/// Rows of `weight` (vocabulary × width) picked by `tokens`: (tokens × width).
///
/// # Errors
/// A token is outside the vocabulary.
pub fn embedding(weight: &Tensor, tokens: &Arc<Vec<u32>>) -> Result<Tensor> {
    if weight.device().is_cpu() {
        return weight.contiguous()?.apply_op1(embedding::Embedding { tokens: Arc::clone(tokens) });
    }
    let ids = Tensor::from_slice(tokens, tokens.len(), weight.device())?;
    weight.index_select(&ids, 0)
}

/// `x · weightᵀ`: (rows × inputs) and (outputs × inputs) to (rows × outputs).
///
/// # Errors
/// The inner sizes differ.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2(&weight.contiguous()?, linear::Linear);
    }
    x.matmul(&weight.t()?)
}

/// Root-mean-square normalisation of each row, times `weight` (arXiv 1910.07467).
///
/// # Errors
/// The row width is not a multiple of the weight's length.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2(&weight.contiguous()?, norm::RmsNorm { eps: eps as f32 });
    }
    composed::rms_norm(x, weight, eps)
}

/// Rotary position embedding in half-rotation order on every head of (batch·length × heads·size) (arXiv 2104.09864).
///
/// # Errors
/// The tables are shorter than the sequence.
pub fn rope(x: &Tensor, rotary: &Rotary, length: usize) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(rope::Rope { rotary: rotary.clone(), length, inverse: false });
    }
    composed::rope(x, rotary, length)
}

/// Causal attention: softmax(q·kᵀ/√size) with later positions hidden, times v. Grouped queries share keys.
///
/// Shapes: q (batch·length × query·size), k and v (batch·length × `key_value`·size); the result is shaped as q.
///
/// # Errors
/// A shape does not fit `heads`.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads) -> Result<Tensor> {
    if q.device().is_cpu() {
        let op = attention::CausalAttention { heads };
        return q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op);
    }
    composed::causal_attention(q, k, v, heads)
}

/// `silu(gate) · up`, element by element (arXiv 2002.05202).
///
/// # Errors
/// The shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.device().is_cpu() {
        return gate.contiguous()?.apply_op2(&up.contiguous()?, swiglu::SwiGlu);
    }
    composed::swiglu(gate, up)
}

/// Logarithm of the softmax of each row.
///
/// # Errors
/// Not a matrix.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    if logits.device().is_cpu() {
        return logits.contiguous()?.apply_op1(loss::LogSoftmax);
    }
    composed::log_softmax(logits)
}

/// Cross-entropy of each row's softmax with its target token, averaged with `weights` (nats; a weight of 0
/// masks a row out; divided by the sum of weights).
///
/// # Errors
/// A target is outside the vocabulary, or lengths differ.
pub fn cross_entropy(logits: &Tensor, targets: &[u32], weights: &[f32]) -> Result<Tensor> {
    let labels = loss::Labels::new(targets, weights)?;
    if logits.device().is_cpu() {
        return logits.contiguous()?.apply_op1(loss::CrossEntropy { labels });
    }
    composed::cross_entropy(logits, &labels)
}

/// [`cross_entropy`] of `linear(hidden, weight)` without ever holding all logits: rows go through the head in
/// blocks and gradients are formed on the way, so memory is one block instead of rows × vocabulary.
///
/// # Errors
/// As [`cross_entropy`] and [`linear`].
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    weights: &[f32],
) -> Result<Tensor> {
    let labels = loss::Labels::new(targets, weights)?;
    if hidden.device().is_cpu() {
        let op = loss::LinearCrossEntropy::new(labels, hidden.track_op(), weight.track_op());
        return hidden.contiguous()?.apply_op2(&weight.contiguous()?, op);
    }
    composed::cross_entropy(&linear(hidden, weight)?, &labels)
}

/// Mean over rows of −Σ q·log p, with p the softmax of `logits` and q the rows of `target` (which get no
/// gradient). Minus the entropy of q, this is KL(q ‖ p).
///
/// # Errors
/// The shapes differ.
pub fn soft_cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let target = target.detach();
    if logits.device().is_cpu() {
        return logits.contiguous()?.apply_op2(&target.contiguous()?, loss::SoftCrossEntropy);
    }
    let rows = logits.dim(0)? as f64;
    (log_softmax(logits)? * target)?.sum_all()? / -rows
}

/// Mean over rows of KL(softmax(`reference`) ‖ softmax(`logits`)), nats. `reference` gets no gradient.
///
/// # Errors
/// The shapes differ.
pub fn kl_divergence(reference: &Tensor, logits: &Tensor) -> Result<Tensor> {
    let reference = log_softmax(&reference.detach())?;
    let target = reference.exp()?;
    let rows = logits.dim(0)? as f64;
    let entropy = ((&target * &reference)?.sum_all()? / rows)?;
    soft_cross_entropy(logits, &target)? + entropy
}

/// The same operations out of the tensor engine's differentiable ones: the path on GPUs and the oracle in tests.
pub mod composed {
    use super::{D, DType, Heads, Result, Rotary, Tensor, loss};

    /// See [`super::rms_norm`].
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
        let (shape, width) = (x.shape().clone(), weight.elem_count());
        let x = x.reshape(((), width))?;
        let scale = (x.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?;
        x.broadcast_div(&scale)?.broadcast_mul(weight)?.reshape(shape)
    }

    /// See [`super::rope`].
    ///
    /// # Errors
    /// The tables are shorter than the sequence.
    pub fn rope(x: &Tensor, rotary: &Rotary, length: usize) -> Result<Tensor> {
        let (shape, half) = (x.shape().clone(), rotary.half());
        let heads = x.dim(1)? / (2 * half);
        let x = x.reshape(((), length, heads, 2 * half))?;
        let (cos, sin) = rotary.tensors(length, x.device())?;
        let (cos, sin) = (cos.reshape((1, length, 1, half))?, sin.reshape((1, length, 1, half))?);
        let (a, b) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], 3)?.reshape(shape)
    }

    /// See [`super::causal_attention`].
    ///
    /// # Errors
    /// A shape does not fit `heads`.
    pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads) -> Result<Tensor> {
        let Heads { batch, length, query, key_value, size } = heads;
        let split = |x: &Tensor, count: usize| -> Result<Tensor> {
            x.reshape((batch, length, count, size))?.transpose(1, 2)?.contiguous()
        };
        let repeat = |x: Tensor| -> Result<Tensor> {
            let group = query / key_value;
            let x = x.unsqueeze(2)?.broadcast_as((batch, key_value, group, length, size))?;
            x.contiguous()?.reshape((batch, query, length, size))
        };
        let (q, k, v) = (split(q, query)?, repeat(split(k, key_value)?)?, repeat(split(v, key_value)?)?);
        let scores = (q.matmul(&k.t()?.contiguous()?)? / (size as f64).sqrt())?;
        let hidden = (0..length * length).map(|i| if i % length > i / length { -1e30f32 } else { 0.0 });
        let mask = Tensor::from_iter(hidden, q.device())?.reshape((1, 1, length, length))?;
        let scores = scores.broadcast_add(&mask)?;
        let flat = log_softmax(&scores.reshape(((), length))?)?.exp()?;
        let mixed = flat.reshape((batch, query, length, length))?.matmul(&v)?;
        mixed.transpose(1, 2)?.contiguous()?.reshape((batch * length, query * size))
    }

    /// See [`super::swiglu`].
    ///
    /// # Errors
    /// The shapes differ.
    pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        gate.silu()? * up
    }

    /// See [`super::log_softmax`].
    ///
    /// # Errors
    /// Not a matrix.
    pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
        let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
        shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
    }

    pub(super) fn cross_entropy(logits: &Tensor, labels: &loss::Labels) -> Result<Tensor> {
        let device = logits.device();
        let targets = Tensor::from_slice(&labels.targets, (labels.targets.len(), 1), device)?;
        let weights =
            Tensor::from_slice(&labels.weights, labels.weights.len(), device)?.to_dtype(DType::F32)?;
        let picked = log_softmax(logits)?.gather(&targets, 1)?.squeeze(1)?;
        (picked * weights)?.sum_all()?.neg()? / f64::from(labels.total())
    }
}
