//! Invocations that are paid by a transfer each (scheme `exact`): signed once, sent again as they are, promised until they end.

use loyal_protocol::Client;

use super::{Ask, Caller, Inner, is_for};
use crate::payer::{self, Order, payee_of};
use crate::wallet::{Entry, Pending, Transfer, Wallet};
use crate::{Error, Result};

/// A transfer that is sent must be good for so many more seconds: it takes its time to the chain.
const TRANSFER_REST: u64 = 15;

impl Caller {
    /// The invocation to send: one of this request whose transfer was signed before, or a new one.
    pub(super) async fn next_transfer(&self, ask: &mut Ask) -> Result<Option<Pending>> {
        let (payee, index) = (payee_of(&ask.known.terms), ask.lane.index);
        let open = self
            .block(move |inner| {
                let wallet = inner.wallet();
                let all = wallet.book().transfers.values();
                Ok(all.filter(|one| one.payee == payee && one.lane == index).cloned().collect::<Vec<_>>())
            })
            .await?;
        let now = self.inner.now();
        for transfer in open {
            let Some(pending) = transfer.pending() else { continue };
            ask.channel = transfer.nonce();
            if is_fresh(&transfer, now) && is_for(&pending, ask, self.inner.credential, now) {
                return Ok(Some(pending));
            }
            // It may have been answered without our hearing of it.
            self.resolve(ask, &pending).await?;
        }
        self.promise(ask).await.map(Some)
    }

    /// Signs a new invocation, and the transfer that pays it.
    async fn promise(&self, ask: &mut Ask) -> Result<Pending> {
        let (terms, salt, nonce) = (ask.known.terms.clone(), self.inner.draw(), self.inner.draw());
        let (request, lane) = (ask.request.hash(salt), ask.lane.clone());
        ask.channel = nonce;
        self.block(move |inner| {
            let (now, now_millis) = (inner.now(), inner.now_millis());
            let client = &inner.seams.client;
            inner.sweep()?;
            let requirements = &terms.requirements;
            check_room(&inner.wallet(), requirements.asset, requirements.amount, now)?;
            payer::balance(client, requirements.asset, inner.payer.address(), requirements.amount)?;
            let order = Order {
                terms: &terms,
                credential: inner.credential,
                request,
                salt,
                deposit: None,
                now_millis,
            };
            let transfer = inner.payer.promise(&order, lane.index, nonce);
            let transfer = inner.wallet().promise(transfer, now)?;
            transfer
                .pending()
                .ok_or_else(|| Error::Wallet { why: "a transfer without its invocation".to_owned() })
        })
        .await
    }
}

impl Inner {
    /// Writes down what became of transfers whose time is over.
    pub(super) fn sweep(&self) -> Result<()> {
        let open: Vec<_> = self.wallet().book().transfers.values().cloned().collect();
        let entries = ended(&self.seams.client, &open, self.now())?;
        entries.into_iter().try_for_each(|entry| self.wallet().write(entry))
    }
}

/// Whether a transfer that was signed can still be made, and has the time to.
pub(crate) fn is_fresh(transfer: &Transfer, now: u64) -> bool {
    transfer.ends_at() > now + TRANSFER_REST
}

/// Whether one more transfer stays within the caps; looked at before the chain is asked for anything.
pub(crate) fn check_room(
    wallet: &Wallet,
    asset: alloy_primitives::Address,
    amount: u128,
    now: u64,
) -> Result<()> {
    wallet.book().check_caps(asset, amount, now).map_err(|capped| Error::Capped { asset, capped })
}

/// What became of transfers whose time is over by the chain's clock: they were made, or never will be.
pub(crate) fn ended(client: &Client, open: &[Transfer], now: u64) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if open.iter().all(|one| one.ends_at() > now) {
        return Ok(entries);
    }
    let chain_now = client.time()?;
    for one in open.iter().filter(|one| one.ends_at() <= chain_now) {
        let transfer = one.nonce();
        let made = payer::is_made(client, one)?;
        entries.push(if made { Entry::Paid { transfer, at: now } } else { Entry::Void { transfer } });
    }
    Ok(entries)
}
