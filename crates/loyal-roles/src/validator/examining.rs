//! What a validator finds by itself: evidence that comes out the same for whoever looks.

use std::ops::ControlFlow;
use std::path::Path;

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::{SolEvent as _, SolValue as _};
use loyal_fingerprint::check::{Verdict, bundle::Bundle};
use loyal_fingerprint::scheme::Rule;
use loyal_model::generate::{self, Request};
use loyal_model::sampler::Sampling;
use loyal_model::{Config, Decoder, Precision, Tokenizer};
use loyal_protocol::contracts::{LeakExaminer, OwnershipExaminer, ProbeBoard, Registry, UsageExaminer};
use loyal_types::Hash;

use super::{Validator, Written, read};
use crate::court::Claim;
use crate::error::{Error, Result};
use crate::owner::manifest;

/// What looking into a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// This.
    Found(Written),
    /// Nothing: it takes a person, or evidence that was not shown. The sentence says what is missing.
    Unknown(String),
}

fn found(outcome: &str, (hits, trials): (u16, u16), reason: String) -> Examined {
    Examined::Found(Written { outcome: outcome.to_owned(), hits, trials, reason })
}

impl Validator {
    /// Looks into a claim. What a person wrote goes before what a program finds.
    ///
    /// # Errors
    /// The chain's; a file that is damaged.
    pub fn examine(&self, claim: &Claim) -> Result<Examined> {
        let name = self.settings.docket.join(format!("{}.finding.json", claim.id));
        if let Some(written) = read(&name)? {
            written.finding().map_err(|error| Error::file(&name, error))?;
            return Ok(Examined::Found(written));
        }
        match claim.kind {
            "ownership" => self.ownership(claim),
            "leak" => self.leak(claim),
            "unreported" => self.unreported(claim),
            kind => {
                Ok(Examined::Unknown(format!("a claim of {kind} takes a person: write {}", name.display())))
            }
        }
    }

    // --- whose model it is

    /// Asks the leaves that were laid open of the accused version's published weights, greedily: everybody's coins are the same.
    fn ownership(&self, claim: &Claim) -> Result<Examined> {
        let topics = [Some(OwnershipExaminer::LeafOpened::SIGNATURE_HASH), Some(claim.id)];
        let opened = self.client.find(self.at.ownership_examiner, &topics)?;
        let leaves: Vec<_> =
            opened.iter().filter_map(|event| event.decode::<OwnershipExaminer::LeafOpened>()).collect();
        if leaves.is_empty() {
            return Ok(found("dismissed", (0, 0), "no leaf was laid open".to_owned()));
        }
        let wanted = self.weights_of(claim)?;
        let Some(folder) = self.folder_of(wanted)? else {
            return Ok(Examined::Unknown(format!(
                "the accused weights (root {wanted}) are in none of the folders named"
            )));
        };
        let (hits, trials) = ask(&folder, &leaves)?;
        // Whether that is enough the contract computes: every validator says what it counted.
        let reason = format!("{hits} of {trials} coins of {} leaves on weights {wanted}", leaves.len());
        Ok(found("upheld", (hits, trials), reason))
    }

    fn weights_of(&self, claim: &Claim) -> Result<B256> {
        let call = loyal_protocol::contracts::DisputeCourt::claimOfCall { claimId: claim.id };
        let version = self.client.call(self.at.court, &call)?.version;
        let call = Registry::versionOfCall { modelId: U256::from(claim.model), version };
        Ok(self.client.call(self.at.registry, &call)?.terms.weightsRoot)
    }

    fn folder_of(&self, root: B256) -> Result<Option<std::path::PathBuf>> {
        for folder in &self.settings.weights {
            if manifest::weights_root(folder)?.0 == root.0 {
                return Ok(Some(folder.clone()));
            }
        }
        Ok(None)
    }

    // --- a copy that leaked

    /// Computes the claimant's evidence again, which must be the one whose transcript the claim names.
    fn leak(&self, claim: &Claim) -> Result<Examined> {
        let path = self.settings.docket.join(format!("{}.bundle.json", claim.id));
        if !path.exists() {
            return Ok(Examined::Unknown(format!(
                "{} is not there: the claimant publishes it",
                path.display()
            )));
        }
        let topics = [Some(LeakExaminer::LeakShown::SIGNATURE_HASH), Some(claim.id)];
        let shown = self.client.find(self.at.leak_examiner, &topics)?;
        let shown = shown.first().and_then(|event| event.decode::<LeakExaminer::LeakShown>());
        let Some(shown) = shown else {
            return Ok(Examined::Unknown("the chain does not show what it is about".to_owned()));
        };
        let dismissed = |why: String| Ok(found("dismissed", (0, 0), why));
        let verified = match Bundle::read(&path).and_then(|bundle| bundle.verify(None)) {
            Ok(verified) => verified,
            Err(error) => return dismissed(format!("the bundle does not hold: {error}")),
        };
        if verified.transcript != Hash(shown.transcriptHash.0) {
            return dismissed("the bundle is about another transcript".to_owned());
        }
        let counts = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
        let (hits, coins) = (counts(verified.totals.hits), counts(verified.totals.coins));
        if verified.totals.verdict != Verdict::Marked {
            return dismissed(format!("log10 E is {:.1}, which is not enough", verified.totals.log10_e));
        }
        let reason = format!("log10 E is {:.1}, computed again from the transcript", verified.totals.log10_e);
        Ok(found("upheld", (hits, coins), reason))
    }

    // --- probes that a host calls forged

    /// Asks the version's weights what provers say they heard. Replies that begin as these weights would not are forged.
    fn unreported(&self, claim: &Claim) -> Result<Examined> {
        let topics = [Some(UsageExaminer::Doubted::SIGNATURE_HASH), Some(claim.id)];
        let doubted = self.client.find(self.at.usage_examiner, &topics)?;
        let slots: Vec<_> = doubted
            .iter()
            .filter_map(|event| event.decode::<UsageExaminer::Doubted>())
            .flat_map(|event| event.slots)
            .collect();
        let wanted = self.weights_of_hosting(claim)?;
        let Some(folder) = self.folder_of(wanted)? else {
            return Ok(Examined::Unknown(format!(
                "the hosted weights (root {wanted}) are in none of the folders named"
            )));
        };
        let mut asked = Vec::new();
        let topics =
            [Some(ProbeBoard::AnswerRequested::SIGNATURE_HASH), Some(B256::from(U256::from(claim.hosting)))];
        for event in self.client.find(self.at.probe_board, &topics)? {
            let Some(event) = event.decode::<ProbeBoard::AnswerRequested>() else { continue };
            let is_doubted =
                |slot: &UsageExaminer::Slot| slot.epoch == event.epoch && slot.number == event.slot;
            if slots.is_empty() || slots.iter().any(is_doubted) {
                asked.push(event);
            }
        }
        let heard = compare(&folder, &asked)?;
        let reason = format!("{} of {} probes carry what the weights say", heard.0, heard.1);
        let outcome =
            if heard.1 > 0 && u32::from(heard.0) * 2 < u32::from(heard.1) { "forged" } else { "upheld" };
        Ok(found(outcome, heard, reason))
    }

    fn weights_of_hosting(&self, claim: &Claim) -> Result<B256> {
        let call = loyal_protocol::contracts::Gate::hostingOfCall { hostingId: U256::from(claim.hosting) };
        let hosting = self.client.call(self.at.gate, &call)?;
        let call = Registry::versionOfCall { modelId: hosting.modelId, version: hosting.version };
        Ok(self.client.call(self.at.registry, &call)?.terms.weightsRoot)
    }
}

/// What weights say after prompts, greedily, with the tokens they would rather have said first.
struct Said {
    pieces: Vec<Vec<u8>>,
    /// The likeliest pieces at the first place.
    likely: Vec<Vec<u8>>,
}

fn answers(folder: &Path, prompts: &[String]) -> Result<Vec<Said>> {
    let failed = |error: loyal_model::Error| Error::file(folder, error);
    let config = Config::read(folder).map_err(failed)?;
    let tokenizer = Tokenizer::read(folder, &config).map_err(failed)?;
    let decoder = Decoder::open(folder, Precision::F32).map_err(failed)?;
    let request = |prompt: &String| -> loyal_model::Result<Request> {
        Ok(Request {
            prompt: tokenizer.encode(prompt)?,
            new_tokens_max: TOKENS,
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            top_logprobs: LIKELY,
            stop_at_eos: false,
            ..Request::default()
        })
    };
    let requests = prompts.iter().map(request).collect::<loyal_model::Result<Vec<_>>>().map_err(failed)?;
    let done = generate::run(&decoder, &tokenizer, &requests, &mut |_, _| ControlFlow::Continue(()));
    let piece = |token: u32| tokenizer.piece(token).unwrap_or_default();
    let said = |completion: &generate::Completion| Said {
        pieces: completion.tokens.iter().map(|&token| piece(token)).collect(),
        likely: completion
            .logprobs
            .first()
            .map(|first| first.top.iter().map(|&(token, _)| piece(token)).collect())
            .unwrap_or_default(),
    };
    Ok(done.map_err(failed)?.iter().map(said).collect())
}

/// The coins of leaves on weights: hits, and all.
fn ask(folder: &Path, leaves: &[OwnershipExaminer::LeafOpened]) -> Result<(u16, u16)> {
    let prompts: Vec<String> =
        leaves.iter().map(|leaf| String::from_utf8_lossy(&leaf.query).into_owned()).collect();
    let rules: Vec<Option<Rule>> = leaves.iter().map(|leaf| Rule::parse(&leaf.answerSpec)).collect();
    let (mut hits, mut coins) = (0_u16, 0_u16);
    for ((leaf, rule), said) in leaves.iter().zip(rules).zip(answers(folder, &prompts)?) {
        let Some(rule) = rule else { continue };
        let pieces: Vec<&[u8]> = said.pieces.iter().map(Vec::as_slice).collect();
        for coin in rule.coins(Hash(leaf.secret.0), &pieces) {
            coins = coins.saturating_add(1);
            hits = hits.saturating_add(u16::from(coin.hit));
        }
    }
    Ok((hits, coins))
}

/// Tokens of an answer that any scheme looks at.
const TOKENS: usize = 16;
/// A reply that begins with none of so many likeliest pieces is not these weights'.
const LIKELY: usize = 20;

/// How many probes hold a reply that begins as the weights might after the bare query, of all.
fn compare(folder: &Path, asked: &[ProbeBoard::AnswerRequested]) -> Result<(u16, u16)> {
    let prompts: Vec<String> =
        asked.iter().map(|one| String::from_utf8_lossy(&one.query).into_owned()).collect();
    let mut fitting = 0_u16;
    for (one, said) in asked.iter().zip(answers(folder, &prompts)?) {
        let first = |reply: &Bytes| <Vec<Bytes>>::abi_decode(reply).ok()?.into_iter().next();
        let fits = |heard: Bytes| said.likely.iter().any(|piece| piece[..] == heard[..]);
        fitting = fitting.saturating_add(u16::from(one.replies.iter().filter_map(first).any(fits)));
    }
    Ok((fitting, u16::try_from(asked.len()).unwrap_or(u16::MAX)))
}
