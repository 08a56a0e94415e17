//! Counts of what a gate did, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};

use loyal_protocol::message::Receipt;

use super::Outcome;
use crate::admission::Refusal;

/// Counts since the gate was opened. Reading one takes no lock.
#[derive(Debug, Default)]
pub struct Tally {
    admitted: AtomicU64,
    again: AtomicU64,
    unpaid: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    other: AtomicU64,
    receipts: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Admitted(_) => &self.admitted,
            Outcome::Again { .. } => &self.again,
            Outcome::Refused(refused) => match refused.refusal {
                Some(refusal) => &self.refused[refusal as usize - 1],
                None if refused.code == "payment_required" => &self.unpaid,
                None => &self.other,
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
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
            ("asked_to_pay".to_owned(), read(&self.unpaid)),
            ("refused_otherwise".to_owned(), read(&self.other)),
            ("receipts".to_owned(), read(&self.receipts)),
            ("tokens_in".to_owned(), read(&self.tokens_in)),
            ("tokens_out".to_owned(), read(&self.tokens_out)),
        ];
        let refused = Refusal::ALL.iter().zip(&self.refused);
        counts
            .extend(refused.map(|(refusal, counter)| (format!("refused_{}", refusal.code()), read(counter))));
        counts
    }
}
