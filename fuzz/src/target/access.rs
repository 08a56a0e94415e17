//! Documents of callers and hosts: credentials, receipts, proofs, terms, payments, requests, wallets.

use alloy_primitives::{Address, B256, U256};
use loyal_access::document::{self, CredentialFile, SignedCredential};
use loyal_access::payment::{PaymentPayload, PaymentRequired};
use loyal_access::request::Request;
use loyal_access::terms::Terms;
use loyal_access::verification::Verification;
use loyal_access::wallet::{Caps, Entry, Wallet};
use loyal_protocol::{Key, message};

use super::{FOLDER, HELD_BYTES_BASE, Target};

pub(super) const VERIFICATION: Target = Target {
    name: "verification",
    run: verification,
    dictionary: &[
        "loyal-credential",
        "credential",
        "receipt",
        "invocation",
        "proof",
        "siblings",
        "report",
        "top",
        "level",
        "0x",
    ],
    mend: None,
    make: Some(make_credential),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const PAYMENT_REQUIRED: Target = Target {
    name: "payment_required",
    run: payment_required,
    dictionary: &[
        "x402Version",
        "accepts",
        "batch-settlement",
        "extra",
        "channelState",
        "extensions",
        "loyal",
        "info",
        "eip155:",
    ],
    mend: None,
    make: Some(make_required),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const PAYMENT: Target = Target {
    name: "payment",
    run: payment,
    dictionary: &[
        "x402Version",
        "accepted",
        "payload",
        "type",
        "deposit",
        "voucher",
        "refund",
        "channelConfig",
        "erc3009Authorization",
        "authorization",
        "batch-settlement",
        "exact",
    ],
    mend: None,
    make: Some(make_payment),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const INVOCATION_BODY: Target = Target {
    name: "invocation_body",
    run: invocation_body,
    dictionary: &["messages", "role", "user", "content", "prompt", "input", "type", "text", "n", "stream"],
    mend: None,
    make: Some(make_body),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const WALLET: Target = Target {
    name: "wallet",
    run: wallet,
    dictionary: &[
        "site", "caps", "channel", "signed", "settled", "adopted", "funded", "pending", "book", "0x",
    ],
    mend: Some(mend_wallet),
    make: Some(make_wallet),
    held_bytes_base: HELD_BYTES_BASE,
};

fn verification(bytes: &[u8]) -> Result<(), String> {
    let domain = message::domain(31_337, Address::with_last_byte(1));
    let found = Verification::read(bytes, Some(&domain)).map_err(|error| error.to_string())?;
    let _ = found.is_good();
    Ok(())
}

fn make_credential() -> Vec<u8> {
    let credential = message::Credential {
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
    let registry = Address::with_last_byte(1);
    let key = Key::of(B256::repeat_byte(7)).expect("a key of the curve");
    let file = CredentialFile {
        format: "loyal-credential".to_owned(),
        version: 1,
        chain_id: 31_337,
        chain_urls: Vec::new(),
        registry,
        channel: Address::with_last_byte(2),
        authorization_collector: Address::with_last_byte(3),
        router: Address::with_last_byte(4),
        gate: Address::with_last_byte(5),
        hosts: Vec::new(),
        signed: SignedCredential::sign(credential, &key, &message::domain(31_337, registry)),
    };
    serde_json::to_vec(&file).expect("a credential has only string keys")
}

fn payment_required(bytes: &[u8]) -> Result<(), String> {
    let required: PaymentRequired = document::read("the terms", bytes).map_err(|error| error.to_string())?;
    let header = document::header(&required);
    if header.len() <= document::HEADER_BYTES_MAX {
        let again: PaymentRequired =
            document::read_header("the terms", header.as_bytes()).map_err(|error| error.to_string())?;
        assert_eq!(again, required, "what was written reads differently");
    }
    Terms::of_required(&required).map(drop).map_err(|error| error.to_string())
}

fn make_required() -> Vec<u8> {
    let (hash, account) = (B256::repeat_byte(9), Address::repeat_byte(8));
    format!(
        r#"{{"x402Version":2,"resource":{{"url":"http://h/v1"}},"accepts":[{{"scheme":"batch-settlement","network":"eip155:1",
        "amount":"5","asset":"{account}","payTo":"{account}","maxTimeoutSeconds":60,"extra":{{"receiverAuthorizer":"{account}",
        "withdrawDelay":900,"name":"Loyal","version":"1"}}}}],"extensions":{{"loyal":{{"info":{{"modelId":"1","version":1,
        "hostingId":"2","signer":"{account}","policyHash":"{hash}","level":"gated","registry":"{account}",
        "channel":"{account}","authorizationCollector":"{account}",
        "price":{{"perCall":"1","perThousandIn":"2","perThousandOut":"3"}}}}}}}}}}"#
    )
    .into_bytes()
}

fn payment(bytes: &[u8]) -> Result<(), String> {
    let payment: PaymentPayload = document::read("the payment", bytes).map_err(|error| error.to_string())?;
    let header = document::header(&payment);
    if header.len() <= document::HEADER_BYTES_MAX {
        let again: PaymentPayload =
            document::read_header("the payment", header.as_bytes()).map_err(|error| error.to_string())?;
        assert_eq!(again, payment, "what was written reads differently");
    }
    Ok(())
}

/// A deposit with its voucher: the payment with the most parts.
fn make_payment() -> Vec<u8> {
    let (hash, account, signature) =
        (B256::repeat_byte(9), Address::repeat_byte(8), "0x".to_owned() + &"7f".repeat(65));
    format!(
        r#"{{"x402Version":2,"accepted":{{"scheme":"batch-settlement","network":"eip155:1","amount":"5","asset":"{account}",
        "payTo":"{account}","maxTimeoutSeconds":60,"extra":{{"receiverAuthorizer":"{account}","withdrawDelay":900,"name":"Loyal",
        "version":"1"}}}},"payload":{{"type":"deposit","channelConfig":{{"payer":"{account}","payerAuthorizer":"{account}",
        "receiver":"{account}","receiverAuthorizer":"{account}","token":"{account}","withdrawDelay":900,"salt":"{hash}"}},
        "voucher":{{"channelId":"{hash}","maxClaimableAmount":"5","signature":"{signature}"}},
        "deposit":{{"amount":"50","authorization":{{"erc3009Authorization":{{"validAfter":"0","validBefore":"99","salt":"{hash}",
        "signature":"{signature}"}}}}}}}}}}"#
    )
    .into_bytes()
}

fn invocation_body(bytes: &[u8]) -> Result<(), String> {
    let request = Request::read(bytes).map_err(|error| error.to_string())?;
    // What a host hashes is what its engine is given: the body, written anew.
    let again = Request::read(request.body().to_string().as_bytes()).map_err(|error| error.to_string())?;
    let salt = B256::repeat_byte(5);
    assert_eq!(again.hash(salt), request.hash(salt), "the body that is passed on has another hash");
    Ok(())
}

fn make_body() -> Vec<u8> {
    br#"{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"Hi"}]}],
    "temperature":0.5,"max_tokens":8,"stop":["a","b"],"stream":true}"#
        .to_vec()
}

fn wallet(bytes: &[u8]) -> Result<(), String> {
    let folder = FOLDER.path().join("wallet");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("wallet.log"), bytes).map_err(|error| error.to_string())?;
    let wallet = Wallet::open(&folder).map_err(|error| error.to_string())?;
    let book = wallet.book().clone();
    drop(wallet);
    // What was cut off does not come back.
    assert_eq!(Wallet::open(&folder).map_err(|error| error.to_string())?.book(), &book);
    Ok(())
}

/// Gives each line the checksum it should have.
fn mend_wallet(bytes: &mut [u8]) {
    for line in bytes.split_mut(|byte| *byte == b'\n').filter(|line| line.len() > 9) {
        let sum = format!("{:08x} ", crc32fast::hash(&line[9..]));
        line[..9].copy_from_slice(sum.as_bytes());
    }
}

fn make_wallet() -> Vec<u8> {
    let folder = FOLDER.path().join("made-wallet");
    let _ = std::fs::remove_dir_all(&folder);
    let mut wallet = Wallet::open(&folder).expect("a wallet can be made");
    let caps = Caps { request: Some(5), hour: None, day: Some(7) };
    wallet.write(Entry::Caps { asset: Address::repeat_byte(8), caps }).expect("an entry can be written");
    std::fs::read(folder.join("wallet.log")).expect("it was just written")
}
