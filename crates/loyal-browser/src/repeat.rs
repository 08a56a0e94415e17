//! Notices that an agent goes round in circles: the same action on the same page, again and again.

use std::collections::VecDeque;

use crate::action::Action;
use crate::snapshot::{Fnv, Snapshot};

/// How many steps are remembered.
const STEP_COUNT: usize = 20;
/// So many equal steps are worth a hint.
const HINT_COUNT: usize = 3;
/// So many are the end.
const STUCK_COUNT: usize = 5;

/// What the last step says about the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Fine,
    /// It begins to repeat itself; another way should be tried.
    Repeats,
    /// It will not get any further.
    Stuck,
}

/// The last steps of an agent.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    hashes: VecDeque<u64>,
}

impl Steps {
    /// Takes a step in: an action, and the page as it was before.
    pub fn take(&mut self, action: &Action, page: &Snapshot) -> Verdict {
        let mut hash = Fnv::default();
        hash.add(action.name());
        match action.target().and_then(|target| page.node(target)) {
            // The element counts, not its number: a page that is drawn anew gives new ones.
            Some(node) => [&node.role, &node.name, &node.tag].iter().for_each(|part| hash.add(part)),
            None => hash.add(&serde_json::to_string(action).unwrap_or_default()),
        }
        if let Action::Fill { value, .. } = action {
            hash.add(value);
        }
        hash.add(page.url.split(['?', '#']).next().unwrap_or_default());
        hash.add(&page.fingerprint().to_string());
        self.take_hash(hash.0)
    }

    fn take_hash(&mut self, hash: u64) -> Verdict {
        self.hashes.push_back(hash);
        if self.hashes.len() > STEP_COUNT {
            self.hashes.pop_front();
        }
        let equal = self.hashes.iter().filter(|known| **known == hash).count();
        if equal >= STUCK_COUNT {
            Verdict::Stuck
        } else if equal >= HINT_COUNT || self.alternates() {
            Verdict::Repeats
        } else {
            Verdict::Fine
        }
    }

    /// A, B, A, B, A, B.
    fn alternates(&self) -> bool {
        let last: Vec<u64> = self.hashes.iter().rev().take(2 * HINT_COUNT).copied().collect();
        last.len() == 2 * HINT_COUNT
            && last[0] != last[1]
            && last.iter().skip(2).zip(&last).all(|(a, b)| a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &[u64], expected: Verdict) {
        let mut seen = Steps::default();
        let verdict = steps.iter().map(|step| seen.take_hash(*step)).last();
        assert_eq!(verdict, Some(expected), "{steps:?}");
    }

    #[test]
    fn circles_are_noticed() {
        check(&[1, 2, 3, 1], Verdict::Fine);
        check(&[1, 1], Verdict::Fine);
        check(&[1, 1, 1], Verdict::Repeats);
        check(&[1, 2, 1, 2, 1, 2], Verdict::Repeats);
        check(&[1, 2, 1, 3, 1, 4, 1, 5, 1], Verdict::Stuck);
        check(&[1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 1], Verdict::Fine);
    }
}
