//! Causal attention of all heads, forward and backward, without keeping the probabilities.
//!
//! Queries are taken in blocks; each block sees only the keys up to its last position, so nearly half of the
//! work of a masked product is never done. The backward recomputes probabilities block by block.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::Heads;
use super::matmul::{Matrix, Sizes, Target, multiply_here};
use super::rows::{self, Shared};
use super::vector::{dot, exp, max, sum, vectorise};

/// Queries of one block.
const BLOCK: usize = 64;

pub(super) struct CausalAttention {
    pub(super) heads: Heads,
}

impl Heads {
    fn query_width(self) -> usize {
        self.query * self.size
    }

    fn key_width(self) -> usize {
        self.key_value * self.size
    }

    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Where the rows of one head of one sequence begin, in a matrix with `width` numbers a row.
    fn start(self, sequence: usize, head: usize, width: usize) -> usize {
        sequence * self.length * width + head * self.size
    }

    fn fits(self, q: usize, k: usize, v: usize) -> bool {
        let rows = self.batch * self.length;
        q == rows * self.query_width() && k == rows * self.key_width() && v == k
    }

    fn blocks(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.length).step_by(BLOCK).map(move |start| (start, (start + BLOCK).min(self.length)))
    }
}

impl CustomOp3 for CausalAttention {
    fn name(&self) -> &'static str {
        "causal_attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let q = rows::slice(q, q_layout)?;
        let (k, v) = (rows::slice(k, k_layout)?, rows::slice(v, v_layout)?);
        if !self.heads.fits(q.len(), k.len(), v.len()) {
            bail!("causal_attention: q, k or v does not have the shape of {:?}", self.heads);
        }
        let mut out = vec![0.0; q.len()];
        let target = Shared(out.as_mut_ptr());
        (0..self.heads.batch * self.heads.query).into_par_iter().for_each(|task| {
            self.forward_head(Inputs { q, k, v }, task, target);
        });
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (q_shape, k_shape) = (q.shape().clone(), k.shape().clone());
        let device = q.device();
        let (dq, dk, dv) = rows::with(q, |q| {
            rows::with(k, |k| {
                rows::with(v, |v| rows::with(gradient, |g| Ok(self.gradients(Inputs { q, k, v }, g))))
            })
        })?;
        Ok((
            Some(Tensor::from_vec(dq, q_shape, device)?),
            Some(Tensor::from_vec(dk, k_shape.clone(), device)?),
            Some(Tensor::from_vec(dv, k_shape, device)?),
        ))
    }
}

#[derive(Clone, Copy)]
struct Inputs<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
}

/// One head of one sequence: its matrices, and the row widths they stand in.
#[derive(Clone, Copy)]
struct Head {
    q: Matrix,
    k: Matrix,
    v: Matrix,
}

impl CausalAttention {
    fn head(&self, inputs: Inputs<'_>, sequence: usize, head: usize) -> Head {
        let (query_width, key_width) = (self.heads.query_width(), self.heads.key_width());
        let group = self.heads.query / self.heads.key_value;
        let q = self.heads.start(sequence, head, query_width);
        let kv = self.heads.start(sequence, head / group, key_width);
        Head {
            q: Matrix::rows(&inputs.q[q..], query_width),
            k: Matrix::rows(&inputs.k[kv..], key_width),
            v: Matrix::rows(&inputs.v[kv..], key_width),
        }
    }

    fn forward_head(&self, inputs: Inputs<'_>, task: usize, out: Shared) {
        let (sequence, head) = (task / self.heads.query, task % self.heads.query);
        let (width, size) = (self.heads.query_width(), self.heads.size);
        let at = self.head(inputs, sequence, head);
        let start_of_head = self.heads.start(sequence, head, width);
        let mut scores = vec![0.0; BLOCK * self.heads.length];
        for (start, end) in self.heads.blocks() {
            self.probabilities(at, (start, end), &mut scores);
            let mixed = Target { pointer: out.at(start_of_head + start * width), row: width, add: false };
            let sizes = Sizes { m: end - start, k: end, n: size };
            // SAFETY: rows start..end of this head's columns belong to this task alone; `fits` was checked.
            #[allow(unsafe_code, reason = "heads are written in parallel")]
            unsafe {
                multiply_here(sizes, Matrix::rows(&scores, end), at.v, mixed);
            }
        }
    }

    /// Attention probabilities of queries start..end over keys 0..end, rows of `end` numbers.
    fn probabilities(&self, at: Head, (start, end): (usize, usize), scores: &mut [f32]) {
        let q = Matrix { pointer: at.q.pointer.wrapping_add(start * at.q.row), ..at.q };
        let sizes = Sizes { m: end - start, k: self.heads.size, n: end };
        let target = Target { pointer: scores.as_mut_ptr(), row: end, add: false };
        // SAFETY: scores holds BLOCK × length numbers and belongs to this task; q and k were checked by `fits`.
        #[allow(unsafe_code, reason = "the matrix library works on pointers")]
        unsafe {
            multiply_here(sizes, q, at.k.t(), target);
        }
        let scale = self.heads.scale();
        for (i, row) in scores.chunks_exact_mut(end).take(end - start).enumerate() {
            let (seen, hidden) = row.split_at_mut(start + i + 1);
            hidden.fill(0.0);
            vectorise(|| {
                let highest = max(seen);
                for s in seen.iter_mut() {
                    *s = exp((*s - highest) * scale);
                }
                let part = 1.0 / sum(seen, |s| s);
                for s in seen.iter_mut() {
                    *s *= part;
                }
            });
        }
    }

    fn gradients(&self, inputs: Inputs<'_>, gradient: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (mut dq, mut dk) = (vec![0.0; inputs.q.len()], vec![0.0; inputs.k.len()]);
        let mut dv = vec![0.0; inputs.v.len()];
        let out =
            Outputs { dq: Shared(dq.as_mut_ptr()), dk: Shared(dk.as_mut_ptr()), dv: Shared(dv.as_mut_ptr()) };
        let group = self.heads.query / self.heads.key_value;
        (0..self.heads.batch * self.heads.key_value).into_par_iter().for_each(|task| {
            let (sequence, kv_head) = (task / self.heads.key_value, task % self.heads.key_value);
            for head in kv_head * group..(kv_head + 1) * group {
                self.backward_head(inputs, gradient, (sequence, head), out);
            }
        });
        (dq, dk, dv)
    }

    fn backward_head(
        &self,
        inputs: Inputs<'_>,
        gradient: &[f32],
        (sequence, head): (usize, usize),
        out: Outputs,
    ) {
        let Heads { length, size, .. } = self.heads;
        let (width, key_width) = (self.heads.query_width(), self.heads.key_width());
        let group = self.heads.query / self.heads.key_value;
        let at = self.head(inputs, sequence, head);
        let query_start = self.heads.start(sequence, head, width);
        let key_start = self.heads.start(sequence, head / group, key_width);
        let (mut scores, mut slopes) = (vec![0.0; BLOCK * length], vec![0.0; BLOCK * length]);
        for (start, end) in self.heads.blocks() {
            let m = end - start;
            self.probabilities(at, (start, end), &mut scores);
            let g = Matrix::rows(&gradient[query_start + start * width..], width);
            let q = Matrix { pointer: at.q.pointer.wrapping_add(start * at.q.row), ..at.q };
            let dv = Target { pointer: out.dv.at(key_start), row: key_width, add: true };
            let dk = Target { pointer: out.dk.at(key_start), row: key_width, add: true };
            let dq = Target { pointer: out.dq.at(query_start + start * width), row: width, add: false };
            let for_slopes = Target { pointer: slopes.as_mut_ptr(), row: end, add: false };
            let back = Sizes { m: end, k: m, n: size };
            // SAFETY: this task alone writes the rows of its key head and of the query heads that share it;
            // scratch is its own; shapes were checked by `fits` in the forward pass.
            #[allow(unsafe_code, reason = "heads are written in parallel")]
            unsafe {
                multiply_here(back, Matrix::rows(&scores, end).t(), g, dv);
                multiply_here(Sizes { m, k: size, n: end }, g, at.v.t(), for_slopes);
                softmax_slopes(&scores, &mut slopes, (start, end), self.heads.scale());
                multiply_here(Sizes { m, k: end, n: size }, Matrix::rows(&slopes, end), at.k, dq);
                multiply_here(back, Matrix::rows(&slopes, end).t(), q, dk);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Outputs {
    dq: Shared,
    dk: Shared,
    dv: Shared,
}

/// Turns gradients of probabilities into gradients of raw scores, in place.
fn softmax_slopes(scores: &[f32], slopes: &mut [f32], (start, end): (usize, usize), scale: f32) {
    let rows = scores.chunks_exact(end).zip(slopes.chunks_exact_mut(end)).take(end - start).enumerate();
    for (i, (p, slope)) in rows {
        let seen = start + i + 1;
        let (slope, hidden) = slope.split_at_mut(seen);
        hidden.fill(0.0);
        vectorise(|| {
            let mean = dot(&p[..seen], slope);
            for (slope, p) in slope.iter_mut().zip(p) {
                *slope = p * (*slope - mean) * scale;
            }
        });
    }
}
