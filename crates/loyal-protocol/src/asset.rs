//! Assets: what amounts are counted in, and how people write them.

use alloy_primitives::{Address, U256};
use alloy_sol_types::sol;

use crate::{Client, Failure, Outcome};

sol! {
    /// What an ERC-20 says about itself.
    interface Metadata {
        function symbol() external view returns (string);
        function decimals() external view returns (uint8);
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 value) external returns (bool);
    }
}

/// Digits after the point that an asset may have.
const DECIMALS_MAX: u8 = 36;
const SYMBOL_CHARS_MAX: usize = 16;

/// An ERC-20 asset. Amounts of it are in base units: `10^decimals` of them make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The contract.
    pub address: Address,
    /// Its symbol, or the start of its address where it gives itself none that can be read.
    pub symbol: String,
    /// Digits after the point.
    pub decimals: u8,
}

/// The chain's own currency, in which gas is paid.
#[must_use]
pub fn ether(wei: U256) -> String {
    Asset { address: Address::ZERO, symbol: "ether".to_owned(), decimals: 18 }.text(wei)
}

impl Asset {
    /// Asks a contract what asset it is.
    ///
    /// # Errors
    /// The endpoint's, and [`Failure::Amount`] where the contract is no ERC-20.
    pub fn read(client: &Client, address: Address) -> Outcome<Self> {
        let decimals = client.call(address, &Metadata::decimalsCall {}).map_err(|failure| match failure {
            // A precompile or an account answers in one of these ways.
            Failure::Nonsense { .. } | Failure::Reverted { .. } | Failure::Refused { .. } => {
                Failure::Amount {
                    text: address.to_string(),
                    why: "there is no ERC-20 asset at this address".to_owned(),
                }
            }
            other => other,
        })?;
        if decimals > DECIMALS_MAX {
            let why = format!("an asset with {decimals} digits after the point; at most {DECIMALS_MAX}");
            return Err(Failure::Amount { text: address.to_string(), why });
        }
        // The symbol is for people and comes from anybody: what is not plain is not shown.
        let plain = |symbol: &String| {
            let good = |c: char| c.is_ascii_alphanumeric() || "$.-_".contains(c);
            !symbol.is_empty() && symbol.len() <= SYMBOL_CHARS_MAX && symbol.chars().all(good)
        };
        let symbol = client.call(address, &Metadata::symbolCall {}).ok().filter(plain);
        let symbol = symbol.unwrap_or_else(|| format!("({}…)", &address.to_string()[..10]));
        Ok(Self { address, symbol, decimals })
    }

    /// What an account has.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn balance(&self, client: &Client, account: Address) -> Outcome<U256> {
        client.call(self.address, &Metadata::balanceOfCall { account })
    }

    /// What `spender` may still take from `owner`.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn allowance(&self, client: &Client, owner: Address, spender: Address) -> Outcome<U256> {
        client.call(self.address, &Metadata::allowanceCall { owner, spender })
    }

    /// An amount for people: `1,234.5 LOYAL`, with every digit that is not a trailing zero.
    #[must_use]
    pub fn text(&self, amount: U256) -> String {
        let digits = format!("{amount:0>width$}", width = usize::from(self.decimals) + 1);
        let (whole, part) = digits.split_at(digits.len() - usize::from(self.decimals));
        let mut text = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        let part = part.trim_end_matches('0');
        if !part.is_empty() {
            text = format!("{text}.{part}");
        }
        format!("{text} {}", self.symbol)
    }

    /// An amount as people write it: `720`, `0.002`, `1,000 LOYAL`.
    ///
    /// # Errors
    /// [`Failure::Amount`] says what is wrong with it.
    pub fn parse(&self, text: &str) -> Outcome<u128> {
        let wrong = |why: String| Failure::Amount { text: text.to_owned(), why };
        let (number, symbol) = text.trim().split_once(' ').unwrap_or((text.trim(), &self.symbol));
        if symbol.trim() != self.symbol {
            return Err(wrong(format!("this is counted in {}", self.symbol)));
        }
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let whole = whole.replace([',', '_'], "");
        let all = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        if !all(&whole) || !all(part) || whole.len() + part.len() == 0 {
            return Err(wrong(format!("write an amount like 0.002 or \"720 {}\"", self.symbol)));
        }
        let decimals = usize::from(self.decimals);
        let part = part.trim_end_matches('0');
        if part.len() > decimals {
            return Err(wrong(format!("{} has {decimals} digits after the point", self.symbol)));
        }
        let units = format!("{whole}{part:0<decimals$}");
        let units = if units.is_empty() { "0" } else { &units };
        units.parse().map_err(|_| wrong("more than an amount can be".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loyal() -> Asset {
        Asset { address: Address::ZERO, symbol: "LOYAL".to_owned(), decimals: 18 }
    }

    #[test]
    fn amounts_are_written_and_read_back() {
        for (units, text) in [
            (0, "0 LOYAL"),
            (1, "0.000000000000000001 LOYAL"),
            (2_000_000_000_000_000, "0.002 LOYAL"),
            (1_234_500_000_000_000_000_000, "1,234.5 LOYAL"),
            (1_000_000_000_000_000_000_000_000, "1,000,000 LOYAL"),
        ] {
            assert_eq!(loyal().text(U256::from(units)), text);
            assert_eq!(loyal().parse(text).unwrap(), units);
        }
        let whole = Asset { decimals: 0, ..loyal() };
        assert_eq!((whole.text(U256::from(7)), whole.parse("7").unwrap()), ("7 LOYAL".to_owned(), 7));
        assert_eq!(loyal().parse(".5").unwrap(), 500_000_000_000_000_000);
    }

    #[test]
    fn what_is_no_amount_is_named() {
        for (text, says) in [
            ("", "write an amount like"),
            ("-1", "write an amount like"),
            ("1e18", "write an amount like"),
            ("1 USDC", "counted in LOYAL"),
            ("0.0000000000000000001", "18 digits"),
            ("999999999999999999999999", "more than an amount can be"),
        ] {
            let failure = loyal().parse(text).unwrap_err().to_string();
            assert!(failure.contains(says), "{text}: {failure}");
        }
    }
}
