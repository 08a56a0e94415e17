//! An accused host answers by what it kept: whole, with pages lost, rehearsed, and again after it was killed.

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::SolValue as _;
use loyal_protocol::Walk;
use loyal_protocol::contracts::CredentialRegistry;
use loyal_protocol::walk::Taken;
use loyal_roles::court::Kind;
use loyal_roles::defence::{self, Reply, Said};

use crate::story::{leak, traced, wait};
use crate::town::{BOND, LOYAL, Town, account, key};

/// One run of a host's defence; what it says of each claim.
fn defend(town: &Town, hosting: u64, rehearse: bool) -> (Vec<Reply>, usize) {
    let (key, mut quiet) = (key("host"), |_: &Taken| ());
    let mut walk = Walk::begin(&town.client, &key, rehearse, &mut quiet).unwrap();
    let replies = defence::run(&mut walk, &town.at, hosting, &town.book).unwrap();
    (replies, walk.taken().len())
}

fn said(replies: &[Reply], claim: B256) -> &Said {
    &replies.iter().find(|reply| reply.claim == claim).unwrap().said
}

fn nothing(said: &Said, words: &str) {
    assert!(matches!(said, Said::Nothing { why } if why.contains(words)), "{words:?} in {said}");
}

/// A hosting with a day of receipts behind it, all of them reported.
fn served(town: &Town) -> (u64, u32) {
    let hosting = town.host("host").unwrap();
    let epoch = town.today().unwrap();
    for number in 0..6 {
        town.invoke(hosting, &format!("Question {number}")).unwrap();
    }
    town.next_day().unwrap();
    town.report("host", hosting, epoch).unwrap();
    (hosting, epoch)
}

fn omission(town: &Town, (hosting, epoch): (u64, u32), seq: usize) -> Bytes {
    let receipt = town.book.receipts(hosting, epoch)[seq].clone();
    (receipt.clone(), town.sign("host", &receipt)).abi_encode_params().into()
}

fn want_of_permission(town: &Town, (hosting, epoch): (u64, u32), seq: usize) -> Bytes {
    let receipt = town.book.receipts(hosting, epoch)[seq].clone();
    (receipt.clone(), town.sign("host", &receipt), Bytes::new()).abi_encode_params().into()
}

#[test]
fn receipts_answer_what_receipts_can() {
    let town = Town::open().unwrap();
    let day = served(&town);
    let hosting = day.0;
    let first = town.accuse("claimant", Kind::Omitted, &omission(&town, day, 1)).unwrap();
    let second = town.accuse("claimant", Kind::Unauthorised, &want_of_permission(&town, day, 2)).unwrap();
    let third = town.accuse("user", Kind::Unauthorised, &want_of_permission(&town, day, 3)).unwrap();
    town.book.lose(town.book.receipts(hosting, day.1)[3].invocationId);
    // A rehearsal sends nothing, and says what could be said.
    let (replies, taken) = defend(&town, hosting, true);
    assert_eq!((replies.len(), taken), (3, 2));
    assert_eq!(said(&replies, first), &Said::Rehearsed);
    assert_eq!(town.claim(first).unwrap().state, "open");
    let (replies, taken) = defend(&town, hosting, false);
    assert_eq!((replies.len(), taken), (3, 2));
    assert_eq!((said(&replies, first), said(&replies, second)), (&Said::Cleared, &Said::Cleared));
    nothing(said(&replies, third), "was not kept");
    // What was answered is no open claim any more: another run, of another process, says nothing twice.
    let (replies, taken) = defend(&town, hosting, false);
    assert_eq!((replies.len(), taken), (1, 0));
    nothing(said(&replies, third), "was not kept");
    for claim in [first, second] {
        assert_eq!(town.claim(claim).unwrap().outcome, "dismissed");
    }
    assert_eq!(town.owed(account("host")).unwrap(), 10 * LOYAL, "half of two bonds");
    assert_eq!(town.hosting(hosting).unwrap().bond, BOND);
    // Silence loses, and too late is silence.
    town.pass(town.claim(third).unwrap().deadline).unwrap();
    nothing(said(&defend(&town, hosting, false).0, third), "its time is over");
    assert_eq!(town.advance(third).unwrap().outcome, "upheld");
    assert_eq!(defend(&town, hosting, false), (Vec::new(), 0), "there is no open claim left");
}

#[test]
fn what_no_receipt_answers_is_said() {
    let town = Town::open().unwrap();
    let day = served(&town);
    let hosting = day.0;
    // A receipt that was signed and left out.
    let mut other = town.book.receipts(hosting, day.1)[4].clone();
    other.responseHash = B256::repeat_byte(7);
    let evidence = (other.clone(), town.sign("host", &other)).abi_encode_params().into();
    let lie = town.accuse("claimant", Kind::Omitted, &evidence).unwrap();
    nothing(said(&defend(&town, hosting, false).0, lie), "is the one it shows");
    // A receipt whose credential had been taken back long before: the contract looks, and refuses.
    let before = town.invoke(hosting, "Before").unwrap();
    let call =
        CredentialRegistry::bumpHolderCall { modelId: U256::from(town.model), holder: account("user") };
    town.send("owner", town.at.credentials, &call).unwrap();
    town.pass(town.now().unwrap() + 100).unwrap();
    let after = town.invoke(hosting, "After").unwrap();
    let place = (hosting, after.epoch);
    let good = town.accuse("claimant", Kind::Unauthorised, &want_of_permission(&town, place, 0)).unwrap();
    let bad = town.accuse("claimant", Kind::Unauthorised, &want_of_permission(&town, place, 1)).unwrap();
    let (replies, _) = defend(&town, hosting, false);
    assert_eq!(said(&replies, good), &Said::Cleared, "{before:?}");
    nothing(said(&replies, bad), "what was shown does not answer the claim");
    // Records that are not those of the report.
    let wrong = town.accuse("claimant", Kind::Omitted, &omission(&town, day, 1)).unwrap();
    let kept = town.book.forget_last(hosting, day.1).unwrap();
    nothing(said(&defend(&town, hosting, false).0, wrong), "is not that of these receipts");
    town.book.remember(hosting, kept);
    assert_eq!(said(&defend(&town, hosting, false).0, wrong), &Said::Cleared);
}

#[test]
fn only_a_jury_hears_of_a_leak() {
    let town = Town::open().unwrap();
    let hosting = traced(&town, "host").unwrap();
    let evidence = leak(&town, hosting, 0, B256::ZERO).unwrap();
    let claim = town.accuse("claimant", Kind::Leak, &evidence).unwrap();
    nothing(said(&defend(&town, hosting, false).0, claim), "a jury hears a plea");
}

/// Three provers are drawn, asked as users, and logged like users.
fn probed() -> (Town, u64, B256, Vec<B256>) {
    let town = Town::open().unwrap();
    town.seat("prover", 3).unwrap();
    let hosting = town.host("host").unwrap();
    town.next_day().unwrap();
    town.report_all("host", hosting).unwrap();
    let epoch = town.today().unwrap();
    town.invoke(hosting, "What grows in field 1? And why?").unwrap();
    let seen = town.probe(hosting, true).unwrap();
    town.next_day().unwrap();
    town.report_all("host", hosting).unwrap();
    // The provers look for no receipt before they lay open what they saw: the claim is a bad one.
    town.lay_open(&seen).unwrap();
    let evidence = (U256::from(hosting), 0_u32).abi_encode().into();
    let claim = town.accuse("claimant", Kind::Unreported, &evidence).unwrap();
    let receipts = town.book.receipts(hosting, epoch);
    let probes = receipts[1..].iter().map(|receipt| receipt.invocationId).collect();
    (town, hosting, claim, probes)
}

#[test]
fn an_honest_host_shows_the_receipts_of_probes() {
    let (town, hosting, claim, _) = probed();
    assert_eq!(said(&defend(&town, hosting, true).0, claim), &Said::Rehearsed);
    assert_eq!(said(&defend(&town, hosting, false).0, claim), &Said::Cleared);
    assert_eq!(town.evidence(hosting).unwrap(), (0.0, 0), "no coin is left");
    assert_eq!(town.owed(account("host")).unwrap(), 50 * LOYAL);
    assert_eq!(defend(&town, hosting, false), (Vec::new(), 0));
}

#[test]
fn one_receipt_of_three_is_enough_and_none_is_not() {
    let (town, hosting, claim, probes) = probed();
    for lost in &probes {
        town.book.lose(*lost);
    }
    nothing(said(&defend(&town, hosting, false).0, claim), "of 3 probes that count, 0 have a receipt");
    wait(&town, "host", hosting, town.now().unwrap() + 3_600).unwrap();
    town.book.find(probes[1]);
    assert_eq!(said(&defend(&town, hosting, false).0, claim), &Said::Cleared, "two provers are no quorum");
    assert_eq!(town.evidence(hosting).unwrap().1, 2);
    assert_eq!(town.hosting(hosting).unwrap().bond, BOND);
}
