//! A ledger in plain Rust beside the contracts, on both chains: random histories, every amount compared after each step.
//!
//! The ledger knows no EVM. It says what each step should do to escrow, till, router, trainers and holders of a child
//! model whose parent receives royalty; the invariants of the contracts' tests hold in it by construction.

#[path = "../../examples/economy/market.rs"]
#[allow(dead_code, clippy::print_stdout, reason = "the example uses all of it")]
mod market;

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use loyal_protocol::{Channel, contracts::*};
use market::{LOYAL, Market, START};

use crate::kit::Rng;

const HOLDERS: [&str; 3] = ["alice", "bob", "charlie"];
const WEIGHTS: [u64; 3] = [3_000, 1_500, 1_500];

/// Shares of one model: who holds how many, and what a share has earned, with 36 digits.
#[derive(Debug, Clone)]
struct Shares {
    held: BTreeMap<&'static str, U256>,
    per_share: U256,
    paid: BTreeMap<&'static str, U256>,
    credit: BTreeMap<&'static str, U256>,
}

fn precision() -> U256 {
    U256::from(10).pow(U256::from(36))
}

impl Shares {
    fn new() -> Self {
        let held =
            HOLDERS.iter().zip(WEIGHTS).map(|(name, bps)| (*name, U256::from(bps) * U256::from(100 * LOYAL)));
        Self { held: held.collect(), per_share: U256::ZERO, paid: BTreeMap::new(), credit: BTreeMap::new() }
    }

    fn distribute(&mut self, amount: U256) {
        self.per_share += amount * precision() / (U256::from(1_000_000) * U256::from(LOYAL));
    }

    fn due(&self, who: &str) -> U256 {
        let more = self.per_share - self.paid.get(who).copied().unwrap_or_default();
        self.credit.get(who).copied().unwrap_or_default() + self.held[who] * more / precision()
    }

    fn settle(&mut self, who: &'static str) {
        let due = self.due(who);
        self.credit.insert(who, due);
        self.paid.insert(who, self.per_share);
    }

    fn transfer(&mut self, from: &'static str, to: &'static str, amount: U256) {
        self.settle(from);
        self.settle(to);
        *self.held.get_mut(from).unwrap() -= amount;
        *self.held.get_mut(to).unwrap() += amount;
    }

    fn withdraw(&mut self, who: &'static str) -> U256 {
        self.settle(who);
        self.credit.insert(who, U256::ZERO).unwrap_or_default()
    }
}

/// What everybody should have.
#[derive(Debug, Clone)]
struct Ledger {
    deposited: u128,
    redeemed: u128,
    settled: u128,
    till: u128,
    collected: u128,
    owed: BTreeMap<&'static str, U256>,
    per_weight: U256,
    trainer_paid: BTreeMap<&'static str, U256>,
    pools: [u128; 3],
    child: Shares,
    parent: Shares,
    wallet: BTreeMap<&'static str, U256>,
}

impl Ledger {
    fn pay(&mut self, who: &'static str, amount: U256) {
        *self.wallet.entry(who).or_default() += amount;
    }

    fn owe(&mut self, who: &'static str, amount: u128) {
        *self.owed.entry(who).or_default() += U256::from(amount);
    }

    /// The split, from its definition: rates of what is left after the fee, rounded down, remainder to the shares.
    fn collect(&mut self) {
        let amount = std::mem::take(&mut self.till);
        self.collected += amount;
        let fee = amount * 250 / 10_000;
        let rest = amount - fee;
        let part = |bps: u128| rest * bps / 10_000;
        self.owe("treasury", fee);
        self.owe("host", part(2_500));
        self.owe("builder", part(300));
        self.per_weight += U256::from(part(2_500)) * precision() / U256::from(6_000);
        self.pools = [self.pools[0] + part(500), self.pools[1] + part(400), self.pools[2] + part(300)];
        let shares = rest - part(2_500) * 2 - part(300) * 2 - part(500) - part(400);
        let royalty = shares * 1_000 / 10_000;
        self.parent.distribute(U256::from(royalty));
        self.child.distribute(U256::from(shares - royalty));
    }

    fn accrue(&mut self, index: usize) {
        let who = HOLDERS[index];
        let paid = self.trainer_paid.insert(who, self.per_weight).unwrap_or_default();
        let amount = U256::from(WEIGHTS[index]) * (self.per_weight - paid) / precision();
        *self.owed.entry(who).or_default() += amount;
    }

    fn withdraw(&mut self, who: &'static str) {
        let amount = self.owed.insert(who, U256::ZERO).unwrap_or_default();
        self.pay(who, amount);
    }
}

/// The contracts and the ledger, side by side.
struct Both {
    market: Market,
    ledger: Ledger,
    hosting: U256,
    child: U256,
    channel: Channel,
    shares: [Address; 2],
}

impl Both {
    fn on(mut market: Market) -> Self {
        let parent = market.model("parent", (0, 0)).unwrap();
        let child = market.model("child", (1, 1)).unwrap();
        let hosting = market.host(child, LOYAL / 500).unwrap();
        let channel = market.channel(hosting).unwrap();
        let shares = [child, parent].map(|model| {
            market.client.call(market.at.registry, &Registry::modelOfCall { modelId: model }).unwrap().shares
        });
        let names = ["user", "host", "builder", "alice", "bob", "charlie"];
        let mut wallet: BTreeMap<_, _> =
            names.into_iter().map(|name| (name, market.balance(market.address(name)).unwrap())).collect();
        wallet.insert("treasury", market.balance(market.at.timelock).unwrap());
        let ledger = Ledger {
            deposited: 0,
            redeemed: 0,
            settled: 0,
            till: 0,
            collected: 0,
            owed: BTreeMap::new(),
            per_weight: U256::ZERO,
            trainer_paid: BTreeMap::new(),
            pools: [0; 3],
            child: Shares::new(),
            parent: Shares::new(),
            wallet,
        };
        Self { market, ledger, hosting, child, channel, shares }
    }

    fn account(&self, who: &str) -> Address {
        if who == "treasury" { self.market.at.timelock } else { self.market.address(who) }
    }

    /// One step, on both sides.
    fn step(&mut self, rng: &mut Rng) {
        let holder = usize::try_from(rng.below(3)).unwrap();
        let model = usize::try_from(rng.below(2)).unwrap();
        match rng.below(8) {
            0..3 => self.pay(rng),
            3 => {
                let (builder, asset) = (self.market.builder(), self.market.asset());
                let call = RevenueRouter::collectCall { hostingId: self.hosting, builder, asset };
                self.market.send("host", "collect", self.market.at.router, &call).unwrap();
                self.ledger.collect();
            }
            4 => {
                let (trainer, asset) = (self.account(HOLDERS[holder]), self.market.asset());
                let call = RevenueRouter::accrueCall { modelId: self.child, crew: 1, trainer, asset };
                self.market.send("host", "accrue", self.market.at.router, &call).unwrap();
                self.ledger.accrue(holder);
            }
            5 => {
                let everybody = ["host", "builder", "treasury", "alice", "bob", "charlie"];
                let who = everybody[usize::try_from(rng.below(6)).unwrap()];
                let call =
                    RevenueRouter::withdrawCall { account: self.account(who), asset: self.market.asset() };
                self.market.send("host", "withdraw", self.market.at.router, &call).unwrap();
                self.ledger.withdraw(who);
            }
            6 => {
                let to = HOLDERS[usize::try_from(rng.below(3)).unwrap()];
                self.transfer(model, HOLDERS[holder], to, rng.below(101));
            }
            _ => {
                let who = HOLDERS[holder];
                let call =
                    ModelShares::withdrawCall { account: self.account(who), asset: self.market.asset() };
                self.market.send("host", "withdraw shares", self.shares[model], &call).unwrap();
                let amount = self.side(model).withdraw(who);
                self.ledger.pay(who, amount);
            }
        }
    }

    /// A deposit, a redemption or a settlement.
    fn pay(&mut self, rng: &mut Rng) {
        let channel = self.channel.clone();
        match rng.below(3) {
            0 => {
                let amount = 1 + u128::from(rng.below(1 << 50));
                self.market.deposit(&channel, amount).unwrap();
                self.ledger.deposited += amount;
                *self.ledger.wallet.get_mut("user").unwrap() -= U256::from(amount);
            }
            1 => {
                // At, below or above what was redeemed before: only more moves something.
                let total = u128::from(rng.next()) % (self.ledger.deposited + 1);
                self.market.redeem("redeem", &channel, total).unwrap();
                self.ledger.redeemed = self.ledger.redeemed.max(total);
            }
            _ => {
                self.market.settle(channel.till()).unwrap();
                self.ledger.till += self.ledger.redeemed - self.ledger.settled;
                self.ledger.settled = self.ledger.redeemed;
            }
        }
    }

    fn side(&mut self, model: usize) -> &mut Shares {
        if model == 0 { &mut self.ledger.child } else { &mut self.ledger.parent }
    }

    fn transfer(&mut self, model: usize, from: &'static str, to: &'static str, percent: u64) {
        let held = self.side(model).held[from];
        let amount = held * U256::from(percent) / U256::from(100);
        let call = ModelShares::transferCall { to: self.account(to), value: amount };
        self.market.send(from, "transfer shares", self.shares[model], &call).unwrap();
        self.side(model).transfer(from, to, amount);
    }

    fn check(&self, at: &str) {
        let (market, ledger) = (&self.market, &self.ledger);
        let asset = market.asset();
        for (who, expected) in &ledger.wallet {
            assert_eq!(market.balance(self.account(who)).unwrap(), *expected, "{at}: {who}");
        }
        for (who, expected) in &ledger.owed {
            let call = RevenueRouter::owedCall { account: self.account(who), asset };
            assert_eq!(
                market.client.call(market.at.router, &call).unwrap(),
                *expected,
                "{at}: owed to {who}"
            );
        }
        let escrow = U256::from(ledger.deposited - ledger.settled);
        assert_eq!(market.balance(market.at.channel).unwrap(), escrow, "{at}: escrow");
        assert_eq!(market.balance(self.channel.till()).unwrap(), U256::from(ledger.till), "{at}: till");
        for (pool, expected) in (0..3).zip(ledger.pools) {
            let call = RevenueRouter::pooledCall { _0: pool, modelId: self.child, asset };
            let found = market.client.call(market.at.router, &call).unwrap();
            assert_eq!(found, U256::from(expected), "{at}: pool {pool}");
        }
        for (address, shares) in self.shares.iter().zip([&ledger.child, &ledger.parent]) {
            for who in HOLDERS {
                let call = ModelShares::withdrawableCall { account: self.account(who), asset };
                let found = market.client.call(*address, &call).unwrap();
                assert_eq!(found, shares.due(who), "{at}: revenue of {who}");
            }
        }
        let collected =
            market.client.call(market.at.router, &RevenueRouter::collectedOfCall { hostingId: self.hosting });
        assert_eq!(collected.unwrap(), ledger.collected, "{at}: collected");
    }
}

#[test]
fn random_histories_agree_with_the_contracts() {
    for seed in 0..8 {
        history(Both::on(Market::open().unwrap()), seed, 60);
    }
    let (_anvil, http) = crate::client::anvil(START);
    history(Both::on(Market::on(http).unwrap()), 8, 60);
}

fn history(mut both: Both, seed: u64, steps: u32) {
    let mut rng = Rng(seed);
    for step in 0..steps {
        both.step(&mut rng);
        both.check(&format!("seed {seed}, step {step}"));
    }
}
