//! One transformer block: its weights, and what happens around attention.

use super::matrix::Matrix;
use super::{Decoder, Row, Scratch, Source};
use crate::config::{Architecture, Config};
use crate::error::Result;
use crate::kernels::{Product, multiply};
use crate::quantize::Precision;

/// The weights of one block.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) index: usize,
    pub(super) attention_norm: Vec<f32>,
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    /// Norms of each query and key head (Qwen3).
    pub(super) head_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) output: Linear,
    feed_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// A matrix with the bias that some models add.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) matrix: Matrix,
    pub(super) bias: Vec<f32>,
}

impl Layer {
    pub(super) fn build(
        config: &Config,
        source: &Source<'_>,
        index: usize,
        precision: Precision,
    ) -> Result<Self> {
        let (width, feed) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let vector = |part: &str, length| source.vector(&name(part), length);
        let matrix = |part: &str, shape| source.matrix(&name(part), shape, precision);
        let linear = |part: &str, shape: [usize; 2], biased: bool| -> Result<Linear> {
            Ok(Linear {
                matrix: matrix(&format!("{part}.weight"), shape)?,
                bias: if biased { vector(&format!("{part}.bias"), shape[0])? } else { Vec::new() },
            })
        };
        let (query, kv) = (config.query_size(), config.kv_size());
        let biased = config.attention_bias;
        let norms = config.architecture == Architecture::Qwen3;
        let head_norm = |part: &str| vector(part, config.head_size);
        Ok(Self {
            index,
            attention_norm: vector("input_layernorm.weight", width)?,
            query: linear("self_attn.q_proj", [query, width], biased)?,
            key: linear("self_attn.k_proj", [kv, width], biased)?,
            value: linear("self_attn.v_proj", [kv, width], biased)?,
            head_norms: if norms {
                Some((head_norm("self_attn.q_norm.weight")?, head_norm("self_attn.k_norm.weight")?))
            } else {
                None
            },
            output: linear(
                "self_attn.o_proj",
                [width, query],
                biased && config.architecture != Architecture::Qwen2,
            )?,
            feed_norm: vector("post_attention_layernorm.weight", width)?,
            gate: matrix("mlp.gate_proj.weight", [feed, width])?,
            up: matrix("mlp.up_proj.weight", [feed, width])?,
            down: matrix("mlp.down_proj.weight", [width, feed])?,
        })
    }
}

impl Decoder {
    /// Queries, keys and values of all rows, normed and turned as the model asks.
    pub(super) fn project(&self, layer: &Layer, scratch: &mut Scratch) {
        let config = &self.config;
        let (count, eps) = (scratch.hidden.len() / config.hidden_size, config.rms_norm_eps as f32);
        let normed = scratch.normed.resize(count, config.hidden_size);
        self.isa.rms_norm(&scratch.hidden, &layer.attention_norm, eps, normed);
        self.prepare(&mut scratch.normed);
        scratch.query.resize(count * config.query_size(), 0.0);
        scratch.key.resize(count * config.kv_size(), 0.0);
        scratch.value.resize(count * config.kv_size(), 0.0);
        let parts = [
            (&layer.query, &mut scratch.query),
            (&layer.key, &mut scratch.key),
            (&layer.value, &mut scratch.value),
        ];
        let mut products = parts.map(|(linear, out)| Product { matrix: linear.matrix.view(), out });
        multiply(&self.pool, self.isa, &scratch.normed, &mut products);
        for (linear, out) in [
            (&layer.query, &mut scratch.query),
            (&layer.key, &mut scratch.key),
            (&layer.value, &mut scratch.value),
        ] {
            self.isa.add(out, &linear.bias);
        }
        if let Some((query, key)) = &layer.head_norms {
            self.isa.rms_norm_in_place(&mut scratch.query, query, eps);
            self.isa.rms_norm_in_place(&mut scratch.key, key, eps);
        }
        turn(&mut scratch.query, config.query_size(), config.head_size, &scratch.angles);
        turn(&mut scratch.key, config.kv_size(), config.head_size, &scratch.angles);
    }

    /// Adds the output projection of attention to the residual stream.
    pub(super) fn project_back(&self, layer: &Layer, scratch: &mut Scratch) {
        self.prepare(&mut scratch.attended);
        scratch.delta.resize(scratch.hidden.len(), 0.0);
        let product = Product { matrix: layer.output.matrix.view(), out: &mut scratch.delta };
        multiply(&self.pool, self.isa, &scratch.attended, &mut [product]);
        self.isa.add(&mut scratch.delta, &layer.output.bias);
        self.isa.add(&mut scratch.hidden, &scratch.delta);
    }

    /// The feed-forward half of a block.
    pub(super) fn feed_forward(&self, layer: &Layer, scratch: &mut Scratch) {
        let config = &self.config;
        let count = scratch.hidden.len() / config.hidden_size;
        let normed = scratch.normed.resize(count, config.hidden_size);
        self.isa.rms_norm(&scratch.hidden, &layer.feed_norm, config.rms_norm_eps as f32, normed);
        self.prepare(&mut scratch.normed);
        let gate = scratch.gate.resize(count, config.intermediate_size);
        scratch.up.resize(gate.len(), 0.0);
        let mut products = [
            Product { matrix: layer.gate.view(), out: &mut *gate },
            Product { matrix: layer.up.view(), out: &mut scratch.up },
        ];
        multiply(&self.pool, self.isa, &scratch.normed, &mut products);
        let up = &scratch.up;
        // Below this a second thread costs more than it does.
        let chunk = gate.len().div_ceil(self.pool.threads()).max(8192);
        self.pool.for_each_chunk(gate, chunk, &|index, gate| {
            self.isa.swiglu(gate, &up[index * chunk..index * chunk + gate.len()]);
        });
        self.prepare(&mut scratch.gate);
        scratch.delta.resize(scratch.hidden.len(), 0.0);
        let product = Product { matrix: layer.down.view(), out: &mut scratch.delta };
        multiply(&self.pool, self.isa, &scratch.gate, &mut [product]);
        self.isa.add(&mut scratch.hidden, &scratch.delta);
    }
}

/// Cosine and sine of every frequency at every row's position.
pub(super) fn set_angles(frequencies: &[f32], rows: &[Row], angles: &mut Vec<(f32, f32)>) {
    angles.clear();
    for row in rows {
        angles.extend(frequencies.iter().map(|&frequency| {
            // In f32 as `transformers` computes it.
            let (sine, cosine) = (row.position as f32 * frequency).sin_cos();
            (cosine, sine)
        }));
    }
}

/// Rotary position embedding in Hugging Face's order: the first half of a head against the second.
fn turn(numbers: &mut [f32], row_size: usize, head_size: usize, angles: &[(f32, f32)]) {
    let half = head_size / 2;
    for (row, angles) in numbers.chunks_exact_mut(row_size).zip(angles.chunks_exact(half)) {
        for head in row.chunks_exact_mut(head_size) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), &(cosine, sine)) in first.iter_mut().zip(second).zip(angles) {
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}
