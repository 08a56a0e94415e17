//! `loyal fingerprint check`: whose weights are these?

use std::ops::ControlFlow;
use std::path::PathBuf;

use loyal_fingerprint::check::{self, Case, Findings, Mode, Outcome, Request, Verdict, Weights};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::frame::Frame;
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
    /// The owner's unmarked model: with it every answer says more.
    #[arg(long)]
    reference: Option<PathBuf>,
    /// What is seen of the answers: logits, top-20, top-5, greedy or sampled.
    #[arg(long, default_value = "logits")]
    mode: Mode,
    /// Registrations ever claimed and suspects tested so far, this one included: each makes the verdict harder.
    #[arg(long, default_value_t = 1)]
    registrations: u32,
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
    let reference = args.reference.as_ref().map(|folder| Subject::open(folder)).transpose()?;
    let mut suspect = Weights::new(&subject.llama, &parameters, &subject.tokenizer);
    let mut request = Request::all(&set, args.mode).after(args.registrations);
    if args.frames {
        request.frames.extend(Frame::training());
    }
    let reference = reference.as_ref().map(|subject| &subject.llama);
    let case = Case { set: &set, tokenizer: &subject.tokenizer, reference };
    let findings = check::run(&mut suspect, &case, &request, &mut |_| Ok(ControlFlow::Continue(())))?;
    if args.json { output::json(&json!(findings)) } else { output::line(&sentence(&findings)) }
}

fn sentence(findings: &Findings) -> String {
    let verdict = match findings.verdict {
        Verdict::Marked => "MARKED: these are the marked weights, or weights made from them",
        Verdict::NoEvidence => "no evidence",
    };
    format!(
        "{verdict}\n{} fingerprints asked ({}), {} for the secret, {} against it; p ≤ {}, E = 1e{:.1} (1e{:.1} wanted); \
         {:.1} bits from text alone",
        findings.asked,
        findings.mode,
        findings.count(Outcome::Hit),
        findings.count(Outcome::Miss),
        findings.p_value,
        findings.log10_e,
        findings.log10_wanted,
        findings.evidence.bits().as_f64(),
    )
}
