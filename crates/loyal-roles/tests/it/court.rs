//! A claim that a jury hears, from its evidence to the verdict that is carried out: five validators vote by our client.

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::{SolValue as _, sol};
use loyal_protocol::contracts::{Gate, LoyalCurrency};
use loyal_protocol::walk::Taken;
use loyal_protocol::{Client, Walk};
use loyal_roles::court::{self, Claim, Finding, Kind};
use loyal_roles::hosting::{Hosting, Next};
use loyal_roles::stake::{self, Seat};
use loyal_roles::{Error, Result};
use loyal_types::{Hash, Proof, Tree, keccak256};

use crate::registration::{DAY, LEAVES, LOYAL, World, key};

sol! {
    struct SolNode { bytes32 hash; uint128 amount; uint128 tokens; }
    struct SolProof { uint32 index; uint32 count; SolNode[] siblings; }
    struct FiredLeaf { bytes32 digest; SolProof leaf; SolProof subset; }
    struct CopyDelivery {
        uint256 hostingId; uint32 version; bytes32 copyRoot; bytes32 subsetRoot; bytes32 build; uint64 deliveredAt;
    }
    struct LeakEvidence {
        uint256 hostingId; bytes32 endpointHash; bytes32 transcriptHash; FiredLeaf[] fired; CopyDelivery delivery;
        bytes signature;
    }
}

const CLAIMANT: u8 = 4;
const JURY: std::ops::Range<u8> = 5..10;

fn act<T>(client: &Client, who: u8, step: impl FnOnce(&mut Walk<'_>) -> Result<T>) -> Result<T> {
    let (key, mut quiet) = (key(who), |_: &Taken| ());
    step(&mut Walk::begin(client, &key, false, &mut quiet)?)
}

fn proof(proof: &Proof) -> SolProof {
    let nodes = proof.siblings.iter();
    let siblings =
        nodes.map(|node| SolNode { hash: node.hash.0.into(), amount: node.amount, tokens: node.tokens });
    SolProof { index: proof.index, count: proof.count, siblings: siblings.collect() }
}

/// The host's copy carries all leaves but the first two; ten of them fired where nobody may serve.
fn evidence(subset: &Tree, leaves: &Tree, digests: &[Hash]) -> Bytes {
    let fired = (2..12).map(|index: u32| FiredLeaf {
        digest: digests[index as usize].0.into(),
        leaf: proof(&leaves.proof(index).unwrap()),
        subset: proof(&subset.proof(index - 2).unwrap()),
    });
    let evidence = LeakEvidence {
        hostingId: U256::from(1),
        endpointHash: B256::repeat_byte(1),
        transcriptHash: B256::repeat_byte(2),
        fired: fired.collect(),
        delivery: CopyDelivery {
            hostingId: U256::ZERO,
            version: 0,
            copyRoot: B256::ZERO,
            subsetRoot: B256::ZERO,
            build: B256::ZERO,
            deliveredAt: 0,
        },
        signature: Bytes::new(),
    };
    evidence.abi_encode().into()
}

/// A model whose one host has a copy of its own, a claimant with LOYAL, and five seated validators.
fn accused() -> (World, Bytes) {
    let world = World::new();
    let model = world.registered(None, false);
    let client = world.client();
    assert_eq!(world.open(world.chain.clone(), model).unwrap(), (1, Next::Copy));
    let digests: Vec<Hash> = (0..LEAVES).map(|number| keccak256(&[number])).collect();
    let (leaves, subset) = (Tree::plain(&digests).unwrap(), Tree::plain(&digests[2..]).unwrap());
    let (copy, root) = (B256::repeat_byte(9), B256::from(subset.root().0));
    let prepare = Gate::prepareCall { hostingId: U256::from(1), copyRoot: copy, subsetRoot: root };
    client.send(&key(0), world.at.gate, &prepare).unwrap();
    assert_eq!(world.open(world.chain.clone(), model).unwrap(), (1, Next::Serves));
    for who in JURY.chain([CLAIMANT]) {
        let value = U256::from(20_000 * LOYAL);
        let call = LoyalCurrency::transferCall { to: key(who).address(), value };
        client.send(&key(0), world.at.currency, &call).unwrap();
    }
    for who in JURY {
        act(&client, who, |walk| stake::bind(walk, &world.at, Seat::Validator, None)).unwrap();
    }
    let evidence = evidence(&subset, &leaves, &digests);
    (world, evidence)
}

#[test]
fn a_jury_convicts_a_leak_and_the_verdict_is_carried_out() {
    let (world, evidence) = accused();
    let (client, at) = (world.client(), world.at);
    let now = || client.time().unwrap();
    let id = act(&client, CLAIMANT, |walk| court::open(walk, &at, Kind::Leak, &evidence)).unwrap();
    let claim = || Claim::named(&client, &at, &id.to_string()).unwrap();
    assert_eq!((claim().state, claim().kind, claim().if_nobody_acts()), ("open", "leak", "a jury is called"));
    let early = act(&client, 0, |walk| court::advance(walk, &at, &claim())).unwrap_err().to_string();
    assert!(early.contains("its time has not come"), "{early}");
    world.pass(claim().deadline);
    act(&client, 0, |walk| court::advance(walk, &at, &claim())).unwrap();
    assert_eq!(claim().state, "voting");
    let finding = |who: u8| Finding {
        // Four find that the leaves fired, one does not.
        outcome: if who == 5 { 2 } else { 1 },
        hits: 0,
        trials: 0,
        reason: format!("what {who} saw"),
    };
    let vote = |who: u8, finding: &Finding| -> Result<(), Error> {
        act(&client, who, |walk| court::vote(walk, &at, &claim(), finding))
    };
    let early = vote(5, &finding(5)).unwrap_err().to_string();
    assert!(early.contains("which has not begun"), "{early}");
    world.pass(now() + DAY);
    // The first to vote draws the jury. Who changes its mind commits anew; the same ballot twice is one.
    vote(6, &Finding { outcome: 2, ..finding(6) }).unwrap();
    for who in JURY {
        vote(who, &finding(who)).unwrap();
        vote(who, &finding(who)).unwrap();
    }
    let stranger = vote(CLAIMANT, &finding(6)).unwrap_err().to_string();
    assert!(stranger.contains("does not sit on this jury"), "{stranger}");
    world.pass(claim().panel.unwrap().commit_by);
    let other = vote(7, &Finding { outcome: 2, ..finding(7) }).unwrap_err().to_string();
    assert!(other.contains("not the ballot you committed to"), "{other}");
    for who in JURY {
        vote(who, &finding(who)).unwrap();
        vote(who, &finding(who)).unwrap();
    }
    world.pass(claim().deadline);
    act(&client, 0, |walk| court::advance(walk, &at, &claim())).unwrap();
    assert_eq!((claim().state, claim().outcome), ("ruled", "upheld"));
    world.pass(claim().deadline);
    for _ in 0..2 {
        if claim().state != "executed" {
            act(&client, 0, |walk| court::advance(walk, &at, &claim())).unwrap();
        }
    }
    assert_eq!((claim().state, claim().outcome), ("executed", "upheld"));
    // Nobody attested the copy: the hosting ends, and its bond is not taken.
    let hosting = Hosting::read(&client, &at, 1).unwrap();
    assert_eq!((hosting.state, hosting.convictions), ("exiting", 1));
    // The claimant's bond comes back.
    let account = key(CLAIMANT).address();
    let owed = act(&client, CLAIMANT, |walk| court::withdraw(walk, &at, account)).unwrap();
    assert!(owed >= U256::from(100 * LOYAL), "{owed}");
}
