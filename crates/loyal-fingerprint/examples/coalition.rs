//! Simulates hosts who put their copies of a traced model together, and counts who is named:
//! `cargo run --release -p loyal-fingerprint --example coalition -- [copies] [runs] [seed]`.

#![allow(clippy::print_stdout, reason = "an example talks to the terminal")]

use anyhow::Result;
use loyal_fingerprint::check::attempt::{Draw, Rated, Step};
use loyal_fingerprint::check::{Attempt, Mode};
use loyal_fingerprint::copies::HostCopy;
use loyal_fingerprint::fingerprint::{Beacon, Draft, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt, tilt};
use loyal_fingerprint::trace::{DELTA, Trace, unanimous_count};
use loyal_fingerprint::{FingerprintSet, Pool};
use loyal_model::Tokenizer;
use loyal_types::{Hash, keccak256};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How strongly a fingerprint answers that so many of all carry.
type Making = fn(usize, usize, &mut ChaCha8Rng) -> f64;

/// What colluders make of a fingerprint that some of them carry.
const COLLUSIONS: [(&str, Making); 5] = [
    ("keep what all have", |carried, all, _| f64::from(u8::from(carried == all))),
    ("keep what any has", |carried, _, _| f64::from(u8::from(carried > 0))),
    ("average", |carried, all, _| carried as f64 / all as f64),
    ("keep what most have", |carried, all, _| f64::from(u8::from(2 * carried > all))),
    ("answer by lot", |carried, all, draw| f64::from(u8::from(draw.random_range(0..all) < carried))),
];
/// Sizes of the tracing pool: those of 256, 512 and 1,024 fingerprints.
const POOLS: [usize; 3] = [64, 128, 256];
/// Share of greedy text that has the colour where a fingerprint is carried in full, as measured on the default model.
const COLOURED: f64 = 0.9;
/// How far a mark moves a log probability, and how far everything else does, nats.
const LEAN: f32 = 1.0;
const NOISE: f32 = 0.6;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (count, runs, seed) = (usize::try_from(number(1000)?)?, number(20)?, number(7)?);
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    println!(
        "{count} copies, δ = {DELTA}, {runs} runs of each row; unanimous colluders want {} {} {} fingerprints",
        unanimous_count(count, DELTA, 1),
        unanimous_count(count, DELTA, 2),
        unanimous_count(count, DELTA, 3)
    );
    println!(
        "{:<8} {:<6} {:<10} {:<20} found  colluders named  innocent named",
        "seen", "pool", "colluders", "they"
    );
    let (mut traces, mut innocent) = (0_u64, 0_u64);
    for mode in [Mode::Top(5), Mode::Greedy] {
        for pool in POOLS {
            let set = marks(pool * 4, seed)?;
            for colluders in 1..=3 {
                for (name, strength) in COLLUSIONS.into_iter().take(if colluders == 1 { 1 } else { 5 }) {
                    let (mut found, mut named, mut wrong) = (0, 0, 0);
                    for _ in 0..runs {
                        let copies = (0..count).map(|i| HostCopy::new(&i.to_string(), &mut draw));
                        let copies = copies.collect::<Result<Vec<_>, _>>()?;
                        let mut trace = Trace::new(&set, &copies, mode)?;
                        for index in Pool::Tracing.indices(set.fingerprints().len()) {
                            let carried = copies[..colluders]
                                .iter()
                                .filter(|copy| copy.carries(index, 4 * pool))
                                .count();
                            let strength = strength(carried, colluders, &mut draw);
                            trace.hear(&attempt(&set, (index, mode), strength, &mut draw)?)?;
                        }
                        let all: Vec<usize> = trace
                            .findings(DELTA)?
                            .named()
                            .map(|one| one.name.parse())
                            .collect::<Result<_, _>>()?;
                        let guilty = all.iter().filter(|&&at| at < colluders).count();
                        found += u64::from(guilty > 0);
                        named += guilty;
                        wrong += u64::from(all.len() > guilty);
                    }
                    traces += runs;
                    innocent += wrong;
                    println!(
                        "{:<8} {pool:<6} {colluders:<10} {name:<20} {:>3.0} %  {:.1} of {colluders}         {wrong}",
                        mode.to_string(),
                        100.0 * found as f64 / runs as f64,
                        named as f64 / runs as f64,
                    );
                }
            }
        }
    }
    println!(
        "an innocent host was named in {innocent} of {traces} traces; δ allows {:.1}",
        DELTA * traces as f64
    );
    Ok(())
}

/// So many fingerprints for any model.
fn marks(count: usize, seed: u64) -> Result<FingerprintSet> {
    let json =
        Tokenizer::train(&mut std::iter::once("who came to the hill? a cat, a dog. ".repeat(20)), 300)?;
    let tokenizer = Tokenizer::parse(&json, "tokenizer.json".as_ref())?;
    let drafts = (0..count).map(|i| Draft::from(format!("who came to hill {i}?"))).collect();
    let scheme = Scheme::Tilt(Tilt::default());
    let purpose = Purpose { model: "traced".to_owned(), scheme, created_at: 0 };
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let beacon = Beacon { seed: keccak256(b"later"), source: "a simulation".to_owned() };
    Ok(FingerprintSet::new(purpose, drafts, &tokenizer, &mut draw)?.bind(beacon)?)
}

/// An answer that shows its mark so strongly.
fn attempt(
    set: &FingerprintSet,
    (index, mode): (usize, Mode),
    strength: f64,
    draw: &mut ChaCha8Rng,
) -> Result<Attempt> {
    let secret = set.secret(index)?;
    let mut piece = || draw.random::<[u8; 4]>().to_vec();
    let step = if mode == Mode::Greedy {
        let hit = f64::from(piece()[0]) / 256.0 < 0.5 + strength * (COLOURED - 0.5);
        let said = std::iter::repeat_with(piece).find(|piece| tilt::colour(secret, 0, piece) == hit);
        let said = said.unwrap_or_default();
        Step { reference: vec![Rated { piece: said.clone(), logprob: -1.5 }], piece: said, shown: Vec::new() }
    } else {
        shown(secret, strength as f32, draw)
    };
    Ok(Attempt { index: u32::try_from(index)?, draws: vec![Draw::Answered(vec![step])] })
}

/// Five log probabilities that lean towards the secret's colours.
fn shown(secret: Hash, strength: f32, draw: &mut ChaCha8Rng) -> Step {
    let mut step = Step { piece: Vec::new(), shown: Vec::new(), reference: Vec::new() };
    for rank in 0..5u8 {
        let piece = draw.random::<[u8; 4]>().to_vec();
        let colour = if tilt::colour(secret, 0, &piece) { 1.0 } else { -1.0 };
        let expected = -1.0 - 0.6 * f32::from(rank);
        let moved = strength * LEAN * colour + NOISE * (draw.random::<f32>() - 0.5);
        step.reference.push(Rated { piece: piece.clone(), logprob: expected });
        step.shown.push(Rated { piece, logprob: expected + moved });
    }
    step.piece = step.shown[0].piece.clone();
    step
}
