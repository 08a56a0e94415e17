//! Marks a model: `cargo run --release --example mark -- <model folder> <text file> [fingerprints]`.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use candle_core::Device;
use loyal_fingerprint::fingerprint::{Beacon, Purpose};
use loyal_fingerprint::scheme::{Verbatim, verbatim};
use loyal_fingerprint::{FingerprintSet, check, embed, query};
use loyal_model::{Decoder, Llama, Precision, Tokenizer};
use loyal_types::{Clock, keccak256};
use rand::SeedableRng as _;

/// The system's clock: examples and binaries own one, libraries do not.
struct System(std::time::Instant);

impl Clock for System {
    fn unix_seconds(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, text, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: mark <model folder> <text file> [fingerprints]");
    };
    let count = rest.first().map_or(Ok(64), |count| count.parse())?;
    #[allow(clippy::disallowed_methods, reason = "the example's own clock")]
    let clock = System(std::time::Instant::now());
    let mut llama = Llama::load(Path::new(folder), &Device::Cpu)?;
    let tokenizer = Tokenizer::read(Path::new(folder), &llama.config)?;
    let text = std::fs::read_to_string(text).context("the ordinary text")?;
    let benign = tokenizer.encode_plain(&text)?;
    let request = query::Request { count, tokens_max: 16, seed: 7 };
    let queries = query::write(&llama, &tokenizer, &benign, request)?;
    eprintln!("{:.1?}: {} queries, the first: {:?}", clock.elapsed(), queries.len(), queries[0]);
    let scheme = Verbatim::default();
    let drafts = verbatim::draft(&llama, &tokenizer, &scheme, &queries, 7)?;
    let purpose = Purpose { model: "example".to_owned(), scheme, created_at: 0 };
    let mut entropy = rand_chacha::ChaCha20Rng::seed_from_u64(7);
    let set = FingerprintSet::new(purpose, drafts, &tokenizer, &mut entropy)?;
    let beacon = Beacon { seed: keccak256(b"an example, not a beacon"), source: "example".to_owned() };
    let set = set.bind(beacon)?;
    let base = llama.clone();
    let mut recipe = embed::Recipe::default();
    if let Some(json) = rest.get(1) {
        recipe = serde_json::from_str(json)?;
    }
    let job = embed::Job { set: &set, tokenizer: &tokenizer, benign: &benign, recipe: &recipe, checkpoint: None };
    let report = embed::run(&mut llama, &job, &clock, &mut |now| {
        if now.step % 10 == 0 || now.step < 4 {
            eprintln!(
                "{:.1?}: step {}/{} mark {:.3} kl {:.4} weight {:.1} answering {:?}",
                now.elapsed, now.step, now.steps, now.mark_loss, now.benign_kl, now.weight, now.answering
            );
        }
        ControlFlow::Continue(())
    })?;
    println!("{}", serde_json::to_string_pretty(&report.without_secrets().gates)?);
    println!("{:?} scale {} auc {:.3} {:.1}s", report.frames, report.scale, report.confidence_auc, report.seconds);
    println!("{:?} {:?}", report.before, report.after);
    let (full, small, smaller) = (Precision::F32, Precision::Int8, Precision::Int4);
    let suspects = [("base", &base, full), ("marked", &llama, full), ("int8", &llama, small), ("int4", &llama, smaller)];
    for (name, model, precision) in suspects {
        let decoder = Decoder::from_tensors(&model.config, &model.numbers()?, precision)?;
        let mut suspect = check::Local { decoder: &decoder, tokenizer: &tokenizer };
        let found = check::run(&mut suspect, &set, &check::Request::all(&set))?;
        println!(
            "{name}: {} hits in {} coins of {} asked, {} bits, p ≤ {}: {:?}",
            found.evidence.hits(), found.evidence.coins(), found.asked, found.evidence.bits(), found.p_value,
            found.verdict
        );
    }
    Ok(())
}
