//! Seconds and memory of one training step of the 15 M parameter shape, batch 8 × 128, beside what PyTorch needs
//! for the same (`docs/benchmarks.md`).

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::{Device, Var};
use loyal_model::adamw::{AdamW, Settings};
use loyal_model::config::{Architecture, RopeScaling};
use loyal_model::gradient::Gradients;
use loyal_model::{Batch, Config, Llama, ops};

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn main() -> anyhow::Result<()> {
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
    let mut llama = Llama::random(config, 0, &Device::Cpu)?;
    let variables: BTreeMap<String, Var> = llama
        .parameters
        .iter()
        .map(|(n, t)| Ok((n.clone(), Var::from_tensor(t)?)))
        .collect::<anyhow::Result<_>>()?;
    llama.parameters = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    let mut optimizer = AdamW::new(variables, Settings::default());
    let tokens: Vec<u32> = (0..8 * 128u32).map(|i| i.wrapping_mul(2_654_435_761) % 32_000).collect();
    let targets: Vec<u32> = tokens.iter().map(|t| (t * 7 + 1) % 32_000).collect();
    let (batch, weights) = (Batch::new(tokens, 128)?, vec![1.0; 8 * 128]);
    for step in 0..8 {
        let start = Instant::now();
        let hidden = llama.hidden(&llama.parameters, &batch)?;
        let head = llama.head_weight(&llama.parameters);
        let loss = ops::linear_cross_entropy(&hidden, head, &targets, &weights)?;
        let forward = start.elapsed();
        let gradients = Gradients::of(&loss, optimizer.variables())?;
        let backward = start.elapsed();
        optimizer.step(&gradients, 1e-3, 1.0)?;
        println!(
            "step {step}: {:.3} s (forward with head {:.3}, backward {:.3}, optimizer {:.3}), loss {:.3}, peak {} MB",
            start.elapsed().as_secs_f64(),
            forward.as_secs_f64(),
            (backward - forward).as_secs_f64(),
            (start.elapsed() - backward).as_secs_f64(),
            loss.to_scalar::<f32>()?,
            peak_megabytes(),
        );
    }
    Ok(())
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
