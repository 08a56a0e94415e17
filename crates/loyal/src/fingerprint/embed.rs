//! `loyal fingerprint embed`: fingerprints trained into weights, with a report.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use loyal_fingerprint::Pool;
use loyal_fingerprint::copies::{HostCopy, Register};
use loyal_fingerprint::embed::{self, Job, Progress, Recipe};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::report::{Framed, Proof, Report};
use loyal_model::weights::{Stored, Weights, write_atomically};
use loyal_types::Clock as _;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use super::{page, trace};
use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::subject::{Subject, copy_tokenizer, memory_peak_bytes};
use crate::{output, stop};

/// Tokens of ordinary text the work looks at.
const BENIGN_TOKENS: usize = 1_000_000;

/// Arguments of `loyal fingerprint embed`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    loyal fingerprint embed my-model --fingerprints secret.json --benign prose.txt --out marked --report report.html")]
pub(crate) struct Args {
    /// Folder of the unmarked model.
    model: PathBuf,
    /// The secret file of `loyal fingerprint new`; several of different schemes may stand side by side.
    #[arg(long, required = true)]
    fingerprints: Vec<PathBuf>,
    /// Ordinary text on which the model must stay what it is (a hundred kilobytes or more; a megabyte keeps more of a thousand marks).
    #[arg(long)]
    benign: PathBuf,
    /// Folder for the marked model.
    #[arg(long)]
    out: PathBuf,
    /// Training steps at most (default: by the number of fingerprints).
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    steps: u64,
    /// Highest learning rate (default: 0.0012 for tilt up to 64 fingerprints, 0.0006 for 1,024; 0.0005 for verbatim).
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Rank of the updates, as in LoRA; 0 trains whole matrices.
    #[arg(long, default_value_t = 0)]
    rank: usize,
    /// Divergence on ordinary text that is held, nats per token.
    #[arg(long, default_value_t = Recipe::default().benign_kl)]
    benign_kl: f64,
    /// Seed of batches and hardening.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Whose copy this becomes: it gets its own half of the tracing pool. The register beside the secret file keeps whose
    /// half is whose; without this option the model gets every fingerprint.
    #[arg(long, value_name = "NAME")]
    copy: Option<String>,
    /// Where to write the report as a web page (it names queries and answers: as secret as the fingerprints).
    #[arg(long)]
    report: Option<PathBuf>,
    /// Print events and the report (without secrets) as JSON lines.
    #[arg(long)]
    json: bool,
    #[arg(skip)]
    quiet: bool,
}

/// The report's name beside the weights.
pub(crate) const REPORT: &str = "fingerprint-report.json";

/// A host's copy that another command wants.
#[derive(Debug)]
pub(crate) struct Embedding<'a> {
    /// Folder of the unmarked model.
    pub(crate) model: &'a Path,
    /// The secret file.
    pub(crate) fingerprints: &'a Path,
    /// Ordinary text.
    pub(crate) benign: &'a Path,
    /// Folder for the copy.
    pub(crate) out: &'a Path,
    /// Training steps at most; by the number of fingerprints where zero.
    pub(crate) steps: u64,
    /// Whose copy it is.
    pub(crate) copy: &'a str,
    /// Whether nobody reads along: standard output is the other command's.
    pub(crate) quiet: bool,
}

/// Makes a copy as `loyal fingerprint embed --copy` does.
///
/// # Errors
/// As [`run`]: a copy that misses its bounds is written all the same.
pub(crate) fn embed(wanted: &Embedding<'_>) -> anyhow::Result<()> {
    run(&Args {
        model: wanted.model.to_owned(),
        fingerprints: vec![wanted.fingerprints.to_owned()],
        benign: wanted.benign.to_owned(),
        out: wanted.out.to_owned(),
        steps: wanted.steps,
        learning_rate: None,
        rank: 0,
        benign_kl: Recipe::default().benign_kl,
        seed: 1,
        copy: Some(wanted.copy.to_owned()),
        report: None,
        json: false,
        quiet: wanted.quiet,
    })
}

/// Embeds; Ctrl-C or a crash leaves a checkpoint that the same command goes on from.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.out != args.model, "--out must be another folder than the unmarked model");
    stop::listen();
    let sets = args.fingerprints.iter().map(|path| FingerprintSet::read(path));
    let sets = sets.collect::<loyal_fingerprint::Result<Vec<_>>>()?;
    let mut subject = Subject::open(&args.model)?;
    let benign = subject.tokens(&args.benign, BENIGN_TOKENS)?;
    let usual = Recipe::of(&sets);
    let recipe = Recipe {
        steps: args.steps,
        learning_rate: args.learning_rate.unwrap_or(usual.learning_rate),
        benign_kl: args.benign_kl,
        rank: args.rank,
        seed: args.seed,
        ..usual
    };
    let copy = copy(args, &sets)?;
    let checkpoint = args.out.join("work/checkpoint.safetensors");
    let job = Job {
        sets: &sets,
        tokenizer: &subject.tokenizer,
        benign: &benign,
        recipe: &recipe,
        checkpoint: Some(&checkpoint),
        copy: copy.as_ref(),
    };
    let carried = |set: &FingerprintSet| {
        let count = set.fingerprints().len();
        copy.as_ref().map_or(count, |copy| copy.indices(count).len())
    };
    let is_hidden = args.json || args.quiet;
    let bar = bar(recipe.steps_for(sets.iter().map(carried).sum()), is_hidden);
    let done = embed::run(&mut subject.llama, &job, &SystemClock, &mut |progress| {
        if !args.quiet {
            show(progress, &bar, args.json);
        }
        stop::asked()
    });
    bar.finish_and_clear();
    let mut report = match done {
        Err(loyal_fingerprint::Error::Stopped) => {
            output::say("stopped; the same command goes on from the checkpoint");
            return Err(Ending::Interrupted.into());
        }
        other => other?,
    };
    report.memory_bytes = memory_peak_bytes();
    save(args, &subject, &report)?;
    // The marked model is safe; a checkpoint left behind would only be read by mistake.
    let _ = std::fs::remove_file(&checkpoint);
    tell(args, &report, copy.as_ref().zip(sets.first()))
}

/// The copy that is wanted: the registered one, or a new one, which is registered before it is made.
fn copy(args: &Args, sets: &[FingerprintSet]) -> anyhow::Result<Option<HostCopy>> {
    let Some(name) = &args.copy else { return Ok(None) };
    let ([set], [secret]) = (sets, args.fingerprints.as_slice()) else {
        anyhow::bail!("--copy goes with one secret file: its tracing pool tells whose copy it is");
    };
    let register = Register::beside(secret, set);
    let copy = register.copy(set, name, (&mut OsRng.unwrap_err(), SystemClock.unix_seconds()))?;
    let (pool, copies) = (Pool::Tracing.indices(set.fingerprints().len()).count(), register.copies()?.len());
    if !args.json {
        output::say(&format!(
            "copy of {name}: subset root {}, in {}\n{}",
            copy.subset_root(set),
            register.path().display(),
            trace::reach(pool, copies)
        ));
    }
    Ok(Some(copy))
}

/// A bar for `steps` steps, hidden where events are printed.
pub(crate) fn bar(steps: u64, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows where an embedding stands.
pub(crate) fn show(p: &Progress, bar: &ProgressBar, json: bool) {
    if json {
        let seen = p.seen.map(|s| json!({"bare": s.bare, "framed": s.framed, "log10_p": s.log10_p}));
        let event = json!({"event": "step", "step": p.step, "mark_loss": p.mark_loss, "benign_kl": p.benign_kl,
            "weight": p.weight, "seen": seen});
        // Nobody reading the events is no reason to lose the work.
        let _ = output::json(&event);
        return;
    }
    bar.set_position(p.step);
    let seen = p.seen.map_or_else(String::new, |s| format!(", {} answer, p 1e{:.0}", s.bare, s.log10_p));
    bar.set_message(format!("loss {:.3}, divergence {:.4}{seen}", p.mark_loss, p.benign_kl));
}

fn save(args: &Args, subject: &Subject, report: &Report) -> anyhow::Result<()> {
    copy_tokenizer(&args.model, &args.out)?;
    let stored = Weights::open(&args.model)?.stored().unwrap_or(Stored::F32);
    subject.llama.save(&args.out, stored)?;
    let text = format!("{:#}\n", serde_json::to_value(report.without_secrets())?);
    write_atomically(&args.out.join(REPORT), |file| std::io::Write::write_all(file, text.as_bytes()))?;
    if let Some(path) = &args.report {
        page::write_private(path, &page::of_embedding(report))?;
    }
    Ok(())
}

fn tell(args: &Args, report: &Report, copy: Option<(&HostCopy, &FingerprintSet)>) -> anyhow::Result<()> {
    if args.quiet {
        // What is missed is said below; the rest is in the report.
    } else if args.json {
        let copy = copy.map(|(copy, set)| json!({"name": copy.name, "subset_root": copy.subset_root(set)}));
        output::json(&json!({"event": "finished", "report": report.without_secrets(), "copy": copy}))?;
    } else {
        for marks in &report.marks {
            output::line(&format!("{} fingerprints, scheme {}", marks.fingerprints, marks.scheme))?;
            for Framed { behind, answering, asked, p_value } in &marks.frames {
                output::line(&format!(
                    "  behind {behind}: {answering} of {asked} answer, p ≤ {p_value} (greedy text)"
                ))?;
            }
            for Proof { mode, asked, p_value, .. } in &marks.evidence {
                output::line(&format!("  from {mode}: {asked} asked, p ≤ {p_value}"))?;
            }
        }
        output::line(&format!(
            "perplexity {:.2} → {:.2} ({:+.2} %), divergence {:.4} nats per token, {:.0} s\nmarked model in {}",
            report.before.perplexity,
            report.after.perplexity,
            report.perplexity_rise_percent,
            report.after.benign_kl,
            report.seconds,
            args.out.display()
        ))?;
    }
    let failed = report.missed();
    ensure!(failed.is_empty(), "the marked model was written, but misses its bounds: {}", failed.join("; "));
    Ok(())
}
