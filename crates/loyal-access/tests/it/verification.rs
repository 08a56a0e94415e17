//! Documents verified offline: what is good stays good, and one changed character does not.

use alloy_primitives::{Address, B256, Bytes, U256};
use loyal_access::document::{
    CredentialFile, HandedReceipt, Inclusion, Report, SignedCredential, SignedReceipt,
};
use loyal_access::verification::Verification;
use loyal_protocol::Key;
use loyal_protocol::message::{self, Credential, Receipt, UsageReport};
use loyal_types::tree::Entry;
use loyal_types::{Hash, Tree};
use serde_json::{Value, json};

fn key() -> Key {
    Key::of(B256::with_last_byte(7)).unwrap()
}

fn domain() -> alloy_sol_types::Eip712Domain {
    message::domain(31_337, Address::with_last_byte(1))
}

fn receipt(seq: u32) -> SignedReceipt {
    let receipt = Receipt {
        invocationId: B256::with_last_byte(1),
        hostingId: U256::from(2),
        epoch: 3,
        seq,
        requestHash: B256::with_last_byte(5),
        responseHash: B256::with_last_byte(6),
        traceRoot: B256::ZERO,
        tokensIn: 8,
        tokensOut: 9,
        amount: 10,
        cumulative: 11,
        issuedAt: 12,
    };
    SignedReceipt::sign(receipt, &key(), &domain())
}

fn inclusion(seq: u32, count: u32) -> Inclusion {
    let entry =
        |receipt: &SignedReceipt| Entry { digest: Hash(receipt.id(&domain()).0), amount: 10, tokens: 17 };
    let entries: Vec<_> = (0..count).map(|seq| entry(&receipt(seq))).collect();
    let tree = Tree::new(&entries).unwrap();
    let report = UsageReport {
        hostingId: U256::from(2),
        epoch: 3,
        count,
        amount: tree.top().amount,
        tokens: tree.top().tokens,
        top: B256::from(tree.top().hash.0),
    };
    Inclusion { receipt: receipt(seq), proof: tree.proof(seq).unwrap(), report: Report { report } }
}

fn credential() -> CredentialFile {
    let credential = Credential {
        modelId: U256::from(1),
        version: 0,
        hostingId: U256::ZERO,
        holder: Address::with_last_byte(3),
        builder: Address::ZERO,
        asset: Address::ZERO,
        requestHash: B256::ZERO,
        policyHash: B256::ZERO,
        scopes: 1,
        callsMax: 0,
        spendMax: 0,
        notBefore: 1,
        expiresAt: 2,
        modelGeneration: 0,
        holderGeneration: 0,
        salt: B256::ZERO,
    };
    CredentialFile {
        format: "loyal-credential".to_owned(),
        version: 1,
        chain_id: 31_337,
        chain_urls: vec![],
        registry: Address::with_last_byte(1),
        channel: Address::with_last_byte(2),
        authorization_collector: Address::with_last_byte(3),
        router: Address::with_last_byte(4),
        gate: Address::with_last_byte(5),
        hosts: vec![],
        signed: SignedCredential::sign(credential, &key(), &domain()),
    }
}

fn read(value: &Value) -> Verification {
    Verification::read(value.to_string().as_bytes(), Some(&domain())).unwrap()
}

#[test]
fn every_kind_of_document_is_known_and_good() {
    let (handed, whole) = (HandedReceipt { level: "gated".to_owned(), receipt: receipt(4) }, inclusion(4, 7));
    let answer = json!({ "receipt": handed, "inclusion": { "proof": whole.proof, "report": whole.report } });
    let waiting = json!({ "receipt": handed, "inclusion": null });
    let signed: Bytes = key().sign_message(&whole.report.report, &domain());
    for (value, kind) in [
        (json!(credential()), "credential"),
        (json!(credential().signed), "credential"),
        (json!(receipt(4)), "receipt"),
        (json!(handed), "receipt"),
        (waiting, "receipt"),
        (json!(whole), "receipt with the proof that it is reported"),
        (answer, "receipt with the proof that it is reported"),
        (json!(whole.report), "report"),
        (json!({ "report": whole.report, "signature": signed }), "report"),
    ] {
        let verification = read(&value);
        assert_eq!(verification.kind, kind);
        assert!(verification.is_good(), "{verification:?}");
        if kind != "credential" && (value.get("top").is_none()) {
            let signer = verification.facts.iter().find(|(name, _)| *name == "signer").unwrap();
            assert_eq!(signer.1, key().address().to_string());
        }
    }
}

#[test]
fn what_was_changed_is_no_longer_good() {
    let changed = |pointer: &str, to: Value| {
        let mut value = json!(inclusion(2, 5));
        *value.pointer_mut(pointer).unwrap() = to;
        value
    };
    for (value, finding) in [
        (changed("/receipt/amount", json!("11")), "the report counts it"),
        (changed("/report/amount", json!("51")), "the report counts it"),
        (changed("/report/count", json!(6)), "the proof is of the report's count"),
        (changed("/proof/index", json!(1)), "the proof is of its number"),
        (changed("/report/epoch", json!(4)), "the report is of its hosting and epoch"),
        (changed("/receipt/cumulative", json!("9")), "its sum holds its amount"),
    ] {
        let verification = read(&value);
        assert!(verification.findings.contains(&(finding, false)), "{finding}: {verification:?}");
    }
    let mut value = json!(credential());
    value["signed"]["credential"]["expiresAt"] = json!("3");
    assert!(read(&value).findings.contains(&("its issuer signed it", false)));
    let mut value = json!(credential());
    value["chainId"] = json!(1);
    assert!(read(&value).findings.contains(&("is for these contracts", false)));
}

#[test]
fn what_is_no_document_says_what_would_be() {
    let error = Verification::read(b"{}", Some(&domain())).unwrap_err().to_string();
    assert!(error.contains("no document of ours"), "{error}");
    let error = Verification::read(json!(receipt(1)).to_string().as_bytes(), None).unwrap_err().to_string();
    assert!(error.contains("say for which contracts"), "{error}");
    assert!(Verification::read(b"no json", None).is_err());
}
