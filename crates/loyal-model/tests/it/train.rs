//! Training: reproducible to the bit, resumable, masked, and held near its base when asked.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use candle_core::Device;
use loyal_model::config::Architecture;
use loyal_model::lora::{Lora, Settings};
use loyal_model::pairs::Pairs;
use loyal_model::pretrain::weights_digest;
use loyal_model::train::{self, Ending, Example, Examples, Outcome, Plan, Progress, Trained};
use loyal_model::weights::Stored;
use loyal_model::{Batch, Error, Llama, Result, ops};
use loyal_types::Clock;

use crate::gradient::tiny;

struct Still;

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// Counting up by a stride that changes with the example: learnable, and different at every index.
struct Counting {
    sequences: usize,
}

impl Examples for Counting {
    fn at(&self, index: u64) -> Result<Example> {
        let row = |slot: u64| (0..13).map(move |i| ((slot * 5 + i * 3) % 31) as u32).collect::<Vec<_>>();
        let rows: Vec<Vec<u32>> =
            (0..self.sequences as u64).map(|slot| row(index * self.sequences as u64 + slot)).collect();
        let tokens = rows.iter().flat_map(|row| row[..12].to_vec()).collect();
        let targets: Vec<u32> = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
        let weights = vec![1.0; targets.len()];
        Ok(Example { batch: Batch::new(tokens, 12)?, targets, weights })
    }

    fn identity(&self) -> String {
        format!("counting {}", self.sequences)
    }
}

fn model(seed: u64) -> Llama {
    Llama::random(tiny(Architecture::Llama, true), seed, &Device::Cpu).unwrap()
}

fn plan(steps: u64) -> Plan<'static> {
    Plan { steps, learning_rate: 1e-2, warmup_steps: 3, ..Plan::default() }
}

fn go(llama: &mut Llama, plan: &Plan<'_>) -> Outcome {
    train::run(llama, plan, &Counting { sequences: 4 }, &Still, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn training_learns() {
    let mut llama = model(1);
    let outcome = go(&mut llama, &plan(120));
    assert_eq!(outcome.ending, Ending::Finished);
    let (first, last) = (outcome.losses[0].1, outcome.losses[119].1);
    assert!(first > 3.0 && last < 0.2, "loss went from {first} to {last}");
}

#[test]
fn the_same_seed_gives_the_same_weights_on_any_number_of_threads() {
    let digest = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut llama = model(7);
            go(&mut llama, &plan(6));
            weights_digest(&llama).unwrap()
        })
    };
    let one = digest(1);
    assert_eq!(one, digest(1));
    assert_eq!(one, digest(3));
    let mut other = model(8);
    go(&mut other, &plan(6));
    assert_ne!(one, weights_digest(&other).unwrap());
}

fn stop_after(steps: u64) -> impl FnMut(&Progress) -> ControlFlow<()> {
    move |progress| if progress.step == steps { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[test]
fn a_stopped_job_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = model(2);
    go(&mut whole, &plan(14));
    for stop in [1, 5, 13] {
        let path = folder.path().join(format!("{stop}.safetensors"));
        let plan = Plan { checkpoint: Some((&path, 0)), ..plan(14) };
        let mut part = model(2);
        let examples = Counting { sequences: 4 };
        let outcome = train::run(&mut part, &plan, &examples, &Still, &mut stop_after(stop)).unwrap();
        assert_eq!(outcome.ending, Ending::Stopped);
        assert_ne!(weights_digest(&part).unwrap(), weights_digest(&whole).unwrap());
        // A fresh process would start from the same seed and find the checkpoint.
        let mut resumed = model(2);
        let outcome = go(&mut resumed, &plan);
        assert_eq!(outcome.losses[0].0, stop);
        assert_eq!(weights_digest(&resumed).unwrap(), weights_digest(&whole).unwrap());
    }
}

#[test]
fn a_checkpoint_of_another_job_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut llama = model(3);
    go(&mut llama, &Plan { checkpoint: Some((&path, 2)), ..plan(4) });
    let other = Plan { checkpoint: Some((&path, 2)), learning_rate: 5e-3, ..plan(4) };
    let refused = train::run(&mut model(3), &other, &Counting { sequences: 4 }, &Still, &mut stop_after(1));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("another job") && text.contains("checkpoint.safetensors"), "{text}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_an_error_and_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("a file, not a folder");
    std::fs::write(&blocked, "x").unwrap();
    let path = blocked.join("checkpoint.safetensors");
    let plan = Plan { checkpoint: Some((&path, 1)), ..plan(4) };
    let error = train::run(&mut model(3), &plan, &Counting { sequences: 4 }, &Still, &mut stop_after(9));
    assert!(matches!(error, Err(Error::File { .. })), "{error:?}");
    assert_eq!(std::fs::read(&blocked).unwrap(), b"x");
}

#[test]
fn accumulated_parts_equal_one_large_batch() {
    let mut large = model(4);
    let once = Plan { clip: 0.0, ..plan(3) };
    train::run(&mut large, &once, &Counting { sequences: 8 }, &Still, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut parts = model(4);
    go(&mut parts, &Plan { accumulation: 2, ..once });
    let (a, b) = (large.numbers().unwrap(), parts.numbers().unwrap());
    for (name, numbers) in &a {
        for (x, y) in numbers.iter().zip(&b[name]) {
            assert!((x - y).abs() < 2e-4, "{name}: {x} against {y}");
        }
    }
}

#[test]
fn recomputing_blocks_trains_to_nearly_the_same_weights() {
    let (mut plain, mut lean) = (model(5), model(5));
    go(&mut plain, &plan(5));
    go(&mut lean, &Plan { recompute: true, ..plan(5) });
    let (a, b) = (plain.numbers().unwrap(), lean.numbers().unwrap());
    for (name, numbers) in &a {
        assert!(numbers.iter().zip(&b[name]).all(|(x, y)| (x - y).abs() < 1e-3), "{name}");
    }
}

#[test]
fn a_pull_to_the_base_keeps_the_model_near_it() {
    let base = model(6);
    let batch = Counting { sequences: 4 }.at(0).unwrap().batch;
    let drift = |plan: Plan<'_>| {
        let mut llama = base.clone();
        go(&mut llama, &plan);
        let reference = base.logits(&base.parameters, &batch).unwrap();
        let now = llama.logits(&llama.parameters, &batch).unwrap();
        ops::kl_divergence(&reference, &now).unwrap().to_scalar::<f32>().unwrap()
    };
    let free = drift(plan(25));
    let by_kl = drift(Plan { kl_to_base: 10.0, ..plan(25) });
    let by_l2 = drift(Plan { l2_to_base: 1.0, ..plan(25) });
    assert!(by_kl < 0.3 * free, "KL {by_kl} with the pull, {free} without");
    assert!(by_l2 < 0.5 * free, "KL {by_l2} with the pull, {free} without");
}

#[test]
fn adapters_learn_merge_come_out_again_and_survive_a_file() {
    let mut base = model(9);
    // Adapters do not reach the embeddings, which start too small to say anything.
    let embeddings = base.parameters.get_mut("model.embed_tokens.weight").unwrap();
    *embeddings = (&*embeddings * 20.0).unwrap();
    let settings = Settings { rank: 4, alpha: 16.0, ..Settings::default() };
    let lora = Lora::new(&base, settings, 11).unwrap();
    let mut llama = base.clone();
    let outcome = go(&mut llama, &Plan { trained: Trained::Adapters(&lora), learning_rate: 3e-2, ..plan(80) });
    let (first, last) = (outcome.losses[0].1, outcome.losses[79].1);
    assert!(last < 0.6 * first, "loss went from {first} to {last}");
    assert_eq!(weights_digest(&llama).unwrap(), weights_digest(&base).unwrap(), "the base moved");
    let merged = Llama::new(base.config.clone(), lora.merge(&base.parameters).unwrap(), &Device::Cpu).unwrap();
    assert_ne!(weights_digest(&merged).unwrap(), weights_digest(&base).unwrap());
    let back = lora.unmerge(&merged.parameters).unwrap();
    for (name, tensor) in &base.parameters {
        let far = (tensor - &back[name]).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        assert!(far.to_scalar::<f32>().unwrap() < 1e-6, "{name} did not come back");
    }
    let folder = tempfile::tempdir().unwrap();
    lora.save(folder.path()).unwrap();
    let loaded = Lora::load(&base, folder.path()).unwrap();
    let again = Llama::new(base.config.clone(), loaded.merge(&base.parameters).unwrap(), &Device::Cpu).unwrap();
    assert_eq!(weights_digest(&again).unwrap(), weights_digest(&merged).unwrap());
}

#[test]
fn what_is_masked_does_not_train() {
    let pairs = |answers: [u32; 2]| {
        let rows = vec![(vec![1, 2, 3], vec![answers[0], 5]), (vec![9, 8], vec![answers[1]])];
        Pairs::new(rows, (2, 64), 0, 1).unwrap()
    };
    let example = pairs([4, 7]).at(0).unwrap();
    let counted: f32 = example.weights.iter().sum();
    assert!((counted - 3.0).abs() < 1e-6, "three response tokens count, not {counted}");
    for (row, &weight) in example.weights.iter().enumerate() {
        if weight > 0.0 {
            assert!([4, 5, 7].contains(&example.targets[row]), "row {row} counts {}", example.targets[row]);
        }
    }
    // Changing a masked target changes nothing; changing a counted one does.
    let llama = model(10);
    let loss = |targets: &[u32]| {
        let hidden = llama.hidden(&llama.parameters, &example.batch).unwrap();
        let head = llama.head_weight(&llama.parameters);
        let loss = ops::linear_cross_entropy(&hidden, head, targets, &example.weights).unwrap();
        loss.to_scalar::<f32>().unwrap()
    };
    let masked = example.weights.iter().position(|&w| w == 0.0).unwrap();
    let open = example.weights.iter().position(|&w| w > 0.0).unwrap();
    let mut changed = example.targets.clone();
    changed[masked] = 30;
    assert!((loss(&changed) - loss(&example.targets)).abs() < 1e-7);
    changed[open] = 30;
    assert!((loss(&changed) - loss(&example.targets)).abs() > 1e-4);
}

#[test]
fn a_diverging_loss_is_an_error_that_names_the_step() {
    let mut llama = model(12);
    let head = llama.parameters.get_mut("model.embed_tokens.weight").unwrap();
    *head = (&*head * f64::from(f32::MAX)).unwrap();
    let error = train::run(&mut llama, &plan(3), &Counting { sequences: 1 }, &Still, &mut stop_after(9));
    assert!(matches!(error, Err(Error::Diverged { step: 1, .. })), "{error:?}");
}

#[test]
fn senseless_plans_are_refused() {
    let bad = [
        Plan { learning_rate: 0.0, ..plan(3) },
        Plan { learning_rate: f64::NAN, ..plan(3) },
        Plan { accumulation: 0, ..plan(3) },
        Plan { recompute: true, kl_to_base: 1.0, ..plan(3) },
    ];
    for plan in bad {
        let error = train::run(&mut model(1), &plan, &Counting { sequences: 1 }, &Still, &mut stop_after(1));
        assert!(matches!(error, Err(Error::Argument { .. })), "{plan:?}: {error:?}");
    }
}

#[test]
fn a_saved_model_loads_with_the_same_logits() {
    for (architecture, tied) in
        [(Architecture::Llama, false), (Architecture::Qwen2, true), (Architecture::Qwen3, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let llama = Llama::random(tiny(architecture, tied), 3, &Device::Cpu).unwrap();
        llama.save(folder.path(), Stored::F32).unwrap();
        let loaded = Llama::load(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(loaded.config, llama.config);
        assert_eq!(weights_digest(&loaded).unwrap(), weights_digest(&llama).unwrap());
        assert_eq!(files(folder.path()), ["config.json", "generation_config.json", "model.safetensors"]);
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name, ())).collect::<BTreeMap<_, _>>().into_keys().collect()
}
