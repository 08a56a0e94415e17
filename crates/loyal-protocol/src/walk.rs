//! Several transactions in a row, taken or only rehearsed, each with a sentence about what it does.
//!
//! Whoever walks reads from the chain where they stand and takes what is missing: a walk that was cut short goes on when
//! it is begun again, and pays nothing twice.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::SolCall;

use crate::{
    Asset, Client, Failure, Key, Outcome,
    asset::Metadata,
    chain::{Cost, Mined},
};

/// Gas of an approval: measured, for rehearsals in which it has not been given yet.
const APPROVE_GAS: u64 = 48_000;

/// One transaction, before it is sent.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does, as a sentence without an end: "open a hosting of model 3".
    pub says: String,
    /// The contract.
    pub to: Address,
    /// The call.
    pub data: Bytes,
    /// What it costs as a rule, for rehearsals in which an earlier step it needs has not been taken.
    pub gas_usual: u64,
}

impl Step {
    /// A call of a contract's function.
    pub fn new<C: SolCall>(says: impl Into<String>, to: Address, call: &C, gas_usual: u64) -> Self {
        Self { says: says.into(), to, data: call.abi_encode().into(), gas_usual }
    }

    /// Leave for a contract to take an amount, unless it has that already.
    ///
    /// # Errors
    /// The endpoint's, and [`Failure::Short`] where the account has less.
    pub fn approval(
        client: &Client,
        asset: &Asset,
        owner: Address,
        spender: (Address, &str),
        amount: U256,
    ) -> Outcome<Option<Self>> {
        let balance = asset.balance(client, owner)?;
        if balance < amount {
            return Err(Failure::Short {
                account: owner,
                balance: asset.text(balance),
                needed: asset.text(amount),
            });
        }
        if asset.allowance(client, owner, spender.0)? >= amount {
            return Ok(None);
        }
        let call = Metadata::approveCall { spender: spender.0, value: amount };
        let says = format!("let the {} take {}", spender.1, asset.text(amount));
        Ok(Some(Self::new(says, asset.address, &call, APPROVE_GAS)))
    }
}

/// A step that was taken, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it did.
    pub says: String,
    /// The gas it used; in a rehearsal what it would use.
    pub gas: u64,
    /// Whether a rehearsal could ask the chain; otherwise `gas` is what such a step uses as a rule.
    pub exact: bool,
    /// What it cost, in wei; in a rehearsal the most it would cost at today's price.
    pub wei: U256,
    /// The transaction; none in a rehearsal.
    pub transaction: Option<B256>,
}

/// The steps of one account.
pub struct Walk<'a> {
    /// The chain.
    pub client: &'a Client,
    key: &'a Key,
    rehearse: bool,
    taken: Vec<Taken>,
    tell: &'a mut dyn FnMut(&Taken),
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("account", &self.account())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<'a> Walk<'a> {
    /// Begins where the account's earlier transactions end: what an interrupted walk had sent is waited for.
    /// `rehearse` takes no step and says what each would cost; `tell` hears of each as it is taken.
    ///
    /// # Errors
    /// The endpoint's, and [`Failure::Waiting`] where earlier transactions do not end.
    pub fn begin(
        client: &'a Client,
        key: &'a Key,
        rehearse: bool,
        tell: &'a mut dyn FnMut(&Taken),
    ) -> Outcome<Self> {
        client.settle(key.address())?;
        Ok(Self { client, key, rehearse, taken: Vec::new(), tell })
    }

    /// Whose steps these are.
    #[must_use]
    pub fn account(&self) -> Address {
        self.key.address()
    }

    /// The key that signs.
    #[must_use]
    pub const fn key(&self) -> &Key {
        self.key
    }

    /// Whether nothing is sent.
    #[must_use]
    pub const fn is_rehearsal(&self) -> bool {
        self.rehearse
    }

    /// What was taken so far.
    #[must_use]
    pub fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// Takes a step. In a rehearsal it answers nothing.
    ///
    /// # Errors
    /// [`Client::send_data`]'s.
    pub fn take(&mut self, step: Step) -> Outcome<Option<Mined>> {
        let (mined, taken) = if self.rehearse {
            (None, self.rehearsed(step)?)
        } else {
            let mined = self.client.send_data(self.key, TxKind::Call(step.to), step.data)?;
            let wei = U256::from(mined.gas()) * mined.effective_gas_price;
            let transaction = Some(mined.transaction_hash);
            let taken = Taken { says: step.says, gas: mined.gas(), exact: true, wei, transaction };
            (Some(mined), taken)
        };
        (self.tell)(&taken);
        self.taken.push(taken);
        Ok(mined)
    }

    /// Takes a step, where there is one to take.
    ///
    /// # Errors
    /// As [`Walk::take`].
    pub fn take_if(&mut self, step: Option<Step>) -> Outcome<()> {
        step.map_or(Ok(()), |step| self.take(step).map(|_| ()))
    }

    fn rehearsed(&self, step: Step) -> Outcome<Taken> {
        // What this step needs may be what an earlier one would have done, even the contract itself.
        let first = self.taken.is_empty();
        let found = if first || !self.client.code(step.to)?.is_empty() {
            self.client.cost(self.account(), TxKind::Call(step.to), &step.data).map(Some)
        } else {
            Ok(None)
        };
        let (gas, exact, wei) = match found {
            Ok(Some(Cost { gas, wei_max })) => (gas, true, wei_max),
            Err(failure) if first || !matches!(failure, Failure::Reverted { .. }) => return Err(failure),
            Ok(None) | Err(_) => {
                let price: U256 = self.client.ask("eth_gasPrice", serde_json::json!([]))?;
                (step.gas_usual, false, U256::from(step.gas_usual) * price)
            }
        };
        Ok(Taken { says: step.says, gas, exact, wei, transaction: None })
    }
}
