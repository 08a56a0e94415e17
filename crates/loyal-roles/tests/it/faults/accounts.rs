//! What everybody has at the end: by the chain, and by a ledger in plain Rust that knows only what was deposited and charged.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use loyal_access::books::Books;
use loyal_access::wallet::Wallet;
use loyal_protocol::contracts::{InvocationChannel, RevenueRouter};

use super::stage::{CALLERS, Host, PURSE, Stage};

/// What a host's books say of one channel's payer.
struct Charged {
    payer: usize,
    channel: B256,
    amount: u128,
}

/// Ends a host in peace, and holds what the chain moved against what the books charged and what the callers signed.
/// Answers what each caller was charged.
pub(crate) fn close(stage: &Stage, mut host: Host) -> [u128; 2] {
    stage.line.mend();
    let turn = stage.turn(&mut host);
    assert!(turn.failed.is_empty(), "{turn:?}");
    let turn = host.keeper.end();
    assert!(turn.failed.is_empty(), "{turn:?}");
    drop(host);
    check(stage)
}

/// As [`close`], once the host has ended.
pub(crate) fn check(stage: &Stage) -> [u128; 2] {
    let books = Books::open(stage.books.path(), stage.town.hosting).unwrap();
    let charged: Vec<Charged> = books
        .accounts()
        .into_iter()
        .map(|(channel, account)| {
            let is = |name: &&str| stage.town.address(name) == account.payer();
            let payer = CALLERS.iter().position(is).expect("nobody else pays");
            Charged { payer, channel, amount: account.charged }
        })
        .collect();
    check_receipts(&books, &charged);
    // The ledger: everybody begins with a purse, and what was charged is all that changes hands.
    let mut sums = [0; 2];
    for one in &charged {
        sums[one.payer] += one.amount;
        let (_, claimed) = escrow(stage, one.channel);
        assert_eq!(claimed, one.amount, "what was charged is redeemed, no more and no less");
    }
    for (which, name) in CALLERS.into_iter().enumerate() {
        let book = Wallet::peek(stage.wallets[which].path()).unwrap();
        let held: u128 = book
            .channels
            .keys()
            .map(|channel| escrow(stage, *channel))
            .map(|(balance, claimed)| balance - claimed)
            .sum();
        let has = stage.balance(stage.town.address(name)) + held;
        assert_eq!(has, PURSE - sums[which], "{name} lost what was charged, and nothing else");
    }
    check_till(stage, sums.iter().sum());
    sums
}

/// Every charge has one receipt, and they add up.
fn check_receipts(books: &Books, charged: &[Charged]) {
    let (mut sum, mut seen) = (0, BTreeSet::new());
    for epoch in books.epochs() {
        let (_, count) = books.turnover(epoch);
        for seq in 0..count {
            let kept = books.kept(epoch, seq).unwrap().expect("receipts are dense");
            let receipt = &kept.receipt.receipt;
            assert!(seen.insert(receipt.invocationId), "an invocation is charged once");
            assert!(receipt.amount <= kept.invocation.invocation.amountMax);
            sum += receipt.amount;
        }
    }
    assert_eq!(sum, charged.iter().map(|one| one.amount).sum::<u128>());
}

/// What was redeemed went through the till, and was divided among those who earn it.
fn check_till(stage: &Stage, sum: u128) {
    let (client, at, till) = (&stage.town.client, stage.town.at, till_of(stage));
    let call = InvocationChannel::receiversCall { receiver: till, token: at.currency };
    let receiver = client.call(at.channel, &call).unwrap();
    assert_eq!((receiver.totalClaimed, receiver.totalSettled), (sum, sum));
    assert_eq!(stage.balance(till), 0, "nothing waits in the till");
    // Nobody has withdrawn: what was earned lies in the router.
    assert_eq!(stage.balance(at.router), sum);
}

/// The till of the hosting and nobody who brings invocations.
pub(crate) fn till_of(stage: &Stage) -> Address {
    let call =
        RevenueRouter::tillOfCall { hostingId: U256::from(stage.town.hosting), builder: Address::ZERO };
    stage.town.client.call(stage.town.at.router, &call).unwrap()
}

/// What a channel holds, and what was redeemed of it.
pub(crate) fn escrow(stage: &Stage, channel: B256) -> (u128, u128) {
    let call = InvocationChannel::channelsCall { channelId: channel };
    let state = stage.town.client.call(stage.town.at.channel, &call).unwrap();
    (state.balance, state.totalClaimed)
}

/// What a wallet has receipts for, each once, and what of it went wrong.
pub(crate) fn receipted(stage: &Stage, which: usize) -> u128 {
    let mut seen = BTreeSet::new();
    let mut sum = 0;
    for record in stage.records(which) {
        assert!(record.fault.is_none(), "{record:?}");
        let receipt = &record.receipt.receipt.receipt;
        if seen.insert(receipt.invocationId) {
            sum += receipt.amount;
        }
    }
    sum
}
