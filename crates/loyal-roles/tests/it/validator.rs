//! Validators that work by themselves: the Beacon, juries, findings, and what is left of them after a crash.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{B256, U256, keccak256};
use loyal_protocol::contracts::{Beacon, Jury};
use loyal_roles::court::Kind;
use loyal_roles::validator::{Settings, Validator, Written};

use crate::story::{leak, traced};
use crate::town::{LOYAL, PURSE, Town, account, key, numbered};

const COUNT: usize = 5;

/// Five validators, each with a docket of its own.
fn seated(town: &Town, folder: &Path) -> Vec<Validator> {
    let client = Arc::clone(&town.client);
    let one = |number: usize| {
        let docket = folder.join(number.to_string());
        let settings = Settings { docket, weights: Vec::new() };
        Validator::new((Arc::clone(&client), town.at), key(&numbered("validator", number)), settings).unwrap()
    };
    (0..COUNT).map(one).collect()
}

fn turn(validators: &[Validator]) -> Vec<String> {
    validators.iter().flat_map(|validator| validator.turn().failed).collect()
}

/// Lets time pass until after a moment, looking around every eight hours; answers what waits for a person.
fn wait(town: &Town, who: (&str, u64), validators: &[Validator], until: u64) -> Vec<String> {
    let mut failed = Vec::new();
    while town.now().unwrap() <= until {
        let next = (town.now().unwrap() + 8 * 3_600).min(until);
        town.pass(next).unwrap();
        town.report_all(who.0, who.1).unwrap();
        failed = turn(validators);
    }
    failed
}

fn draw(town: &Town, epoch: u32) -> Beacon::Draw {
    town.client.call(town.at.beacon, &Beacon::drawOfCall { epoch }).unwrap()
}

#[test]
fn every_seed_has_secrets_in_it_though_validators_are_killed_between_commit_and_reveal() {
    let (town, folder) = (Town::open().unwrap(), tempfile::tempdir().unwrap());
    town.seat("validator", COUNT).unwrap();
    let first = town.today().unwrap() + 1;
    for epoch in first..first + 3 {
        let begins = town.start_of(epoch).unwrap();
        // In the first half they commit. Then all of them are killed, and begin anew with nothing but their keys.
        assert_eq!(turn(&seated(&town, folder.path())), Vec::<String>::new());
        town.pass(begins - 6 * 3_600).unwrap();
        let other = tempfile::tempdir().unwrap();
        assert_eq!(turn(&seated(&town, other.path())), Vec::<String>::new());
        town.pass(begins).unwrap();
        assert_eq!(turn(&seated(&town, folder.path())), Vec::<String>::new());
        let drawn = draw(&town, epoch);
        assert_eq!((drawn.commits, drawn.reveals, drawn.weak), (5, 5, false), "epoch {epoch}");
        assert!(!drawn.seed.is_zero());
    }
    // Nobody missed a reveal, so nobody can be fined for one.
    for number in 0..COUNT {
        let call = Jury::fineSecretCall { epoch: first, validator: account(&numbered("validator", number)) };
        assert!(town.send("user", town.at.jury, &call).is_err());
    }
}

#[test]
fn a_claim_of_which_nothing_was_shown_is_dismissed_in_time() {
    let (town, folder) = (Town::open().unwrap(), tempfile::tempdir().unwrap());
    town.seat("validator", COUNT).unwrap();
    let hosting = traced(&town, "host").unwrap();
    let id = town.accuse("claimant", Kind::Leak, &leak(&town, hosting, 0, B256::ZERO).unwrap()).unwrap();
    let validators = seated(&town, folder.path());
    wait(&town, ("host", hosting), &validators, town.claim(id).unwrap().deadline);
    assert_eq!(town.advance(id).unwrap().state, "voting");
    let said = wait(&town, ("host", hosting), &validators, town.now().unwrap() + 30 * 3_600);
    assert_eq!(said.len(), COUNT, "each says what it misses: {said:?}");
    assert!(said[0].contains("the claimant publishes it"), "{said:?}");
    // They find nothing at the last hour, and show their ballots when it is time, whoever was restarted meanwhile.
    let commit_by = town.claim(id).unwrap().panel.unwrap().commit_by;
    wait(&town, ("host", hosting), &validators, commit_by - 3_600);
    drop(validators);
    let validators = seated(&town, folder.path());
    let ends = town.claim(id).unwrap().deadline;
    wait(&town, ("host", hosting), &validators, ends);
    assert_eq!(town.advance(id).unwrap().outcome, "dismissed");
    wait(&town, ("host", hosting), &validators, town.claim(id).unwrap().deadline);
    let claim = town.advance(id).unwrap();
    assert_eq!((claim.state, claim.outcome), ("executed", "dismissed"));
    assert_eq!(town.purse(account("claimant")).unwrap(), PURSE - 100 * LOYAL);
    for number in 0..COUNT {
        assert_eq!(town.owed(account(&numbered("validator", number))).unwrap(), 10 * LOYAL);
    }
}

#[test]
fn what_a_person_found_is_voted_and_a_bundle_that_does_not_hold_is_not_believed() {
    let (town, folder) = (Town::open().unwrap(), tempfile::tempdir().unwrap());
    town.seat("validator", COUNT).unwrap();
    let hosting = traced(&town, "cheat").unwrap();
    let build = keccak256("an image");
    let call = loyal_protocol::contracts::Gate::setImageCall {
        modelId: U256::from(town.model),
        image: build,
        until: town.now().unwrap() + 400 * 86_400,
    };
    town.send("owner", town.at.gate, &call).unwrap();
    let id = town.accuse("claimant", Kind::Leak, &leak(&town, hosting, 0, build).unwrap()).unwrap();
    let validators = seated(&town, folder.path());
    wait(&town, ("cheat", hosting), &validators, town.claim(id).unwrap().deadline);
    town.advance(id).unwrap();
    // Three looked at the endpoint themselves; two were given something that is no evidence.
    let seen =
        Written { outcome: "upheld".to_owned(), hits: 12, trials: 12, reason: "it answers there".to_owned() };
    for number in 0..COUNT {
        let docket = folder.path().join(number.to_string());
        let (name, text) = if number < 3 {
            (format!("{id}.finding.json"), serde_json::to_string(&seen).unwrap())
        } else {
            (format!("{id}.bundle.json"), "{\"format\": \"something\"}".to_owned())
        };
        std::fs::write(docket.join(name), text).unwrap();
    }
    let ends = town.claim(id).unwrap().deadline;
    let said = wait(&town, ("cheat", hosting), &validators, ends);
    assert_eq!(said, Vec::<String>::new());
    let claim = town.advance(id).unwrap();
    assert_eq!(claim.outcome, "upheld", "three of five: {claim:?}");
    let found = std::fs::read_to_string(folder.path().join("4").join(format!("found-{id}-1.json"))).unwrap();
    assert!(found.contains("the bundle does not hold"), "{found}");
}
