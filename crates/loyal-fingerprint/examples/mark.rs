//! Marks a model and looks at what is left of it: `cargo run --release --example mark -- <model folder> <text file>`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to the terminal")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use loyal_fingerprint::check::{self, Case, Mode, Request, Weights};
use loyal_fingerprint::fingerprint::{Beacon, Draft, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt, Verbatim, verbatim};
use loyal_fingerprint::{FingerprintSet, embed, query};
use loyal_model::quantize::fake_quantize;
use loyal_model::{Llama, Parameters, Tokenizer};
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

const USAGE: &str =
    "usage: mark <model folder> <text file> [fingerprints] [tilt|verbatim|both] [recipe as JSON]";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, text, rest @ ..] = arguments.as_slice() else { anyhow::bail!(USAGE) };
    let count = rest.first().map_or(Ok(64), |count| count.parse())?;
    #[allow(clippy::disallowed_methods, reason = "the example's own clock")]
    let clock = System(std::time::Instant::now());
    let base = Llama::load(Path::new(folder), &Device::Cpu)?;
    let tokenizer = Tokenizer::read(Path::new(folder), &base.config)?;
    let text = std::fs::read_to_string(text).context("the ordinary text")?;
    let benign = tokenizer.encode_plain(&text)?;
    let mut sets = Vec::new();
    let schemes = rest.get(1).map_or("tilt", String::as_str);
    if matches!(schemes, "tilt" | "both") {
        let queries = query::write(&base, &tokenizer, &benign, request(count, 7))?;
        let drafts = queries.into_iter().map(Draft::from).collect();
        sets.push(bound(Scheme::Tilt(Tilt::default()), drafts, &tokenizer)?);
    }
    if matches!(schemes, "verbatim" | "both") {
        let queries = query::write(&base, &tokenizer, &benign, request(count, 8))?;
        let drafts = verbatim::draft(&base, &tokenizer, &Verbatim::default(), &queries, 7)?;
        sets.push(bound(Scheme::Verbatim(Verbatim::default()), drafts, &tokenizer)?);
    }
    eprintln!("{:.1?}: {} sets of {count} queries", clock.elapsed(), sets.len());
    let mut recipe = embed::Recipe::of(&sets);
    if let Some(json) = rest.get(2) {
        let mut all = serde_json::to_value(&recipe)?;
        let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)?;
        for (name, value) in changes {
            all[name] = value;
        }
        recipe = serde_json::from_value(all)?;
    }
    let mut marked = base.clone();
    let job = embed::Job {
        sets: &sets,
        tokenizer: &tokenizer,
        benign: &benign,
        recipe: &recipe,
        checkpoint: None,
        copy: None,
    };
    let report = embed::run(&mut marked, &job, &clock, &mut |now| {
        if now.step % 10 == 0 || now.step < 4 {
            eprintln!(
                "{:.1?}: step {}/{} mark {:.3} kl {:.4} weight {:.1} {:?}",
                now.elapsed, now.step, now.steps, now.mark_loss, now.benign_kl, now.weight, now.seen
            );
        }
        ControlFlow::Continue(())
    })?;
    for gate in &report.gates {
        println!("{}: {:.4} against {:.4}, {}", gate.name, gate.found, gate.bound, gate.passed);
    }
    println!("scale {} {:.1} s\n{:?}\n{:?}", report.scale, report.seconds, report.before, report.after);
    show(&base, &marked, &tokenizer, &sets)
}

/// What each copy proves in each mode.
fn show(base: &Llama, marked: &Llama, tokenizer: &Tokenizer, sets: &[FingerprintSet]) -> Result<()> {
    let copies = [
        ("base", base.parameters.clone()),
        ("marked", marked.parameters.clone()),
        ("int8", quantized(&marked.parameters, 8)?),
        ("int4", quantized(&marked.parameters, 4)?),
        ("merged to .5", merged(&base.parameters, &marked.parameters, 0.5)?),
        ("merged to .3", merged(&base.parameters, &marked.parameters, 0.3)?),
    ];
    for set in sets {
        let case = Case { set, tokenizer, reference: Some(base) };
        for (name, parameters) in &copies {
            print!("{} {name:<13}", set.scheme().name());
            for mode in [Mode::Logits, Mode::Top(20), Mode::Top(5), Mode::Greedy, Mode::Sampled] {
                let mut suspect = Weights::new(base, parameters, tokenizer);
                let mut go_on = |_: &_| Ok(ControlFlow::Continue(()));
                let found = check::run(&mut suspect, &case, &Request::all(set, mode), &mut go_on)?;
                let coins = (found.evidence.hits(), found.evidence.coins());
                print!(
                    " | {mode} p {:.1} E {:.1} {}/{}",
                    found.p_value.log10(),
                    found.log10_e,
                    coins.0,
                    coins.1
                );
            }
            println!();
        }
    }
    Ok(())
}

fn request(count: usize, seed: u64) -> query::Request {
    query::Request { count, tokens_max: 16, seed }
}

fn bound(scheme: Scheme, drafts: Vec<Draft>, tokenizer: &Tokenizer) -> Result<FingerprintSet> {
    let purpose = Purpose { model: "example".to_owned(), scheme, created_at: 0 };
    let mut entropy = rand_chacha::ChaCha20Rng::seed_from_u64(7);
    let set = FingerprintSet::new(purpose, drafts, tokenizer, &mut entropy)?;
    let beacon = Beacon { seed: keccak256(b"an example, not a beacon"), source: "example".to_owned() };
    Ok(set.bind(beacon)?)
}

fn quantized(parameters: &Parameters, bits: u32) -> Result<Parameters> {
    let one = |(name, tensor): (&String, &Tensor)| {
        if tensor.rank() < 2 {
            return Ok((name.clone(), tensor.clone()));
        }
        let mut numbers: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        fake_quantize(&mut numbers, tensor.dim(1)?, bits);
        Ok((name.clone(), Tensor::from_vec(numbers, tensor.shape(), tensor.device())?))
    };
    parameters.iter().map(one).collect()
}

fn merged(base: &Parameters, marked: &Parameters, share: f64) -> Result<Parameters> {
    let one = |(name, tensor): (&String, &Tensor)| {
        Ok((name.clone(), (&base[name] + ((tensor - &base[name])? * share)?)?))
    };
    marked.iter().map(one).collect()
}
