//! A check that lasts: every fingerprint is spent in the ledger before it is asked and stands in the transcript before
//! the next one is, so that a check that was killed goes on where it was.

use std::ops::ControlFlow;

use loyal_types::Clock;

use super::ledger::{Ledger, Target};
use super::transcript::{About, Event, Header, Route, Transcript};
use super::{Answerer, Attempt, Case, Court, Findings, Request, attempt::Draw, order};
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Asks `suspect` the fingerprints of `hearing` in the order that the beacon and its name fix, until they suffice, the
/// limit is reached, none is left, or `progress` breaks.
///
/// # Errors
/// As [`super::run`]; or transcript or ledger cannot be read or written, were changed, or are of something else.
pub fn run(
    suspect: &mut dyn Answerer,
    hearing: &Hearing<'_>,
    books: &mut Books<'_>,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Findings> {
    let set = hearing.case.set;
    let mut court = Court::new(set, &hearing.request)?;
    let mut order = order(set, hearing.suspect)?;
    let count = set.fingerprints().len();
    order.retain(|&index| hearing.request.pool.is_none_or(|pool| Pool::of(index, count) == pool));
    let past = books.begin(hearing)?;
    if past.iter().map(|attempt| attempt.index as usize).ne(order.iter().copied().take(past.len())) {
        let problem = "what it holds was not asked in the order that beacon and suspect fix";
        return Err(Error::argument("transcript", problem, "name another file"));
    }
    for attempt in &past {
        court.hear(attempt)?;
    }
    let last = hearing.limit.min(order.len());
    let mut asked = past.len();
    while asked < last && !(hearing.request.stops_early && court.is_decided()) {
        if progress(&Progress::of(&court, last)).is_break() {
            break;
        }
        let next = &order[asked..last.min(asked + hearing.request.batch)];
        asked += next.len();
        ask(suspect, hearing, books, (next, &mut court))?;
    }
    // For the last time, so that a reader sees where it ended.
    let _ = progress(&Progress::of(&court, last));
    Ok(court.findings())
}

/// What is asked of whom.
#[derive(Debug, Clone)]
pub struct Hearing<'a> {
    /// The fingerprints, and what else they are held against.
    pub case: Case<'a>,
    /// How to ask. Its indices are not used: the order is fixed.
    pub request: Request,
    /// Name of the suspect, as it stands in the transcript.
    pub suspect: &'a str,
    /// By which way it is asked.
    pub route: Route,
    /// Registrations claimed and suspects tested so far, this one counted.
    pub registrations: u32,
    /// Digest of the reference's weights.
    pub reference: Option<loyal_types::Hash>,
    /// At most so many fingerprints.
    pub limit: usize,
}

/// Where a hearing is written down.
#[derive(Debug)]
pub struct Books<'a> {
    transcript: Option<(std::path::PathBuf, Option<Transcript>)>,
    ledger: Option<(Ledger, Target)>,
    notes: Option<std::sync::mpsc::Receiver<String>>,
    clock: Clocked<'a>,
}

/// A clock that can be shown.
struct Clocked<'a>(&'a dyn Clock);

impl std::fmt::Debug for Clocked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clocked").field(&self.0.unix_seconds()).finish()
    }
}

impl<'a> Books<'a> {
    /// No books yet: nothing is kept.
    #[must_use]
    pub fn new(clock: &'a dyn Clock) -> Self {
        Self { transcript: None, ledger: None, notes: None, clock: Clocked(clock) }
    }

    /// With a transcript at `path`, which is begun or gone on with.
    #[must_use]
    pub fn with_transcript(self, path: &std::path::Path) -> Self {
        Self { transcript: Some((path.to_owned(), None)), ..self }
    }

    /// With a ledger, in which fingerprints are spent on `target` before they are asked.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger, target: Target) -> Self {
        Self { ledger: Some((ledger, target)), ..self }
    }

    /// With notes that come in while it goes on, such as those of a client that notices something.
    #[must_use]
    pub fn with_notes(self, notes: std::sync::mpsc::Receiver<String>) -> Self {
        Self { notes: Some(notes), ..self }
    }

    fn begin(&mut self, hearing: &Hearing<'_>) -> Result<Vec<Attempt>> {
        let about = About {
            set: hearing.case.set,
            request: &hearing.request,
            registrations: hearing.registrations,
            reference: hearing.reference,
        };
        let header = Header::new(hearing.suspect, hearing.route, about);
        let mut past = Vec::new();
        if let Some((path, open)) = &mut self.transcript {
            let (transcript, attempts) = Transcript::open(path, &header, self.clock.0.unix_seconds())?;
            *open = Some(transcript);
            past = attempts;
        }
        self.note()?;
        Ok(past)
    }

    /// Spends what may be asked; answers for each index why it may not.
    fn spend(&self, indices: &[usize]) -> Result<Vec<Option<String>>> {
        let Some((ledger, target)) = &self.ledger else { return Ok(vec![None; indices.len()]) };
        let numbers: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
        let answers = ledger.spend(target, &numbers, self.clock.0.unix_seconds())?;
        Ok(answers.into_iter().map(|burnt| burnt.map(|why| why.to_string())).collect())
    }

    fn keep(&mut self, attempt: &Attempt) -> Result<()> {
        self.write(Event::Asked(attempt.clone()))
    }

    /// Writes down the notes that have come in.
    fn note(&mut self) -> Result<()> {
        let new: Vec<String> = self.notes.iter().flat_map(std::sync::mpsc::Receiver::try_iter).collect();
        new.into_iter().try_for_each(|note| self.write(Event::Noted(note)))
    }

    fn write(&mut self, event: Event) -> Result<()> {
        let time = self.clock.0.unix_seconds();
        match &mut self.transcript {
            Some((_, Some(transcript))) => transcript.write(time, event),
            _ => Ok(()),
        }
    }
}

/// Where a hearing stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Fingerprints asked, and refused ones among them.
    pub asked: usize,
    /// At most so many will be.
    pub limit: usize,
    /// log₁₀ E so far.
    pub log10_e: f64,
    /// log₁₀ E from which on it suffices.
    pub log10_wanted: f64,
}

impl Progress {
    fn of(court: &Court<'_>, limit: usize) -> Self {
        let (asked, log10_e, log10_wanted) = court.standing();
        Self { asked, limit, log10_e, log10_wanted }
    }
}

/// Asks the next fingerprints, those that may be asked; the others stand in the transcript as refused, so that what
/// was asked is always a beginning of the order.
fn ask(
    suspect: &mut dyn Answerer,
    hearing: &Hearing<'_>,
    books: &mut Books<'_>,
    (indices, court): (&[usize], &mut Court<'_>),
) -> Result<()> {
    let burnt = books.spend(indices)?;
    let free = indices.iter().zip(&burnt).filter(|(_, burnt)| burnt.is_none());
    let free: Vec<usize> = free.map(|(&index, _)| index).collect();
    let mut answered = Vec::with_capacity(free.len());
    if !free.is_empty() {
        let request = Request { indices: free, stops_early: false, ..hearing.request.clone() };
        super::run(suspect, &hearing.case, &request, &mut |attempt| {
            answered.push(attempt.clone());
            Ok(ControlFlow::Continue(()))
        })?;
    }
    books.note()?;
    let mut answered = answered.into_iter();
    for (&index, burnt) in indices.iter().zip(burnt) {
        let attempt = match burnt {
            Some(why) => Some(Attempt { index: index as u32, draws: vec![Draw::Refused(why)] }),
            None => answered.next(),
        };
        let attempt = attempt.expect("a check gives one attempt for each fingerprint it was told to ask");
        books.keep(&attempt)?;
        court.hear(&attempt)?;
    }
    Ok(())
}
