//! Causal attention over the KV cache.

use std::cell::RefCell;

use super::layer::Layer;
use super::{Decoder, Row, Scratch, Session};
use crate::kernels::Inputs;

/// Rows of one sequence that share a pass over its keys.
const RUN_ROWS: usize = 8;
/// Products of a key and a query below which a second thread is not worth waking.
const SECTION_PRODUCTS_MIN: usize = 1 << 16;

/// Neighbouring rows of one sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    session: usize,
    /// The first row.
    start: usize,
    count: usize,
    /// The first row's position.
    position: usize,
}

thread_local! {
    /// Queries and scores of the task at hand.
    static BUFFERS: RefCell<(Inputs, Vec<f32>)> = RefCell::default();
}

/// Cuts rows into runs.
pub(super) fn set_runs(rows: &[Row], runs: &mut Vec<Run>) {
    runs.clear();
    for (start, row) in rows.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.session == row.session && run.count < RUN_ROWS => run.count += 1,
            _ => runs.push(Run { session: row.session, start, count: 1, position: row.position }),
        }
    }
}

impl Decoder {
    /// The attention half of a block.
    pub(super) fn attend(
        &self,
        layer: &Layer,
        sessions: &mut [&mut Session],
        rows: &[Row],
        scratch: &mut Scratch,
    ) {
        self.project(layer, scratch);
        let (size, kv_heads) = (self.config.head_size, self.config.kv_head_count);
        for ((row, keys), values) in rows
            .iter()
            .zip(scratch.key.chunks_exact(kv_heads * size))
            .zip(scratch.value.chunks_exact(kv_heads * size))
        {
            let heads =
                &mut sessions[row.session].heads[layer.index * kv_heads..(layer.index + 1) * kv_heads];
            for (number, head) in heads.iter_mut().enumerate() {
                head.keys.extend_from_slice(&keys[number * size..(number + 1) * size]);
                head.values.extend_from_slice(&values[number * size..(number + 1) * size]);
            }
        }
        self.look_back(layer.index, sessions, rows.len(), scratch);
        self.project_back(layer, scratch);
    }

    /// One task per run and key-value head, each writing its own chunk of `scratch.tasks`, in parallel
    /// where there is enough to do; then the chunks are brought into row order.
    fn look_back(&self, index: usize, sessions: &[&mut Session], rows: usize, scratch: &mut Scratch) {
        let config = &self.config;
        let (kv_heads, group) = (config.kv_head_count, config.head_count / config.kv_head_count);
        let chunk = RUN_ROWS.min(rows) * group * config.head_size;
        let runs = &scratch.runs;
        scratch.tasks.resize(runs.len() * kv_heads * chunk, 0.0);
        let query = &scratch.query;
        let task = |task: usize, out: &mut [f32]| {
            let (run, head) = (runs[task / kv_heads], task % kv_heads);
            let cache = &sessions[run.session].heads[index * kv_heads + head];
            BUFFERS.with_borrow_mut(|(inputs, scores)| {
                self.gather(run, head, query, inputs);
                self.attend_run(run, (&cache.keys, &cache.values), (inputs, scores), out);
            });
        };
        let products: usize = runs.iter().map(|run| (run.position + run.count) * run.count).sum();
        if products * config.query_size() < SECTION_PRODUCTS_MIN {
            scratch.tasks.chunks_mut(chunk).enumerate().for_each(|(index, out)| task(index, out));
        } else {
            self.pool.for_each_chunk(&mut scratch.tasks, chunk, &task);
        }
        let width = group * config.head_size;
        let attended = scratch.attended.resize(rows, config.query_size());
        for (number, chunk) in scratch.tasks.chunks_exact(chunk).enumerate() {
            let (run, head) = (scratch.runs[number / kv_heads], number % kv_heads);
            for (row, part) in chunk.chunks_exact(width).take(run.count).enumerate() {
                let start = (run.start + row) * config.query_size() + head * width;
                attended[start..start + width].copy_from_slice(part);
            }
        }
    }

    /// Copies the run's queries of one key-value head, scaled, so that they lie side by side.
    fn gather(&self, run: Run, head: usize, query: &[f32], inputs: &mut Inputs) {
        let config = &self.config;
        let width = config.head_count / config.kv_head_count * config.head_size;
        let scale = 1.0 / (config.head_size as f32).sqrt();
        let gathered = inputs.resize(run.count * width / config.head_size, config.head_size);
        for (row, out) in gathered.chunks_exact_mut(width).enumerate() {
            let start = (run.start + row) * config.query_size() + head * width;
            for (out, &number) in out.iter_mut().zip(&query[start..start + width]) {
                *out = number * scale;
            }
        }
    }

    /// Attention of one run's queries of one key-value head.
    fn attend_run(
        &self,
        run: Run,
        (keys, values): (&[f32], &[f32]),
        (inputs, scores): (&Inputs, &mut Vec<f32>),
        out: &mut [f32],
    ) {
        let size = self.config.head_size;
        let seen = run.position + run.count;
        if scores.len() < seen * inputs.count() {
            scores.resize((seen * inputs.count()).next_power_of_two(), 0.0);
        }
        self.isa.dot(&keys[..seen * size], inputs, seen, scores);
        let per_row = inputs.count() / run.count;
        for (number, out) in out.chunks_exact_mut(size).take(inputs.count()).enumerate() {
            // A row sees itself and what stands before it.
            let visible = run.position + number / per_row + 1;
            let scores = &mut scores[number * seen..number * seen + visible];
            self.isa.softmax(scores);
            self.isa.weighted_sum(scores, &values[..visible * size], out);
        }
    }
}
