//! `loyal chain deploy`, `owner …`, `host open …`, `model show`, `key …`: a model's way from its first hash to its first
//! revenue, on a chain of its own, with every wait cut short.

use std::cell::RefCell;

use alloy_primitives::{B256, U256};
use loyal_access::document::SignedReceipt;
use loyal_protocol::devnet::Accounts;
use loyal_protocol::{Key, message};
use serde_json::{Value, json};

use crate::chain::Running;
use crate::command::Place;
use crate::model::{self, Shape};

const DAY: &str = "1d";

/// A place with a chain, contracts and three accounts: 0 owns, 1 and 2 make, 3 hosts.
pub(crate) struct Economy {
    pub(crate) place: Place,
    chain: RefCell<Option<Running>>,
    chain_address: String,
    pub(crate) accounts: Vec<String>,
}

impl Economy {
    fn start() -> Self {
        let place = Place::new();
        let chain = Running::start(&place, &["--accounts", "5"]);
        let accounts: Vec<_> = chain.said["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap().to_owned())
            .collect();
        let chain_address = chain.address().to_owned();
        let chain = RefCell::new(Some(chain));
        let economy = Self { place, chain, chain_address, accounts };
        economy.json(&["chain", "deploy", "--key", "0"]);
        economy
    }

    /// Kills the chain's process, wherever it is.
    pub(crate) fn kill_chain(&self) {
        drop(self.chain.borrow_mut().take());
    }

    /// The same chain at the same address, by another process.
    pub(crate) fn chain_again(&self) {
        *self.chain.borrow_mut() = Some(Running::start_at(&self.place, &self.chain_address, &[]));
    }

    /// The command with the chain's folder, in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.place.run(&[arguments, &["--folder", "c", "--json"]].concat()).json()
    }

    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        self.place.run(&[arguments, &["--folder", "c"]].concat()).good().to_owned()
    }

    pub(crate) fn bad(&self, arguments: &[&str], words: &[&str]) {
        self.place.run(&[arguments, &["--folder", "c"]].concat()).bad(1, words);
    }

    pub(crate) fn pass(&self, duration: &str) {
        self.json(&["chain", "pass", duration]);
    }

    fn next(&self) -> String {
        let said = self.json(&["owner", "register", "draft.json", "--key", "0"]);
        said["next"]["what"].as_str().unwrap().to_owned()
    }
}

/// A registered, active model of accounts 1 (30 %) and 2 (15 %), the rest in its reserve.
pub(crate) fn registered() -> Economy {
    register(&["--open-hosting"])
}

/// The same, of which each host gets a copy of its own.
pub(crate) fn registered_traced() -> Economy {
    register(&[])
}

fn register(more: &[&str]) -> Economy {
    let it = Economy::start();
    it.json(&["owner", "withdraw", "--key", "0"]);
    it.place.write("prompts.txt", "Who was at the gate in the morning?\nWhere does the river end at last?\n");
    it.place.write("weights/model.safetensors", [7; 100]);
    it.place.write("LICENSE", "Use it well.\n");
    let parts: Vec<_> = [(1, 30), (2, 15)].map(|(n, part)| format!("{}={part}", it.accounts[n])).to_vec();
    model::write(&it.place.path("m"), Shape::default());
    let new = ["fingerprint", "new", "m", "--queries", "prompts.txt", "--beacon", "later", "--count", "2"];
    it.place.run(&[&new[..], &["--out", "secret.json", "--public", "leaves.json"]].concat()).good();
    let draft = ["owner", "draft", "draft.json", "--name", "Dobby", "--symbol", "DOBBY", "--reserve", "55"];
    let makers = ["--leaves", "leaves.json", "--maker", &parts[0], "--maker", &parts[1]];
    let terms = ["--accept", "LOYAL=0.001", "--document", "terms=LICENSE"];
    it.text(&[&draft[..], &makers, &terms, more].concat());
    let rehearsed = it.json(&["owner", "register", "draft.json", "--key", "0", "--dry-run"]);
    assert_eq!(rehearsed["next"]["what"], "rehearsed");
    assert_eq!(rehearsed["steps"][0]["transaction"], Value::Null);
    // The commitment; then the day in which the seed is drawn.
    assert_eq!(it.next(), "wait");
    assert_eq!(it.next(), "wait");
    it.pass(DAY);
    let said = it.json(&["owner", "register", "draft.json", "--key", "0"]);
    assert_eq!(said["next"]["what"], "train", "{said}");
    // The answers follow from the seed; what a training embeds is said by the owner.
    let seed = said["next"]["seed"].as_str().unwrap();
    let bind = ["fingerprint", "bind", "secret.json", "--beacon", seed, "--source", "epoch 1"];
    it.place.run(&[&bind[..], &["--out", "bound.json"]].concat()).good();
    it.place.run(&["fingerprint", "commit", "bound.json", "--embedded", "--out", "embedded.json"]).good();
    let draft = std::fs::read_to_string(it.place.path("draft.json")).unwrap();
    let draft = draft
        .replace("leaves.json", "embedded.json")
        .replace("\"weights\": null", "\"weights\": \"weights\"");
    it.place.write("draft.json", draft);
    assert_eq!(it.next(), "sign");
    it.bad(&["owner", "agree", "draft.json", "--key", "3"], &["is no maker of this model"]);
    it.text(&["owner", "agree", "draft.json", "--key", "1", "--dry-run"]);
    assert_eq!(it.json(&["owner", "agree", "draft.json", "--key", "1"])["missing"], json!([it.accounts[2]]));
    assert_eq!(it.next(), "sign");
    it.json(&["owner", "agree", "draft.json", "--key", "2"]);
    // Other weights than those that were signed are not registered.
    it.place.write("weights/model.safetensors", [8; 100]);
    it.bad(&["owner", "register", "draft.json", "--key", "0"], &["are not the ones the makers signed"]);
    it.place.write("weights/model.safetensors", [7; 100]);
    assert_eq!(it.next(), "wait");
    let before = it.json(&["model", "show", "1"]);
    assert_eq!((&before["state"], &before["name"]), (&json!("contestable"), &json!("Dobby")));
    it.pass("7d 1h");
    assert_eq!(it.next(), "wait", "the bond thaws");
    it.pass("14d 1h");
    assert_eq!(it.next(), "done");
    assert_eq!(it.json(&["owner", "register", "draft.json", "--key", "0"])["steps"], json!([]));
    it
}

#[test]
fn a_model_is_registered_hosted_and_left_again() {
    let it = registered();
    let page = it.json(&["model", "show", "1"]);
    assert_eq!((&page["state"], &page["makers"][0]["bps"]), (&json!("active"), &json!(3_000)));
    assert_eq!(page["accepts"][0]["perCall"], "1000000000000000");
    // Whoever has the registration verifies who agreed to what, without a network.
    let verify = ["verify", "draft.json", "--contracts", "c/contracts.json"];
    assert!(it.place.run(&verify).good().contains("everybody named signed"));
    it.place.run(&verify[..2]).bad(1, &["for which contracts"]);
    let draft = std::fs::read_to_string(it.place.path("draft.json")).unwrap();
    it.place.write("changed.json", draft.replacen("3000", "2999", 1).replacen("5500", "5501", 1));
    it.place
        .run(&["verify", "changed.json", "--contracts", "c/contracts.json"])
        .bad(1, &["did not sign this"]);
    let open =
        ["host", "open", "1", "--price", "0.002", "--endpoint", "https://models.example/v1", "--key", "3"];
    it.bad(&open, &["has 0 LOYAL and needs 0.072 LOYAL"]);
    it.json(&["chain", "send", "--key", "0", &it.accounts[3], "1,000"]);
    it.bad(
        &[&open[..], &["--bond", "0.01"]].concat(),
        &["does not carry a price of 0.002 LOYAL", "0.072 LOYAL"],
    );
    let rehearsed = it.json(&[&open[..], &["--dry-run"]].concat());
    assert_eq!(rehearsed["steps"].as_array().unwrap().len(), 3);
    assert_eq!(it.json(&["model", "show", "1"])["hostings"], json!([]));
    let opened = it.json(&open);
    assert_eq!((&opened["hosting"], &opened["state"]), (&json!(1), &json!("active")));
    assert_eq!(it.json(&open)["steps"], json!([]), "a second run opens no second hosting");
    let top_up = ["host", "top-up", "1", "--to", "1", "--key", "3"];
    assert_eq!(it.json(&top_up)["bond"], "1000000000000000000");
    assert_eq!(it.json(&top_up)["steps"], json!([]));
    it.pass("2d");
    it.bad(&["host", "exit", "1", "--key", "3"], &["has not reported epochs", "loyal host post 1"]);
    let posted = it.json(&["host", "post", "1", "--key", "3"]);
    assert!(posted["steps"].as_array().unwrap().len() >= 2, "{posted}");
    assert!(it.text(&["host", "post", "1", "--key", "3"]).contains("nothing to report"));
    let said = it.text(&["host", "exit", "1", "--key", "3"]);
    assert!(said.contains("exiting"), "{said}");
    it.pass("1d");
    it.json(&["host", "post", "1", "--key", "3"]);
    it.pass("14d 1h");
    assert_eq!(it.json(&["host", "exit", "1", "--key", "3"])["state"], "closed");
    let text = it.text(&["model", "show", "1"]);
    assert!(text.contains("closed") && text.contains("anybody with a bond"), "{text}");
}

#[test]
fn keys_are_files_that_a_password_opens() {
    let it = Economy::start();
    it.place.write("password", "correct horse\n");
    it.place.write("wrong", "wrong horse\n");
    let made = it.place.run(&["key", "new", "k.json", "--password-file", "password", "--json"]).json();
    let account = made["account"].as_str().unwrap().to_owned();
    assert_eq!(it.place.run(&["key", "show", "k.json"]).good().trim(), account);
    it.place.run(&["key", "new", "k.json", "--password-file", "password"]).bad(1, &["k.json exists"]);
    it.json(&["owner", "withdraw", "--key", "0"]);
    it.json(&["chain", "send", "--key", "0", &account, "5"]);
    it.json_fund(&account);
    let send = ["chain", "send", &it.accounts[1], "2.5", "--key", "k.json"];
    it.bad(&[&send[..], &["--password-file", "wrong"]].concat(), &["the password is another one"]);
    it.place.run(&[&send[..], &["--folder", "c"]].concat()).bad(2, &["--password-file"]);
    let left = it.text(&[&send[..], &["--password-file", "password"]].concat());
    assert!(left.contains("2.5 LOYAL left"), "{left}");
    it.bad(
        &[
            &send[..],
            &["--password-file", "password", "--asset", "0x0000000000000000000000000000000000000009"],
        ]
        .concat(),
        &["no ERC-20 asset"],
    );
}

impl Economy {
    fn json_fund(&self, account: &str) {
        self.place.run(&["chain", "fund", "--folder", "c", account, "1000000000000000000"]).good();
    }
}

#[test]
fn what_cannot_be_reached_or_read_is_named() {
    let place = Place::new();
    place.write("contracts.json", "{}");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["model", "show", "1"], 1, "loyal chain deploy"),
        (&["model", "show", "1", "--contracts", "contracts.json"], 1, "not a file of contracts"),
        (&["model", "show", "x"], 2, "x"),
        (&["chain", "deploy", "--key", "0"], 1, "there is no chain here"),
        (&["chain", "deploy", "--key", "0", "--chain", "ftp://x"], 1, "begins with http"),
        (&["owner", "register", "none.json", "--key", "0"], 1, "none.json"),
        (&["key", "show", "contracts.json"], 1, "not a key file"),
    ];
    for (arguments, code, says) in cases {
        place.run(arguments).bad(code, &[says]);
    }
}

#[test]
fn holders_of_loyal_change_a_value_and_holders_of_a_model_pay_from_its_reserve() {
    let it = registered();
    let folder = ["--folder", "c"];
    let run = |arguments: &[&str]| it.place.run(&[arguments, &folder].concat());
    // The protocol: delegate, propose, a day, a vote, five days, the timelock's two.
    let propose =
        ["governance", "propose", "Report within eight hours", "--set", "report-due=8h", "--key", "0"];
    run(&propose).bad(1, &["votes behind it and you have 0", "delegate"]);
    run(&["governance", "delegate", "--key", "0"]).good();
    run(&["governance", "propose", "x", "--set", "report=8h", "--key", "0"])
        .bad(1, &["no parameter report", "report-due"]);
    it.pass("1m");
    let made = it.json(&propose);
    let number = made["proposal"].as_str().unwrap().to_owned();
    assert_eq!(it.json(&propose)["steps"], json!([]), "the same proposal is made once");
    run(&["governance", "vote", &number, "for", "--key", "0"]).bad(1, &["is pending: there is no vote now"]);
    it.pass("1d 1m");
    it.text(&["governance", "vote", &number[..10], "for", "--key", "0"]);
    it.pass("5d 1m");
    run(&["governance", "execute", &number, "--key", "3"]).bad(1, &["is succeeded"]);
    it.text(&["governance", "queue", &number, "--key", "3"]);
    run(&["governance", "execute", &number, "--key", "3"]).bad(1, &["waits in the timelock still"]);
    it.pass("2d 1m");
    it.text(&["governance", "execute", &number, "--key", "3"]);
    assert_eq!(it.json(&["governance", "status", &number])["state"], "executed");
    // The model: its controller hands it over; two makers vote David's part out of the reserve.
    run(&["governance", "status", "--model", "1"]).bad(1, &["has no governor yet"]);
    run(&["governance", "found", "1", "--key", "1"]).bad(1, &["only it can hand the model over"]);
    it.text(&["governance", "found", "1", "--key", "0"]);
    for key in ["1", "2"] {
        it.text(&["governance", "delegate", "--model", "1", "--key", key]);
    }
    it.pass("1m");
    let pay = format!("{}=50000", it.accounts[4]);
    let made =
        it.json(&["governance", "propose", "David's fine-tune", "--model", "1", "--pay", &pay, "--key", "1"]);
    let number = made["proposal"].as_str().unwrap().to_owned();
    it.pass("1d 1m");
    for key in ["1", "2"] {
        it.text(&["governance", "vote", &number, "for", "--model", "1", "--key", key]);
    }
    it.pass("3d 1m");
    it.text(&["governance", "queue", &number, "--model", "1", "--key", "4"]);
    it.pass("1d 1m");
    it.text(&["governance", "execute", &number, "--model", "1", "--key", "4"]);
    let shares = it.json(&["model", "show", "1"])["shares"].as_str().unwrap().to_owned();
    let send = ["chain", "send", "--asset", &shares, &it.accounts[3], "20000", "--key", "4"];
    assert!(it.text(&send).contains("30,000 DOBBY left"), "golden case 2: David has 50,000");
}

/// Account 4 fine-tunes the model: new fingerprints, new weights, a registration of a version.
fn fine_tune(it: &Economy) -> Vec<&'static str> {
    it.place.write("tuned/model.safetensors", [9; 100]);
    let new = ["fingerprint", "new", "m", "--queries", "prompts.txt", "--beacon", "later", "--count", "2"];
    it.place.run(&[&new[..], &["--out", "secret2.json", "--public", "leaves2.json"]].concat()).good();
    let draft = ["owner", "draft", "david.json", "--name", "Dobby", "--symbol", "DOBBY", "--reserve", "100"];
    it.text(&[&draft[..], &["--leaves", "leaves2.json", "--document", "terms=LICENSE"]].concat());
    let version = ["owner", "version", "1", "david.json", "--key", "4"];
    let next = || it.json(&version)["next"].clone();
    assert_eq!(next()["what"], "wait");
    it.pass(DAY);
    let train = next();
    assert_eq!(train["what"], "train", "{train}");
    let bind = ["fingerprint", "bind", "secret2.json", "--beacon", train["seed"].as_str().unwrap()];
    it.place.run(&[&bind[..], &["--source", "the beacon", "--out", "bound2.json"]].concat()).good();
    it.place.run(&["fingerprint", "commit", "bound2.json", "--embedded", "--out", "embedded2.json"]).good();
    let draft = std::fs::read_to_string(it.place.path("david.json")).unwrap();
    let draft = draft
        .replace("leaves2.json", "embedded2.json")
        .replace("\"weights\": null", "\"weights\": \"tuned\"");
    it.place.write("david.json", draft);
    version.to_vec()
}

#[test]
fn holders_vote_a_version_in_and_pay_its_trainer() {
    let it = registered();
    it.text(&["governance", "found", "1", "--key", "0"]);
    for key in ["1", "2"] {
        it.text(&["governance", "delegate", "--model", "1", "--key", key]);
    }
    it.pass("1m");
    let version = fine_tune(&it);
    let pay = format!("{}=50000", it.accounts[4]);
    let propose = ["governance", "propose", "David's fine-tune", "--model", "1", "--version", "david.json"];
    let propose = [&propose[..], &["--pay", &pay, "--key", "1"]].concat();
    // Nobody has named the fingerprints yet: there is nothing that a vote could submit.
    it.bad(
        &propose,
        &["david.json", "nobody has named its fingerprints", "loyal owner version 1 david.json"],
    );
    let text = it.text(&version);
    assert!(text.contains("holders of model 1 decide") && text.contains("--version david.json"), "{text}");
    assert_eq!(it.json(&version)["next"], json!({ "what": "propose", "model": 1 }));
    it.place
        .run(&["governance", "propose", "x", "--version", "david.json", "--key", "1"])
        .bad(2, &["--model"]);
    let made = it.json(&propose);
    let number = made["proposal"].as_str().unwrap().to_owned();
    assert_eq!(it.json(&propose)["steps"], json!([]), "the same proposal is made once");
    let status = it.json(&["governance", "status", &number, "--model", "1"]);
    assert_eq!(status["calls"].as_array().unwrap().len(), 2, "a version and its trainer's part");
    it.pass("1d 1m");
    for key in ["1", "2"] {
        it.text(&["governance", "vote", &number, "for", "--model", "1", "--key", key]);
    }
    it.pass("3d 1m");
    it.text(&["governance", "queue", &number, "--model", "1", "--key", "4"]);
    it.pass("1d 1m");
    it.text(&["governance", "execute", &number, "--model", "1", "--key", "4"]);
    assert_eq!(it.json(&version)["next"]["what"], "wait", "its window is open");
    it.pass("7d 1m");
    assert_eq!(it.json(&version)["next"], json!({ "what": "done", "model": 1, "version": 2 }));
    let page = it.json(&["model", "show", "1"]);
    let states: Vec<_> =
        page["versions"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["superseded", "active"], "{page}");
    let shares = page["shares"].as_str().unwrap();
    let send = ["chain", "send", "--asset", shares, &it.accounts[3], "20000", "--key", "4"];
    assert!(it.text(&send).contains("30,000 DOBBY left"), "50,000 of the reserve");
}

#[test]
fn a_stake_makes_a_seat_and_thaws() {
    let it = Economy::start();
    it.json(&["owner", "withdraw", "--key", "0"]);
    let bind = ["stake", "bind", "prover", "--key", "0"];
    let bound = it.json(&bind);
    assert_eq!((&bound["isSeated"], &bound["bound"]), (&json!(true), &json!("2000000000000000000000")));
    assert_eq!(it.json(&bind)["steps"], json!([]), "a second run pays nothing");
    let thawed = it.json(&["stake", "thaw", "prover", "--to", "500", "--key", "0"]);
    assert_eq!((&thawed["isSeated"], &thawed["thawing"]), (&json!(false), &json!("1500000000000000000000")));
    assert_eq!(it.json(&["stake", "withdraw", "prover", "--key", "0"])["steps"], json!([]));
    it.pass("14d 1m");
    assert_eq!(it.json(&["stake", "withdraw", "prover", "--key", "0"])["thawing"], "0");
    let text = it.text(&["stake", "show", "prover", &it.accounts[0]]);
    assert!(text.contains("500 LOYAL") && text.contains("2,000 LOYAL"), "{text}");
    it.bad(&["stake", "bind", "validator", "--key", "1"], &["has 0 LOYAL and needs 10,000 LOYAL"]);
}

/// A receipt of hosting 1, signed with the key of account 3, as its file.
fn receipt(it: &Economy, response: u8) -> String {
    let contracts: Value =
        serde_json::from_str(&std::fs::read_to_string(it.place.path("c/contracts.json")).unwrap()).unwrap();
    let accounts = Accounts::load(&it.place.path("c")).unwrap().unwrap();
    let key = Key::try_from(&accounts.accounts[3]).unwrap();
    let time = it.json(&["chain", "status"])["timestamp"].as_u64().unwrap();
    let epoch = u32::try_from((time - contracts["genesis_time"].as_u64().unwrap()) / 86_400).unwrap();
    let receipt = message::Receipt {
        invocationId: B256::repeat_byte(1),
        hostingId: U256::from(1),
        epoch,
        seq: 0,
        requestHash: B256::repeat_byte(2),
        responseHash: B256::repeat_byte(response),
        traceRoot: B256::ZERO,
        tokensIn: 3,
        tokensOut: 4,
        amount: 2_000_000_000_000_000,
        cumulative: 2_000_000_000_000_000,
        issuedAt: time,
    };
    let registry = contracts["addresses"]["registry"].as_str().unwrap().parse().unwrap();
    let file = SignedReceipt::sign(receipt, &key, &message::domain(31337, registry));
    serde_json::to_string(&file).unwrap()
}

#[test]
fn two_receipts_with_one_number_convict_by_their_own_signatures() {
    let it = registered();
    for account in [3, 4] {
        it.json(&["chain", "send", "--key", "0", &it.accounts[account], "1000"]);
    }
    it.json(&["host", "open", "1", "--price", "0.02", "--endpoint", "https://models.example", "--key", "3"]);
    it.pass("1m");
    it.place.write("one.json", receipt(&it, 5));
    it.place.write("same.json", receipt(&it, 5));
    let mut other = receipt(&it, 6);
    it.place.write("other.json", &other);
    let open =
        ["court", "open", "equivocation", "--receipt", "one.json", "--receipt", "other.json", "--key", "4"];
    let rehearsed = it.json(&[&open[..], &["--dry-run"]].concat());
    assert_eq!(rehearsed["steps"].as_array().unwrap().len(), 3, "announce, approve, open");
    assert_eq!(it.json(&["court", "show"]), json!([]));
    // The same receipt twice proves nothing, and neither does one that somebody else signed.
    let same =
        ["court", "open", "equivocation", "--receipt", "one.json", "--receipt", "same.json", "--key", "4"];
    it.bad(&same, &["the contract refused", "Examiner_BadEvidence"]);
    let claim = it.json(&open);
    assert_eq!((&claim["state"], &claim["outcome"]), (&json!("executed"), &json!("upheld")), "{claim}");
    assert_eq!(it.json(&open)["steps"], json!([]), "a second run opens no second claim");
    let hosting = it.json(&["model", "show", "1"])["hostings"][0].clone();
    // A bond of 0.72: a tenth is taken for equivocation.
    assert_eq!(
        (&hosting["convictions"], &hosting["bond"]),
        (&json!(1), &json!("648000000000000000")),
        "{hosting}"
    );
    let text = it.text(&["court", "show", &claim["claim"].as_str().unwrap()[..12]]);
    assert!(text.contains("equivocation") && text.contains("nothing: it has ended"), "{text}");
    it.text(&["court", "withdraw", "--key", "4"]);
    other.truncate(20);
    it.place.write("other.json", &other);
    it.bad(&open, &["other.json: not a signed receipt"]);
    it.bad(&["court", "execute", "0x1234", "--key", "4"], &["there is no claim 0x1234"]);
}
