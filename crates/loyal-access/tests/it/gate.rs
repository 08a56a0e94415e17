//! The gate, from headers to a durable receipt.

use alloy_primitives::{B256, U256};
use loyal_access::admission::Refusal;
use loyal_access::books::{Books, Caps, Hindrance, Reservation};
use loyal_access::document::HandedReceipt;
use loyal_access::gate::{Gate, Outcome, Refused, Reply, Settled};
use loyal_access::payment::code;
use loyal_access::redemption;
use loyal_access::request::response_hash;
use loyal_protocol::Walk;
use loyal_protocol::contracts::{self, CredentialRegistry, InvocationChannel};
use loyal_protocol::walk::Taken;
use loyal_types::tree::Entry;
use std::sync::Arc;

use crate::kit::{Attempt, DAY, LOYAL, PRICE, Town, wait};

const REPLY: Reply<'static> = Reply { text: "Hello.", tokens_in: 10, tokens_out: 20 };
const COST: u128 = PRICE / 2 + PRICE / 10 * 10 / 1_000 + PRICE * 20 / 1_000;

fn admit(gate: &Arc<Gate>, town: &Town, attempt: &Attempt) -> Outcome {
    wait(gate.admit(&attempt.headers(town), attempt.body.as_bytes()))
}

fn answered(gate: &Arc<Gate>, town: &Town, attempt: &Attempt) -> Settled {
    match admit(gate, town, attempt) {
        Outcome::Admitted(admitted) => wait(admitted.settle(REPLY)).unwrap(),
        other => panic!("not admitted: {other:?}"),
    }
}

fn refused(gate: &Arc<Gate>, town: &Town, attempt: &Attempt) -> Refused {
    match admit(gate, town, attempt) {
        Outcome::Refused(refused) => *refused,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn invocations_are_charged_in_a_row_and_leave_receipts_that_prove() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    let mut charged = 0;
    let mut receipts = Vec::new();
    for nonce in 1..=5 {
        let settled = answered(&gate, &town, &Attempt::new(&town, &channel, (nonce, charged)));
        charged += COST;
        let receipt = &settled.receipt.receipt;
        assert_eq!(receipt.signer(&town.domain()), Some(town.address("signer")));
        assert_eq!((receipt.receipt.seq, receipt.receipt.amount), (u32::try_from(nonce).unwrap() - 1, COST));
        assert_eq!(receipt.receipt.cumulative, charged);
        assert_eq!(receipt.receipt.responseHash, response_hash(B256::with_last_byte(42), "Hello."));
        assert_eq!(settled.receipt.level, "gated");
        let state = settled.payment.extra.unwrap();
        assert_eq!(
            (state.charged_amount, state.channel_state.charged_cumulative_amount),
            (Some(COST), charged)
        );
        assert_eq!(state.channel_state.balance, 10 * PRICE);
        receipts.push(settled.receipt.receipt.clone());
    }
    let epoch = receipts[0].receipt.epoch;
    let report = gate.books().report(epoch, true);
    assert_eq!((report.count, report.amount, report.tokens), (5, 5 * COST, 150));
    let tree = loyal_types::Tree::new(
        &receipts
            .iter()
            .map(|receipt| Entry {
                digest: loyal_types::Hash(receipt.id(&town.domain()).0),
                amount: COST,
                tokens: 30,
            })
            .collect::<Vec<_>>(),
    )
    .unwrap();
    for (seq, receipt) in (0..).zip(&receipts) {
        let digest = loyal_types::Hash(receipt.id(&town.domain()).0);
        let (proof, of) = gate.books().proof(epoch, seq).unwrap().unwrap();
        assert_eq!(of, report);
        assert!(proof.verify(&Entry { digest, amount: COST, tokens: 30 }, tree.root()));
        let kept = gate.books().kept(epoch, seq).unwrap().unwrap();
        assert_eq!(&kept.receipt, receipt);
        assert_eq!(kept.credential.unwrap().issuer, town.address("owner"));
    }
    // A reported epoch takes no receipt any more.
    let late = Attempt::new(&town, &channel, (6, charged));
    let Outcome::Admitted(admitted) = admit(&gate, &town, &late) else { panic!("not admitted") };
    assert!(wait(admitted.settle(REPLY)).unwrap_err().to_string().contains("reported already"));
    // What was redeemed is what the newest voucher allows and the host charged.
    let account = gate.books().account(channel.id()).unwrap();
    assert_eq!((account.charged, account.voucher.max_claimable_amount), (charged, charged - COST + PRICE));
}

#[test]
fn a_retry_gets_the_same_reply_and_pays_nothing() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    let attempt = Attempt::new(&town, &channel, (1, 0));
    let first: HandedReceipt = {
        let gate = town.gate(folder.path());
        let Outcome::Admitted(admitted) = admit(&gate, &town, &attempt) else { panic!("not admitted") };
        let keeper = admitted.keeper();
        let settled = wait(admitted.settle(REPLY)).unwrap();
        keeper.keep("the reply".into());
        for _ in 0..3 {
            let Outcome::Again { reply, receipt } = admit(&gate, &town, &attempt) else {
                panic!("not again")
            };
            assert_eq!((&reply[..], &receipt), (&b"the reply"[..], &settled.receipt));
        }
        // The same invocation with another body is nobody's.
        let other = Attempt { body: attempt.body.replace("Hi", "Ho"), ..attempt.clone() };
        let headers = attempt.headers(&town);
        let outcome = wait(gate.admit(&headers, other.body.as_bytes()));
        assert!(
            matches!(outcome, Outcome::Refused(refused) if refused.refusal == Some(Refusal::RequestMismatch))
        );
        settled.receipt
    };
    // After a restart the reply is gone, the receipt is not, and still nothing is charged.
    let gate = town.gate(folder.path());
    let refused = refused(&gate, &town, &attempt);
    assert_eq!((refused.code, refused.status, refused.receipt), ("reply_gone", 409, Some(first)));
    assert_eq!(gate.books().account(channel.id()).unwrap().charged, COST);
}

#[test]
fn refusals_name_what_the_host_alone_knows() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    answered(&gate, &town, &Attempt::new(&town, &channel, (5, 0)));
    let next = |nonce| Attempt::new(&town, &channel, (nonce, COST));
    let is = |attempt: &Attempt, refusal: Refusal| {
        let refused = refused(&gate, &town, attempt);
        assert_eq!(refused.refusal, Some(refusal), "{}", refused.message);
        refused
    };
    is(&Attempt { body: "x".repeat(10_001), ..next(6) }, Refusal::TooLarge);
    is(&Attempt { body: "{".to_owned(), ..next(6) }, Refusal::Malformed);
    is(&Attempt { ceiling: COST + PRICE, ..next(4) }, Refusal::NonceUsed);
    let mut poor = next(6);
    poor.credential.callsMax = 0;
    is(&poor, Refusal::SpendExhausted);
    poor.credential.callsMax = 9;
    poor.credential.spendMax = PRICE - 1;
    is(&poor, Refusal::SpendExhausted);
    let mut other = next(6);
    other.credential.policyHash = B256::with_last_byte(1);
    is(&other, Refusal::PolicyRefused);
    // A voucher that does not continue is corrected, with the one the host holds.
    let stale = is(&Attempt { ceiling: PRICE, ..next(6) }, Refusal::VoucherInvalid);
    let required = stale.payment.unwrap();
    assert_eq!(required.error.as_deref(), Some(code::CUMULATIVE_MISMATCH));
    let extra = &required.accepts[0].extra;
    assert_eq!(extra.channel_state.unwrap().charged_cumulative_amount, COST);
    assert_eq!(extra.voucher_state.as_ref().unwrap().signed_max_claimable, PRICE);
    let mut cheap = next(6);
    cheap.invocation.amountMax = PRICE - 1;
    assert!(is(&cheap, Refusal::VoucherInvalid).message.contains("amountMax"));
    // One at a time on a channel; a request that is given up leaves no trace.
    let Outcome::Admitted(under_way) = admit(&gate, &town, &next(6)) else { panic!("not admitted") };
    assert_eq!(refused(&gate, &town, &next(7)).code, "channel_busy");
    drop(under_way);
    answered(&gate, &town, &next(6));
    // Nobody pays: told how to.
    let outcome = wait(gate.admit(&hyper::HeaderMap::new(), b"{}"));
    let Outcome::Refused(unpaid) = outcome else { panic!("not refused") };
    let required = unpaid.payment.unwrap();
    assert_eq!((unpaid.status, required.accepts[0].amount), (402, PRICE));
    assert_eq!(required.accepts[0].pay_to, channel.till());
    assert_eq!(required.extensions["loyal"]["info"]["level"], "gated");
}

#[test]
fn a_revocation_is_seen_within_one_block_and_a_silent_chain_admits_nobody() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    answered(&gate, &town, &Attempt::new(&town, &channel, (1, 0)));
    let next = Attempt::new(&town, &channel, (2, COST));
    let (credential, ..) = next.signed(&town);
    let credential_id = credential.id(&town.domain());
    let call = CredentialRegistry::revokeCall { modelId: town.model, credentialId: credential_id };
    town.send("owner", town.at.credentials, &call);
    gate.follow().unwrap();
    assert_eq!(refused(&gate, &town, &next).refusal, Some(Refusal::CredentialRevoked));
    // A payer that asks for its rest is served no more, and the host hears of it.
    let mut other = next;
    other.credential.salt = B256::with_last_byte(5);
    answered(&gate, &town, &other);
    let call = InvocationChannel::initiateWithdrawCall { config: channel.terms(), amount: PRICE };
    town.send("user", town.at.channel, &call);
    assert_eq!(gate.follow().unwrap().withdrawals, [channel.id()]);
    other.invocation.nonce = 3;
    other.ceiling = 2 * COST + PRICE;
    assert_eq!(refused(&gate, &town, &other).refusal, Some(Refusal::Exposure));
    // Nobody follows the chain for a minute.
    town.clock.seconds.fetch_add(60, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(refused(&gate, &town, &other).code, "chain_unavailable");
    gate.follow().unwrap();
    assert_ne!(refused(&gate, &town, &other).code, "chain_unavailable");
}

#[test]
fn what_is_owed_stays_below_the_caps() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * LOYAL);
    assert_eq!(gate.view().hosting().fee_max, 20 * LOYAL);
    // The tree of an epoch outlives the day, and the next begins at zero.
    let first = answered(&gate, &town, &Attempt::new(&town, &channel, (1, 0)));
    town.pass(DAY);
    gate.follow().unwrap();
    let mut attempt = Attempt::new(&town, &channel, (2, COST));
    attempt.credential.expiresAt += DAY;
    let second = answered(&gate, &town, &attempt);
    let (first, second) = (first.receipt.receipt.receipt, second.receipt.receipt.receipt);
    assert_eq!((second.epoch, second.seq), (first.epoch + 1, 0));
    assert_eq!(gate.books().report(first.epoch, false).hostingId, U256::from(town.hosting));
    drop(gate);
    let gate = town.gate(folder.path());
    assert_eq!(gate.books().epochs(), [first.epoch, second.epoch]);
    assert_eq!(gate.books().account(channel.id()).unwrap().charged, 2 * COST);
}

#[test]
fn a_credential_known_under_one_signature_is_nobodys_under_another() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    answered(&gate, &town, &Attempt::new(&town, &channel, (1, 0)));
    // The same permission, claimed to be a stranger's: the id is the same, the header is not.
    let forged = Attempt { issuer: "stranger", ..Attempt::new(&town, &channel, (2, COST)) };
    let issuer = town.address("stranger");
    let call = CredentialRegistry::setIssuerCall { modelId: town.model, issuer, allowed: true };
    town.send("owner", town.at.credentials, &call);
    gate.follow().unwrap();
    let mut headers = forged.headers(&town);
    let (mut credential, ..) = forged.signed(&town);
    credential.signature = Attempt::new(&town, &channel, (2, COST)).signed(&town).0.signature;
    let header = loyal_access::document::header(&credential);
    headers.insert("loyal-credential", header.parse().unwrap());
    let outcome = wait(gate.admit(&headers, forged.body.as_bytes()));
    let Outcome::Refused(refused) = outcome else { panic!("not refused") };
    assert_eq!(refused.refusal, Some(Refusal::CredentialSignature));
}

fn redeem(gate: &Gate, town: &Town) -> usize {
    let owed = redemption::owed(gate).unwrap();
    let mut quiet = |_: &Taken| ();
    let mut walk = Walk::begin(&town.client, town.key("host"), false, &mut quiet).unwrap();
    redemption::redeem(&mut walk, gate, &owed).unwrap();
    owed.len()
}

#[test]
fn lost_books_go_on_where_the_chain_stands() {
    let (town, folder, other) = (Town::open(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    {
        let gate = town.gate(folder.path());
        answered(&gate, &town, &Attempt::new(&town, &channel, (1, 0)));
        answered(&gate, &town, &Attempt::new(&town, &channel, (2, COST)));
        assert_eq!(redeem(&gate, &town), 1);
        assert_eq!(redeem(&gate, &town), 0, "nothing is redeemed twice");
    }
    // Another folder knows nothing; what was redeemed is what was charged.
    let gate = town.gate(other.path());
    let fresh = refused(&gate, &town, &Attempt::new(&town, &channel, (3, 0)));
    let state = fresh.payment.unwrap().accepts[0].extra.channel_state.unwrap();
    assert_eq!(state.charged_cumulative_amount, 2 * COST);
    let settled = answered(&gate, &town, &Attempt::new(&town, &channel, (3, 2 * COST)));
    assert_eq!(settled.receipt.receipt.receipt.cumulative, 3 * COST);
    assert_eq!(redeem(&gate, &town), 1);
    assert_eq!(gate.view().escrow(channel.id()).unwrap().claimed, 3 * COST);
}

#[test]
fn a_voucher_that_was_judged_before_another_was_charged_reserves_nothing() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    answered(&gate, &town, &Attempt::new(&town, &channel, (1, 0)));
    let late = Attempt::new(&town, &channel, (2, 0));
    let (credential, invocation, ..) = late.signed(&town);
    let caps = Caps::of(&credential.credential, 0);
    let reservation = Reservation::of(&invocation.invocation, PRICE, Some(0));
    assert_eq!(gate.books().reserve(&reservation, &caps), Err(Hindrance::Stale));
    let next = Reservation { charged: Some(COST), ..reservation };
    assert_eq!(gate.books().reserve(&next, &caps), Ok(()));
}

#[test]
fn who_signs_no_more_and_who_signed_something_else_get_nothing() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let gate = town.gate(folder.path());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    let attempt = Attempt::new(&town, &channel, (1, 0));
    answered(&gate, &town, &attempt);
    // The id of an invocation is no key to its reply: its signature is.
    let forged = Attempt { holder: "stranger", ..attempt };
    assert_eq!(refused(&gate, &town, &forged).refusal, Some(Refusal::InvocationSignature));
    let hosting = U256::from(town.hosting);
    let call = contracts::Gate::rotateSignerCall { hostingId: hosting, signer: town.address("stranger") };
    town.send("host", town.at.gate, &call);
    gate.follow().unwrap();
    let refused = refused(&gate, &town, &Attempt::new(&town, &channel, (2, COST)));
    assert_eq!(refused.refusal, Some(Refusal::HostingInactive));
}

#[test]
fn a_torn_end_is_set_aside_and_other_damage_is_named() {
    let (town, folder) = (Town::open(), tempfile::tempdir().unwrap());
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    let epoch = {
        let gate = town.gate(folder.path());
        let first = answered(&gate, &town, &Attempt::new(&town, &channel, (1, 0)));
        answered(&gate, &town, &Attempt::new(&town, &channel, (2, COST)));
        first.receipt.receipt.receipt.epoch
    };
    let log = folder.path().join(format!("epoch-{epoch:010}.log"));
    let whole = std::fs::read(&log).unwrap();
    // Cut anywhere, what is whole before the cut is kept, and what is not stands beside it.
    for cut in [0, 5, whole.len() / 3, whole.len() - 1] {
        std::fs::write(&log, &whole[..cut]).unwrap();
        let gate = town.gate(folder.path());
        let (amount, count) = gate.books().turnover(epoch);
        assert_eq!(amount, COST * u128::from(count));
        assert!(count < 2);
        drop(gate);
        let kept = std::fs::read(&log).unwrap().len();
        let aside = folder.path().join(format!("epoch-{epoch:010}.torn-{kept}"));
        assert_eq!(kept + aside.metadata().map_or(0, |file| file.len() as usize), cut, "cut at {cut}");
        let _ = std::fs::remove_file(aside);
    }
    // Two processes do not keep one set of books, and one hosting's are not another's.
    std::fs::write(&log, &whole).unwrap();
    let gate = town.gate(folder.path());
    let twice = Books::open(folder.path(), town.hosting).unwrap_err().to_string();
    assert!(twice.contains("another process keeps these books"), "{twice}");
    drop(gate);
    let other = Books::open(folder.path(), town.hosting + 1).unwrap_err().to_string();
    assert!(other.contains(&format!("of hosting {}", town.hosting)), "{other}");
}
