//! The economy of a model in one run: an agreement, a hosting, twice a thousand paid invocations in one voucher, and
//! everybody's part withdrawn. Prints what each step costs in gas.
//!
//! `cargo run -p loyal-protocol --example economy`
#![allow(clippy::print_stdout, reason = "an example talks")]

#[path = "economy/market.rs"]
mod market;

use alloy_primitives::U256;
use anyhow::{Result, ensure};
use loyal_protocol::contracts::*;
use market::{LOYAL, Market};

/// Invocations that one voucher pays.
const INVOCATIONS: u32 = 1_000;
/// What one of them costs: 0.002 LOYAL.
const PRICE: u128 = LOYAL / 500;

fn main() -> Result<()> {
    let mut market = Market::open()?;
    let parent = market.model("parent", (0, 0))?;
    let child = market.model("child", (parent.to(), 1))?;
    let hosting = market.host(child, PRICE)?;
    let till = market.pay(hosting, INVOCATIONS, PRICE)?;
    let earned = U256::from(2 * u128::from(INVOCATIONS) * PRICE);
    let call =
        RevenueRouter::collectCall { hostingId: hosting, builder: market.builder(), asset: market.asset() };
    market.send("host", "collect", market.at.router, &call)?;
    println!("\ntwo vouchers for {INVOCATIONS} invocations each earned {}\n", market::amount(earned));
    let paid = everybody_withdraws(&mut market, parent, child)?;
    ensure!(paid <= earned, "more was paid than came in");
    println!("\npaid out {}, dust and pools {}", market::amount(paid), market::amount(earned - paid));
    ensure!(market.client.code(till)?.len() > 40, "the till is a contract");
    market.print_table();
    // The first redemption of a receiver writes a slot that was empty; every later one is like the second.
    let per_invocation = market.gas_of("redeem, steady") / u64::from(INVOCATIONS);
    println!("\nredeemed at {per_invocation} gas for each of {INVOCATIONS} invocations");
    ensure!(per_invocation <= 60, "an invocation may cost 60 gas at most");
    Ok(())
}

/// Host, builder, trainers, holders of the child and, by royalty, of the parent.
fn everybody_withdraws(market: &mut Market, parent: U256, child: U256) -> Result<U256> {
    let mut paid = U256::ZERO;
    for name in ["alice", "bob", "charlie"] {
        let trainer = market.address(name);
        let call = RevenueRouter::accrueCall { modelId: child, crew: 1, trainer, asset: market.asset() };
        market.send("host", "accrue as trainer", market.at.router, &call)?;
    }
    for name in ["host", "builder", "alice", "bob", "charlie"] {
        let call = RevenueRouter::withdrawCall { account: market.address(name), asset: market.asset() };
        paid += market.received(name, "withdraw", market.at.router, &call)?;
    }
    let treasury = RevenueRouter::withdrawCall { account: market.at.timelock, asset: market.asset() };
    let before = market.balance(market.at.timelock)?;
    market.send("host", "withdraw", market.at.router, &treasury)?;
    paid += market.balance(market.at.timelock)? - before;
    for model in [child, parent] {
        let shares =
            market.client.call(market.at.registry, &Registry::modelOfCall { modelId: model })?.shares;
        for name in ["alice", "bob", "charlie"] {
            let call = ModelShares::withdrawCall { account: market.address(name), asset: market.asset() };
            paid += market.received(name, "withdraw as holder", shares, &call)?;
        }
    }
    Ok(paid)
}
