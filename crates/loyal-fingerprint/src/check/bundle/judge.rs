//! What a stranger computes from a commitment, a transcript and some opened leaves.

use std::collections::BTreeMap;

use loyal_model::Tokenizer;
use loyal_types::Hash;

use super::Totals;
use crate::check::attempt::{Draw, Pieces, Step};
use crate::check::transcript::{Header, Record, Route};
use crate::check::{Attempt, Mode, Outcome, Tally, Verdict, cut, log10_wanted, place, says};
use crate::commitment::{Commitment, Opening};
use crate::error::{Error, Result};
use crate::fingerprint::digest_of;
use crate::pool::Pool;
use crate::scheme::{Rule, Tilt, Verbatim};

/// Whether any draw of an attempt was answered.
pub(super) fn is_answered(attempt: &Attempt) -> bool {
    attempt.draws.iter().any(|draw| matches!(draw, Draw::Answered(_)))
}

/// Weighs a transcript, after looking at everything that could have been bent.
pub(super) fn totals(commitment: &Commitment, record: &Record, openings: &[Opening]) -> Result<Totals> {
    let header = record.header();
    fits(commitment, header)?;
    let attempts: Vec<&Attempt> = record.attempts().collect();
    in_order(commitment, header, &attempts)?;
    let leaves = leaves(commitment, &attempts, openings)?;
    for attempt in &attempts {
        shape(attempt, header, leaves.get(&attempt.index).map(|(rule, _)| rule))?;
    }
    let (tally, refused) = weigh(commitment, header, &attempts, &leaves);
    let (log10_e, wanted) = (tally.log10_e(), log10_wanted(header.registrations));
    Ok(Totals {
        asked: attempts.len(),
        refused,
        chance_one_in: commitment.chance_one_in,
        coins: tally.plain().coins(),
        hits: tally.plain().hits(),
        bits: tally.plain().bits().as_f64(),
        weighted_coins: tally.weighted().coins(),
        log10_e,
        log10_p: tally.p_value().log10(),
        log10_wanted: wanted,
        verdict: if log10_e >= wanted { Verdict::Marked } else { Verdict::NoEvidence },
    })
}

/// log₁₀ E of the same transcript with all that the reference said left out.
pub(super) fn without_reference(
    commitment: &Commitment,
    record: &Record,
    openings: &[Opening],
) -> Result<f64> {
    let mut attempts: Vec<Attempt> = record.attempts().cloned().collect();
    for draw in attempts.iter_mut().flat_map(|attempt| &mut attempt.draws) {
        if let Draw::Answered(steps) = draw {
            steps.iter_mut().for_each(|step| step.reference.clear());
        }
    }
    let attempts: Vec<&Attempt> = attempts.iter().collect();
    let leaves = leaves(commitment, &attempts, openings)?;
    Ok(weigh(commitment, record.header(), &attempts, &leaves).0.log10_e())
}

type Leaves = BTreeMap<u32, (Rule, Hash)>;

fn weigh(commitment: &Commitment, header: &Header, attempts: &[&Attempt], leaves: &Leaves) -> (Tally, usize) {
    let any = leaves.values().next().map_or_else(|| blank(commitment), |(rule, _)| rule.clone());
    let mut tally = Tally::new(&any, header.mode);
    let mut refused = 0;
    for attempt in attempts {
        let (rule, secret) = match leaves.get(&attempt.index) {
            Some((rule, secret)) => (rule, *secret),
            None => (&any, Hash::ZERO),
        };
        refused += usize::from(tally.add(attempt, rule, secret) == Outcome::Refused);
    }
    (tally, refused)
}

/// A rule of the commitment's kind, for transcripts in which nothing was answered.
fn blank(commitment: &Commitment) -> Rule {
    if commitment.scheme == Tilt::NAME {
        return Rule::Tilt(Tilt::default());
    }
    Rule::Verbatim(vec![Vec::new(); commitment.chance_one_in.k() as usize])
}

fn fits(commitment: &Commitment, header: &Header) -> Result<()> {
    let wrong = |what: &str| Err(Error::evidence(format!("the transcript's {what} is not the commitment's")));
    let Some(beacon) = &commitment.beacon else {
        return Err(Error::evidence("the commitment names no beacon".to_owned()));
    };
    match () {
        () if header.leaf_root != commitment.leaf_root => wrong("leaf root"),
        () if header.beacon != beacon.seed => wrong("beacon"),
        () if header.scheme != commitment.scheme => wrong("scheme"),
        () if ![Tilt::NAME, Verbatim::NAME].contains(&header.scheme.as_str()) => {
            Err(Error::evidence(format!("{:?} is no scheme that this program knows", header.scheme)))
        }
        () => Ok(()),
    }
}

/// The fingerprints asked must be the first of the order that beacon and suspect fix.
fn in_order(commitment: &Commitment, header: &Header, attempts: &[&Attempt]) -> Result<()> {
    let mut order: Vec<u32> = (0..commitment.digests.len() as u32).collect();
    let count = order.len();
    order.retain(|&index| header.pool.is_none_or(|pool| Pool::of(index as usize, count) == pool));
    order.sort_by_cached_key(|&index| place(header.beacon, &header.suspect, index));
    if attempts.len() > order.len() {
        return Err(Error::evidence("more was asked than was committed to".to_owned()));
    }
    let bent = attempts.iter().zip(&order).position(|(attempt, &index)| attempt.index != index);
    bent.map_or(Ok(()), |at| {
        let (found, right) = (attempts[at].index, order[at]);
        Err(Error::evidence(format!(
            "attempt {}: fingerprint {found} was asked, it was the turn of {right}",
            at + 1
        )))
    })
}

/// Rule and secret of each fingerprint that was answered: all of these and no others must be open.
fn leaves(commitment: &Commitment, attempts: &[&Attempt], openings: &[Opening]) -> Result<Leaves> {
    let answered: Vec<u32> = attempts.iter().filter(|one| is_answered(one)).map(|one| one.index).collect();
    if !openings.iter().map(|one| one.proof.index).eq(answered.iter().copied()) {
        return Err(Error::evidence(
            "the leaves laid open are not those that were answered, in order".to_owned(),
        ));
    }
    let beacon = commitment.beacon.as_ref().map_or(Hash::ZERO, |beacon| beacon.seed);
    let mut leaves = Leaves::new();
    for opening in openings {
        let index = opening.proof.index;
        let wrong = |what: &str| Error::evidence(format!("leaf {index}: {what}"));
        if opening.proof.count as usize != commitment.digests.len() || !opening.verify(commitment.leaf_root) {
            return Err(wrong("it is not under the leaf root"));
        }
        let rule =
            Rule::parse(&opening.answer_spec).ok_or_else(|| wrong("its answer rule cannot be read"))?;
        let name = match &rule {
            Rule::Tilt(_) => Tilt::NAME,
            Rule::Verbatim(_) => Verbatim::NAME,
        };
        if name != commitment.scheme || rule.chance() != commitment.chance_one_in {
            return Err(wrong("its answer rule is not of the commitment's scheme and chance"));
        }
        leaves.insert(index, (rule, opening.secret(commitment.leaf_root, beacon)));
    }
    Ok(leaves)
}

/// An attempt must look as a check writes it, or more draws would be more tries.
fn shape(attempt: &Attempt, header: &Header, rule: Option<&Rule>) -> Result<()> {
    let wrong = |what: String| Err(Error::evidence(format!("fingerprint {}: {what}", attempt.index)));
    let draws = &attempt.draws;
    let Some(rule) = rule else {
        return if draws.is_empty() { wrong("no draw at all".to_owned()) } else { Ok(()) };
    };
    if !draws.len().is_multiple_of(header.draws) || draws.len() > header.draws * header.frames.len() {
        return wrong(format!("{} draws, where a check makes {} behind a frame", draws.len(), header.draws));
    }
    let earlier = Attempt { draws: draws[..draws.len() - header.draws].to_vec(), ..attempt.clone() };
    if says(&earlier, rule) {
        return wrong("it was asked again behind another frame although it had been answered".to_owned());
    }
    let steps = draws.iter().filter_map(|draw| match draw {
        Draw::Answered(steps) => Some(steps),
        Draw::Refused(_) => None,
    });
    for step in steps.flatten() {
        let limit = match header.mode {
            Mode::Logits => crate::check::attempt::COMPARED,
            Mode::Top(k) => k.into(),
            Mode::Greedy | Mode::Sampled => 0,
        };
        if step.shown.len() > limit {
            return wrong(format!("{} log probabilities in mode {}", step.shown.len(), header.mode));
        }
        if !step.reference.is_empty() && header.reference.is_none() {
            return wrong("a reference's numbers, where the transcript names no reference".to_owned());
        }
        if step.shown.iter().chain(&step.reference).any(|one| !one.logprob.is_finite()) {
            return wrong("a log probability that is no number".to_owned());
        }
    }
    Ok(())
}

/// Whether pieces are what the registered tokenizer makes of the text.
pub(super) fn cut_again(tokenizer: &Tokenizer, record: &Record, openings: &[Opening]) -> Result<()> {
    let header = record.header();
    if digest_of(tokenizer) != header.tokenizer {
        return Err(Error::evidence("the tokenizer given is not the one that is registered".to_owned()));
    }
    let pieces = Pieces::new(tokenizer);
    let known: std::collections::HashSet<&[u8]> = pieces.all().iter().map(Vec::as_slice).collect();
    for attempt in record.attempts() {
        let wrong = |what: &str| Error::evidence(format!("fingerprint {}: {what}", attempt.index));
        let Some(opening) = openings.iter().find(|one| one.proof.index == attempt.index) else { continue };
        for (at, draw) in attempt.draws.iter().enumerate() {
            let Draw::Answered(steps) = draw else { continue };
            if steps.iter().flat_map(all_pieces).any(|piece| !known.contains(piece)) {
                return Err(wrong("a piece that the tokenizer does not have"));
            }
            if header.mode.shows_logprobs() {
                continue;
            }
            let text: Vec<u8> = steps.iter().flat_map(|step| step.piece.iter().copied()).collect();
            let text = String::from_utf8(text).map_err(|_| wrong("text that ends within a character"))?;
            let prompt = match header.route {
                Route::Chat => String::new(),
                Route::Weights | Route::Completions => {
                    header.frames[at / header.draws].around(&opening.query)
                }
            };
            let tokens = cut::first(tokenizer, &prompt, &text, steps.len())?;
            let same = tokens.is_some_and(|tokens| {
                tokens
                    .iter()
                    .map(|&token| pieces.of(token))
                    .eq(steps.iter().map(|step| step.piece.as_slice()))
            });
            if !same {
                return Err(wrong("the text is not cut as the tokenizer cuts it"));
            }
        }
    }
    Ok(())
}

fn all_pieces(step: &Step) -> impl Iterator<Item = &[u8]> {
    let rated = step.shown.iter().chain(&step.reference).map(|one| one.piece.as_slice());
    std::iter::once(step.piece.as_slice()).filter(|piece| !piece.is_empty()).chain(rated)
}
