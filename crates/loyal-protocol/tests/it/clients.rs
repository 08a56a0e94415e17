//! Real clients: viem, ethers and cast against a server.

use std::process::Command;

use alloy_primitives::{Address, B256};
use loyal_protocol::{
    Key,
    devnet::Limits,
    keystore::{Salt, address_of},
};

use crate::{
    kit::{Served, ether, signer},
    npm::{self, bytecode, foundry, node},
};

#[test]
fn viem_and_ethers_are_content() {
    let served = Served::new(&Limits::default());
    let path = npm::folder().join("probe.hex");
    std::fs::write(&path, bytecode("Probe").to_string()).unwrap();
    let (url, ws) = (format!("http://{}", served.address), format!("ws://{}", served.address));
    let key = signer(0).to_bytes().to_string();
    let said = node("clients.mjs", include_str!("clients.mjs"), &[&url, &ws, &key, path.to_str().unwrap()]);
    assert!(said.contains("viem and ethers are content"));
}

#[test]
fn cast_is_content() {
    let served = Served::new(&Limits::default());
    let cast = |args: &[&str]| {
        let url = format!("http://{}", served.address);
        let output = Command::new(foundry("cast"))
            .args([args[0], "--rpc-url", &url])
            .args(&args[1..])
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), format!("{out}{err}").trim().to_owned())
    };
    let key = signer(1).to_bytes().to_string();
    let to = Address::with_last_byte(0xf8).to_string();
    assert_eq!(cast(&["chain-id"]), (true, "31337".into()));
    assert_eq!(cast(&["balance", &signer(1).address().to_string()]).1, ether(10_000).to_string());
    let (sent, said) = cast(&["send", &to, "--value", "1ether", "--private-key", &key]);
    assert!(sent && said.contains("1 (success)"), "{said}");
    let code = bytecode("Probe").to_string();
    let (sent, said) = cast(&["send", "--private-key", &key, "--create", &code]);
    assert!(sent, "{said}");
    let probe = signer(1).address().create(1).to_string();
    let (called, said) = cast(&["call", &probe, "divide(uint256)(uint256)", "1"]);
    assert!(called && said == "1", "{said}");
    let (called, said) = cast(&["call", &probe, "text()"]);
    assert!(!called && said.contains("text of the refusal"), "{said}");
    let (sent, said) = cast(&["send", &probe, "shout(uint256)", "2", "--private-key", &key]);
    assert!(sent && said.contains("1 (success)"), "{said}");
    let (found, said) = cast(&["logs", "--from-block", "0", "--address", &probe]);
    assert!(found && said.matches("blockHash").count() == 2, "{said}");
    assert_eq!(cast(&["block-number"]).1, "3");
    assert_eq!(cast(&["nonce", &signer(1).address().to_string()]).1, "3");
    let (ok, said) = cast(&["access-list", &probe, "fill(uint256,uint256,uint256)", "0", "2", "1"]);
    assert!(ok && said.contains("access list"), "{said}");
}

#[test]
fn ethers_opens_our_key_files_and_we_open_its() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.json"), folder.path().join("theirs.json"));
    let key = Key::of(signer(3).to_bytes()).unwrap();
    let salt = Salt { password: B256::repeat_byte(1), counter: [2; 16], id: [3; 16] };
    key.save(&ours, "pässword", &salt).unwrap();
    let paths = [ours.to_str().unwrap(), theirs.to_str().unwrap()];
    let said = node("keys.mjs", include_str!("keys.mjs"), &[paths[0], paths[1], "pässword"]);
    let said: Vec<_> = said.split_whitespace().collect();
    assert_eq!(said[..2], [key.address().to_string(), signer(3).to_bytes().to_string()]);
    let other = Key::open(&theirs, "pässword").unwrap();
    assert_eq!(said[2], other.address().to_string());
    assert_eq!(address_of(&theirs).unwrap(), other.address());
    assert!(Key::open(&theirs, "password").unwrap_err().to_string().contains("another one"));
}
