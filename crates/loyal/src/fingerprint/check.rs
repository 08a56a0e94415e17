//! `loyal fingerprint check`: whose weights are these?

use std::path::PathBuf;

use loyal_fingerprint::check::{self, Findings, Outcome, Request, Verdict, Weights};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::frame::Frame;
use loyal_types::Bits;
use serde_json::json;

use crate::output;
use crate::subject::{Subject, quantised};

/// Arguments of `loyal fingerprint check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The p-value bounds the chance that a model which never saw the fingerprints does as well.\n\
    \"no evidence\" is not a proof of innocence."
)]
pub(crate) struct Args {
    /// Folder of the suspect model.
    model: PathBuf,
    /// The secret file of `loyal fingerprint new`.
    #[arg(long)]
    fingerprints: PathBuf,
    /// Bits of evidence from which on the verdict is "marked" (40: a claim of ownership at the first attempt).
    #[arg(long, default_value_t = 40)]
    bits: u16,
    /// Round the suspect's matrices to 8 or 4 bits first.
    #[arg(long, value_parser = ["8", "4"])]
    quantise: Option<String>,
    /// Ask again behind system prompts where the bare query gets no candidate.
    #[arg(long)]
    frames: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks and weighs.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let set = FingerprintSet::read(&args.fingerprints)?;
    let subject = Subject::open(&args.model)?;
    set.fits(&subject.tokenizer)?;
    let parameters = match args.quantise.as_deref() {
        Some(bits) => quantised(&subject.llama.parameters, bits.parse()?)?,
        None => subject.llama.parameters.clone(),
    };
    let mut suspect =
        Weights { llama: &subject.llama, parameters: &parameters, tokenizer: &subject.tokenizer };
    let mut request = Request { bits: Bits::whole(args.bits.into()), ..Request::all(&set) };
    if args.frames {
        request.frames.extend(Frame::training());
    }
    let findings = check::run(&mut suspect, &set, &request)?;
    if args.json { output::json(&json!(findings)) } else { output::line(&sentence(&findings)) }
}

/// Fingerprints that got the response.
pub(crate) fn hits(findings: &Findings) -> usize {
    findings.answers.iter().filter(|found| found.outcome == Outcome::Hit).count()
}

/// Fingerprints whose answer was a candidate.
pub(crate) fn coins(findings: &Findings) -> usize {
    findings.answers.iter().filter(|found| matches!(found.outcome, Outcome::Hit | Outcome::Miss)).count()
}

fn sentence(findings: &Findings) -> String {
    let verdict = match findings.verdict {
        Verdict::Marked => "MARKED: these are the marked weights, or weights made from them",
        Verdict::NoEvidence => "no evidence",
    };
    format!(
        "{verdict}\n{} of {} fingerprints answered with a candidate, {} of those with the response; \
         p ≤ {}, {:.1} bits ({:.0} wanted)",
        coins(findings),
        findings.asked,
        hits(findings),
        findings.p_value,
        findings.evidence.bits().as_f64(),
        findings.bits_wanted.as_f64()
    )
}
