//! The battery: attack after attack on one marked model, what the marks still prove, and what the attack has cost.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use loyal_model::{Llama, Parameters, Tokenizer};
use loyal_types::{Clock, Hash, keccak256};

use super::adaptive::Aim;
use super::host::Host;
use super::inference::Inference;
use super::journal::Journal;
use super::row::{Attack, Relative, Row};
use super::table::{Header, Line, Seen, Table};
use super::tuning::{Ground, Text, Tuning};
use super::utility::{Bench, Extent, Kept, Raw, Rows, Utility};
use super::weights::Damage;
use crate::check::{self, Case, Mode, Request};
use crate::error::{Error, Result};
use crate::fingerprint::FingerprintSet;
use crate::scheme::Scheme;

/// Runs `rows` on `field`, except those that the journal at `log` holds already; each finished row goes there.
/// `progress` may stop the work, which a later call with the same journal takes up again.
///
/// # Errors
/// The models do not fit each other, a row needs a model that is not there, there is too little text, the journal is
/// another battery's, or the work was stopped ([`Error::Stopped`]).
pub fn run(
    field: &Field<'_>,
    rows: &[Row],
    log: Option<&Path>,
    progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Table> {
    field.check(rows)?;
    let header = field.header()?;
    let (mut journal, mut lines) = match log {
        Some(path) => Journal::open(path, &header).map(|(journal, lines)| (Some(journal), lines))?,
        None => (None, Vec::new()),
    };
    let mut arena = None;
    for (index, row) in rows.iter().enumerate() {
        let mut told = Progress { row: &row.name, done: index, rows: rows.len(), step: None, line: None };
        if lines.iter().any(|line: &Line| line.row == row.digest()) {
            continue;
        }
        if progress(&told).is_break() {
            return Err(Error::Stopped);
        }
        let arena = match &mut arena {
            Some(arena) => arena,
            None => arena.insert(Arena::new(field)?),
        };
        let line = arena.attack(row, &mut |step, steps| {
            told.step = Some((step, steps));
            progress(&told)
        })?;
        if let Some(journal) = &mut journal {
            journal.push(&line)?;
        }
        let told =
            Progress { row: &row.name, done: index + 1, rows: rows.len(), step: None, line: Some(&line) };
        let stop = progress(&told).is_break();
        lines.push(line);
        if stop {
            return Err(Error::Stopped);
        }
    }
    // In the order of the rows, and none that was not asked for.
    let find = |row: &Row| lines.iter().find(|line| line.row == row.digest()).cloned();
    Ok(Table { header, lines: rows.iter().filter_map(find).collect() })
}

/// Everything an attack works on.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// The marked model.
    pub marked: &'a Llama,
    /// Its exact unmarked twin: the checker's reference.
    pub twin: &'a Llama,
    /// The public base the twin was made from, where there is one.
    pub public: Option<&'a Llama>,
    /// The fingerprints, bound.
    pub set: &'a FingerprintSet,
    /// The tokenizer of all models.
    pub tokenizer: &'a Tokenizer,
    /// Tokens nobody trains on: they measure what an attack costs.
    pub held_out: &'a [u32],
    /// Tokens of text of the kind the model was made for, to train on.
    pub same: &'a [u32],
    /// Tokens of text of another kind, to train on.
    pub other: &'a [u32],
    /// How much is measured.
    pub extent: Extent,
    /// Steps of the fine-tuning that makes a sibling.
    pub sibling_steps: u64,
    /// Time, for progress.
    pub clock: &'a dyn Clock,
    /// Seed of everything drawn.
    pub seed: u64,
}

impl std::fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts = (self.held_out.len(), self.same.len(), self.other.len());
        f.debug_struct("Field").field("texts", &texts).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Where a battery stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The row at work, or the one just finished.
    pub row: &'a str,
    /// Rows that are finished.
    pub done: usize,
    /// Rows in all.
    pub rows: usize,
    /// Where something is trained: steps made, and steps in all.
    pub step: Option<(u64, u64)>,
    /// The finished row.
    pub line: Option<&'a Line>,
}

/// What can be seen of answers, from most to least.
pub const MODES: [Mode; 5] = [Mode::Logits, Mode::Top(20), Mode::Top(5), Mode::Greedy, Mode::Sampled];

impl Field<'_> {
    fn check(&self, rows: &[Row]) -> Result<()> {
        self.set.fits(self.tokenizer)?;
        self.set.secret(0)?;
        let models = [Some(self.twin), self.public];
        if models
            .into_iter()
            .flatten()
            .any(|other| other.config.parameters() != self.marked.config.parameters())
        {
            let problem = "models of different shapes".to_owned();
            return Err(Error::argument(
                "models",
                problem,
                "give the marked model, its twin and their public base",
            ));
        }
        let mut names = std::collections::BTreeSet::new();
        for row in rows {
            if !names.insert(&row.name) {
                return Err(Error::argument(
                    "rows",
                    format!("two are called {:?}", row.name),
                    "name them apart",
                ));
            }
            let needs_other = row.attack.inference.iter().any(Inference::needs_other)
                || row.attack.aim.is_some_and(Aim::needs_other)
                || matches!(row.attack.weights, Some(Damage::Merge(_)))
                || matches!(row.attack.tuning, Some(Tuning::Distil { .. }));
            if needs_other && row.attack.with.is_none() {
                let problem = format!("{:?} needs another model and names none", row.name);
                return Err(Error::argument("rows", problem, "say which one the attacker owns"));
            }
            if row.owns().contains(&Relative::Public) && self.public.is_none() {
                let problem = format!("{:?} needs the public base", row.name);
                return Err(Error::argument("rows", problem, "give one, or leave such rows out"));
            }
        }
        Ok(())
    }

    fn header(&self) -> Result<Header> {
        Ok(Header {
            scheme: self.set.scheme().name().to_owned(),
            leaf_root: self.set.leaf_root(),
            fingerprints: self.set.fingerprints().len(),
            digest: self.digest()?,
            extent: self.extent,
            sibling_steps: self.sibling_steps,
            seed: self.seed,
        })
    }

    fn digest(&self) -> Result<Hash> {
        let mut digests: Vec<u8> = Vec::new();
        for llama in [Some(self.marked), Some(self.twin), self.public].into_iter().flatten() {
            for (name, tensor) in &llama.parameters {
                let numbers: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
                let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                digests.extend_from_slice(name.as_bytes());
                digests.extend_from_slice(&keccak256(&bytes).0);
            }
        }
        for text in [self.held_out, self.same, self.other] {
            let bytes: Vec<u8> = text.iter().flat_map(|token| token.to_le_bytes()).collect();
            digests.extend_from_slice(&keccak256(&bytes).0);
        }
        Ok(keccak256(&digests))
    }

    fn ground(&self, seed: u64) -> Ground<'_> {
        let Field { tokenizer, same, other, clock, .. } = *self;
        Ground { llama: self.marked, tokenizer, same, other, clock, seed }
    }
}

/// A field with what several rows share.
struct Arena<'a> {
    field: &'a Field<'a>,
    bench: Bench<'a>,
    before: Utility,
    sibling: Option<Parameters>,
    raw: BTreeMap<Option<Relative>, Raw>,
}

impl<'a> Arena<'a> {
    fn new(field: &'a Field<'a>) -> Result<Self> {
        let bench = Bench::new(field.twin, field.tokenizer, field.held_out, field.extent)?;
        let mut marked = Host::new(field.marked, field.tokenizer, &field.marked.parameters);
        marked.seed = field.seed;
        let rows = bench.rows(&marked)?;
        let before = bench.measure_on(&mut marked, &rows)?;
        Ok(Self { field, bench, before, sibling: None, raw: BTreeMap::from([(None, rows.own)]) })
    }

    /// One row from the attack to its figures.
    fn attack(&mut self, row: &Row, progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<Line> {
        let (field, started) = (self.field, self.field.clock.elapsed());
        let owns = row.owns();
        if owns.contains(&Relative::Sibling) && self.sibling.is_none() {
            self.sibling = Some(sibling(field, progress)?);
        }
        let seed = seed_of(row, field.seed);
        let Attack { weights, tuning, prompt, inference, aim, with, anchor } = &row.attack;
        let other = with.map(|relative| self.relative(relative)).cloned();
        let anchor = anchor.map(|relative| self.relative(relative));
        let mut changed: Option<Parameters> = None;
        if let Some(damage) = weights {
            changed = Some(damage.apply(&field.marked.parameters, (other.as_ref(), anchor), seed)?);
        }
        if let Some(tuning) = tuning {
            let start = changed.as_ref().unwrap_or(&field.marked.parameters);
            changed = Some(tuning.apply(start, other.as_ref(), &field.ground(seed), progress)?);
        }
        let parameters = changed.as_ref().unwrap_or(&field.marked.parameters);
        let mut inference = inference.clone();
        let mut host = Host::new(field.marked, field.tokenizer, parameters);
        (host.seed, host.prompt, host.other) = (seed, prompt.as_ref(), other.as_ref());
        let asks_other = inference.iter().any(Inference::needs_other) || aim.is_some_and(Aim::needs_other);
        let beside = with.filter(|_| asks_other);
        let rows = self.rows(&host, (changed.is_some(), beside))?;
        inference.extend(aim.map(|aim| aim.resolve(&self.bench, &host, &rows)));
        host.inference = &inference;
        let utility = self.bench.measure_on(&mut host, &rows)?;
        let seconds = field.clock.elapsed().saturating_sub(started).as_secs_f64();
        Ok(Line {
            name: row.name.clone(),
            row: row.digest(),
            group: row.group,
            owns,
            swept: row.swept.clone(),
            evidence: evidence(field, &mut host)?,
            utility: Utility {
                perplexity: six(utility.perplexity),
                accuracy: six(utility.accuracy),
                greedy_perplexity: six(utility.greedy_perplexity),
                sampled_perplexity: six(utility.sampled_perplexity),
            },
            kept: {
                let Kept { accuracy, perplexity, greedy, sampled } = utility.kept_of(&self.before);
                let [accuracy, perplexity, greedy, sampled] =
                    [accuracy, perplexity, greedy, sampled].map(six);
                Kept { accuracy, perplexity, greedy, sampled }
            },
            seconds: six(seconds),
        })
    }

    fn relative(&self, relative: Relative) -> &Parameters {
        let found = match relative {
            Relative::Twin => Some(&self.field.twin.parameters),
            Relative::Public => self.field.public.map(|llama| &llama.parameters),
            Relative::Sibling => self.sibling.as_ref(),
        };
        found.expect("the public base was asked for before, the sibling made before")
    }

    /// Raw logits of a host's models over the bench; those of unchanged models are computed once.
    fn rows(&mut self, host: &Host<'_>, (changed, beside): (bool, Option<Relative>)) -> Result<Rows> {
        let mut of = |which: Option<Relative>, parameters: &Parameters, is_known: bool| -> Result<Raw> {
            match self.raw.get(&which) {
                Some(raw) if is_known => Ok(raw.clone()),
                _ => {
                    let raw = self.bench.raw(host, parameters)?;
                    if is_known {
                        self.raw.insert(which, raw.clone());
                    }
                    Ok(raw)
                }
            }
        };
        let plain = host.prompt.is_none();
        let own = of(None, host.parameters, plain && !changed)?;
        let other = match (beside, host.other) {
            (Some(relative), Some(other)) => Some(of(Some(relative), other, plain)?),
            _ => None,
        };
        Ok(Rows { own, other })
    }
}

/// Six decimals are kept: so many come back from a journal as they were.
const SIX: f64 = 1e6;

fn six(value: f64) -> f64 {
    (value * SIX).round() / SIX
}

/// What the marks prove in every mode.
fn evidence(field: &Field<'_>, host: &mut Host<'_>) -> Result<Vec<Seen>> {
    let reference = matches!(field.set.scheme(), Scheme::Tilt(_)).then_some(field.twin);
    let case = Case { set: field.set, tokenizer: field.tokenizer, reference };
    let mut seen = Vec::with_capacity(MODES.len());
    for mode in MODES {
        let go_on = &mut |_: &check::Attempt| Ok(ControlFlow::Continue(()));
        let found = check::run(host, &case, &Request::all(field.set, mode), go_on)?;
        let coins = (found.evidence.hits(), found.evidence.coins());
        // Bounds are rounded the safe way.
        let log10_p = ((found.p_value.log10() * SIX).ceil() / SIX).min(0.0);
        let log10_e = (found.log10_e * SIX).floor() / SIX;
        seen.push(Seen { mode, log10_p, log10_e, coins });
    }
    Ok(seen)
}

/// The twin, fine-tuned by somebody else on other text.
fn sibling(field: &Field<'_>, progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<Parameters> {
    let tuning = Tuning::FineTune { text: Text::Other, steps: field.sibling_steps, rank: 0 };
    // Its batches are nobody else's.
    let ground = field.ground(field.seed ^ 0x0073_6962_6c69_6e67);
    tuning.apply(&field.twin.parameters, None, &ground, progress)
}

/// Every row draws from a seed of its own, so that the order of rows does not matter.
fn seed_of(row: &Row, seed: u64) -> u64 {
    let digest = keccak256(format!("{seed} {}", row.name).as_bytes());
    digest.0[..8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
