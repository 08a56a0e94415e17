//! The story of Loyal as code: mark a model, register it, host it twice, catch the host that hides, pay everybody, vote.
//!
//! `cargo run --release -p loyal --example story` (about three minutes; `loyal demo` tells the same with its evidence)

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use loyal::story::{Story, hosts};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::fingerprint::{Beacon, Draft, FingerprintSet, Purpose};
use loyal_fingerprint::query;
use loyal_fingerprint::scheme::{Scheme, Tilt};
use loyal_model::weights::Stored;
use loyal_model::{Config, Llama, Tokenizer};
use loyal_types::{Clock, Hash};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

/// Nobody asks how long the training takes.
#[derive(Debug)]
struct Timeless;

impl Clock for Timeless {
    fn unix_seconds(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

#[allow(clippy::print_stdout, reason = "an example tells what it does")]
#[allow(clippy::too_many_lines, reason = "a story is read from its beginning to its end")]
fn main() -> anyhow::Result<()> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/loyal-5m");
    let folder = tempfile::tempdir()?;
    let here = |name: &str| folder.path().join(name);
    let tokenizer = || -> anyhow::Result<Tokenizer> { Ok(Tokenizer::read(&base, &Config::read(&base)?)?) };
    let mut llama = Llama::load(&base, &candle_core::Device::Cpu)?;
    let text = std::fs::read_to_string(base.join("benign.txt"))?;
    let benign = tokenizer()?.encode(&text)?;

    // 1. Secret queries, committed to on a chain before its Beacon fixes what a marked model answers.
    let mut story = Story::open(folder.path(), 1)?;
    let request = query::Request { count: 72, tokens_max: 16, seed: 1 };
    let mut queries = query::write(&llama, &tokenizer()?, &benign, request)?;
    let later = queries.split_off(64);
    let mut draw = ChaCha20Rng::seed_from_u64(1);
    let mut draft = |queries: Vec<String>, file: &str| -> anyhow::Result<FingerprintSet> {
        let purpose =
            Purpose { model: "story".to_owned(), scheme: Scheme::Tilt(Tilt::default()), created_at: 0 };
        let drafts = queries.into_iter().map(Draft::from).collect();
        let set = FingerprintSet::new(purpose, drafts, &tokenizer()?, &mut draw)?;
        set.commitment().write(&folder.path().join(file))?;
        Ok(set)
    };
    let (first, next) = (draft(queries, "leaves.json")?, draft(later, "leaves-2.json")?);
    story.commit_next(Path::new("leaves-2.json"))?;
    let (seed, epoch, _) = story.commit()?;
    let (seed_of_next, _) = story.seed_of_next(Path::new("leaves-2.json"))?;
    let bind = |set: FingerprintSet, seed: [u8; 32], file: &str| -> anyhow::Result<FingerprintSet> {
        let set = set.bind(Beacon { seed: Hash(seed), source: format!("epoch {epoch} of the story") })?;
        let all: Vec<u32> = (0..set.fingerprints().len() as u32).collect();
        set.commitment().after_embedding(&all)?.write(&folder.path().join(file))?;
        Ok(set)
    };
    let first = bind(first, seed.0, "commitment.json")?;
    let next = bind(next, seed_of_next.0, "commitment-2.json")?;
    println!("{} fingerprints are committed to, and their colours drawn.", first.fingerprints().len());

    // 2. Train them into the weights.
    let (sets, recipe) = ([first.clone(), next], Recipe { seed: 1, ..Recipe::default() });
    let tokens = tokenizer()?;
    let job = Job {
        sets: &sets,
        tokenizer: &tokens,
        benign: &benign,
        recipe: &recipe,
        checkpoint: None,
        copy: None,
    };
    let report = embed::run(&mut llama, &job, &Timeless, &mut |_| ControlFlow::Continue(()))?;
    for name in ["marked", "next"] {
        std::fs::create_dir(here(name))?;
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            if base.join(file).exists() {
                std::fs::copy(base.join(file), here(name).join(file))?;
            }
        }
    }
    llama.save(&here("marked"), Stored::Bf16)?;
    // The next version differs from this one by its rounding: enough to be other weights.
    llama.save(&here("next"), Stored::F32)?;
    println!("They are embedded at {:+.2} % perplexity.", report.perplexity_rise_percent);

    // 3. Register the weights: Alice 30, Bob 15, Charlie 15, the rest in reserve; a week open to claims.
    let model = story.publish(Path::new("marked"), Path::new("commitment.json"), first)?;
    println!("Model {model} is registered.");

    // 4. Two hosts. One keeps the rules; the other took the gate away and reports that nobody came.
    let serve = || hosts::model(&here("marked"), "story");
    let (honest, cheat) = story.host(serve()?, serve()?, (tokenizer()?, &text))?;
    println!("Hosting {honest} keeps the rules, hosting {cheat} does not.");

    // 5. Users pay, provers ask as users do, until what is missing from the reports is evidence enough.
    let questions = ["The old man opened the door and".to_owned(), "In the morning the children".to_owned()];
    story.days(&questions, &mut |day| {
        println!("Day {}: {:.1} bits against the cheat.", day.epoch, day.bits.1);
    })?;

    // 6. A liar accuses the honest host, whose keeper shows the receipt; a prover accuses the cheat, who has nothing to show.
    let slander = story.slander()?;
    println!("The liar loses {}.", story.town.text(slander.lost));
    let weight = story.case()?.verify()?;
    let conviction = story.convict()?;
    let lost = conviction.bond.0 - conviction.bond.1;
    println!("{:.1} bits: the cheat loses {}.", weight.bits, story.town.text(lost));

    // 7. Everybody takes what is theirs.
    for (name, amount) in story.withdraw()? {
        println!("{name} takes {}.", story.town.text(amount));
    }

    // 8. The holders vote a new version in, and pay who made it out of the reserve.
    let upgrade = story.upgrade(Path::new("next"), Path::new("commitment-2.json"))?;
    println!("Version {} is active after {} days.", upgrade.version, upgrade.days);
    Ok(())
}
