//! Registering a model, or a new version of one: what is done is read from the chain, what can be done is done.

use std::path::Path;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent as _;
use loyal_protocol::{Addresses, Asset, Client, Step, Walk, contracts::*, message};

use super::registration::{Registration, Roots, Signed};
use crate::error::{Error, Result};
use crate::governance;

/// How long makers have to sign.
const AGREEMENT_SECONDS: u64 = 30 * 86_400;
/// The parameter that says how much an owner puts up.
const ONBOARDING_BOND: u8 = 10;
/// States of a version, as the Registry numbers them.
const CONTESTABLE: u8 = 2;
const REVOKED: u8 = 6;

/// Gas that the steps use as a rule (`contracts/snapshots/GasTest.json`).
mod gas {
    pub(super) const COMMIT: u64 = 120_000;
    pub(super) const CLOSE: u64 = 75_000;
    pub(super) const EMBEDDED: u64 = 100_000;
    pub(super) const CREATE: u64 = 1_350_000;
    pub(super) const SUBMIT: u64 = 350_000;
    pub(super) const FLOOR: u64 = 120_000;
    pub(super) const ACTIVATE: u64 = 80_000;
    pub(super) const RELEASE: u64 = 80_000;
}

/// What is registered.
#[derive(Debug)]
pub struct Project<'a> {
    /// The registration.
    pub registration: &'a mut Registration,
    /// Its file, into which an agreement is written.
    pub path: &'a Path,
    /// The model of which this is a new version; a new model where there is none.
    pub model: Option<u64>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing can be done before a time.
    Wait {
        /// The time, in unix seconds.
        until: u64,
        /// What happens then.
        what: &'static str,
    },
    /// The answers are fixed by this seed: train, name the weights in the registration, and go on.
    Train {
        /// The seed.
        seed: B256,
        /// The epoch whose seed it is.
        epoch: u32,
        /// Whether nobody but the sealer of one block had a part in it.
        weak: bool,
    },
    /// These accounts have not signed the agreement.
    Sign {
        /// The accounts.
        accounts: Vec<Address>,
        /// Until when they can, in unix seconds.
        until: u64,
    },
    /// The model's holders decide whether it is submitted: [`proposal`] is the call they vote on.
    Propose {
        /// The model.
        model: u64,
    },
    /// Somebody claims to own it; a court decides.
    Claimed,
    /// It is the model's active version, and everything about it is done.
    Done {
        /// The model.
        model: u64,
        /// The version.
        version: u32,
    },
    /// Nothing more can be rehearsed: later steps follow from what these do.
    Rehearsed,
}

/// Does what can be done, and says what is next.
///
/// # Errors
/// The chain's; files that cannot be read; weights or documents that are not the ones the makers signed.
pub fn run(walk: &mut Walk<'_>, at: &Addresses, project: &mut Project<'_>) -> Result<Next> {
    let client = walk.client;
    let public = project.registration.commitment(project.path)?;
    let leaf_root = B256::from(public.leaf_root.0);
    let id = client
        .call(at.registry, &Registry::commitmentIdCall { committer: walk.account(), leafRoot: leaf_root })?;
    let commitment = client.call(at.registry, &Registry::commitmentOfCall { commitment: id })?;
    if commitment.committer == Address::ZERO {
        let count = public.digests.len() as u32;
        let call = Registry::commitLeavesCall { leafRoot: leaf_root, leafCount: count };
        walk.take(Step::new(format!("commit to {count} fingerprints"), at.registry, &call, gas::COMMIT))?;
        if walk.is_rehearsal() {
            return Ok(Next::Rehearsed);
        }
        return run(walk, at, project);
    }
    if commitment.fingerprintRoot == B256::ZERO {
        return embedded(walk, at, project, (leaf_root, commitment.beaconEpoch));
    }
    if commitment.used {
        let (model, version) = find(client, at, id, project.model)?;
        return conclude(walk, at, project, (model, version));
    }
    submit(walk, at, project, (leaf_root, commitment.fingerprintRoot))
}

/// From the commitment to the fingerprints that were embedded: a seed, a training, a root.
fn embedded(
    walk: &mut Walk<'_>,
    at: &Addresses,
    project: &mut Project<'_>,
    (leaf_root, epoch): (B256, u32),
) -> Result<Next> {
    let client = walk.client;
    let draw = client.call(at.beacon, &Beacon::drawOfCall { epoch })?;
    if draw.seed == B256::ZERO {
        let until = client.call(at.parameters, &Parameters::epochStartCall { epoch })?;
        if client.time()? < until {
            return Ok(Next::Wait { until, what: "the seed that fixes the answers can be drawn" });
        }
        let call = Beacon::closeCall { epoch };
        walk.take(Step::new(format!("draw the seed of epoch {epoch}"), at.beacon, &call, gas::CLOSE))?;
        return if walk.is_rehearsal() {
            Ok(Next::Rehearsed)
        } else {
            embedded(walk, at, project, (leaf_root, epoch))
        };
    }
    let public = project.registration.commitment(project.path)?;
    let (Some(root), Some(_)) = (public.fingerprint_root, &project.registration.weights) else {
        return Ok(Next::Train { seed: draw.seed, epoch, weak: draw.weak });
    };
    if let Some(beacon) = public.beacon.filter(|beacon| beacon.seed.0 != draw.seed.0) {
        return Err(Error::file(
            project.path,
            format!(
                "the fingerprints are bound to {}, but the seed of epoch {epoch} is {}",
                beacon.seed, draw.seed
            ),
        ));
    }
    let call = Registry::commitFingerprintsCall {
        leafRoot: leaf_root,
        fingerprintRoot: B256::from(root.0),
        submitter: match project.model {
            Some(model) => submitter(client, at, model, walk.account())?,
            None => walk.account(),
        },
    };
    let says = format!("name the {} fingerprints that were embedded", public.embedded.len());
    walk.take(Step::new(says, at.registry, &call, gas::EMBEDDED))?;
    if walk.is_rehearsal() { Ok(Next::Rehearsed) } else { run(walk, at, project) }
}

/// From the fingerprints to a version in its window.
fn submit(
    walk: &mut Walk<'_>,
    at: &Addresses,
    project: &mut Project<'_>,
    (leaf_root, fingerprint_root): (B256, B256),
) -> Result<Next> {
    let roots = project.registration.roots(project.path)?;
    if let Some(model) = project.model {
        if submitter(walk.client, at, model, walk.account())? != walk.account() {
            return Ok(Next::Propose { model });
        }
        let terms = terms(project.registration, &roots, walk.account(), leaf_root);
        let call = Registry::submitVersionCall { modelId: U256::from(model), terms };
        let says = format!("submit a new version of model {model}");
        walk.take(Step::new(says, at.registry, &call, gas::SUBMIT))?;
    } else {
        if let Some(next) = agreed(walk, at, project, &roots, fingerprint_root)? {
            return Ok(next);
        }
        create(walk, at, project.registration, &roots, leaf_root)?;
    }
    if walk.is_rehearsal() { Ok(Next::Rehearsed) } else { run(walk, at, project) }
}

/// Who submits a version of a model: whoever controls it, or its holders by their timelock.
fn submitter(client: &Client, at: &Addresses, model: u64, account: Address) -> Result<Address> {
    let id = U256::from(model);
    let controller = client.call(at.registry, &Registry::controllerOfCall { modelId: id })?;
    let timelock = client.call(at.governor_factory, &GovernorFactory::timelockOfCall { modelId: id })?;
    if controller != account && controller != timelock {
        return Err(Error::refused(format!(
            "{controller} controls model {model}: a new version is submitted by it, not by {account}"
        )));
    }
    Ok(controller)
}

/// The call by which the holders of a model submit a version of it, once its fingerprints are committed to for them
/// ([`Next::Propose`]). Whoever proposes need not be who trained it.
///
/// # Errors
/// The chain's; files that cannot be read; nobody has committed to these fingerprints for the model's holders.
pub fn proposal(
    client: &Client,
    at: &Addresses,
    (model, timelock): (u64, Address),
    (registration, path): (&Registration, &Path),
) -> Result<governance::Call> {
    let public = registration.commitment(path)?;
    let (leaf_root, embedded) = (public.leaf_root, public.fingerprint_root);
    let topics = [Some(Registry::FingerprintsCommitted::SIGNATURE_HASH), None, Some(B256::from(leaf_root.0))];
    let found = client.find(at.registry, &topics)?;
    let ours = |event: &Registry::FingerprintsCommitted| {
        embedded.is_some_and(|root| event.fingerprintRoot.0 == root.0)
            && public.beacon.as_ref().is_none_or(|beacon| beacon.seed.0 == event.seed.0)
            && event.submitter == timelock
    };
    let committed =
        found.iter().filter_map(|event| event.decode::<Registry::FingerprintsCommitted>()).find(ours);
    let Some(committed) = committed else {
        return Err(Error::file(
            path,
            format!(
                "nobody has named its fingerprints for the holders of model {model} to submit: whoever made them runs \
                 `loyal owner version {model} {}` until it says so",
                path.display()
            ),
        ));
    };
    let roots = registration.roots(path)?;
    let terms = terms(registration, &roots, committed.committer, committed.leafRoot);
    Ok(governance::submit_version(at, model, terms))
}

/// Sees that everybody has signed what is here; answers what is next where somebody has not.
fn agreed(
    walk: &Walk<'_>,
    at: &Addresses,
    project: &mut Project<'_>,
    roots: &Roots,
    fingerprint_root: B256,
) -> Result<Option<Next>> {
    let time = walk.client.time()?;
    let registration = &mut *project.registration;
    if let Some(signed) = &registration.agreement {
        let same = signed.manifest_root == roots.manifest
            && signed.weights_root == roots.weights
            && signed.fingerprint_root == fingerprint_root;
        if !same {
            return Err(Error::file(
                project.path,
                "weights, documents or fingerprints are not the ones the makers signed: put those back, or remove \
                 \"agreement\" and let them sign again",
            ));
        }
    }
    if registration.agreement.as_ref().is_none_or(|signed| signed.expires_at <= time) {
        registration.agreement = Some(Signed {
            expires_at: time + AGREEMENT_SECONDS,
            manifest_root: roots.manifest,
            weights_root: roots.weights,
            fingerprint_root,
            signatures: std::collections::BTreeMap::new(),
        });
        if !walk.is_rehearsal() {
            registration.write(project.path)?;
        }
    }
    let domain = message::domain(walk.client.chain_id(), at.registry);
    let own = registration.makers.iter().any(|maker| maker.account == walk.account());
    if own && registration.unsigned().contains(&walk.account()) {
        registration.sign(walk.key(), &domain)?;
        if !walk.is_rehearsal() {
            registration.write(project.path)?;
        }
    }
    let accounts = registration.unsigned();
    let until = registration.agreement.as_ref().map_or(0, |signed| signed.expires_at);
    Ok((!accounts.is_empty()).then_some(Next::Sign { accounts, until }))
}

fn create(
    walk: &mut Walk<'_>,
    at: &Addresses,
    registration: &Registration,
    roots: &Roots,
    leaf_root: B256,
) -> Result<()> {
    let client = walk.client;
    let bond = client.call(at.parameters, &Parameters::getCall { parameter: ONBOARDING_BOND })?;
    let currency = Asset::read(client, at.currency)?;
    let approval = Step::approval(client, &currency, walk.account(), (at.factory, "factory"), bond)?;
    walk.take_if(approval)?;
    let (agreement, signatures) =
        registration.for_factory().ok_or_else(|| Error::refused("there is no agreement"))?;
    let terms = terms(registration, roots, walk.account(), leaf_root);
    let creation = ModelFactory::Creation {
        name: registration.name.clone(),
        symbol: registration.symbol.clone(),
        openHosting: registration.open_hosting,
        version: ModelFactory::VersionTerms {
            manifestRoot: terms.manifestRoot,
            weightsRoot: terms.weightsRoot,
            committer: terms.committer,
            leafRoot: terms.leafRoot,
            parentModel: terms.parentModel,
            parentVersion: terms.parentVersion,
            trainingRoot: terms.trainingRoot,
            evaluationRoot: terms.evaluationRoot,
            termsHash: terms.termsHash,
            policyHash: terms.policyHash,
            uri: terms.uri,
        },
        agreement,
        signatures,
    };
    let says = format!(
        "register the model \"{}\" and put up {} until its window is over",
        registration.name,
        currency.text(bond)
    );
    walk.take(Step::new(says, at.factory, &ModelFactory::createCall { creation }, gas::CREATE))?;
    Ok(())
}

fn terms(
    registration: &Registration,
    roots: &Roots,
    committer: Address,
    leaf_root: B256,
) -> Registry::VersionTerms {
    let document = |name: &str| roots.documents.get(name).copied().unwrap_or_default();
    Registry::VersionTerms {
        manifestRoot: roots.manifest,
        weightsRoot: roots.weights,
        committer,
        leafRoot: leaf_root,
        parentModel: U256::from(registration.parent.map_or(0, |parent| parent.model)),
        parentVersion: registration.parent.map_or(0, |parent| parent.version),
        trainingRoot: document("training"),
        evaluationRoot: document("evaluation"),
        termsHash: document("terms"),
        policyHash: document("policy"),
        uri: registration.uri.clone(),
    }
}

/// The version that stands on a commitment.
fn find(client: &Client, at: &Addresses, commitment: B256, model: Option<u64>) -> Result<(u64, u32)> {
    let count: u64 = client.call(at.registry, &Registry::modelCountCall {})?.saturating_to();
    let models = model.map_or(1..=count, |model| model..=model);
    for model in models.rev() {
        let id = U256::from(model);
        let versions = client.call(at.registry, &Registry::modelOfCall { modelId: id })?.versionCount;
        for version in (1..=versions).rev() {
            let entry = client.call(at.registry, &Registry::versionOfCall { modelId: id, version })?;
            if entry.commitment == commitment {
                return Ok((model, version));
            }
        }
    }
    Err(Error::refused(match model {
        Some(model) => format!("a version of another model than {model} stands on these fingerprints"),
        None => "a version stands on these fingerprints, but no model has it".to_owned(),
    }))
}

/// From a version in its window to one that is active.
fn conclude(
    walk: &mut Walk<'_>,
    at: &Addresses,
    project: &Project<'_>,
    (model, version): (u64, u32),
) -> Result<Next> {
    let (client, id) = (walk.client, U256::from(model));
    for accepted in &project.registration.accepts {
        let asset = accepted.asset;
        let floor = client.call(at.registry, &Registry::floorOfCall { modelId: id, asset })?;
        let same = floor.perCall == accepted.per_call && floor.perThousand == accepted.per_thousand;
        if !floor.accepted || !same {
            let (per_call, per_thousand) = (accepted.per_call, accepted.per_thousand);
            let call =
                Registry::setFloorCall { modelId: id, asset, perCall: per_call, perThousand: per_thousand };
            let asset = Asset::read(client, asset)?;
            let says = format!(
                "let model {model} be paid in {}, at least {} an invocation and {} for 1,000 tokens",
                asset.symbol,
                asset.text(U256::from(per_call)),
                asset.text(U256::from(per_thousand))
            );
            walk.take(Step::new(says, at.registry, &call, gas::FLOOR))?;
        }
    }
    let entry = client.call(at.registry, &Registry::versionOfCall { modelId: id, version })?;
    if entry.state == REVOKED {
        return Err(Error::refused(format!(
            "version {version} of model {model} was revoked: it never returns"
        )));
    }
    if entry.state == CONTESTABLE {
        if entry.openClaims > 0 {
            return Ok(Next::Claimed);
        }
        if client.time()? < entry.windowEnds {
            let what = "the window is over in which others may claim the model";
            return Ok(Next::Wait { until: entry.windowEnds, what });
        }
        let call = Registry::activateCall { modelId: id, version };
        walk.take(Step::new(
            format!("activate version {version} of model {model}"),
            at.registry,
            &call,
            gas::ACTIVATE,
        ))?;
    }
    if version == 1 {
        let bond = client.call(at.factory, &ModelFactory::bondOfCall { modelId: id })?;
        let position = client.call(at.vault, &StakeVault::positionOfCall { id: bond })?;
        if position.bound > 0 {
            let amount = Asset::read(client, at.currency)?.text(U256::from(position.bound));
            let call = ModelFactory::releaseBondCall { modelId: id };
            walk.take(Step::new(format!("let the bond of {amount} thaw"), at.factory, &call, gas::RELEASE))?;
            return if walk.is_rehearsal() {
                Ok(Next::Rehearsed)
            } else {
                conclude(walk, at, project, (model, version))
            };
        } else if position.thawing > 0 {
            let thaws = position.thawsAt;
            if client.time()? < thaws {
                return Ok(Next::Wait {
                    until: thaws,
                    what: "the owner's bond has thawed; the model serves meanwhile",
                });
            }
            let amount = Asset::read(client, at.currency)?.text(U256::from(position.thawing));
            let call = StakeVault::withdrawCall { id: bond };
            walk.take(Step::new(format!("take the bond of {amount} back"), at.vault, &call, gas::RELEASE))?;
        }
    }
    Ok(Next::Done { model, version })
}
