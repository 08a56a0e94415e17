//! `loyal access ask`: one question, one paid answer.

use serde_json::json;

use super::{Opening, amount, asset_of};
use crate::output;

/// Arguments of `loyal access ask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The answer goes to standard output as it comes; what it cost, to standard error. An answer that broke off is not paid twice: \
ask the same again.

Example:
  loyal access ask \"Where does the river end?\" --key me.json")]
pub(crate) struct Args {
    /// The question.
    prompt: String,
    #[command(flatten)]
    opening: Opening,
}

/// Asks.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (caller, client) = args.opening.caller(|_| ())?;
    super::runtime()?.block_on(async {
        let mut answer = caller.ask(&args.prompt).await?;
        let mut text = String::new();
        while let Some(piece) = answer.next().await? {
            if args.opening.site.json {
                text.push_str(&piece);
            } else {
                output::write(&piece)?;
            }
        }
        let record = answer.record().cloned();
        if args.opening.site.json {
            let cost = record.as_ref().map(|record| record.receipt.receipt.receipt.amount.to_string());
            let receipt = record.as_ref().map(|record| &record.receipt);
            return output::json(&json!({ "answer": text, "cost": cost, "receipt": receipt }));
        }
        output::line("")?;
        if let Some(record) = record {
            let receipt = &record.receipt.receipt.receipt;
            let asset = tokio::task::spawn_blocking(move || asset_of(&client, record.asset)).await?.ok();
            output::say(&format!(
                "{} for {} tokens in and {} out; receipt {} of epoch {}",
                amount(asset.as_ref(), receipt.amount),
                receipt.tokensIn,
                receipt.tokensOut,
                receipt.seq,
                receipt.epoch
            ));
        }
        Ok(())
    })
}
