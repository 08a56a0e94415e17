//! `loyal fingerprint check`: whose weights are these?

mod endpoint;
mod local;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use loyal_fingerprint::Pool;
use loyal_fingerprint::check::hearing::Progress;
use loyal_fingerprint::check::transcript::Record;
use loyal_fingerprint::check::{Bundle, Findings, Ledger, Mode, Outcome, Request, Verdict};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::frame::Frame;
use loyal_model::corpus::file_digest;
use loyal_types::{Clock as _, Hash, keccak256};
use serde_json::{Value, json};

use crate::clock::SystemClock;
use crate::output;
use crate::subject::Subject;

/// Arguments of `loyal fingerprint check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A folder is asked for everything its weights say. An endpoint (any that speaks the OpenAI API) is first asked some \
ordinary prompts, which decide what can be seen of its answers; then the fingerprints, in an order that the beacon \
and the endpoint's address fix, hidden among more ordinary prompts, until they suffice. Every fingerprint is spent in \
the ledger beside the secret file before it is asked, and every answer is in the transcript before the next question: \
a check that was stopped, by Ctrl-C or a power cut, goes on where it was when the same command is run again.

E is evidence that holds whenever a check stops: an innocent model reaches 1/α with chance α at most. The p-value \
bounds the chance for the number of fingerprints asked. \"no evidence\" is not a proof of innocence.

Examples:
  loyal fingerprint check ./suspect --fingerprints secret.json --reference ./unmarked
  loyal fingerprint check https://host.example/v1 --fingerprints secret.json --reference ./unmarked \\
      --api-key-env HOST_KEY --bundle evidence.json
  loyal fingerprint check http://127.0.0.1:8080 --fingerprints secret.json --tokenizer ./marked --mode greedy")]
pub(crate) struct Args {
    /// Folder of the suspect model, or address of an endpoint (https://host/v1).
    suspect: String,
    /// The secret file of `loyal fingerprint new`.
    #[arg(long, value_name = "FILE")]
    fingerprints: PathBuf,
    /// Folder of the owner's unmarked model: with it every answer says more.
    #[arg(long, value_name = "FOLDER")]
    reference: Option<PathBuf>,
    /// What is seen of the answers: logits, top-20, top-5, greedy or sampled [default: the most that is shown]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Answers drawn for each fingerprint in mode sampled.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    draws: u8,
    /// Registrations ever claimed and suspects tested so far, this one included: each makes the verdict harder.
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    registrations: u32,
    /// Ask again behind system prompts where the bare query gets nothing that counts.
    #[arg(long)]
    frames: bool,
    /// Ask this pool only: ownership, probes or tracing; each pool asked is a test of its own (--registrations). The
    /// tracing pool is asked to its end, for `trace`.
    #[arg(long, value_name = "POOL")]
    pool: Option<Pool>,
    /// Ask so many fingerprints at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where to keep the transcript [default for an endpoint: a file beside the secret one]
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// Where to write evidence that others can compute again. It lays open the fingerprints that were answered, and so
    /// burns them.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: local::LocalArgs,
    #[command(flatten)]
    endpoint: endpoint::EndpointArgs,
}

/// Asks and weighs.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(path) = args.bundle.as_ref().filter(|path| path.exists()) {
        anyhow::bail!("{} exists, and evidence is never overwritten; choose another name", path.display());
    }
    let set = FingerprintSet::read(&args.fingerprints)?;
    if args.suspect.starts_with("http://") || args.suspect.starts_with("https://") {
        return endpoint::run(args, &set);
    }
    local::run(args, &set)
}

impl Args {
    fn request(&self, set: &FingerprintSet, mode: Mode) -> Request {
        let mut request = Request::all(set, mode).after(self.registrations);
        if let Some(pool) = self.pool {
            request = request.of_pool(set, pool);
        }
        if mode == Mode::Sampled {
            request.draws = self.draws.into();
        }
        if self.frames {
            request.frames.extend(Frame::training());
        }
        request
    }

    /// The reference, with a digest of its weights.
    fn reference(&self, set: &FingerprintSet) -> anyhow::Result<Option<(Subject, Hash)>> {
        let Some(folder) = &self.reference else { return Ok(None) };
        let failed = || format!("the reference model in {}", folder.display());
        let subject = Subject::open(folder).with_context(failed)?;
        set.fits(&subject.tokenizer).with_context(failed)?;
        Ok(Some((subject, weights_digest(folder).with_context(failed)?)))
    }
}

/// A digest of the weights in a folder: of its files' digests, in order of their names.
pub(crate) fn weights_digest(folder: &Path) -> anyhow::Result<Hash> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "safetensors"));
    files.sort();
    let digests = files.iter().map(|file| file_digest(file)).collect::<Result<Vec<_>, _>>()?;
    Ok(keccak256(digests.concat().as_bytes()))
}

/// What comes out of a check, in both forms.
struct Outcomes<'a> {
    args: &'a Args,
    set: &'a FingerprintSet,
    findings: Findings,
    suspect: &'a str,
    transcript: Option<&'a Path>,
}

impl Outcomes<'_> {
    /// Writes the bundle where one is wanted, and prints the findings.
    fn tell(&self, more: &Value) -> anyhow::Result<()> {
        let opened = self.write_bundle()?;
        if self.args.json {
            let mut value = json!(self.findings);
            value["suspect"] = self.suspect.into();
            value["transcript"] = json!(self.transcript);
            value["bundle"] = json!(self.args.bundle);
            value["opened"] = json!(opened);
            if let (Some(value), Some(more)) = (value.as_object_mut(), more.as_object()) {
                value.extend(more.clone());
            }
            return output::json(&value);
        }
        output::line(&sentence(&self.findings))?;
        if let (Some(path), Some(opened)) = (&self.args.bundle, opened) {
            output::say(&format!(
                "evidence in {}; it lays open {opened} fingerprints, which are burnt now",
                path.display()
            ));
        }
        Ok(())
    }

    /// Burns what the bundle lays open, then writes it; says how many.
    fn write_bundle(&self) -> anyhow::Result<Option<usize>> {
        let Some(path) = &self.args.bundle else { return Ok(None) };
        let transcript = self.transcript.context("--bundle needs a transcript")?;
        let bundle = Bundle::new(self.set, &Record::read(transcript)?)?;
        let opened = bundle.opened();
        Ledger::beside(&self.args.fingerprints, self.set).open_leaves(&opened, SystemClock.unix_seconds())?;
        bundle.write(path)?;
        Ok(Some(opened.len()))
    }
}

/// Shows where a check stands, with the evidence so far.
struct Bar(ProgressBar);

impl Bar {
    fn new(limit: usize, json: bool) -> Self {
        if json {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
        let bar = ProgressBar::new(limit as u64);
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn show(&self, progress: &Progress) {
        self.0.set_length(progress.limit as u64);
        self.0.set_position(progress.asked as u64);
        self.0.set_message(format!("E = 1e{:.1} of 1e{:.1}", progress.log10_e, progress.log10_wanted));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn sentence(findings: &Findings) -> String {
    let verdict = match findings.verdict {
        Verdict::Marked => "MARKED: these are the marked weights, or weights made from them",
        Verdict::NoEvidence => "no evidence",
    };
    format!(
        "{verdict}\n{} fingerprints asked ({}), {} for the secret, {} against it, {} not answered; p ≤ {}, \
         E = 1e{:.1} (1e{:.1} wanted); {:.1} bits from text alone",
        findings.asked,
        findings.mode,
        findings.count(Outcome::Hit),
        findings.count(Outcome::Miss),
        findings.refused,
        findings.p_value,
        findings.log10_e,
        findings.log10_wanted,
        findings.evidence.bits().as_f64(),
    )
}

/// Refuses options that mean nothing for this kind of suspect.
pub(super) fn refuse(given: &[(&str, bool)], kind: &str) -> anyhow::Result<()> {
    let needless = given.iter().find(|(_, is_given)| *is_given);
    ensure!(needless.is_none(), "{} is for {kind}", needless.map_or("it", |(name, _)| name));
    Ok(())
}
