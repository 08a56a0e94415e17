//! The diary of a watch: its inquiries, what each visit cost, and when the next one is due. Written ahead, line by line.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use loyal_types::Hash;
use serde::{Deserialize, Serialize};

use super::allowance::{Allowance, Granted, Money};
use super::inquiry::{Inquiry, Matter};
use crate::FingerprintSet;
use crate::error::{Error, Result};
use crate::journal::{self, Journal, Kind, Line, Lock};

const FORMAT: &str = "loyal-watch";
const VERSION: u32 = 1;
const DAY: u64 = 86_400;
const KIND: Kind = Kind {
    remedy: "a diary is never edited: restore it from a copy; without it inquiries would begin anew",
    busy: "another watch",
};
const CUT_SHORT: &str = "cut short";

/// One event of a watch.
#[allow(clippy::large_enum_variant, reason = "few lines open inquiries, and each is read once")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Event {
    /// The first line: whose fingerprints these are.
    Begun { format: String, version: u32, leaf_root: Hash },
    /// A visit is about to send so many requests at most.
    Reserved { endpoint: String, requests: u64, cost: Money },
    /// The visit is over, and sent so many.
    Settled { endpoint: String, requests: u64, cost: Money, due: u64, outcome: Outcome },
    /// An inquiry begins: one more suspect is tested from here on.
    Opened(Inquiry),
    /// A dossier lies there.
    Told { inquiry: u32, folder: String },
}

/// How a visit ended, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was asked, or there was nothing to ask.
    Visited(String),
    /// It could not be asked.
    Failed(String),
}

/// A diary that is open; nobody else can open it meanwhile, except to read it.
#[derive(Debug)]
pub struct Diary {
    /// Absent where it is only read.
    journal: Option<Journal<Event>>,
    path: PathBuf,
    claimed: u32,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    inquiries: Vec<Inquiry>,
    told: BTreeMap<u32, String>,
    accounts: BTreeMap<String, Account>,
}

/// What one endpoint was asked.
#[derive(Debug, Default)]
struct Account {
    /// The visit under way: requests, and what they cost.
    open: Option<(u64, Money)>,
    /// When visits ended, and their requests.
    visits: Vec<(u64, u64)>,
    cost: Money,
    due: u64,
    failures: u32,
    outcome: Option<Outcome>,
}

impl Diary {
    /// Where the diary of a secret file lies: beside it, named after the leaf root as the ledger is, so that there is one for
    /// each ledger.
    #[must_use]
    pub fn beside(secret: &Path, set: &FingerprintSet) -> PathBuf {
        secret.with_file_name(format!("{}.watch", &set.leaf_root().to_string()[2..18]))
    }

    /// Opens the diary at `path`, or begins it. `claimed` registrations and suspects are counted before its own. A visit that
    /// was cut short has cost all that was reserved for it.
    ///
    /// # Errors
    /// Another watch has it open; it cannot be read or written, was changed, or is another set's.
    pub fn open(path: &Path, leaf_root: Hash, (claimed, time): (u32, u64)) -> Result<Self> {
        let (mut journal, lines) = Journal::open(path, KIND, Lock::Trying)?;
        if lines.is_empty() {
            journal.append(time, Event::Begun { format: FORMAT.to_owned(), version: VERSION, leaf_root })?;
        }
        let state = State::of(&lines, leaf_root, path)?;
        let mut diary = Self { journal: Some(journal), path: path.to_owned(), claimed, state };
        let cut: Vec<String> = diary
            .state
            .accounts
            .iter()
            .filter(|(_, one)| one.open.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for endpoint in cut {
            let (requests, _) =
                diary.state.accounts.get(&endpoint).and_then(|one| one.open).unwrap_or_default();
            diary.settle(&endpoint, requests, (time, Outcome::Visited(CUT_SHORT.to_owned())), time)?;
        }
        Ok(diary)
    }

    /// Reads the diary at `path`, whoever has it open; an empty one where there is none. Nothing can be written to it.
    ///
    /// # Errors
    /// It cannot be read, was changed, or is another set's.
    pub fn read(path: &Path, leaf_root: Hash) -> Result<Self> {
        let bytes = match File::open(path) {
            Ok(mut file) => journal::read_bounded(&mut file, path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::file(path, "reading", source)),
        };
        Self::parse(&bytes, path, leaf_root)
    }

    /// Reads the bytes of a diary; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Diary::read`].
    pub fn parse(bytes: &[u8], path: &Path, leaf_root: Hash) -> Result<Self> {
        let (lines, _) = journal::parse(bytes, path, KIND)?;
        let state = State::of(&lines, leaf_root, path)?;
        Ok(Self { journal: None, path: path.to_owned(), claimed: 0, state })
    }

    /// Reserves requests for a visit of `endpoint`: as many of `wanted` as `allowance` has left, or none if those are fewer
    /// than its least. When this returns, they are on the disk as sent.
    ///
    /// # Errors
    /// It cannot be written; a visit of this endpoint is under way.
    pub fn reserve(
        &mut self,
        endpoint: &str,
        wanted: std::ops::RangeInclusive<u64>,
        allowance: &Allowance,
        time: u64,
    ) -> Result<Granted> {
        let all = |of: fn(&Account) -> u64| self.state.accounts.values().map(of).fold(0, u64::saturating_add);
        let in_all = all(Account::requests);
        let money = self.state.accounts.values().fold(Money::ZERO, |sum, one| sum.plus(one.spent()));
        let lately = self.state.accounts.get(endpoint).map_or(0, |one| one.since(time.saturating_sub(DAY)));
        let requests = allowance.left(lately, in_all, money).min(*wanted.end());
        if requests < *wanted.start() {
            let without_today = allowance.left(0, in_all, money) >= *wanted.start();
            let end =
                self.state.accounts.get(endpoint).and_then(|one| one.first_since(time.saturating_sub(DAY)));
            let again = end.filter(|_| without_today).map(|end| end.saturating_add(DAY + 1));
            return Ok(Granted::Nothing(again));
        }
        let cost = allowance.price.times(requests);
        self.write(time, &Event::Reserved { endpoint: endpoint.to_owned(), requests, cost })?;
        Ok(Granted::Requests(requests))
    }

    /// The visit of `endpoint` that is under way is over: it sent so many requests, the next one is due then, and this came
    /// of it.
    ///
    /// # Errors
    /// It cannot be written; no visit is under way, or it sent more than was reserved.
    pub fn settle(
        &mut self,
        endpoint: &str,
        requests: u64,
        (due, outcome): (u64, Outcome),
        time: u64,
    ) -> Result<()> {
        let (reserved, cost) = self.state.accounts.get(endpoint).and_then(|one| one.open).unwrap_or_default();
        // The price is the one that was reserved at.
        let price = cost.0.checked_div(reserved).unwrap_or(0);
        let cost = if requests == reserved { cost } else { Money(price).times(requests) };
        self.write(time, &Event::Settled { endpoint: endpoint.to_owned(), requests, cost, due, outcome })
    }

    /// Begins an inquiry, which counts as one more suspect tested.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn inquire(&mut self, matter: Matter, time: u64) -> Result<Inquiry> {
        let number = u32::try_from(self.state.inquiries.len() + 1).unwrap_or(u32::MAX);
        let inquiry = Inquiry { number, registrations: self.claimed.saturating_add(number), matter };
        self.write(time, &Event::Opened(inquiry.clone()))?;
        Ok(inquiry)
    }

    /// Writes down where the dossier of an inquiry lies.
    ///
    /// # Errors
    /// It cannot be written; there is no such inquiry, or it has one.
    pub fn tell(&mut self, inquiry: u32, folder: &str, time: u64) -> Result<()> {
        self.write(time, &Event::Told { inquiry, folder: folder.to_owned() })
    }

    /// The inquiries about `endpoint`, oldest first.
    pub fn inquiries(&self, endpoint: &str) -> impl Iterator<Item = &Inquiry> {
        self.state.inquiries.iter().filter(move |one| one.matter.endpoint == endpoint)
    }

    /// How many inquiries there are about anybody.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.state.inquiries.len()).unwrap_or(u32::MAX)
    }

    /// Where the dossier of an inquiry lies, if it was written.
    #[must_use]
    pub fn told(&self, inquiry: u32) -> Option<&str> {
        self.state.told.get(&inquiry).map(String::as_str)
    }

    /// When the next visit of `endpoint` is due; at once if there was none.
    #[must_use]
    pub fn due(&self, endpoint: &str) -> u64 {
        self.state.accounts.get(endpoint).map_or(0, |one| one.due)
    }

    /// Visits of `endpoint` that failed since one did not.
    #[must_use]
    pub fn failures(&self, endpoint: &str) -> u32 {
        self.state.accounts.get(endpoint).map_or(0, |one| one.failures)
    }

    /// How the last visit of `endpoint` ended, what all its requests were, and what they cost.
    #[must_use]
    pub fn account(&self, endpoint: &str) -> (Option<&Outcome>, u64, Money) {
        let account = self.state.accounts.get(endpoint);
        account.map_or((None, 0, Money::ZERO), |one| (one.outcome.as_ref(), one.requests(), one.spent()))
    }

    fn write(&mut self, time: u64, event: &Event) -> Result<()> {
        self.state
            .allows(event)
            .map_err(|problem| Error::argument("diary", problem, "one visit at a time, settled once"))?;
        let Some(journal) = &mut self.journal else {
            return Err(Error::argument("diary", self.path.display().to_string(), "open it to write to it"));
        };
        journal.append(time, event.clone())?;
        self.state.take(time, event).map_err(|problem| Error::argument("diary", problem, KIND.remedy))
    }
}

impl Account {
    fn requests(&self) -> u64 {
        let past = self.visits.iter().map(|(_, requests)| requests);
        past.chain(self.open.iter().map(|(requests, _)| requests))
            .fold(0, |sum, one| sum.saturating_add(*one))
    }

    fn spent(&self) -> Money {
        self.open.map_or(self.cost, |(_, cost)| self.cost.plus(cost))
    }

    /// Requests of visits that ended after `time`: those of the 24 hours before now, whenever the visit began.
    fn since(&self, time: u64) -> u64 {
        let late = self.visits.iter().filter(|(end, _)| *end >= time).map(|(_, requests)| *requests);
        late.chain(self.open.map(|(requests, _)| requests)).fold(0, u64::saturating_add)
    }

    fn first_since(&self, time: u64) -> Option<u64> {
        self.visits.iter().map(|(end, _)| *end).find(|end| *end >= time)
    }
}

impl State {
    /// What the lines of a diary add up to.
    fn of(lines: &[Line<Event>], leaf_root: Hash, path: &Path) -> Result<Self> {
        let mut state = Self::default();
        for (number, line) in lines.iter().enumerate() {
            let wrong = |problem: String| {
                Error::malformed(path, format!("line {}: {problem}", number + 1), KIND.remedy)
            };
            match (&line.event, number) {
                (Event::Begun { format, version, .. }, 0) if format != FORMAT || *version != VERSION => {
                    return Err(wrong(format!("format {format:?}, version {version}")));
                }
                (Event::Begun { leaf_root: other, .. }, 0) if *other != leaf_root => {
                    return Err(wrong(format!("it is the diary of {other}, not of {leaf_root}")));
                }
                (Event::Begun { .. }, 0) => {}
                (_, 0) => return Err(wrong("it has no first line".to_owned())),
                (event, _) => state.take(line.time, event).map_err(wrong)?,
            }
        }
        Ok(state)
    }

    /// Why an event cannot follow, if it cannot.
    fn allows(&self, event: &Event) -> Result<(), String> {
        let open = |endpoint: &String| self.accounts.get(endpoint).and_then(|one| one.open);
        match event {
            Event::Begun { .. } => Err("it begins twice".to_owned()),
            Event::Reserved { endpoint, .. } if open(endpoint).is_some() => {
                Err(format!("two visits of {endpoint} at once"))
            }
            Event::Settled { endpoint, requests, .. } => match open(endpoint) {
                None => Err(format!("the end of a visit of {endpoint} that did not begin")),
                Some((reserved, _)) if *requests > reserved => {
                    Err(format!("{requests} requests to {endpoint}, where {reserved} were reserved"))
                }
                Some(_) => Ok(()),
            },
            Event::Opened(inquiry) if inquiry.number as usize != self.inquiries.len() + 1 => {
                Err(format!("inquiry {}, where {} is the next", inquiry.number, self.inquiries.len() + 1))
            }
            Event::Told { inquiry, .. } if *inquiry == 0 || *inquiry as usize > self.inquiries.len() => {
                Err(format!("a dossier of inquiry {inquiry}, which is not there"))
            }
            Event::Told { inquiry, .. } if self.told.contains_key(inquiry) => {
                Err(format!("two dossiers of inquiry {inquiry}"))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, time: u64, event: &Event) -> Result<(), String> {
        self.allows(event)?;
        match event {
            Event::Begun { .. } => {}
            Event::Reserved { endpoint, requests, cost } => {
                self.accounts.entry(endpoint.clone()).or_default().open = Some((*requests, *cost));
            }
            Event::Settled { endpoint, requests, cost, due, outcome } => {
                let account = self.accounts.entry(endpoint.clone()).or_default();
                account.open = None;
                account.visits.push((time, *requests));
                account.cost = account.cost.plus(*cost);
                account.due = *due;
                account.failures = match outcome {
                    Outcome::Visited(_) => 0,
                    Outcome::Failed(_) => account.failures.saturating_add(1),
                };
                account.outcome = Some(outcome.clone());
            }
            Event::Opened(inquiry) => self.inquiries.push(inquiry.clone()),
            Event::Told { inquiry, folder } => drop(self.told.insert(*inquiry, folder.clone())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Mode;
    use crate::check::transcript::Route;
    use crate::watch::{Cause, Portrait};
    use proptest::prelude::*;

    const ROOT: Hash = Hash([7; 32]);

    fn free(a_day: u64) -> Allowance {
        Allowance { a_day, in_all: None, money: None, price: Money::ZERO }
    }

    fn matter(endpoint: &str) -> Matter {
        Matter {
            endpoint: endpoint.to_owned(),
            suspect: format!("{endpoint}#told"),
            cause: Cause::First,
            route: Route::Chat,
            mode: Mode::Top(5),
            draws: 1,
            pool: None,
            reference: None,
            portrait: Portrait::default(),
        }
    }

    fn done() -> Outcome {
        Outcome::Visited("asked".to_owned())
    }

    #[test]
    fn a_day_is_any_24_hours() {
        let folder = tempfile::tempdir().unwrap();
        let mut diary = Diary::open(&folder.path().join("d"), ROOT, (0, 0)).unwrap();
        let mut reserve = |time: u64, wanted: u64, sent: u64| {
            let granted = diary.reserve("a", 10..=wanted, &free(100), time).unwrap();
            if let Granted::Requests(_) = granted {
                // It ends an hour later.
                diary.settle("a", sent, (0, done()), time + 3600).unwrap();
            }
            granted
        };
        assert_eq!(reserve(0, 60, 60), Granted::Requests(60));
        assert_eq!(reserve(40_000, 60, 35), Granted::Requests(40));
        // Five are left, and ten wanted at least; the first visit's are free again a day after its end.
        assert_eq!(reserve(50_000, 60, 60), Granted::Nothing(Some(3600 + DAY + 1)));
        assert_eq!(reserve(3600 + DAY, 60, 60), Granted::Nothing(Some(3600 + DAY + 1)));
        assert_eq!(reserve(3600 + DAY + 1, 90, 60), Granted::Requests(65));
    }

    #[test]
    fn bounds_on_all_end_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut diary = Diary::open(&folder.path().join("d"), ROOT, (0, 0)).unwrap();
        let paid = Allowance {
            money: Some("1".parse().unwrap()),
            price: "0.01".parse().unwrap(),
            in_all: Some(1000),
            a_day: 1000,
        };
        assert_eq!(diary.reserve("a", 1..=80, &paid, 0).unwrap(), Granted::Requests(80));
        // Another one at the same time has what is left.
        assert_eq!(diary.reserve("b", 1..=80, &paid, 0).unwrap(), Granted::Requests(20));
        assert_eq!(diary.reserve("c", 1..=80, &paid, 0).unwrap(), Granted::Nothing(None));
        diary.settle("a", 30, (9, done()), 5).unwrap();
        assert_eq!(diary.account("a"), (Some(&done()), 30, "0.3".parse().unwrap()));
        assert_eq!(diary.due("a"), 9);
        assert_eq!(diary.reserve("c", 1..=80, &paid, 5).unwrap(), Granted::Requests(50));
        let all = Allowance { in_all: Some(110), ..free(1000) };
        assert_eq!(diary.reserve("d", 1..=80, &all, 5).unwrap(), Granted::Requests(10));
        assert_eq!(diary.reserve("e", 1..=80, &all, 5).unwrap(), Granted::Nothing(None));
    }

    #[test]
    fn books_that_cannot_be_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d");
        let mut diary = Diary::open(&path, ROOT, (3, 0)).unwrap();
        assert!(matches!(Diary::open(&path, ROOT, (3, 0)), Err(Error::Busy { by: "another watch", .. })));
        diary.reserve("a", 1..=10, &free(100), 0).unwrap();
        assert!(diary.reserve("a", 1..=10, &free(100), 0).is_err());
        assert!(diary.settle("a", 11, (0, done()), 0).is_err());
        assert!(diary.settle("b", 1, (0, done()), 0).is_err());
        assert!(diary.tell(1, "dossier", 0).is_err());
        let inquiry = diary.inquire(matter("a"), 0).unwrap();
        assert_eq!((inquiry.number, inquiry.registrations), (1, 4));
        diary.tell(1, "dossier", 0).unwrap();
        assert!(diary.tell(1, "dossier", 0).is_err());
        assert_eq!(diary.told(1), Some("dossier"));
        drop(diary);
        let other = Diary::open(&path, Hash([8; 32]), (0, 0)).unwrap_err().to_string();
        assert!(other.contains("it is the diary of"), "{other}");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("told", "bold")).unwrap();
        assert!(Diary::open(&path, ROOT, (0, 0)).is_err());
    }

    proptest! {
        /// Killed at any byte: what opens again never allows more than a day's or all requests, counted as sent.
        #[test]
        fn a_kill_anywhere_overspends_nothing(
            visits in prop::collection::vec((0u64..40_000, 1u64..60, 0u64..60), 1..12),
            cut in 0.0f64..1.0,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("d");
            let allowance = Allowance { in_all: Some(300), ..free(100) };
            let mut diary = Diary::open(&path, ROOT, (0, 0)).unwrap();
            // Requests in fact sent, with the length of the file at which each visit was reserved.
            let mut sent: Vec<(u64, u64, u64)> = Vec::new();
            let mut time = 0;
            for (pause, wanted, used) in &visits {
                time += pause;
                if let Granted::Requests(granted) = diary.reserve("a", 1..=*wanted, &allowance, time).unwrap() {
                    let length = std::fs::metadata(&path).unwrap().len();
                    sent.push((length, time, granted.min(*used)));
                    diary.settle("a", granted.min(*used), (0, done()), time).unwrap();
                }
            }
            drop(diary);
            let length = (cut * std::fs::metadata(&path).unwrap().len() as f64) as u64;
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
            let mut diary = Diary::open(&path, ROOT, (0, time)).unwrap();
            // A request leaves only when its reservation is on the disk.
            let truth: Vec<_> = sent.iter().filter(|(at, ..)| *at <= length).collect();
            let all: u64 = truth.iter().map(|(_, _, used)| used).sum();
            prop_assert!(diary.account("a").1 >= all);
            let lately: u64 = truth.iter().filter(|(_, at, _)| *at + DAY >= time).map(|(_, _, used)| used).sum();
            if let Granted::Requests(more) = diary.reserve("a", 1..=1000, &allowance, time).unwrap() {
                prop_assert!(all + more <= 300 && lately + more <= 100);
            }
        }
    }
}
