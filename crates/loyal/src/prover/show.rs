//! `loyal prover show`: what a prover asked, and what became of it.

use std::path::PathBuf;

use loyal_roles::prover::Ledger;
use loyal_roles::prover::ledger::Entry;
use serde_json::{Value, json};

use crate::output;

/// Arguments of `loyal prover show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Queries stay secret until they are laid open: they are not shown.

Example:
  loyal prover show chain/prover-0xAa…")]
pub(crate) struct Args {
    /// The prover's folder.
    ledger: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let entries = Ledger::peek(&args.ledger)?;
    if args.json {
        let rows: Vec<Value> = entries.iter().map(row_json).collect();
        return output::json(&json!({ "ledger": args.ledger, "slots": rows }));
    }
    table(entries.iter())
}

/// One line for each slot.
pub(super) fn table<'a>(entries: impl Iterator<Item = &'a Entry>) -> anyhow::Result<()> {
    let rows: Vec<(String, String)> = entries
        .map(|entry| {
            let slot = entry.slot;
            let answered = entry.sends.iter().filter(|send| send.text.is_some()).count();
            let receipts = entry.sends.iter().filter(|send| send.receipt.is_some()).count();
            let state = entry.note.clone().unwrap_or_else(|| state(entry).to_owned());
            let name = format!("hosting {}, epoch {}, slot {}", slot.hosting, slot.epoch, slot.number);
            (name, format!("{answered} of {} answered, {receipts} receipts; {state}", entry.sends.len()))
        })
        .collect();
    if rows.is_empty() {
        return output::line("no slot was drawn yet");
    }
    let pairs: Vec<(&str, String)> = rows.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    output::pairs(&pairs)
}

const fn state(entry: &Entry) -> &'static str {
    match (&entry.held, &entry.result) {
        (None, _) => "waits for its time",
        (Some(_), None) => "being asked",
        (Some(_), Some(_)) => "committed to",
    }
}

fn row_json(entry: &Entry) -> Value {
    let sends: Vec<_> = entry
        .sends
        .iter()
        .map(|send| {
            json!({
                "isProbe": send.kind == loyal_roles::prover::ledger::PROBE, "isAnswered": send.text.is_some(),
                "invocation": send.receipt.as_ref().map(|receipt| receipt.receipt.invocationId),
                "isReported": send.is_reported, "problem": send.problem,
            })
        })
        .collect();
    json!({
        "hosting": entry.slot.hosting.to_string(), "epoch": entry.slot.epoch, "slot": entry.slot.number,
        "leaf": entry.leaf, "dueAt": entry.due_at.to_string(), "state": state(entry), "isOver": entry.is_over,
        "note": entry.note, "sends": sends,
    })
}
