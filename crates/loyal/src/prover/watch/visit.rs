//! A visit: what it may cost is written down, who answers is looked at, a few fingerprints are asked, and what is left is
//! given back.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::mpsc::channel;

use anyhow::{Context as _, ensure};
use loyal_fingerprint::Pool;
use loyal_fingerprint::check::ledger::Target;
use loyal_fingerprint::check::{Answerer, Ask, Books, Case, Ledger, Mode, Reply, Verdict, hearing};
use loyal_fingerprint::trace::{Trace, Traced};
use loyal_fingerprint::watch::{Cause, Granted, Inquiry, Likeness, Matter, Outcome, Portrait, next_visit};
use loyal_types::Clock as _;
use rand::Rng as _;
use rand_chacha::ChaCha20Rng;

use super::Watch;
use super::list::Entry;
use super::told::{Standing, Told};
use crate::clock::SystemClock;
use crate::endpoint::{Census, Client, Endpoint, Known, Manner};
use crate::stop;

/// Draws of each answer where text is sampled.
const DRAWS: usize = 4;
/// Requests that a census takes at most, repetitions not counted.
const CENSUS_REQUESTS: u64 = 43;
/// Requests reserved for repetitions.
const SPARE_REQUESTS: u64 = 8;
/// Requests at the same time: a fingerprint and what hides it.
const CONCURRENCY: usize = 2;

/// What came of a visit.
pub(super) struct Visit {
    /// What is said about it.
    pub(super) told: Told,
    /// When the next one is due, if there is to be one.
    pub(super) due: Option<u64>,
}

impl Entry {
    /// What the diary calls it: its address, and the model there where one is named.
    pub(super) fn name(&self, client: &Client) -> String {
        match &self.model {
            Some(model) => format!("{}#{model}", client.base()),
            None => client.base().to_owned(),
        }
    }
}

impl Watch<'_> {
    pub(super) fn client(&self, entry: &Entry, budget: u64) -> anyhow::Result<Client> {
        Client::new(&entry.url, entry.access.as_ref(), self.limits(budget))
    }

    /// Visits an endpoint, if there is something left to spend on it. That it cannot be asked is an outcome.
    ///
    /// # Errors
    /// The diary cannot be written.
    pub(super) fn visit(&self, entry: &Entry, draw: &mut ChaCha20Rng) -> anyhow::Result<Visit> {
        let name = entry.name(&self.client(entry, 0)?);
        let now = SystemClock.unix_seconds();
        let granted = self.diary().reserve(&name, self.wanted(), &self.allowance(entry), now)?;
        let requests = match granted {
            Granted::Requests(requests) => requests,
            Granted::Nothing(again) => {
                let outcome = match again {
                    Some(_) => "not visited: what it may be asked in a day is used up",
                    None => "not visited: the budget is used up",
                };
                let told = self.told(entry, (outcome.to_owned(), false), again)?;
                return Ok(Visit { told, due: again });
            }
        };
        let client = self.client(entry, requests)?;
        let asked = self.ask(&name, entry, (&client, draw));
        let now = SystemClock.unix_seconds();
        let failures = self.diary().failures(&name);
        let (outcome, failures) = match asked {
            Ok(words) => (Outcome::Visited(words), 0),
            Err(error) => (Outcome::Failed(client.without_key(&format!("{error:#}"))), failures + 1),
        };
        let due = next_visit(now, self.args.every, failures, draw);
        let sent = (client.sent() as u64).min(requests);
        self.diary().settle(&name, sent, (due, outcome.clone()), now)?;
        let outcome = match outcome {
            Outcome::Visited(words) => (words, false),
            Outcome::Failed(words) => (words, true),
        };
        let next = (!self.args.once).then_some(due);
        Ok(Visit { told: self.told(entry, outcome, next)?, due: Some(due) })
    }

    /// The fewest requests that a visit is worth, and the most it takes.
    fn wanted(&self) -> std::ops::RangeInclusive<u64> {
        let round = (1 + u64::from(self.args.cover)) * DRAWS as u64;
        let least = CENSUS_REQUESTS + round;
        least..=CENSUS_REQUESTS + round * u64::from(self.args.queries) + SPARE_REQUESTS
    }

    /// Finds out who answers, and goes on with the inquiry about them.
    fn ask(
        &self,
        name: &str,
        entry: &Entry,
        (client, draw): (&Client, &mut ChaCha20Rng),
    ) -> anyhow::Result<String> {
        let past: Vec<Inquiry> =
            self.diary().inquiries(name).filter(|one| !one.is_trace()).cloned().collect();
        // After a failure it is asked as if it were new: it may have changed.
        let held = past.last().filter(|_| self.diary().failures(name) == 0);
        let known = past.last().map(|one| Known {
            prompts: one.matter.portrait.prompts(),
            route: held.map(|one| one.matter.route),
        });
        let manner = Manner {
            model: entry.model.clone(),
            known,
            cover: self.args.cover.into(),
            concurrency: CONCURRENCY,
            seed: draw.random(),
        };
        let (to, notes) = channel();
        let mut endpoint =
            Endpoint::new(client.clone(), &self.tokenizer, self.ordinary.clone(), (manner, to))?;
        let tokens = self.set.scheme().answer_tokens();
        let census =
            endpoint.census(held.map(|one| one.matter.mode), tokens).with_context(|| match held {
                Some(_) => "it does not answer as it did; asked anew at the next visit",
                None => "no inquiry can begin",
            })?;
        let matter = self.matter(name, &endpoint, &census);
        let target = Target { host: client.host(), colluders: self.colluders() };
        let (main, change) = match recognised(&past, &matter) {
            Ok(inquiry) => (inquiry.clone(), None),
            Err(cause) => {
                let change = if let Cause::Changed(what) = &cause { Some(what.clone()) } else { None };
                let matter = Matter { cause, ..matter };
                if self.free(&matter, &target)? == 0 {
                    let what = change.unwrap_or_else(|| "it was not asked before".to_owned());
                    return Ok(format!("{what}, but no fingerprint of the pool may be asked there any more"));
                }
                (self.diary().inquire(matter, SystemClock.unix_seconds())?, change)
            }
        };
        let given = self.reference.as_ref().map(|(_, digest)| *digest);
        ensure!(
            main.matter.reference == given,
            "inquiry {} began with {} reference: go on with that one",
            main.number,
            if main.matter.reference.is_some() { "another" } else { "no" }
        );
        let before = self.finish(&main)?;
        let open = match before.verdict {
            Verdict::NoEvidence => (before.asked < main.size(&self.set)).then_some(main),
            Verdict::Marked => self.trace_of(&main)?,
        };
        let changed =
            change.map_or_else(String::new, |what| format!("{what}: another suspect from now on; "));
        let Some(open) = open else {
            return Ok(format!("{changed}nothing left to ask: only looked at"));
        };
        let books = Books::new(&SystemClock)
            .with_transcript(&open.transcript(&self.transcripts))
            .with_ledger(Ledger::beside(&self.args.fingerprints, &self.set), target)
            .with_notes(notes);
        let count = self.hear(&open, (&mut endpoint, client), books)?;
        self.finish(&open)?;
        if let Some(problem) = client.gone() {
            anyhow::bail!("given up after {count} fingerprints: {problem}");
        }
        Ok(format!("{changed}{count} fingerprints asked"))
    }

    /// Asks as many fingerprints as a visit may.
    fn hear(
        &self,
        inquiry: &Inquiry,
        (endpoint, client): (&mut Endpoint<'_>, &Client),
        mut books: Books<'_>,
    ) -> anyhow::Result<usize> {
        let reference = self.reference.as_ref().map(|(subject, _)| &subject.llama);
        let hearing = inquiry.hearing(Case { set: &self.set, tokenizer: &self.tokenizer, reference });
        let draws = inquiry.matter.draws;
        let round = (1 + usize::from(self.args.cover)) * draws;
        let asked = Cell::new(0);
        let mut suspect = Counted { endpoint, asked: &asked };
        hearing::run(&mut suspect, &hearing, &mut books, &mut |_| {
            let goes_on = stop::asked().is_continue()
                && client.gone().is_none()
                && client.affords(round)
                && asked.get() < usize::from(self.args.queries) * draws;
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(asked.get() / draws)
    }

    /// What an inquiry into whoever answers now would be about.
    fn matter(&self, name: &str, endpoint: &Endpoint<'_>, census: &Census) -> Matter {
        Matter {
            endpoint: name.to_owned(),
            suspect: endpoint.name(),
            cause: Cause::First,
            route: census.route,
            mode: census.mode,
            draws: if census.mode == Mode::Sampled { DRAWS } else { 1 },
            pool: Some(self.args.pool),
            reference: self.reference.as_ref().map(|(_, digest)| *digest),
            portrait: Portrait::of(endpoint.watched()),
        }
    }

    /// Fingerprints that an inquiry could ask.
    fn free(&self, matter: &Matter, target: &Target) -> anyhow::Result<usize> {
        let count = self.set.fingerprints().len();
        let pool = matter.pool.unwrap_or(self.args.pool);
        let indices: Vec<u32> = pool.indices(count).map(|index| index as u32).collect();
        Ok(Ledger::beside(&self.args.fingerprints, &self.set).free(target, &indices)?.len())
    }

    /// The inquiry that asks whose copy it is: the one under way, or a new one if there are copies. None when it is over.
    fn trace_of(&self, main: &Inquiry) -> anyhow::Result<Option<Inquiry>> {
        let known = self.traced(main);
        if let Some(inquiry) = known {
            let asked = inquiry.findings(&self.set, &self.transcripts)?.asked;
            if asked < inquiry.size(&self.set) {
                return Ok(Some(inquiry));
            }
            self.finish(&inquiry)?;
            return Ok(None);
        }
        let size = Pool::Tracing.indices(self.set.fingerprints().len()).count();
        if self.copies.is_empty() || size == 0 || main.matter.pool == Some(Pool::Tracing) {
            return Ok(None);
        }
        let cause = Cause::Traced(main.number);
        let matter = Matter { cause, pool: Some(Pool::Tracing), ..main.matter.clone() };
        Ok(Some(self.diary().inquire(matter, SystemClock.unix_seconds())?))
    }

    /// The inquiry that traces what `main` found.
    pub(super) fn traced(&self, main: &Inquiry) -> Option<Inquiry> {
        let diary = self.diary();
        diary
            .inquiries(&main.matter.endpoint)
            .find(|one| one.matter.cause == Cause::Traced(main.number))
            .cloned()
    }

    /// Whom an inquiry's answers name.
    pub(super) fn trace(&self, inquiry: &Inquiry) -> anyhow::Result<Option<Traced>> {
        let Some(record) = inquiry.record(&self.transcripts)? else { return Ok(None) };
        let mut trace = Trace::new(&self.set, &self.copies, inquiry.matter.mode)?;
        record.attempts().try_for_each(|attempt| trace.hear(attempt))?;
        Ok(Some(trace.findings(self.args.delta)?))
    }

    /// What is said about an endpoint.
    fn told(
        &self,
        entry: &Entry,
        (outcome, failed): (String, bool),
        due: Option<u64>,
    ) -> anyhow::Result<Told> {
        let name = entry.name(&self.client(entry, 0)?);
        let (requests, cost) = {
            let diary = self.diary();
            let (_, requests, cost) = diary.account(&name);
            (requests, cost.to_string())
        };
        let main = self.diary().inquiries(&name).filter(|one| !one.is_trace()).last().cloned();
        let standing = main.map(|main| self.stands(&main)).transpose()?;
        Ok(Told { endpoint: name, outcome, failed, requests, cost, due, standing })
    }

    /// Where an endpoint's newest inquiry stands, without asking it anything.
    pub(super) fn standing(&self, entry: &Entry) -> anyhow::Result<Told> {
        let name = entry.name(&self.client(entry, 0)?);
        let (outcome, due) = {
            let diary = self.diary();
            let outcome = match diary.account(&name).0 {
                None => ("not visited yet".to_owned(), false),
                Some(Outcome::Visited(words)) => (words.clone(), false),
                Some(Outcome::Failed(words)) => (words.clone(), true),
            };
            (outcome, diary.due(&name))
        };
        self.told(entry, outcome, (due > 0).then_some(due))
    }

    fn stands(&self, main: &Inquiry) -> anyhow::Result<Standing> {
        let findings = main.findings(&self.set, &self.transcripts)?;
        let trace = self.traced(main);
        let found = match &trace {
            Some(trace) if !self.copies.is_empty() => self.trace(trace)?,
            _ => None,
        };
        let named = found.iter().flat_map(|found| found.named().map(|one| one.name.clone())).collect();
        let diary = self.diary();
        let numbers = std::iter::once(main.number).chain(trace.iter().map(|one| one.number));
        let dossiers = numbers.filter_map(|number| diary.told(number).map(str::to_owned)).collect();
        Ok(Standing {
            inquiry: main.number,
            suspect: main.matter.suspect.clone(),
            cause: main.matter.cause.clone(),
            mode: findings.mode.to_string(),
            asked: findings.asked,
            of: main.size(&self.set),
            refused: findings.refused,
            log10_e: findings.log10_e,
            log10_wanted: findings.log10_wanted,
            verdict: findings.verdict,
            named,
            dossiers,
        })
    }
}

/// The newest inquiry about the model that answers now; or why it is another one.
fn recognised<'a>(past: &'a [Inquiry], now: &Matter) -> Result<&'a Inquiry, Cause> {
    let Some(newest) = past.last() else { return Err(Cause::First) };
    if let Some(known) = past.iter().rev().find(|one| {
        let likeness = likeness(&one.matter, now);
        // Where too little can be seen it is taken for the same.
        likeness == Ok(Likeness::Same) || (likeness == Ok(Likeness::Unknown) && one.number == newest.number)
    }) {
        return Ok(known);
    }
    Err(Cause::Changed(match likeness(&newest.matter, now) {
        Err(what) => what,
        Ok(Likeness::Other { different, compared }) => {
            format!("{different} of {compared} ordinary prompts are answered otherwise than before")
        }
        Ok(_) => "it answers as an earlier one did".to_owned(),
    }))
}

/// How like two matters of one endpoint are; or in what their census differs.
fn likeness(then: &Matter, now: &Matter) -> Result<Likeness, String> {
    if then.suspect != now.suspect {
        return Err(format!("it calls its model {} now", now.suspect));
    }
    if (then.route, then.mode) != (now.route, now.mode) {
        return Err(format!("it shows {} now, and {} before", now.mode, then.mode));
    }
    // Text that is drawn differs each time.
    if now.mode == Mode::Sampled {
        return Ok(Likeness::Unknown);
    }
    Ok(then.portrait.likeness(&now.portrait))
}

/// An endpoint that counts what it was asked.
struct Counted<'a, 'b> {
    endpoint: &'a mut Endpoint<'b>,
    asked: &'a Cell<usize>,
}

impl Answerer for Counted<'_, '_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
        self.asked.set(self.asked.get() + prompts.len());
        self.endpoint.answer(prompts, ask)
    }
}
