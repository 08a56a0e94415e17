//! The people of the stories, their chain, their model with its fingerprints, and the steps they take.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolCall, SolValue as _};
use anyhow::{Context as _, Result, ensure};
use loyal_fingerprint::commitment;
use loyal_fingerprint::scheme::{Rule, Tilt, tilt};
use loyal_protocol::chain::{Mined, Patience};
use loyal_protocol::contracts::*;
use loyal_protocol::deploy::{Plan, deploy};
use loyal_protocol::devnet::{Chain, Genesis, Store};
use loyal_protocol::walk::Taken;
use loyal_protocol::{Addresses, Asset, Client, Key, Walk, message};
use loyal_roles::court::{self, Claim, Kind};
use loyal_roles::defence::{Look, Permission, Records, Request};
use loyal_roles::hosting::{self, Hosting, Offer};
use loyal_roles::stake::{self, Seat};
use loyal_types::tree::{Entry, fingerprint_digest};
use loyal_types::{Hash, Proof, Tree};
use serde_json::{Value, json};

/// One LOYAL in base units.
pub(crate) const LOYAL: u128 = 1_000_000_000_000_000_000;
pub(crate) const DAY: u64 = 86_400;
/// What an invocation costs: 0.002 LOYAL.
pub(crate) const PRICE: u128 = LOYAL / 500;
/// What a host has at risk: 36 daily volumes of 10,000 invocations.
pub(crate) const BOND: u128 = 720 * LOYAL;
/// Fingerprints of the model.
pub(crate) const LEAVES: u32 = 1_024;
/// Coloured places of an answer.
const POSITIONS: u16 = 10;
const START: u64 = 1_800_000_000;
/// LOYAL that everybody has to begin with.
pub(crate) const PURSE: u128 = 50_000 * LOYAL;
const PEOPLE: [&str; 9] = ["owner", "alice", "bob", "charlie", "david", "host", "cheat", "user", "claimant"];

struct Noon;

impl loyal_types::Clock for Noon {
    fn unix_seconds(&self) -> u64 {
        START
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// The chain, the contracts, the model.
pub(crate) struct Town {
    pub(crate) client: Arc<Client>,
    pub(crate) at: Addresses,
    pub(crate) model: u64,
    pub(crate) marks: Marks,
    pub(crate) book: Book,
}

/// The key of a person.
pub(crate) fn key(name: &str) -> Key {
    Key::of(keccak256(name)).expect("the hash of a name is a key")
}

pub(crate) fn account(name: &str) -> Address {
    key(name).address()
}

/// The name of a validator or prover.
pub(crate) fn numbered(what: &str, number: usize) -> String {
    format!("{what} {number}")
}

impl Town {
    /// A fresh chain with all contracts, and an active model of Alice (30 %), Bob (15 %) and Charlie (15 %).
    pub(crate) fn open() -> Result<Self> {
        let crowd = ["validator", "prover"].map(|what| (0..20).map(move |number| numbered(what, number)));
        let people = PEOPLE.into_iter().map(str::to_owned).chain(crowd.into_iter().flatten());
        let accounts: Vec<_> = people.map(|name| account(&name)).collect();
        let genesis = Genesis::development(&accounts, U256::from(1_000 * LOYAL), START - 10 * DAY);
        let chain = Arc::new(Chain::open(Store::in_memory()?, genesis, Arc::new(Noon))?);
        let client =
            Arc::new(Client::connect(chain, None, Patience { attempts_max: 3, pause: Duration::ZERO })?);
        let owner = account("owner");
        let plan = Plan {
            proposers: vec![owner],
            delay_seconds: 2 * DAY,
            genesis_time: START - 10 * DAY,
            beneficiaries: [owner; 5],
            channel: None,
        };
        let at = deploy(&client, &key("owner"), &plan)?;
        let marks = Marks::new("first")?;
        let book = Book::new(message::domain(client.chain_id(), at.registry));
        let mut town = Self { client, at, model: 0, marks, book };
        town.send("owner", at.vesting, &GenesisVesting::releaseCall { index: U256::from(2) })?;
        for who in ["host", "cheat", "user", "claimant"] {
            town.pay(who, PURSE)?;
        }
        town.model = town.found_model()?;
        Ok(town)
    }

    /// LOYAL from the owner.
    pub(crate) fn pay(&self, to: &str, amount: u128) -> Result<()> {
        let call = LoyalCurrency::transferCall { to: account(to), value: U256::from(amount) };
        self.send("owner", self.at.currency, &call)?;
        Ok(())
    }

    pub(crate) fn send<C: SolCall>(&self, who: &str, to: Address, call: &C) -> Result<Mined> {
        self.client.send(&key(who), to, call).with_context(|| format!("{who}: {}", C::SIGNATURE))
    }

    /// What a person does by the steps of a role.
    pub(crate) fn act<T>(
        &self,
        who: &str,
        steps: impl FnOnce(&mut Walk<'_>) -> loyal_roles::Result<T>,
    ) -> Result<T> {
        let (key, mut quiet) = (key(who), |_: &Taken| ());
        let mut walk = Walk::begin(&self.client, &key, false, &mut quiet)?;
        steps(&mut walk).with_context(|| format!("what {who} does"))
    }

    // --- time

    pub(crate) fn now(&self) -> Result<u64> {
        Ok(self.client.time()?)
    }

    /// Lets time pass until just after a moment. Blocks in a hurry run ahead of the clock: one step may not be enough.
    pub(crate) fn pass(&self, until: u64) -> Result<()> {
        while self.now()? <= until {
            let seconds = until - self.now()? + 1;
            self.client.ask::<Value>("evm_increaseTime", json!([seconds]))?;
            self.client.ask::<Value>("evm_mine", json!([]))?;
        }
        Ok(())
    }

    pub(crate) fn today(&self) -> Result<u32> {
        let time = U256::from(self.now()?);
        Ok(self.client.call(self.at.parameters, &Parameters::epochAtCall { time })?)
    }

    pub(crate) fn start_of(&self, epoch: u32) -> Result<u64> {
        Ok(self.client.call(self.at.parameters, &Parameters::epochStartCall { epoch })?)
    }

    /// The next epoch begins, and its seed is drawn.
    pub(crate) fn next_day(&self) -> Result<u32> {
        let epoch = self.today()? + 1;
        self.pass(self.start_of(epoch)?)?;
        self.send("owner", self.at.beacon, &Beacon::closeCall { epoch })?;
        Ok(epoch)
    }

    // --- amounts

    pub(crate) fn purse(&self, account: Address) -> Result<u128> {
        Ok(self.client.call(self.at.currency, &LoyalCurrency::balanceOfCall { account })?.to())
    }

    pub(crate) fn supply(&self) -> Result<u128> {
        Ok(self.client.call(self.at.currency, &LoyalCurrency::totalSupplyCall {})?.to())
    }

    /// LOYAL that claims left an account.
    pub(crate) fn owed(&self, account: Address) -> Result<u128> {
        Ok(self.client.call(self.at.court, &DisputeCourt::owedCall { account })?.to())
    }

    /// LOYAL that slashes gave an account.
    pub(crate) fn reward(&self, account: Address) -> Result<u128> {
        let call = StakeVault::rewardsCall { account, asset: self.at.currency };
        Ok(self.client.call(self.at.vault, &call)?.to())
    }

    /// LOYAL that the holders of the model's shares have to come.
    pub(crate) fn revenue(&self) -> Result<u128> {
        let call = RevenueRouter::owedCall { account: self.shares()?, asset: self.at.currency };
        Ok(self.client.call(self.at.router, &call)?.to())
    }

    pub(crate) fn shares(&self) -> Result<Address> {
        Ok(self.entry()?.shares)
    }

    pub(crate) fn entry(&self) -> Result<Registry::Model> {
        let call = Registry::modelOfCall { modelId: U256::from(self.model) };
        Ok(self.client.call(self.at.registry, &call)?)
    }

    pub(crate) fn hosting(&self, id: u64) -> Result<Hosting> {
        Ok(Hosting::read(&self.client, &self.at, id)?)
    }

    pub(crate) fn claim(&self, id: B256) -> Result<Claim> {
        Ok(Claim::read(&self.client, &self.at, id)?)
    }

    // --- the model

    /// Commits to leaves, waits for the seed of the answers, and names what was embedded.
    pub(crate) fn commit(&self, who: &str, marks: &Marks, submitter: Address) -> Result<()> {
        let leaf_root = marks.root();
        let call = Registry::commitLeavesCall { leafRoot: leaf_root, leafCount: LEAVES };
        self.send(who, self.at.registry, &call)?;
        self.next_day()?;
        let call =
            Registry::commitFingerprintsCall { leafRoot: leaf_root, fingerprintRoot: leaf_root, submitter };
        self.send(who, self.at.registry, &call)?;
        Ok(())
    }

    fn found_model(&self) -> Result<u64> {
        let owner = account("owner");
        self.commit("owner", &self.marks, owner)?;
        let approve = LoyalCurrency::approveCall { spender: self.at.factory, value: U256::MAX };
        self.send("owner", self.at.currency, &approve)?;
        let creation = self.creation()?;
        let mined = self.send("owner", self.at.factory, &ModelFactory::createCall { creation })?;
        let id = mined.event::<ModelFactory::ModelCreated>().context("a model was created")?.modelId;
        let asset = self.at.currency;
        let floor = Registry::setFloorCall { modelId: id, asset, perCall: LOYAL / 1_000, perThousand: 0 };
        self.send("owner", self.at.registry, &floor)?;
        let issuer = CredentialRegistry::setIssuerCall { modelId: id, issuer: owner, allowed: true };
        self.send("owner", self.at.credentials, &issuer)?;
        let signer = ProbeReader::setTicketSignerCall { modelId: id, signer: account("tickets") };
        self.send("owner", self.at.probe_reader, &signer)?;
        self.pass(self.now()? + 7 * DAY)?;
        self.send("owner", self.at.registry, &Registry::activateCall { modelId: id, version: 1 })?;
        Ok(id.to())
    }

    fn creation(&self) -> Result<ModelFactory::Creation> {
        let parts = [("alice", 3_000), ("bob", 1_500), ("charlie", 1_500)];
        let terms = self.marks.terms("owner");
        let agreement = message::Agreement {
            subject: keccak256((terms.manifestRoot, terms.leafRoot).abi_encode()),
            grants: parts.map(|(who, bps)| message::Grant { account: account(who), bps }).to_vec(),
            reserveBps: 4_000,
            expiresAt: self.now()? + DAY,
        };
        let signatures = parts.map(|(who, _)| self.sign(who, &agreement)).to_vec();
        let grants = parts.map(|(who, bps)| ModelFactory::Grant { account: account(who), bps });
        Ok(ModelFactory::Creation {
            name: "Dobby".to_owned(),
            symbol: "DOBBY".to_owned(),
            openHosting: true,
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
            agreement: ModelFactory::Agreement {
                subject: agreement.subject,
                grants: grants.to_vec(),
                reserveBps: agreement.reserveBps,
                expiresAt: agreement.expiresAt,
            },
            signatures,
        })
    }

    pub(crate) fn sign<M: alloy_sol_types::SolStruct>(&self, who: &str, message: &M) -> Bytes {
        key(who).sign_message(message, &message::domain(self.client.chain_id(), self.at.registry))
    }

    pub(crate) fn digest<M: alloy_sol_types::SolStruct>(&self, message: &M) -> B256 {
        message::digest(message, &message::domain(self.client.chain_id(), self.at.registry))
    }

    // --- a host

    /// A hosting with a bond of 720 LOYAL that serves the public copy; `who` signs for it too.
    pub(crate) fn host(&self, who: &str) -> Result<u64> {
        Ok(self.act(who, |walk| hosting::open(walk, &self.at, &self.offer()?, &key(who)))?.0)
    }

    pub(crate) fn offer(&self) -> loyal_roles::Result<Offer> {
        Ok(Offer {
            model: self.model,
            version: None,
            level: 1,
            asset: Asset::read(&self.client, self.at.currency)?,
            price: PRICE,
            bond: Some(BOND),
            daily: 1,
            endpoint: "https://models.example/v1".to_owned(),
        })
    }

    /// Reports an epoch as the book has it.
    pub(crate) fn report(&self, who: &str, hosting: u64, epoch: u32) -> Result<()> {
        let receipts = self.book.receipts(hosting, epoch);
        let domain = message::domain(self.client.chain_id(), self.at.registry);
        let tree = tree_of(&receipts, &domain);
        let report = message::UsageReport {
            hostingId: U256::from(hosting),
            epoch,
            count: tree.count(),
            amount: tree.top().amount,
            tokens: tree.top().tokens,
            top: tree.top().hash.0.into(),
        };
        self.act(who, |walk| hosting::post(walk, &self.at, &report, &key(who)))
    }

    /// A paid invocation of today, with its receipt in the book: `prompt` is what the user asked.
    pub(crate) fn invoke(&self, hosting: u64, prompt: &str) -> Result<message::Receipt> {
        let (now, epoch) = (self.now()?, self.today()?);
        let number = self.book.receipts(hosting, epoch).len();
        let request = Request {
            salt: keccak256(format!("salt {hosting} {epoch} {number}")),
            prompt: prompt.to_owned(),
            params_hash: keccak256("parameters"),
        };
        let credential = message::Credential {
            modelId: U256::from(self.model),
            version: 0,
            hostingId: U256::ZERO,
            holder: account("user"),
            builder: Address::ZERO,
            asset: self.at.currency,
            requestHash: B256::ZERO,
            policyHash: B256::ZERO,
            scopes: 1,
            callsMax: 1_000,
            spendMax: LOYAL,
            notBefore: now - 60,
            expiresAt: now + 30 * DAY,
            modelGeneration: 0,
            holderGeneration: 0,
            salt: B256::ZERO,
        };
        let request_hash = keccak256((request.salt, keccak256(prompt), request.params_hash).abi_encode());
        let invocation = message::Invocation {
            credentialId: self.digest(&credential),
            hostingId: U256::from(hosting),
            version: 1,
            channelId: keccak256("channel"),
            nonce: number as u64,
            requestHash: request_hash,
            amountMax: PRICE,
            deadline: now + 60,
        };
        let receipt = message::Receipt {
            invocationId: self.digest(&invocation),
            hostingId: U256::from(hosting),
            epoch,
            seq: u32::try_from(number)?,
            requestHash: request_hash,
            responseHash: keccak256("an answer"),
            traceRoot: B256::ZERO,
            tokensIn: 10,
            tokensOut: 20,
            amount: PRICE,
            cumulative: PRICE,
            issuedAt: now,
        };
        let signature = self.sign("owner", &credential);
        let permission = Permission { invocation, credential, issuer: account("owner"), signature };
        self.book.keep(hosting, &receipt, permission, request);
        Ok(receipt)
    }

    // --- the court

    /// A claim, with a bond that is approved on the way.
    pub(crate) fn accuse(&self, who: &str, kind: Kind, evidence: &Bytes) -> Result<B256> {
        self.act(who, |walk| court::open(walk, &self.at, kind, evidence))
    }

    /// When a claim's time comes it is taken on, and where it is final it is carried out.
    pub(crate) fn advance(&self, id: B256) -> Result<Claim> {
        let claim = self.claim(id)?;
        if claim.state != "final" {
            self.pass(claim.deadline)?;
        }
        self.act("user", |walk| court::advance(walk, &self.at, &claim))?;
        self.claim(id)
    }

    pub(crate) fn seat(&self, what: &str, count: usize) -> Result<()> {
        let seat = if what == "prover" { Seat::Prover } else { Seat::Validator };
        for number in 0..count {
            let name = numbered(what, number);
            self.pay(&name, PURSE)?;
            self.act(&name, |walk| stake::bind(walk, &self.at, seat, None))?;
        }
        Ok(())
    }

    /// The reports of all days that are over, so that nothing is late.
    pub(crate) fn report_all(&self, who: &str, hosting: u64) -> Result<()> {
        for epoch in hosting::due(&self.client, &self.at, hosting)? {
            self.report(who, hosting, epoch)?;
        }
        Ok(())
    }
}

/// A model's fingerprints: what its owner knows.
pub(crate) struct Marks {
    name: String,
    pub(crate) digests: Vec<Hash>,
    pub(crate) tree: Tree,
    pub(crate) spec: Bytes,
}

impl Marks {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let spec = Rule::Tilt(Tilt { positions: POSITIONS }).spec();
        let digests = (0..LEAVES)
            .map(|index| fingerprint_digest(&query(index), blinding(name, index), &spec))
            .collect::<Vec<_>>();
        let tree = Tree::plain(&digests)?;
        Ok(Self { name: name.to_owned(), digests, tree, spec: spec.into() })
    }

    pub(crate) fn root(&self) -> B256 {
        self.tree.root().0.into()
    }

    pub(crate) fn blinding(&self, index: u32) -> B256 {
        blinding(&self.name, index).0.into()
    }

    /// What `committer` registers with these marks in it.
    pub(crate) fn terms(&self, committer: &str) -> Registry::VersionTerms {
        let root = |what: &str| keccak256(format!("{what} of {}", self.name));
        Registry::VersionTerms {
            manifestRoot: root("manifest"),
            weightsRoot: root("weights"),
            committer: account(committer),
            leafRoot: self.root(),
            parentModel: U256::ZERO,
            parentVersion: 0,
            trainingRoot: root("training"),
            evaluationRoot: root("evaluation"),
            termsHash: root("terms"),
            policyHash: root("policy"),
            uri: "loyal:dobby".to_owned(),
        }
    }

    /// What a model with these marks answers: at each place a word of the secret's colour.
    pub(crate) fn answer(&self, seed: B256, index: u32) -> Result<Vec<Bytes>> {
        let root = self.tree.root();
        let secret = commitment::secret(blinding(&self.name, index), root, Hash(seed.0), index);
        let words = (0..64).map(|number| format!(" word{number}")).collect::<Vec<_>>();
        let pieces = (0..POSITIONS)
            .map(|place| words.iter().find(|word| tilt::colour(secret, place, word.as_bytes())).cloned());
        let pieces: Option<Vec<String>> = pieces.collect();
        let pieces = pieces.context("one of 64 words has the colour")?;
        Ok(pieces.into_iter().map(|piece| Bytes::from(piece.into_bytes())).collect())
    }
}

pub(crate) fn query(index: u32) -> String {
    format!("What grows in field {index}?")
}

fn blinding(name: &str, index: u32) -> Hash {
    Hash(keccak256(format!("blinding of {name} {index}")).0)
}

/// A proof as contracts take it.
pub(crate) fn proof(tree: &Tree, index: u32) -> Result<ProbeBoard::Proof> {
    let found = tree.proof(index).context("there is such a leaf")?;
    ensure!(found.count == tree.count(), "of this tree");
    let siblings = found.siblings.iter();
    let siblings = siblings.map(|node| ProbeBoard::Node {
        hash: node.hash.0.into(),
        amount: node.amount,
        tokens: node.tokens,
    });
    Ok(ProbeBoard::Proof { index: found.index, count: found.count, siblings: siblings.collect() })
}

/// The tree of an epoch's receipts, whose root the report posts: the leaf of a receipt stands at its number.
fn tree_of(receipts: &[message::Receipt], domain: &Eip712Domain) -> Tree {
    let leaves = receipts.iter().map(|receipt| Entry {
        digest: Hash(message::digest(receipt, domain).0),
        amount: receipt.amount,
        tokens: u128::from(receipt.tokensIn) + u128::from(receipt.tokensOut),
    });
    Tree::new(&leaves.collect::<Vec<_>>()).expect("the sums of a story fit")
}

/// What hosts keep.
pub(crate) struct Book {
    /// What receipts are signed for.
    domain: Eip712Domain,
    receipts: RefCell<BTreeMap<(u64, u32), Vec<message::Receipt>>>,
    behind: RefCell<BTreeMap<B256, (Permission, Request)>>,
    lost: RefCell<BTreeSet<B256>>,
}

impl Book {
    fn new(domain: Eip712Domain) -> Self {
        Self { domain, receipts: RefCell::default(), behind: RefCell::default(), lost: RefCell::default() }
    }

    /// The receipts of an epoch, in the order of their numbers.
    pub(crate) fn receipts(&self, hosting: u64, epoch: u32) -> Vec<message::Receipt> {
        self.receipts.borrow().get(&(hosting, epoch)).cloned().unwrap_or_default()
    }

    fn keep(&self, hosting: u64, receipt: &message::Receipt, permission: Permission, request: Request) {
        let mut receipts = self.receipts.borrow_mut();
        receipts.entry((hosting, receipt.epoch)).or_default().push(receipt.clone());
        self.behind.borrow_mut().insert(receipt.invocationId, (permission, request));
    }

    /// The last receipt of an epoch is kept out of it.
    pub(crate) fn forget_last(&self, hosting: u64, epoch: u32) -> Option<message::Receipt> {
        self.receipts.borrow_mut().get_mut(&(hosting, epoch))?.pop()
    }

    /// A receipt that was kept out is put back.
    #[allow(dead_code, reason = "tests of the defence do")]
    pub(crate) fn remember(&self, hosting: u64, receipt: message::Receipt) {
        self.receipts.borrow_mut().entry((hosting, receipt.epoch)).or_default().push(receipt);
    }

    /// What lay behind a receipt is lost.
    #[allow(dead_code, reason = "tests of the defence do")]
    pub(crate) fn lose(&self, invocation: B256) {
        self.lost.borrow_mut().insert(invocation);
    }

    /// And found again.
    #[allow(dead_code, reason = "tests of the defence do")]
    pub(crate) fn find(&self, invocation: B256) {
        self.lost.borrow_mut().remove(&invocation);
    }

    fn behind(&self, invocation: B256) -> Option<(Permission, Request)> {
        let lost = self.lost.borrow().contains(&invocation);
        self.behind.borrow().get(&invocation).filter(|_| !lost).cloned()
    }
}

impl Records for Book {
    fn look_through(&self, hosting: u64, epoch: u32, look: &mut Look<'_>) -> loyal_roles::Result<()> {
        for receipt in self.receipts(hosting, epoch) {
            if look(&receipt)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn proof(&self, hosting: u64, epoch: u32, seq: u32) -> loyal_roles::Result<Option<(Proof, B256)>> {
        let tree = tree_of(&self.receipts(hosting, epoch), &self.domain);
        Ok(tree.proof(seq).map(|proof| (proof, tree.root().0.into())))
    }

    fn permission(&self, invocation: B256) -> loyal_roles::Result<Option<Permission>> {
        Ok(self.behind(invocation).map(|(permission, _)| permission))
    }

    fn request(&self, invocation: B256) -> loyal_roles::Result<Option<Request>> {
        Ok(self.behind(invocation).map(|(_, request)| request))
    }
}
