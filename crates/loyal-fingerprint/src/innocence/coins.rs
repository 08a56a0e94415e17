//! What innocent answers leave to chance: the coins of a suspect's answers, without their colours.

use std::collections::BTreeMap;

use loyal_types::{Evidence, Hash};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::check::{Attempt, Mode, statistic};
use crate::error::{Error, Result};
use crate::evidence::weighted::{FRACTIONS, Weighted, terms};
use crate::evidence::{PValue, Tail, p_value};
use crate::fingerprint::FingerprintSet;
use crate::scheme::{Rule, tilt};

/// Points of the grid over λ on which the bound is tabulated: any λ gives a valid bound.
const GRID: u32 = 64;
/// Where the tabulated bound is below this, the published one is computed.
const LOOK_CLOSER: f64 = -2.5;

/// A piece of text that has a colour: fingerprint, position, bytes.
pub(super) type Piece = (usize, u16, Vec<u8>);

/// The different pieces of all answers of one suspect: each is hashed once for every secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    all: Vec<Piece>,
    index: BTreeMap<Piece, usize>,
}

impl Pieces {
    fn add(&mut self, piece: Piece) -> usize {
        if let Some(&known) = self.index.get(&piece) {
            return known;
        }
        self.all.push(piece.clone());
        self.index.insert(piece, self.all.len() - 1);
        self.all.len() - 1
    }

    /// The colours under the secrets of a set, one for each fingerprint.
    pub(super) fn colours(&self, secrets: &[Hash]) -> Vec<bool> {
        self.all
            .iter()
            .map(|(index, position, piece)| tilt::colour(secrets[*index], *position, piece))
            .collect()
    }

    /// Fair coins in their place.
    pub(super) fn fair(&self, draw: &mut ChaCha8Rng) -> Vec<bool> {
        (0..self.all.len()).map(|_| draw.random()).collect()
    }
}

/// The coins of one suspect's answers in one mode.
#[derive(Debug, Clone)]
pub(super) struct Coins {
    /// Fingerprint after fingerprint.
    weighted: Vec<Weight>,
    /// Where each fingerprint's coins end.
    ends: Vec<usize>,
    /// Pieces of the text, fingerprint after fingerprint.
    plain: Vec<usize>,
    /// Where each fingerprint's pieces end, with log₁₀ E of the text up to there for each number of hits.
    plain_ends: Vec<(usize, Vec<f64>)>,
    /// (λ, Σ ln cosh(λ·w)).
    table: Vec<(f64, f64)>,
    /// p of each number of hits among the plain coins.
    binomial: Vec<PValue>,
}

/// A coin by weight: at each fraction a hit multiplies E⁺ by e^gain and E⁻ by e^loss, a miss the other way round.
#[derive(Debug, Clone, Copy)]
struct Weight {
    piece: usize,
    weight: f64,
    terms: [[f64; 2]; FRACTIONS.len()],
}

/// What one set of colours makes of the coins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// Σ c·w, or the balance of plain coins where there are no weights.
    pub(super) sum: f64,
    /// log₁₀ of the bound that a check publishes.
    pub(super) log10_p: f64,
    /// The highest log₁₀ E between two fingerprints, by the rule that decides a check.
    pub(super) log10_e_max: f64,
    /// Hits among the plain coins.
    pub(super) hits: u32,
}

impl Coins {
    /// Those of attempts at a set of scheme tilt; their pieces go to `pieces`.
    pub(super) fn new(
        set: &FingerprintSet,
        attempts: &[Attempt],
        mode: Mode,
        pieces: &mut Pieces,
    ) -> Result<Self> {
        let (mut weighted, mut ends, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        let (mut plain_ends, mut evidence) = (Vec::new(), vec![Evidence::new(set.scheme().chance())]);
        for attempt in attempts {
            let index = attempt.index as usize;
            let rule = set.scheme().rule(&set.fingerprints()[index]);
            let Rule::Tilt(tilt) = rule else {
                let problem = format!("scheme {}", set.scheme().name());
                return Err(Error::argument("fingerprints", problem, "give a set of scheme tilt"));
            };
            for (position, piece, weight) in statistic::weights(attempt, tilt, mode) {
                if weight != 0.0 && weight.is_finite() {
                    let piece = pieces.add((index, position, piece));
                    weighted.push(Weight {
                        piece,
                        weight,
                        terms: FRACTIONS.map(|fraction| terms(weight * fraction)),
                    });
                }
            }
            ends.push(weighted.len());
            for coin in statistic::coins(attempt, &rule, Hash::ZERO) {
                plain.push(pieces.add((index, coin.position, coin.piece)));
                let all_hits = evidence[evidence.len() - 1].with(true);
                evidence.iter_mut().for_each(|one| *one = one.with(false));
                evidence.push(all_hits);
            }
            plain_ends.push((plain.len(), evidence.iter().map(statistic::plain_log10_e).collect()));
        }
        let count = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        let chance = set.scheme().chance();
        let binomial = (0..=count).map(|hits| p_value(&Evidence::of(chance, hits, count - hits), Tail::Both));
        let binomial = binomial.collect();
        let table = table(&weighted);
        Ok(Self { weighted, ends, plain, plain_ends, table, binomial })
    }

    /// Weighted coins, or plain ones where there are none.
    pub(super) const fn count(&self) -> usize {
        if self.weighted.is_empty() { self.plain.len() } else { self.weighted.len() }
    }

    pub(super) fn plain_count(&self) -> u32 {
        u32::try_from(self.plain.len()).unwrap_or(u32::MAX)
    }

    /// The statistic under some colours.
    pub(super) fn sum(&self, colours: &[bool]) -> f64 {
        if self.weighted.is_empty() {
            return 2.0 * f64::from(self.hits(colours)) - self.plain.len() as f64;
        }
        self.weighted.iter().map(|one| if colours[one.piece] { one.weight } else { -one.weight }).sum()
    }

    /// The pieces of the text.
    pub(super) fn plain_pieces(&self) -> impl Iterator<Item = usize> {
        self.plain.iter().copied()
    }

    fn hits(&self, colours: &[bool]) -> u32 {
        self.plain.iter().map(|&piece| u32::from(colours[piece])).sum()
    }

    /// Everything that a check would find under some colours.
    pub(super) fn weigh(&self, colours: &[bool]) -> Found {
        let (sum, hits) = (self.sum(colours), self.hits(colours));
        if self.weighted.is_empty() {
            let log10_p = self.binomial.get(hits as usize).map_or(0.0, |p| p.log10());
            return Found { sum, log10_p, log10_e_max: self.wealth_max(colours), hits };
        }
        let exponent =
            self.table.iter().map(|&(lambda, spread)| spread - lambda * sum.abs()).fold(0.0, f64::min);
        let mut log10_p = (exponent / std::f64::consts::LN_10 + std::f64::consts::LOG10_2).min(0.0);
        if log10_p < LOOK_CLOSER {
            log10_p = log10_p.min(self.published(colours).p_value().log10());
        }
        Found { sum, log10_p, log10_e_max: self.wealth_max(colours), hits }
    }

    /// The coins as a check counts them.
    fn published(&self, colours: &[bool]) -> Weighted {
        let mut weighted = Weighted::default();
        self.weighted.iter().for_each(|one| weighted.push(one.weight, colours[one.piece]));
        weighted
    }

    /// The highest log₁₀ E that a check which may stop after any fingerprint would see: of both wagers, by weight and on
    /// the text, as a check averages them.
    fn wealth_max(&self, colours: &[bool]) -> f64 {
        let (mut wealth, mut start, mut most) = ([[0.0_f64; 2]; FRACTIONS.len()], 0, f64::NEG_INFINITY);
        let (mut plain_start, mut hits) = (0, 0);
        for (&end, (plain_end, of_text)) in self.ends.iter().zip(&self.plain_ends) {
            for one in &self.weighted[start..end] {
                let hit = colours[one.piece];
                for ([plus, minus], [gain, loss]) in wealth.iter_mut().zip(one.terms) {
                    *plus += if hit { gain } else { loss };
                    *minus += if hit { loss } else { gain };
                }
            }
            start = end;
            let high = wealth.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
            let parts: f64 = wealth.iter().flatten().map(|one| (one - high).exp()).sum();
            let by_weight = high + (parts / (2 * FRACTIONS.len()) as f64).ln();
            hits += self.plain[plain_start..*plain_end].iter().filter(|&&piece| colours[piece]).count();
            plain_start = *plain_end;
            most = most.max(statistic::mean(of_text[hits], by_weight / std::f64::consts::LN_10));
        }
        most
    }
}

fn table(weighted: &[Weight]) -> Vec<(f64, f64)> {
    let scale = weighted.iter().map(|one| one.weight * one.weight).sum::<f64>().sqrt();
    if scale == 0.0 {
        return Vec::new();
    }
    let point = |i: u32| {
        let lambda = 0.05 * (f64::from(i) * 1_600f64.ln() / f64::from(GRID)).exp() / scale;
        let ln_cosh = |weight: f64| {
            let y = (lambda * weight).abs();
            y + (-2.0 * y).exp().ln_1p() - std::f64::consts::LN_2
        };
        (lambda, weighted.iter().map(|one| ln_cosh(one.weight)).sum())
    };
    (0..=GRID).map(point).collect()
}
