//! `loyal fingerprint trace`: which host's copy is this?

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use loyal_fingerprint::check::transcript::Record;
use loyal_fingerprint::check::{self, Case, Mode, Request, Weights};
use loyal_fingerprint::copies::{HostCopy, Register};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::trace::{self, Trace, Traced};
use loyal_fingerprint::{Error, Pool};
use serde_json::json;

use crate::ending::Ending;
use crate::subject::Subject;
use crate::{output, stop};

/// Copies that are listed though nothing names them.
const LISTED: usize = 3;
/// Colluders that subsets are meant for.
const COLLUDERS: std::ops::RangeInclusive<u32> = 1..=3;

/// Arguments of `loyal fingerprint trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each copy that `embed --copy` made carries its own half of the tracing pool. A suspect that answers those fingerprints \
tells whose copy it was made from, and whose copies, if up to three hosts put theirs together. The chance that any host \
is named that had no part in it is δ at most, whatever the others did.

Who embeds the marks holds every copy: a trace convinces the owner, and others only where copies were made inside of an \
attested build.

An endpoint is asked by a check, which spends the fingerprints and keeps a transcript; the transcript is traced:
  loyal fingerprint check https://host.example/v1 --fingerprints secret.json --reference ./unmarked \\
      --pool tracing --transcript leak.transcript
  loyal fingerprint trace leak.transcript --fingerprints secret.json

Example:
  loyal fingerprint trace ./suspect --fingerprints secret.json --reference ./unmarked")]
pub(crate) struct Args {
    /// Folder of the suspect model, or the transcript of a check that asked the tracing pool.
    suspect: PathBuf,
    /// The secret file; the register of copies lies beside it.
    #[arg(long, value_name = "FILE")]
    fingerprints: PathBuf,
    /// Folder of the owner's unmarked model: with it every answer says more (folders).
    #[arg(long, value_name = "FOLDER")]
    reference: Option<PathBuf>,
    /// What is seen of a folder's answers: logits, top-20, top-5, greedy or sampled [default: logits]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Chance at most that any host is named that had no part in it.
    #[arg(long, value_name = "δ", default_value_t = trace::DELTA)]
    delta: f64,
    /// Print what was found about every copy as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks or reads, and says whom the answers name.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let address = args.suspect.to_string_lossy();
    ensure!(
        !address.starts_with("http://") && !address.starts_with("https://"),
        "an endpoint is asked by a check: loyal fingerprint check {address} --pool tracing --transcript FILE; \
         then trace FILE"
    );
    let set = FingerprintSet::read(&args.fingerprints)?;
    let register = Register::beside(&args.fingerprints, &set);
    let copies = register.copies()?;
    ensure!(
        !copies.is_empty(),
        "{}: no copy is registered; copies are made with: loyal fingerprint embed --copy NAME",
        register.path().display()
    );
    let found = if args.suspect.is_dir() { ask(args, &set, &copies)? } else { read(args, &set, &copies)? };
    if args.json {
        let named: Vec<&str> = found.named().map(|one| one.name.as_str()).collect();
        let mut value = json!(found);
        value["named"] = json!(named);
        value["suspect"] = json!(args.suspect);
        return output::json(&value);
    }
    tell(&found)
}

/// Asks weights the whole tracing pool. They tell nobody, so nothing is spent.
fn ask(args: &Args, set: &FingerprintSet, copies: &[HostCopy]) -> anyhow::Result<Traced> {
    let subject = Subject::open(&args.suspect)?;
    set.fits(&subject.tokenizer)?;
    let reference = match &args.reference {
        Some(folder) => {
            let failed = || format!("the reference model in {}", folder.display());
            let reference = Subject::open(folder).with_context(failed)?;
            set.fits(&reference.tokenizer).with_context(failed)?;
            Some(reference)
        }
        None => None,
    };
    stop::listen();
    let mode = args.mode.unwrap_or(Mode::Logits);
    let request = Request::all(set, mode).of_pool(set, Pool::Tracing);
    let mut trace = Trace::new(set, copies, mode)?;
    let reference = reference.as_ref().map(|subject| &subject.llama);
    let case = Case { set, tokenizer: &subject.tokenizer, reference };
    let mut suspect = Weights::new(&subject.llama, &subject.llama.parameters, &subject.tokenizer);
    let bar = bar(request.indices.len(), args.json);
    check::run(&mut suspect, &case, &request, &mut |attempt| {
        trace.hear(attempt)?;
        bar.inc(1);
        Ok(stop::asked())
    })?;
    bar.finish_and_clear();
    if let ControlFlow::Break(()) = stop::asked() {
        return Err(Ending::Interrupted.into());
    }
    Ok(trace.findings(args.delta)?)
}

fn bar(length: usize, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} fingerprints");
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Reads what a check asked.
fn read(args: &Args, set: &FingerprintSet, copies: &[HostCopy]) -> anyhow::Result<Traced> {
    let given = [("--reference", args.reference.is_some()), ("--mode", args.mode.is_some())];
    super::check::refuse(&given, "folders; a transcript holds what was seen")?;
    let record = Record::read(&args.suspect)?;
    let header = record.header();
    if header.leaf_root != set.leaf_root() || Some(header.beacon) != set.beacon().map(|beacon| beacon.seed) {
        return Err(Error::Malformed {
            path: args.suspect.clone(),
            problem: format!("the transcript is of the fingerprints {}", header.leaf_root),
            remedy: format!("give the secret file of those, not of {}", set.leaf_root()),
        }
        .into());
    }
    let mut trace = Trace::new(set, copies, header.mode)?;
    record.attempts().try_for_each(|attempt| trace.hear(attempt))?;
    let found = trace.findings(args.delta)?;
    if found.asked == 0 {
        bail!(
            "{}: nothing of the tracing pool was asked; check the suspect again with --pool tracing",
            args.suspect.display()
        );
    }
    Ok(found)
}

fn tell(found: &Traced) -> anyhow::Result<()> {
    let named: Vec<&str> = found.named().map(|one| one.name.as_str()).collect();
    let verdict = match named.as_slice() {
        [] => "NOBODY IS NAMED: no copy in the register explains these answers well enough".to_owned(),
        [one] => format!("NAMED: this was made from the copy of {one}"),
        several => format!("NAMED: this was made from the copies of {}", several.join(", ")),
    };
    output::line(&verdict)?;
    output::line(&format!(
        "{} copies, {} fingerprints asked ({}), {} not answered; a copy is named from E = 1e{:.1} on: chance {} at \
         most that anybody innocent is",
        found.copies.len(),
        found.asked,
        found.mode,
        found.refused,
        found.log10_wanted,
        found.delta
    ))?;
    for one in found.copies.iter().take(named.len() + LISTED) {
        let mark = if one.is_named { "named" } else { "" };
        output::line(format!("  {:<40} E = 1e{:<8.1} {mark}", one.name, one.log10_e).trim_end())?;
    }
    Ok(())
}

/// What a tracing pool of `size` fingerprints is good for, in words.
pub(super) fn reach(size: usize, copies: usize) -> String {
    let enough = COLLUDERS.filter(|&k| size >= trace::unanimous_count(copies, trace::DELTA, k)).max();
    let wanted = trace::unanimous_count(copies, trace::DELTA, *COLLUDERS.end());
    match enough {
        Some(k) if k == *COLLUDERS.end() => {
            format!("{size} fingerprints trace up to {k} colluders among {copies} copies")
        }
        Some(k) => format!(
            "{size} fingerprints trace up to {k} colluders among {copies} copies; {} would want {wanted}",
            COLLUDERS.end()
        ),
        None => format!(
            "{size} fingerprints cannot trace a leak among {copies} copies even from one host alone; {} are needed: \
             write a larger set",
            trace::unanimous_count(copies, trace::DELTA, 1)
        ),
    }
}
