//! Turns: whoever has duties on the chain looks at it again and again, and does what is due.

use std::time::Duration;

use loyal_protocol::walk::Taken;
use loyal_protocol::{Client, Key, Walk};

use crate::host::Drain;

/// How soon it is noticed that everything shall end.
const NOTICE: Duration = Duration::from_millis(200);

/// What a turn came to.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Transactions that were made.
    pub taken: Vec<Taken>,
    /// What went wrong, or waits for somebody; tried again at the next turn.
    pub failed: Vec<String>,
}

impl Turn {
    /// A turn of `key`: `steps` does what is due, and notes what could not be done.
    pub fn take(client: &Client, key: &Key, steps: impl FnOnce(&mut Walk<'_>, &mut Vec<String>)) -> Self {
        let mut turn = Self::default();
        let mut note = |one: &Taken| turn.taken.push(one.clone());
        match Walk::begin(client, key, false, &mut note) {
            Ok(mut walk) => steps(&mut walk, &mut turn.failed),
            Err(error) => turn.failed.push(format!("looking at the chain: {error}")),
        }
        turn
    }

    fn is_told(&self) -> bool {
        !self.taken.is_empty() || !self.failed.is_empty()
    }
}

/// Takes turns, so long apart, until `drain` begins. `tell` hears of each in which something was done or failed; what lasts is
/// said once.
pub fn run(every: Duration, drain: &Drain, next: &mut dyn FnMut() -> Turn, tell: &mut dyn FnMut(&Turn)) {
    let mut failed_before = Vec::new();
    while !drain.has_begun() {
        let mut turn = next();
        if turn.failed == failed_before {
            turn.failed.clear();
        } else {
            failed_before.clone_from(&turn.failed);
        }
        if turn.is_told() {
            tell(&turn);
        }
        let mut rest = every;
        while !rest.is_zero() && !drain.has_begun() {
            let pause = rest.min(NOTICE);
            std::thread::sleep(pause);
            rest -= pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_and_an_end_is_noticed_within_a_rest() {
        let drain = Drain::default();
        let (mut count, mut told) = (0, Vec::new());
        let mut next = || {
            count += 1;
            let failed = match count {
                1 | 2 | 4 => vec!["the chain is silent".to_owned()],
                _ => Vec::new(),
            };
            if count == 5 {
                drain.begin();
            }
            Turn { taken: Vec::new(), failed }
        };
        // A day's rest after the fifth turn is none, since the end has begun by then.
        let mut every = |turn: &Turn| told.push(turn.failed.len());
        run(Duration::ZERO, &drain, &mut next, &mut every);
        run(Duration::from_secs(86_400), &drain, &mut Turn::default, &mut |_| panic!("it has ended"));
        // Said at first, and again after it was gone for a turn.
        assert_eq!((count, told), (5, vec![1, 1]));
    }
}
