//! A chain as text, one block a line, and back: import runs every transaction again and compares every hash.

use std::io::{BufRead, Read as _, Write};

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use super::{
    chain::Chain,
    genesis::Genesis,
    record::{Block, Funding},
    reply,
};
use crate::{Error, Result};

/// The form this version writes and reads.
const FORM: u64 = 1;
const LINE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct First {
    loyal_chain: u64,
    genesis: Genesis,
}

/// A block, and the balances set from outside before it. The last line may be balances alone.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fundings: Vec<Funding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<Sealed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    number: u64,
    timestamp: u64,
    hash: B256,
    transactions: Vec<Bytes>,
}

impl Chain {
    /// Writes the whole chain; returns the number of the last block written.
    ///
    /// # Errors
    /// [`Error::Pruned`] where the store no longer has every block, and the store's and the file's.
    pub fn export(&self, out: &mut dyn Write) -> Result<u64> {
        let head = self.head();
        write(out, &First { loyal_chain: FORM, genesis: self.genesis().clone() })?;
        let mut step = 0;
        for number in 1..=head.tip.block {
            let block = head.view.sealed_block(number)?;
            let fundings = head.view.fundings(step, block.step)?;
            let included = reply::transactions(&head.view, &block)?;
            let transactions = included.into_iter().map(|included| included.raw).collect();
            step = block.step;
            let Block { header, hash, .. } = block;
            let sealed = Sealed { number, timestamp: header.timestamp, hash, transactions };
            write(out, &Line { fundings, block: Some(sealed) })?;
        }
        let fundings = head.view.fundings(step, head.tip.step + 1)?;
        if !fundings.is_empty() {
            write(out, &Line { fundings, block: None })?;
        }
        out.flush().map_err(|error| Error::Store { why: format!("export: {error}") })?;
        Ok(head.tip.block)
    }

    /// The genesis that an exported chain starts with.
    ///
    /// # Errors
    /// [`Error::Import`] where the first line is not one.
    pub fn genesis_of_export(exported: &mut dyn BufRead) -> Result<Genesis> {
        let first: First = parse(1, &next(exported, 1)?.unwrap_or_default())?;
        let wrong = |why: String| Error::Import { line: 1, why };
        if first.loyal_chain != FORM {
            return Err(wrong(format!("form {}, this version reads {FORM}", first.loyal_chain)));
        }
        first.genesis.check().map_err(|error| wrong(error.to_string()))?;
        Ok(first.genesis)
    }

    /// Continues this chain with the blocks of an exported one; returns the number of the last block.
    ///
    /// Blocks that are here already are passed over, so an interrupted import can be started again.
    ///
    /// # Errors
    /// [`Error::Import`] naming the line that is no block, or not the next of this chain.
    pub fn import(&self, exported: &mut dyn BufRead) -> Result<u64> {
        let genesis = Self::genesis_of_export(exported)?;
        if genesis != *self.genesis() {
            return Err(Error::Import { line: 1, why: "the genesis is not this chain's".into() });
        }
        let mut number = 1;
        while let Some(text) = next(exported, number + 1)? {
            number += 1;
            let line: Line = parse(number, &text)?;
            self.import_line(line).map_err(|error| match error {
                Error::Store { .. } | Error::Damaged { .. } => error,
                other => Error::Import { line: number, why: other.to_string() },
            })?;
        }
        Ok(self.head().tip.block)
    }

    fn import_line(&self, line: Line) -> Result<()> {
        let head = self.head();
        if let Some(sealed) = &line.block
            && let Some(block) = head.view.block(sealed.number)?
        {
            if block.hash == sealed.hash {
                return Ok(());
            }
            let why = format!("block {} is {} here, not {}", sealed.number, block.hash, sealed.hash);
            return Err(Error::Rejected { why });
        }
        // Those of an import that was interrupted here are not set twice: a step counts in the roots.
        let done = head.view.fundings(head.block.step, head.tip.step + 1)?;
        if !line.fundings.starts_with(&done) {
            return Err(Error::Rejected { why: "balances were set here that the file does not have".into() });
        }
        for funding in &line.fundings[done.len()..] {
            self.fund(funding.account, funding.balance)?;
        }
        let Some(sealed) = line.block else { return Ok(()) };
        if sealed.number != head.tip.block + 1 {
            let why = format!("block {} does not follow block {}", sealed.number, head.tip.block);
            return Err(Error::Rejected { why });
        }
        self.replay(sealed.transactions, sealed.timestamp, sealed.hash)
    }
}

fn write(out: &mut dyn Write, line: &impl Serialize) -> Result<()> {
    let written = serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from);
    let written = written.and_then(|()| out.write_all(b"\n"));
    written.map_err(|error| Error::Store { why: format!("export: {error}") })
}

fn next(exported: &mut dyn BufRead, line: u64) -> Result<Option<String>> {
    let mut text = String::new();
    let read = exported.take(LINE_BYTES_MAX).read_line(&mut text);
    let wrong = |why: String| Error::Import { line, why };
    match read.map_err(|error| wrong(error.to_string()))? {
        0 => Ok(None),
        _ if text.ends_with('\n') => Ok(Some(text)),
        _ => Err(wrong(format!("the line is cut off, or longer than {LINE_BYTES_MAX} bytes"))),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(line: u64, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Import { line, why: error.to_string() })
}
