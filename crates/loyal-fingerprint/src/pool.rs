//! Pools: what a fingerprint is for, fixed by its place among the leaves.
//!
//! The pool of a leaf follows from its place alone. Whoever commits to leaves has committed to their pools, and nobody
//! can move a fingerprint to another one after an answer was seen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a fingerprint is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// A quarter: never asked before there is a dispute about whose model it is.
    Ownership,
    /// Half: asked of hosts now and then.
    Probes,
    /// A quarter: each host's copy carries half of them, another half each, so that a leaked copy tells whose it was.
    Tracing,
}

impl Pool {
    /// Every pool.
    pub const ALL: [Self; 3] = [Self::Ownership, Self::Probes, Self::Tracing];

    /// The pool of leaf `index` of `count`, as the contracts have it (`Leaves.sol`): the first quarter is for ownership, the
    /// next half for probes, the rest for tracing. Fewer than four leaves are all for ownership.
    #[must_use]
    pub const fn of(index: usize, count: usize) -> Self {
        if count < 4 || index < count / 4 {
            Self::Ownership
        } else if index < count / 4 + count / 2 {
            Self::Probes
        } else {
            Self::Tracing
        }
    }

    /// Its leaves among `count`, in order.
    pub fn indices(self, count: usize) -> impl Iterator<Item = usize> {
        (0..count).filter(move |&index| Self::of(index, count) == self)
    }

    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ownership => "ownership",
            Self::Probes => "probes",
            Self::Tracing => "tracing",
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pool {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|pool| pool.name() == text)
            .ok_or_else(|| Error::argument("pool", format!("{text:?}"), "write ownership, probes or tracing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_has_one_pool() {
        let counts = Pool::ALL.map(|pool| pool.indices(1024).count());
        assert_eq!(counts, [256, 512, 256]);
        // As `Leaves.sol` divides: 10 leaves are 2, 5 and 3.
        assert_eq!(Pool::ALL.map(|pool| pool.indices(10).count()), [2, 5, 3]);
        assert_eq!(Pool::ALL.map(|pool| pool.indices(3).count()), [3, 0, 0]);
        for index in 0..9 {
            let holding = Pool::ALL.iter().filter(|pool| pool.indices(9).any(|one| one == index));
            assert_eq!(holding.count(), 1);
            let pool = Pool::of(index, 9);
            assert_eq!(pool.name().parse::<Pool>().ok(), Some(pool));
        }
        assert!("all".parse::<Pool>().is_err());
    }
}
