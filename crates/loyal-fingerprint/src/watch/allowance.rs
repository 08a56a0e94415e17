//! What a watch may spend: requests in any 24 hours and in all, and money where an API key costs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Decimal places of money.
const PLACES: u32 = 9;
const UNIT: u64 = 10u64.pow(PLACES);

/// What may be spent on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests to this endpoint in any 24 hours.
    pub a_day: u64,
    /// Requests to all endpoints, as long as the diary lives.
    pub in_all: Option<u64>,
    /// Money for all endpoints, as long as the diary lives.
    pub money: Option<Money>,
    /// What one request to this endpoint costs at most.
    pub price: Money,
}

impl Allowance {
    /// Requests that are left, given what was spent: on this endpoint in 24 hours, on all, and in money.
    pub(super) fn left(&self, a_day: u64, in_all: u64, money: Money) -> u64 {
        let mut left = self.a_day.saturating_sub(a_day);
        if let Some(most) = self.in_all {
            left = left.min(most.saturating_sub(in_all));
        }
        if let Some(most) = self.money {
            // What is free costs no budget.
            let affordable = most.0.saturating_sub(money.0).checked_div(self.price.0);
            left = left.min(affordable.unwrap_or(u64::MAX));
        }
        left
    }
}

/// What a visit may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// So many requests: they are written down as sent.
    Requests(u64),
    /// None. It may be asked again at this time, if ever.
    Nothing(Option<u64>),
}

/// A sum of money in whatever currency the reader has in mind, to nine places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Money(pub(super) u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The price of so many requests at this price.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:09}", self.0 % UNIT);
        match places.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / UNIT),
            places => write!(f, "{}.{places}", self.0 / UNIT),
        }
    }
}

impl FromStr for Money {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let remedy = "write a sum such as 5, 0.25 or 0.0004, with nine places at most";
            Error::argument("money", format!("{text:?}"), remedy)
        };
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(places) || places.len() > PLACES as usize {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let places: u64 = format!("{places:0<9}").parse().map_err(|_| wrong())?;
        whole.checked_mul(UNIT).and_then(|sum| sum.checked_add(places)).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Money {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Money> for String {
    fn from(money: Money) -> Self {
        money.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_least_of_all_bounds_counts() {
        let money = |text: &str| text.parse::<Money>().unwrap();
        let free = Allowance { a_day: 100, in_all: None, money: None, price: Money::ZERO };
        assert_eq!(free.left(30, 5000, money("7")), 70);
        assert_eq!(free.left(130, 0, Money::ZERO), 0);
        let bounded = Allowance { in_all: Some(1000), ..free };
        assert_eq!(bounded.left(0, 990, Money::ZERO), 10);
        let paid = Allowance { money: Some(money("0.01")), price: money("0.0004"), ..free };
        assert_eq!(paid.left(0, 0, money("0.003")), 17, "the eighteenth would cost too much");
        let gratis = Allowance { money: Some(Money::ZERO), ..free };
        assert_eq!(gratis.left(0, 0, Money::ZERO), 100);
    }

    #[test]
    fn wrong_sums_are_refused() {
        for wrong in ["", ".", "1.", ".5", "-1", "1e3", "0.0000000001", "99999999999999999999", "1,5", "5 €"]
        {
            assert!(wrong.parse::<Money>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn money_is_read_as_it_is_written(nanos: u64) {
            let text = Money(nanos).to_string();
            prop_assert_eq!(text.parse::<Money>().unwrap(), Money(nanos));
        }
    }
}
