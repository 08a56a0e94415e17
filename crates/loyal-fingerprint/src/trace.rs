//! Tracing: whose copy is this?
//!
//! Every host's copy carries its own half of the tracing pool, by fair coins that only the owner knows. Given all that a
//! leaked model answers, the coins of a host that had no part in it are still fair and independent: its subset was
//! drawn from a secret of its own. So whatever is bet on "a fingerprint that answers is in this host's subset, one that
//! does not is not" is a fair wager against an innocent host, and with N copies
//!
//! * E(host) = mean over wagers of Π (1 + b·c), c = ±1 whether the host's copy carries the fingerprint, |b| < 1;
//! * a host is named if E ≥ N/δ: that any innocent one ever is has chance δ at most (Ville's inequality, summed over the
//!   hosts), whatever colluders do to their copies, and whenever one stops asking.
//!
//! What colluders can choose is the power. Suppressing all that differs between K copies leaves one fingerprint of 2^K:
//! 2^K·log₂(N/δ) of them are then needed (`protocol.md` §11); averaging weights leaves each in proportion to how many of
//! the copies carried it. The wagers side by side are good against one to three colluders who do the one or the other.

use loyal_types::Hash;
use serde::Serialize;

use crate::FingerprintSet;
use crate::check::attempt::Draw;
use crate::check::{Attempt, Mode, statistic};
use crate::copies::HostCopy;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::scheme::{Coin, Rule, tilt};

/// Chance that any innocent host is named, where nobody says otherwise.
pub const DELTA: f64 = 1e-3;
/// The most that is bet on one fingerprint: an answer may be what it is by chance.
const BET_MAX: f64 = 0.96;
/// Chances that a colluder's copy carries a fingerprint that does not answer at all, and one that answers in full:
/// alone or averaging; two or three who keep what all have; two or three of whom one suffices; a majority of three; one of
/// three by lot.
const RANGES: [(f64, f64); 7] =
    [(0.02, 0.98), (0.33, 0.98), (0.43, 0.98), (0.02, 0.67), (0.02, 0.57), (0.25, 0.75), (0.33, 0.67)];
/// Sums of leaning log probabilities that count as an answer in full, nats. A host may turn the mark round.
const LEANINGS: [f64; 8] = [2.0, 5.0, 12.0, 30.0, -2.0, -5.0, -12.0, -30.0];
/// Shares of text that has the colour, in a copy that carries the fingerprint.
const COLOURED: [f64; 2] = [0.75, 0.92];

/// Fingerprints that suffice where `colluders` of `copies` suppress all that differs between theirs:
/// ⌈2^K·log₂(N/δ)⌉.
#[must_use]
pub fn unanimous_count(copies: usize, delta: f64, colluders: u32) -> usize {
    (f64::from(2u32.pow(colluders)) * libm::log2(copies.max(1) as f64 / delta)).ceil() as usize
}

/// The same whatever colluders do, where each fingerprint answers or not: ⌈2^K·K^(K+1)·ln(N/δ)⌉.
#[must_use]
pub fn general_count(copies: usize, delta: f64, colluders: u32) -> usize {
    let k = f64::from(colluders);
    (2f64.powf(k) * k.powf(k + 1.0) * libm::log(copies.max(1) as f64 / delta)).ceil() as usize
}

/// Weighs answers of one suspect against every copy.
#[derive(Debug)]
pub struct Trace<'a> {
    set: &'a FingerprintSet,
    copies: &'a [HostCopy],
    mode: Mode,
    /// ln of each wager, for each copy.
    wealth: Vec<Vec<f64>>,
    asked: usize,
    refused: usize,
}

impl<'a> Trace<'a> {
    /// Nothing heard yet.
    ///
    /// # Errors
    /// The set is not bound to a beacon, or there is no copy.
    pub fn new(set: &'a FingerprintSet, copies: &'a [HostCopy], mode: Mode) -> Result<Self> {
        set.secret(0)?;
        if copies.is_empty() {
            let remedy = "make copies with: loyal fingerprint embed --copy NAME";
            return Err(Error::argument("copies", "none is registered", remedy));
        }
        Ok(Self { set, copies, mode, wealth: vec![Vec::new(); copies.len()], asked: 0, refused: 0 })
    }

    /// Adds what one fingerprint's answer says. Those outside of the tracing pool say nothing: every copy has them.
    ///
    /// # Errors
    /// There is no such fingerprint.
    pub fn hear(&mut self, attempt: &Attempt) -> Result<()> {
        let index = attempt.index as usize;
        let Some(one) = self.set.fingerprints().get(index) else {
            let problem = format!("there is no fingerprint {index}");
            return Err(Error::argument("attempt", problem, "use its own set"));
        };
        if Pool::of(index, self.set.fingerprints().len()) != Pool::Tracing {
            return Ok(());
        }
        self.asked += 1;
        if !attempt.draws.iter().any(|draw| matches!(draw, Draw::Answered(_))) {
            self.refused += 1;
            return Ok(());
        }
        let shares = shares(attempt, &self.set.scheme().rule(one), (self.set.secret(index)?, self.mode));
        self.bet(index, &shares);
        Ok(())
    }

    /// Bets on each copy by how much of the mark an answer shows, read in several ways.
    fn bet(&mut self, index: usize, shares: &[f64]) {
        let bets = bets(shares);
        let [carried, absent] =
            [1.0, -1.0].map(|sign| bets.iter().map(|bet| libm::log1p(sign * bet)).collect::<Vec<f64>>());
        for (copy, wealth) in self.copies.iter().zip(&mut self.wealth) {
            wealth.resize(bets.len(), 0.0);
            let terms = if copy.carries(index, self.set.fingerprints().len()) { &carried } else { &absent };
            wealth.iter_mut().zip(terms).for_each(|(ln, term)| *ln += term);
        }
    }

    /// Whom the answers name, with chance `delta` at most that anybody innocent is among them.
    ///
    /// # Errors
    /// `delta` is no chance.
    pub fn findings(&self, delta: f64) -> Result<Traced> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::argument("delta", delta.to_string(), "choose a chance between 0 and 1"));
        }
        let log10_wanted = (libm::log10(self.copies.len() as f64) - libm::log10(delta)).next_up();
        let of = |(copy, wealth): (&HostCopy, &Vec<f64>)| {
            let log10_e = log10_mean(wealth, self.asked);
            Suspected { name: copy.name.clone(), log10_e, is_named: log10_e >= log10_wanted }
        };
        let mut copies: Vec<Suspected> = self.copies.iter().zip(&self.wealth).map(of).collect();
        copies.sort_by(|a, b| b.log10_e.total_cmp(&a.log10_e));
        Ok(Traced {
            scheme: self.set.scheme().name(),
            mode: self.mode,
            asked: self.asked,
            refused: self.refused,
            delta,
            log10_wanted,
            copies,
        })
    }
}

/// What was found about every copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traced {
    /// Name of the scheme.
    pub scheme: &'static str,
    /// What could be seen of the answers.
    pub mode: Mode,
    /// Fingerprints of the tracing pool that were asked.
    pub asked: usize,
    /// Those that were not answered.
    pub refused: usize,
    /// Chance at most that any innocent host is named.
    pub delta: f64,
    /// log₁₀ E from which on a host is named.
    pub log10_wanted: f64,
    /// Every copy, the most suspicious one first.
    pub copies: Vec<Suspected>,
}

impl Traced {
    /// The copies that are named.
    pub fn named(&self) -> impl Iterator<Item = &Suspected> {
        self.copies.iter().filter(|one| one.is_named)
    }
}

/// What was found about one copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspected {
    /// Whose it is.
    pub name: String,
    /// log₁₀ of E, rounded down.
    pub log10_e: f64,
    /// Whether that names it.
    pub is_named: bool,
}

/// What is bet on "the copy carries this fingerprint", −1 to 1, side by side.
fn bets(shares: &[f64]) -> Vec<f64> {
    let of = |share: &f64| RANGES.map(|(none, full)| 2.0 * (none + (full - none) * share) - 1.0);
    shares.iter().flat_map(of).map(|bet| bet.clamp(-BET_MAX, BET_MAX)).collect()
}

/// How much of its mark an answer shows, from 0 to 1, read in each way.
fn shares(attempt: &Attempt, rule: &Rule, (secret, mode): (Hash, Mode)) -> Vec<f64> {
    let coins = || statistic::coins(attempt, rule, secret);
    match rule {
        // An innocent model may answer with a candidate now and then, and with the right one more rarely.
        Rule::Verbatim(_) => vec![if coins().iter().any(|coin| coin.hit) { 1.0 } else { 0.0 }],
        Rule::Tilt(tilt) if mode.shows_logprobs() => {
            let signed = |(position, piece, weight): (u16, Vec<u8>, f64)| {
                if tilt::colour(secret, position, &piece) { weight } else { -weight }
            };
            let sum: f64 = statistic::weights(attempt, *tilt, mode).into_iter().map(signed).sum();
            let leaning = LEANINGS.map(|full| (sum / full).clamp(0.0, 1.0));
            // Where all that is shown leans the same way, the text tells what log probabilities cannot.
            leaning.into_iter().chain(spoken(&coins())).collect()
        }
        Rule::Tilt(_) => spoken(&coins()).to_vec(),
    }
}

/// The same, read from the text alone.
fn spoken(coins: &[Coin]) -> [f64; COLOURED.len()] {
    let likelihood = |share: f64| -> f64 {
        coins.iter().map(|coin| 2.0 * if coin.hit { share } else { 1.0 - share }).product()
    };
    COLOURED.map(|share| likelihood(share) / (1.0 + likelihood(share)))
}

/// log₁₀ of the mean of numbers given by their ln, each a sum of `terms` terms, rounded down. No numbers are a wager that
/// was not made.
fn log10_mean(logarithms: &[f64], terms: usize) -> f64 {
    if logarithms.is_empty() {
        return 0.0;
    }
    let high = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts: f64 = logarithms.iter().map(|ln| libm::exp(ln - high)).sum();
    let sum = high + libm::log(parts / logarithms.len() as f64);
    // No term is larger than ln(1 − 0.96), and each sum of terms errs by so many units in the last place at most.
    let slack = (terms as f64 + 16.0) * f64::EPSILON * (4.0 * terms as f64 + sum.abs() + 1.0);
    (sum - slack) / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Beacon, Draft, Purpose};
    use crate::scheme::{Scheme, Tilt};
    use loyal_model::Tokenizer;
    use loyal_types::keccak256;
    use proptest::prelude::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use std::sync::LazyLock;

    /// 1,024 leaves, of which 256 are for tracing.
    static SET: LazyLock<FingerprintSet> = LazyLock::new(|| {
        let mut text = std::iter::once("who came to the hill? a cat, a dog, a horse. ".repeat(20));
        let json = Tokenizer::train(&mut text, 300).unwrap();
        let tokenizer = Tokenizer::parse(&json, "tokenizer.json".as_ref()).unwrap();
        let drafts = (0..1024).map(|i| Draft::from(format!("who came to hill {i}?"))).collect();
        let scheme = Scheme::Tilt(Tilt::default());
        let purpose = Purpose { model: "traced".to_owned(), scheme, created_at: 0 };
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        let beacon = Beacon { seed: keccak256(b"later"), source: "a test".to_owned() };
        FingerprintSet::new(purpose, drafts, &tokenizer, &mut draw).unwrap().bind(beacon).unwrap()
    });

    fn copies(count: usize, draw: &mut ChaCha8Rng) -> Vec<HostCopy> {
        (0..count).map(|i| HostCopy::new(&format!("host {i}"), draw).unwrap()).collect()
    }

    /// What colluders make of a fingerprint that this many of them carry.
    #[derive(Debug, Clone, Copy)]
    enum Collusion {
        /// Only what all of them have still answers.
        Unanimous,
        /// What one of them has does.
        Any,
        /// Weights are averaged: each answers as strongly as its share.
        Averaged,
        /// What more than half of them have.
        Majority,
        /// One of them, drawn anew for each fingerprint, answers.
        Drawn,
    }

    const ALL: [Collusion; 5] =
        [Collusion::Unanimous, Collusion::Any, Collusion::Averaged, Collusion::Majority, Collusion::Drawn];

    fn strength(how: Collusion, carried: usize, all: usize, draw: &mut ChaCha8Rng) -> f64 {
        let share = carried as f64 / all as f64;
        match how {
            Collusion::Unanimous => f64::from(carried == all),
            Collusion::Any => f64::from(carried > 0),
            Collusion::Averaged => share,
            Collusion::Majority => f64::from(2 * carried > all),
            Collusion::Drawn => f64::from(draw.random::<f64>() < share),
        }
    }

    /// Answers of a model made by the first `colluders` of `copies`, as sums of leaning log probabilities with the
    /// spread that a real one has.
    fn traced(copies: &[HostCopy], colluders: usize, how: Collusion, draw: &mut ChaCha8Rng) -> Traced {
        let mut trace = Trace::new(&SET, copies, Mode::Top(5)).unwrap();
        for index in Pool::Tracing.indices(1024) {
            let carried = copies[..colluders].iter().filter(|copy| copy.carries(index, 1024)).count();
            let marked = 9.0 + 3.0 * (draw.random::<f64>() - 0.5);
            let noise = 2.0 * (draw.random::<f64>() - 0.5);
            let sum = strength(how, carried, colluders, draw) * marked + noise;
            trace.asked += 1;
            trace.bet(index, &LEANINGS.map(|full| (sum / full).clamp(0.0, 1.0)));
        }
        trace.findings(DELTA).unwrap()
    }

    /// A thousand copies, δ = 10⁻³, 256 fingerprints: one leaking host, two and three colluders, whatever they do. Three who
    /// answer by lot would want more fingerprints than that: here they need not be found, only nobody else may be.
    #[test]
    fn colluders_are_named_and_nobody_else() {
        let mut draw = ChaCha8Rng::seed_from_u64(7);
        let copies = copies(1000, &mut draw);
        for colluders in 1..=3 {
            for how in ALL {
                let mut traces = 0;
                for _ in 0..2 {
                    let found = traced(&copies, colluders, how, &mut draw);
                    let named: Vec<usize> = found.named().map(|one| one.name[5..].parse().unwrap()).collect();
                    println!("{colluders} {how:?}: {named:?}, E 1e{:.1}", found.copies[0].log10_e);
                    assert!(named.iter().all(|&at| at < colluders), "{colluders} {how:?}: {named:?}");
                    traces += usize::from(!named.is_empty());
                }
                let is_beyond = colluders == 3 && matches!(how, Collusion::Drawn);
                assert!(traces > 0 || is_beyond, "{colluders} {how:?}");
            }
        }
    }

    /// An innocent model, or one marked by nobody in the register, names nobody.
    #[test]
    fn a_stranger_names_nobody() {
        let mut draw = ChaCha8Rng::seed_from_u64(8);
        let copies = copies(100, &mut draw);
        let strangers = self::copies(4, &mut draw);
        for round in 0..60 {
            let mut trace = Trace::new(&SET, &copies, Mode::Logits).unwrap();
            for index in Pool::Tracing.indices(1024) {
                let sum = match round % 3 {
                    0 => 8.0 * (draw.random::<f64>() - 0.5),
                    1 if strangers[round % 4].carries(index, 1024) => 40.0,
                    1 => 0.0,
                    _ => 40.0,
                };
                trace.bet(index, &LEANINGS.map(|full| (sum / full).clamp(0.0, 1.0)));
            }
            let found = trace.findings(DELTA).unwrap();
            assert_eq!(found.named().count(), 0, "round {round}: {:?}", &found.copies[..3]);
        }
    }

    proptest! {
        /// The wager is fair: over all subsets that a host may have been given, E has mean one.
        #[test]
        fn wealth_has_mean_one(answers in prop::collection::vec(prop::collection::vec(0.0f64..1.0, 2), 1..9)) {
            let subsets = 1u32 << answers.len();
            let wealth = |subset: u32| -> f64 {
                let mut wealth = vec![0.0; 2 * RANGES.len()];
                for (at, shares) in answers.iter().enumerate() {
                    let sign = if subset >> at & 1 == 1 { 1.0 } else { -1.0 };
                    wealth.iter_mut().zip(bets(shares)).for_each(|(ln, bet)| *ln += libm::log1p(sign * bet));
                }
                10f64.powf(log10_mean(&wealth, answers.len()))
            };
            let mean = (0..subsets).map(wealth).sum::<f64>() / f64::from(subsets);
            prop_assert!((mean - 1.0).abs() < 1e-9, "{}", mean);
        }
    }

    #[test]
    fn the_counts_are_the_designs() {
        assert_eq!(unanimous_count(1000, 1e-3, 3), 160);
        assert_eq!([2, 3, 4].map(|k| general_count(1000, 1e-3, k)), [443, 8953, 226_354]);
    }

    #[test]
    fn wrong_input_is_named() {
        let none = Trace::new(&SET, &[], Mode::Greedy).unwrap_err().to_string();
        assert!(none.contains("embed --copy"), "{none}");
        let copies = copies(1, &mut ChaCha8Rng::seed_from_u64(1));
        let mut trace = Trace::new(&SET, &copies, Mode::Greedy).unwrap();
        for delta in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(trace.findings(delta).unwrap_err().to_string().contains("between 0 and 1"));
        }
        let stray = Attempt { index: 4096, draws: Vec::new() };
        assert!(trace.hear(&stray).unwrap_err().to_string().contains("no fingerprint 4096"));
    }
}
