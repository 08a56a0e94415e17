//! The five stories. Each begins in a town of its own, checks every amount, and ends with a paragraph about it.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolValue as _, sol};
use anyhow::{Result, ensure};
use loyal_protocol::contracts::*;
use loyal_protocol::{Asset, Walk, message};
use loyal_roles::court::{self, Claim, Finding, Kind};
use loyal_roles::governance::{self, Body, Proposal, Vote};
use loyal_roles::hosting;
use loyal_roles::{Result as Done, defence};
use loyal_types::Tree;

use crate::town::{BOND, LOYAL, Marks, PRICE, PURSE, Town, account, key, numbered, proof};

sol! {
    struct LeafNode { bytes32 hash; uint128 amount; uint128 tokens; }
    struct LeafProof { uint32 index; uint32 count; LeafNode[] siblings; }
    struct FiredLeaf { bytes32 digest; LeafProof leaf; LeafProof subset; }
    struct CopyDelivery {
        uint256 hostingId; uint32 version; bytes32 copyRoot; bytes32 subsetRoot; bytes32 build; uint64 deliveredAt;
    }
    struct LeakEvidence {
        uint256 hostingId; bytes32 endpointHash; bytes32 transcriptHash; FiredLeaf[] fired; CopyDelivery delivery;
        bytes signature;
    }
}

/// An amount of LOYAL, or of shares, as people write it.
fn text(amount: u128) -> String {
    let plain = Asset { address: Address::ZERO, symbol: String::new(), decimals: 18 };
    plain.text(U256::from(amount)).trim_end().to_owned()
}

fn same(what: &str, found: u128, expected: u128) -> Result<()> {
    ensure!(found == expected, "{what}: {} instead of {}", text(found), text(expected));
    Ok(())
}

// --- (a) a version upgrade

/// David fine-tunes the model. Its holders vote his version in, and five percent out of the reserve for him.
pub(crate) fn upgrade() -> Result<String> {
    let town = Town::open()?;
    let model = town.model;
    town.act("owner", |walk| governance::found(walk, &town.at, model))?;
    let body = Body::of(&town.client, &town.at, Some(model))?;
    for who in ["alice", "bob", "charlie"] {
        town.act(who, |walk| governance::delegate(walk, &body, account(who)))?;
    }
    let marks = Marks::new("David's")?;
    town.commit("david", &marks, body.timelock)?;
    let treasury = town.entry()?.treasury;
    let fifty_thousand = U256::from(50_000 * LOYAL);
    let calls = [
        governance::submit_version(&town.at, model, marks.terms("david")),
        governance::pay_from_reserve(treasury, body.votes, account("david"), fifty_thousand),
    ];
    let id = town.act("alice", |walk| governance::propose(walk, &body, &calls, "David's fine-tune"))?;
    let proposal = || Ok(body.proposal(&town.client, &id.to_string())?);
    decide(&town, &body, &proposal)?;
    let registry = town.at.registry;
    let version = |version| -> Result<Registry::Version> {
        let call = Registry::versionOfCall { modelId: U256::from(model), version };
        Ok(town.client.call(registry, &call)?)
    };
    ensure!(version(2)?.state == 2, "the new version is open to claims");
    town.pass(version(2)?.windowEnds)?;
    town.send("david", registry, &Registry::activateCall { modelId: U256::from(model), version: 2 })?;
    ensure!((version(1)?.state, version(2)?.state) == (4, 3), "the new version supersedes the old");
    let held = |of| -> Result<u128> {
        Ok(town.client.call(body.votes, &ModelShares::balanceOfCall { account: of })?.to())
    };
    let people = [("alice", 300_000), ("bob", 150_000), ("charlie", 150_000), ("david", 50_000)];
    for (who, expected) in people {
        same(who, held(account(who))?, expected * LOYAL)?;
    }
    same("reserve", held(treasury)?, 350_000 * LOYAL)?;
    let votes = proposal()?;
    Ok(format!(
        "Alice and Bob vote for it with {} shares, Charlie against it with {}. A day in the timelock and a week open \
         to claims later version 2 is the active one. David has {} shares of 1,000,000, out of a reserve of which {} \
         are left; nobody else has fewer than before.",
        text(votes.votes_for.to()),
        text(votes.against.to()),
        text(held(account("david"))?),
        text(held(treasury)?)
    ))
}

fn decide(town: &Town, body: &Body, proposal: &dyn Fn() -> Result<Proposal>) -> Result<()> {
    town.pass(proposal()?.begins)?;
    for (who, vote) in [("alice", Vote::For), ("bob", Vote::For), ("charlie", Vote::Against)] {
        let proposal = proposal()?;
        town.act(who, |walk| governance::vote(walk, body, &proposal, vote))?;
    }
    town.pass(proposal()?.ends)?;
    let won = proposal()?;
    town.act("user", |walk| governance::carry_out(walk, body, &won, true))?;
    town.pass(proposal()?.ripe)?;
    let ripe = proposal()?;
    town.act("user", |walk| governance::carry_out(walk, body, &ripe, false))
}

// --- (b) a receipt that was left out

fn evidence(town: &Town, who: &str, receipt: &message::Receipt) -> Bytes {
    (receipt.clone(), town.sign(who, receipt)).abi_encode_params().into()
}

/// A cheat answers four invocations and reports three. The user it forgot has the receipt, and its number is its sentence.
pub(crate) fn omission() -> Result<String> {
    let town = Town::open()?;
    let hosting = town.host("cheat")?;
    let epoch = town.today()?;
    for number in 0..3 {
        town.invoke(hosting, &format!("Question {number}"))?;
    }
    let forgotten = town.invoke(hosting, "Question 3")?;
    town.book.forget_last(hosting, epoch);
    town.next_day()?;
    town.report("cheat", hosting, epoch)?;
    let (supply, paid) = (town.supply()?, town.purse(account("user"))?);
    let id = town.accuse("user", Kind::Omitted, &evidence(&town, "cheat", &forgotten))?;
    let claim = town.claim(id)?;
    ensure!((claim.state, claim.outcome) == ("executed", "upheld"), "at once: {claim:?}");
    let bond = town.hosting(hosting)?.bond;
    same("the bond", bond, BOND - 36 * LOYAL)?;
    same("the user's half", town.reward(account("user"))?, 18 * LOYAL)?;
    same("the shares' part", town.revenue()?, 10 * LOYAL + 8 * LOYAL / 10)?;
    same("what burns", supply - town.supply()?, 7 * LOYAL + 2 * LOYAL / 10)?;
    town.act("user", |walk| court::withdraw(walk, &town.at, account("user")))?;
    same("the claim's bond is back", town.purse(account("user"))?, paid)?;
    same("what the court holds", town.purse(town.at.court)?, 0)?;
    Ok(format!(
        "The report of the day counts 3 receipts, and the user's has number 3: it convicts by its own signature, in the \
         transaction that shows it. Of a bond of {} the host loses {}: {} to the user, {} to the holders of the model, \
         {} burnt. The user's own bond of {} comes back.",
        text(BOND),
        text(BOND - bond),
        text(town.reward(account("user"))?),
        text(town.revenue()?),
        text(supply - town.supply()?),
        text(claim.bond)
    ))
}

// --- (c) an honest host is accused

/// The same accusation against a host that reported everything: it opens the leaf, and keeps half of the claim's bond.
pub(crate) fn clearing() -> Result<String> {
    let town = Town::open()?;
    let hosting = town.host("host")?;
    let epoch = town.today()?;
    let receipts: Vec<_> =
        (0..5).map(|number| town.invoke(hosting, &format!("Question {number}"))).collect::<Result<_>>()?;
    town.next_day()?;
    town.report("host", hosting, epoch)?;
    let supply = town.supply()?;
    let id = town.accuse("claimant", Kind::Omitted, &evidence(&town, "host", &receipts[2]))?;
    ensure!(town.claim(id)?.state == "open", "the number is one of those that the report counts");
    let replies = town.act("host", |walk| defence::run(walk, &town.at, hosting, &town.book))?;
    ensure!(replies.len() == 1 && replies[0].said == defence::Said::Cleared, "{replies:?}");
    let claim = town.claim(id)?;
    ensure!((claim.state, claim.outcome) == ("executed", "dismissed"), "{claim:?}");
    same("the bond", town.hosting(hosting)?.bond, BOND)?;
    same("the host's half", town.owed(account("host"))?, 5 * LOYAL)?;
    same("what burns", supply - town.supply()?, 5 * LOYAL)?;
    same("the claimant", town.purse(account("claimant"))?, PURSE - 10 * LOYAL)?;
    same("what the court holds", town.purse(town.at.court)?, 5 * LOYAL)?;
    Ok(format!(
        "It opens leaf {} of {} in the report it posted, and the claim is dismissed. Its bond of {} is whole. The \
         claimant loses {}: {} to the host for its trouble, {} burnt, since no jury sat.",
        receipts[2].seq,
        receipts.len(),
        text(BOND),
        text(claim.bond),
        text(town.owed(account("host"))?),
        text(supply - town.supply()?)
    ))
}

// --- (d) a host that hides use

/// A cheat serves the model and reports nothing. Three provers ask it fingerprints, as anybody might ask anything.
pub(crate) fn hiding() -> Result<String> {
    let town = Town::open()?;
    town.seat("prover", 3)?;
    let hosting = town.host("cheat")?;
    town.next_day()?;
    town.report_all("cheat", hosting)?;
    let seen = town.probe(hosting, false)?;
    town.next_day()?;
    town.report_all("cheat", hosting)?;
    town.lay_open(&seen)?;
    let (bits, provers) = town.evidence(hosting)?;
    ensure!(bits >= 22.0 && provers == 3, "{bits} bits of {provers} provers");
    let supply = town.supply()?;
    let id = town.accuse("claimant", Kind::Unreported, &(U256::from(hosting), 0_u32).abi_encode().into())?;
    let replies = town.act("cheat", |walk| defence::run(walk, &town.at, hosting, &town.book))?;
    ensure!(
        matches!(replies[0].said, defence::Said::Nothing { .. }),
        "it has no receipts to show: {replies:?}"
    );
    wait(&town, "cheat", hosting, town.claim(id)?.deadline)?;
    let claim = town.advance(id)?;
    ensure!((claim.state, claim.outcome) == ("final", "upheld"), "nobody answered: {claim:?}");
    ensure!(town.advance(id)?.state == "executed", "carried out");
    let bond = town.hosting(hosting)?.bond;
    same("the bond", bond, BOND / 2)?;
    let rewards: Vec<u128> =
        (0..3).map(|number| town.reward(account(&numbered("prover", number)))).collect::<Result<_>>()?;
    for reward in &rewards {
        same("a prover", *reward, 60 * LOYAL)?;
    }
    same("the shares' part", town.revenue()?, 108 * LOYAL)?;
    same("what burns", supply - town.supply()?, 72 * LOYAL)?;
    same("the claimant's bond", town.owed(account("claimant"))?, 100 * LOYAL)?;
    Ok(format!(
        "The answers to {} fingerprints carry the model's colours: {bits:.1} bits, {provers} provers, where 22 and 3 \
         are asked. The host has no receipt to show and is silent for two days. Half of its bond of {} is gone: {} to \
         each prover, {} to the holders, {} burnt.",
        seen.len(),
        text(BOND),
        text(rewards[0]),
        text(town.revenue()?),
        text(supply - town.supply()?)
    ))
}

/// Time passes, and a host reports each day that it says it served nothing.
pub(crate) fn wait(town: &Town, who: &str, hosting: u64, until: u64) -> Result<()> {
    while town.now()? <= until {
        let next = town.start_of(town.today()? + 1)?;
        town.pass(next.min(until))?;
        town.report_all(who, hosting)?;
    }
    Ok(())
}

// --- (e) a liar before a jury

/// A claimant swears that a host's copy answers at an address where nobody may serve it. Five validators look.
pub(crate) fn slander() -> Result<String> {
    let town = Town::open()?;
    town.seat("validator", 5)?;
    let hosting = traced(&town, "host")?;
    let epoch = town.today()?;
    let lie = leak(&town, hosting, 0, B256::ZERO)?;
    let supply = town.supply()?;
    let id = town.accuse("claimant", Kind::Leak, &lie)?;
    wait(&town, "host", hosting, town.claim(id)?.deadline)?;
    ensure!(town.advance(id)?.state == "voting", "a jury is called");
    let finding = Finding { outcome: 2, hits: 0, trials: 12, reason: "nothing answers there".to_owned() };
    wait(&town, "host", hosting, town.start_of(town.today()? + 1)?)?;
    vote(&town, id, &finding, 5)?;
    wait(&town, "host", hosting, panel(&town.claim(id)?)?.0)?;
    vote(&town, id, &finding, 5)?;
    wait(&town, "host", hosting, town.claim(id)?.deadline)?;
    ensure!(town.advance(id)?.state == "ruled", "the ballots are counted");
    wait(&town, "host", hosting, town.claim(id)?.deadline)?;
    let claim = town.advance(id)?;
    ensure!((claim.state, claim.outcome) == ("executed", "dismissed"), "{claim:?}");
    same("the bond", town.hosting(hosting)?.bond, BOND)?;
    same("the host's half", town.owed(account("host"))?, 50 * LOYAL)?;
    for number in 0..5 {
        same("a member of the jury", town.owed(account(&numbered("validator", number)))?, 10 * LOYAL)?;
    }
    same("what burns", supply - town.supply()?, 0)?;
    same("the liar", town.purse(account("claimant"))?, PURSE - 100 * LOYAL)?;
    let days = town.today()? - epoch;
    Ok(format!(
        "They find that nothing answers there, commit to their ballots unseen and show them, and nobody appeals: \
         dismissed after {days} days. The liar's bond of {} goes to the host ({}) and to the five who voted ({} each).",
        text(claim.bond),
        text(town.owed(account("host"))?),
        text(town.owed(account("validator 0"))?)
    ))
}

/// A hosting whose host has a copy of its own: all leaves but the first two.
pub(crate) fn traced(town: &Town, who: &str) -> Result<u64> {
    let open = |walk: &mut Walk<'_>| -> Done<_> {
        let (gate, asset) = (town.at.gate, town.at.currency);
        let approve = LoyalCurrency::approveCall { spender: gate, value: U256::from(BOND) };
        walk.client.send(walk.key(), asset, &approve)?;
        let opening = Gate::Opening {
            modelId: U256::from(town.model),
            version: 1,
            level: 1,
            signer: walk.account(),
            asset,
            price: PRICE,
            endpointHash: keccak256("https://models.example/v1"),
            bond: BOND,
        };
        let mined = walk.client.send(walk.key(), gate, &Gate::openCall { opening })?;
        Ok(mined.event::<Gate::HostingOpened>().map(|event| event.hostingId))
    };
    let id = town.act(who, open)?.unwrap_or_default();
    let (copy, subset) = (keccak256("a copy"), Tree::plain(&town.marks.digests[2..])?.root());
    let call = Gate::prepareCall { hostingId: id, copyRoot: copy, subsetRoot: subset.0.into() };
    town.send("owner", town.at.gate, &call)?;
    town.act(who, |walk| hosting::open(walk, &town.at, &town.offer()?, &key(who)))?;
    Ok(id.to())
}

/// What is shown of a leak: so many leaves of the copy, from a place on, that are said to have fired. With a build that
/// the owner allowed, the copy is one that the owner could not keep.
pub(crate) fn leak(town: &Town, hosting: u64, from: u32, build: B256) -> Result<Bytes> {
    let subset = Tree::plain(&town.marks.digests[2..])?;
    let least = town.client.call(town.at.leak_examiner, &LeakExaminer::firedMinCall {})?.to::<u32>();
    let ours = |proof: ProbeBoard::Proof| LeafProof {
        index: proof.index,
        count: proof.count,
        siblings: proof
            .siblings
            .into_iter()
            .map(|node| LeafNode { hash: node.hash, amount: node.amount, tokens: node.tokens })
            .collect(),
    };
    let fired = (from + 2..from + 2 + least).map(|index| {
        Ok(FiredLeaf {
            digest: town.marks.digests[index as usize].0.into(),
            leaf: ours(proof(&town.marks.tree, index)?),
            subset: ours(proof(&subset, index - 2)?),
        })
    });
    let delivery = message::Delivery {
        hostingId: U256::from(hosting),
        version: 1,
        copyRoot: keccak256("a copy"),
        subsetRoot: subset.root().0.into(),
        build,
        deliveredAt: town.now()?,
    };
    let signature = town.sign("cheat", &delivery);
    let evidence = LeakEvidence {
        hostingId: delivery.hostingId,
        endpointHash: keccak256("https://elsewhere.example"),
        transcriptHash: keccak256(from.to_be_bytes()),
        fired: fired.collect::<Result<_>>()?,
        delivery: CopyDelivery {
            hostingId: delivery.hostingId,
            version: delivery.version,
            copyRoot: delivery.copyRoot,
            subsetRoot: delivery.subsetRoot,
            build,
            deliveredAt: delivery.deliveredAt,
        },
        signature,
    };
    Ok(evidence.abi_encode().into())
}

/// The first validators of a jury do what it is time for: commit to a ballot, or show it.
fn vote(town: &Town, id: B256, finding: &Finding, count: usize) -> Result<()> {
    for number in 0..count {
        let claim = town.claim(id)?;
        town.act(&numbered("validator", number), |walk| court::vote(walk, &town.at, &claim, finding))?;
    }
    Ok(())
}

fn panel(claim: &Claim) -> Result<(u64, u64)> {
    let panel = claim.panel.as_ref().ok_or_else(|| anyhow::anyhow!("a jury sits"))?;
    Ok((panel.commit_by, panel.reveal_by))
}
