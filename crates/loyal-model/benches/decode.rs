//! Tokens per second of the decoder on the 15 M parameter shape (dim 288, 6 layers, 6 heads, vocabulary 32,000), by
//! precision and threads, and how long a model takes to open (`docs/benchmarks.md`).
//!
//! `cargo bench -p loyal-model --bench decode [-- <folder of another model>]`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::time::Instant;

use loyal_model::config::{Architecture, RopeScaling};
use loyal_model::weights::{Named, Stored, save};
use loyal_model::{Config, Decoder, Precision, Session, sampler};

/// Tokens in one window; the best window counts, so that other programs disturb less.
const WINDOW: usize = 25;
const WINDOWS: usize = 40;

fn main() -> anyhow::Result<()> {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = tempfile::tempdir()?;
    let path = match &given {
        Some(path) => Path::new(path),
        None => {
            write_random(folder.path())?;
            folder.path()
        }
    };
    let bytes = std::fs::metadata(path.join("model.safetensors"))?.len() as f64;
    println!("{:.0} MB of weights", bytes / 1e6);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let (opened, decoder) = timed(|| Decoder::open(path, precision));
        let decoder = decoder?;
        println!(
            "{precision:?}: opened in {:.1} ms ({:.1} ms per 100 MB)",
            opened * 1e3,
            opened * 1e11 / bytes
        );
        drop(decoder);
        for threads in [1, 2] {
            let decoder = Decoder::open(path, precision)?.with_threads(threads);
            measure(&decoder, threads)?;
        }
    }
    Ok(())
}

fn measure(decoder: &Decoder, threads: usize) -> anyhow::Result<()> {
    let mut logits = Vec::new();
    let mut session = decoder.session();
    let single = best(WINDOW, &mut || {
        session.truncate(WINDOW);
        for step in 0..WINDOW {
            let token = if step == 0 { 1 } else { sampler::argmax(&logits) };
            decoder.feed_into(&mut session, &[token], &mut logits)?;
        }
        Ok(())
    })?;
    let mut sessions: Vec<Session> = (0..8).map(|_| decoder.session()).collect();
    let batch = best(WINDOW * 8, &mut || {
        for step in 0..WINDOW {
            let tokens = [[step as u32 % 512]; 8];
            let fed: Vec<&[u32]> = tokens.iter().map(<[u32; 1]>::as_slice).collect();
            let mut sessions: Vec<&mut Session> = sessions.iter_mut().collect();
            if step == 0 {
                sessions.iter_mut().for_each(|session| session.truncate(WINDOW));
            }
            decoder.feed_batch_into(&mut sessions, &fed, &mut logits)?;
        }
        Ok(())
    })?;
    let prompt: Vec<u32> = (0..256).map(|i| i * 7 % 512).collect();
    let prefill = best(prompt.len(), &mut || decoder.feed(&mut decoder.session(), &prompt).map(drop))?;
    println!(
        "  {threads} thread(s): {single:7.0} tokens/s alone, {batch:7.0} in a batch of 8, {prefill:7.0} of a prompt"
    );
    Ok(())
}

/// The most tokens per second of any window.
fn best(tokens: usize, run: &mut dyn FnMut() -> loyal_model::Result<()>) -> anyhow::Result<f64> {
    let mut seconds = f64::INFINITY;
    for _ in 0..WINDOWS {
        let (taken, result) = timed(&mut *run);
        result?;
        seconds = seconds.min(taken);
    }
    Ok(tokens as f64 / seconds)
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = run();
    (start.elapsed().as_secs_f64(), result)
}

fn write_random(folder: &Path) -> anyhow::Result<()> {
    let config = Config {
        architecture: Architecture::Llama,
        hidden_size: 288,
        intermediate_size: 768,
        layer_count: 6,
        head_count: 6,
        kv_head_count: 6,
        head_size: 48,
        vocab_size: 32_000,
        context_tokens: 1024,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied: true,
        attention_bias: false,
        bos_token: None,
        eos_tokens: Vec::new(),
    };
    let mut state = 1u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05
    };
    let parameters = config.parameters();
    let numbers: Vec<Vec<f32>> = parameters
        .iter()
        .map(|(_, shape)| (0..shape.iter().product::<usize>()).map(|_| number()).collect())
        .collect();
    let tensors: Vec<Named<'_>> = parameters
        .iter()
        .zip(&numbers)
        .map(|((name, shape), numbers)| Named { name, shape, numbers })
        .collect();
    save(&folder.join("model.safetensors"), &tensors, Stored::F32)?;
    std::fs::write(folder.join("config.json"), config.to_json("float32").to_string())?;
    Ok(())
}
