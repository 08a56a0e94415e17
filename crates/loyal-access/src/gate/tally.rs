//! Counts of what a gate did, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loyal_protocol::message::Receipt;

use super::Outcome;
use crate::admission::Refusal;

/// Refusals that are not of admission, by their codes; what is none of these comes last.
const OTHERS: [&str; 6] =
    ["payment_required", "chain_unavailable", "channel_busy", "reply_gone", "server_error", "otherwise"];
/// Microseconds within which an invocation was admitted, as it is counted.
const WITHIN_MICROS: [u64; 12] =
    [50, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 1_000_000];

/// Counts since the gate was opened. Reading one takes no lock.
#[derive(Debug, Default)]
pub struct Tally {
    admitted: AtomicU64,
    again: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    others: [AtomicU64; OTHERS.len()],
    receipts: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    within: [AtomicU64; WITHIN_MICROS.len()],
    micros: AtomicU64,
}

/// How long admission took, of those who were admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// How many were admitted within so many seconds.
    pub buckets: Vec<(f64, u64)>,
    /// How many were admitted.
    pub count: u64,
    /// The sum, in seconds.
    pub seconds: f64,
}

impl Tally {
    pub(super) fn count(&self, outcome: &Outcome, took: Duration) {
        let counter = match outcome {
            Outcome::Admitted(_) => {
                self.time(took);
                &self.admitted
            }
            Outcome::Again { .. } => &self.again,
            Outcome::Refused(refused) => match refused.refusal {
                Some(refusal) => &self.refused[refusal as usize - 1],
                None => {
                    let place = OTHERS.iter().position(|&code| code == refused.code);
                    &self.others[place.unwrap_or(OTHERS.len() - 1)]
                }
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn time(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(place) = WITHIN_MICROS.iter().position(|&within| micros <= within) {
            self.within[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn charge(&self, receipt: &Receipt) {
        self.receipts.fetch_add(1, Ordering::Relaxed);
        self.tokens_in.fetch_add(receipt.tokensIn.into(), Ordering::Relaxed);
        self.tokens_out.fetch_add(receipt.tokensOut.into(), Ordering::Relaxed);
    }

    /// Every count with its name.
    #[must_use]
    pub fn counts(&self) -> Vec<(String, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut counts = vec![
            ("admitted".to_owned(), read(&self.admitted)),
            ("answered_again".to_owned(), read(&self.again)),
            ("asked_to_pay".to_owned(), read(&self.others[0])),
            ("receipts".to_owned(), read(&self.receipts)),
            ("tokens_in".to_owned(), read(&self.tokens_in)),
            ("tokens_out".to_owned(), read(&self.tokens_out)),
        ];
        let refused = Refusal::ALL.iter().map(|refusal| refusal.code()).zip(&self.refused);
        let others = OTHERS.into_iter().zip(&self.others).skip(1);
        counts
            .extend(refused.chain(others).map(|(code, counter)| (format!("refused_{code}"), read(counter))));
        counts
    }

    /// How long admission took.
    #[must_use]
    pub fn admission(&self) -> Times {
        let mut count = 0;
        let buckets = WITHIN_MICROS.iter().zip(&self.within).map(|(&micros, counter)| {
            count += counter.load(Ordering::Relaxed);
            (micros as f64 / 1e6, count)
        });
        let buckets = buckets.collect();
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        Times { buckets, count: self.admitted.load(Ordering::Relaxed), seconds }
    }
}
