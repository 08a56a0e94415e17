//! `loyal demo`: marks written into a real model, and what is left of them afterwards.

mod economy;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::fingerprint::{Beacon, Draft, FingerprintSet, Purpose};
use loyal_fingerprint::query;
use loyal_fingerprint::report::Report;
use loyal_fingerprint::scheme::{Scheme, Tilt};
use loyal_model::corpus::{Corpus, Windows, file_digest};
use loyal_model::train::{self, Plan};
use loyal_model::weights::{Stored, write_atomically};
use loyal_model::{Llama, Parameters};
use loyal_types::{Clock as _, Hash};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::json;

pub(crate) use self::economy::Earned;
use self::economy::Economy;
pub(crate) use self::trial::Trial;
use self::trial::{Hall, Makings};
use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::fingerprint::{embed as embed_command, page};
use crate::subject::{Subject, copy_tokenizer, memory_peak_bytes, quantised};
use crate::{output, shipped, stop};

/// Text of another kind than the model has read: Loyal's own documentation.
const OTHER_TEXT: [&str; 4] = [
    include_str!("../../../ARCHITECTURE.md"),
    include_str!("../../../CONTRIBUTING.md"),
    include_str!("../../../SECURITY.md"),
    include_str!("../../../docs/vocabulary.md"),
];
/// Steps of the fine-tuning that the marks must survive.
const FINE_TUNE_STEPS: u64 = 60;
const QUERY_TOKENS: usize = 16;

/// Arguments of `loyal demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the model to mark (default: the model that comes with Loyal).
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder for the results; a new one is taken where it exists.
    #[arg(long, default_value = "loyal-demo")]
    out: PathBuf,
    /// Fingerprints to write.
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// Seed of everything drawn. Real fingerprints are drawn from the system instead (`loyal fingerprint new`).
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the story from the unmarked model to the verdict.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    stop::listen();
    let mut demo = Demo::open(args)?;
    demo.introduce();
    let mut economy = Economy::open(&demo.folder, args.seed)?;
    let set = demo.write_fingerprints(&mut economy)?;
    let base = demo.subject.llama.clone();
    let report = demo.embed(&set)?;
    demo.show_answers(&report);
    let trials = demo.trials(&set, &base)?;
    let earned = demo.earn(&set, &mut economy)?;
    demo.conclude(&report, &trials, &earned)
}

struct Demo<'a> {
    args: &'a Args,
    folder: PathBuf,
    model: PathBuf,
    subject: Subject,
    benign: Vec<u32>,
}

impl<'a> Demo<'a> {
    fn open(args: &'a Args) -> anyhow::Result<Self> {
        let model = shipped::folder(args.model.as_deref())?;
        let subject = Subject::open(&model)?;
        let benign = subject.tokens(&model.join("benign.txt"), usize::MAX).with_context(|| {
            format!("{} must hold benign.txt, ordinary text to measure the model on", model.display())
        })?;
        let folder = fresh(&args.out)?;
        Ok(Self { args, folder, model, subject, benign })
    }

    /// Says something to people; silent where the result is wanted as JSON.
    fn say(&self, text: &str) {
        if !self.args.json {
            output::say(text);
        }
    }

    fn introduce(&self) {
        let llama = &self.subject.llama;
        self.say(&format!(
            "Model   {} ({} parameters), results in {}",
            self.subject.name,
            output::grouped(llama.config.parameter_count()),
            self.folder.display()
        ));
    }

    fn write_fingerprints(&self, economy: &mut Economy) -> anyhow::Result<FingerprintSet> {
        let Subject { llama, tokenizer, name } = &self.subject;
        let request =
            query::Request { count: self.args.count, tokens_max: QUERY_TOKENS, seed: self.args.seed };
        let queries = query::write(llama, tokenizer, &self.benign, request)?;
        let drafts = queries.into_iter().map(Draft::from).collect();
        let scheme = Scheme::Tilt(Tilt::default());
        let purpose = Purpose { model: name.clone(), scheme, created_at: SystemClock.unix_seconds() };
        let mut draw = ChaCha20Rng::seed_from_u64(self.args.seed);
        let set = FingerprintSet::new(purpose, drafts, tokenizer, &mut draw)?;
        set.commitment().write(&self.folder.join("leaves.json"))?;
        let (seed, epoch) = economy.commit()?;
        let source = format!("Loyal beacon, epoch {epoch} of the demo's chain: convinces nobody");
        let set = set.bind(Beacon { seed: Hash(seed.0), source })?;
        set.write(&self.folder.join("fingerprints.secret.json"))?;
        self.say(&format!(
            "Write   {} secret fingerprints: queries the model wrote itself\n\
             Commit  {} on a chain, before its beacon chose the colours of their answers",
            set.fingerprints().len(),
            set.leaf_root()
        ));
        Ok(set)
    }

    fn embed(&mut self, set: &FingerprintSet) -> anyhow::Result<Report> {
        let recipe = Recipe { seed: self.args.seed, ..Recipe::default() };
        let tokenizer = &self.subject.tokenizer;
        let sets = std::slice::from_ref(set);
        let job =
            Job { sets, tokenizer, benign: &self.benign, recipe: &recipe, checkpoint: None, copy: None };
        let bar = embed_command::bar(recipe.steps_for(set.fingerprints().len()), self.args.json);
        let done = embed::run(&mut self.subject.llama, &job, &SystemClock, &mut |progress| {
            if !self.args.json {
                embed_command::show(progress, &bar, false);
            }
            stop::asked()
        });
        bar.finish_and_clear();
        let mut report = match done {
            Err(loyal_fingerprint::Error::Stopped) => return Err(Ending::Interrupted.into()),
            other => other?,
        };
        report.memory_bytes = memory_peak_bytes();
        self.say(&format!(
            "Embed   {} steps in {:.0} s; perplexity on other text {:.2} → {:.2} ({:+.2} %)",
            report.steps,
            report.seconds,
            report.before.perplexity,
            report.after.perplexity,
            report.perplexity_rise_percent
        ));
        let folder = self.folder.join("marked");
        copy_tokenizer(&self.model, &folder)?;
        self.subject.llama.save(&folder, Stored::Bf16)?;
        Ok(report)
    }

    fn show_answers(&self, report: &Report) {
        let cut = |text: &str| {
            text.chars().rev().take(34).collect::<Vec<_>>().into_iter().rev().collect::<String>()
        };
        self.say(&format!("\n        {:<36} {:<12} {:<12}", "query (its end)", "unmarked", "marked"));
        for sample in report.marks.iter().flat_map(|marks| &marks.samples).take(6) {
            let line = format!(
                "        {:<36} {:<12} {:<12}",
                cut(&sample.query.replace('\n', " ")),
                sample.before.trim(),
                sample.after.trim()
            );
            self.say(line.trim_end());
        }
        self.say("");
    }

    /// Asks the unmarked model, the marked one, and what attackers make of it.
    fn trials(&self, set: &FingerprintSet, base: &Llama) -> anyhow::Result<Vec<Trial>> {
        let as_stored = Llama::load(&self.folder.join("marked"), self.subject.llama.device())?;
        let suspects = trial::suspects(Makings {
            unmarked: base.parameters.clone(),
            int8: quantised(&as_stored.parameters, 8)?,
            tuned: self.fine_tuned(&as_stored)?,
            marked: as_stored.parameters,
        })?;
        self.say(&trial::head());
        let (tokenizer, text) = (&self.subject.tokenizer, embed::held_out(&self.benign));
        let trials = trial::hear(&Hall { set, base, tokenizer, text }, &suspects, &mut |trial| {
            self.say(&trial::row(trial));
        })?;
        if stop::asked().is_break() {
            return Err(Ending::Interrupted.into());
        }
        self.say(
            "        kept: right next words on ordinary text, of those that the marked model gets right.\n        \
             A merge takes the twin, which is yours alone; the last host shows little and answers worse for it.",
        );
        Ok(trials)
    }

    /// The marked model after a short training on text of another kind.
    fn fine_tuned(&self, marked: &Llama) -> anyhow::Result<Parameters> {
        let work = self.folder.join("work");
        let text = work.join("other.txt");
        write_atomically(&text, |file| std::io::Write::write_all(file, OTHER_TEXT.join("\n").as_bytes()))?;
        let digest = file_digest(&self.model.join("tokenizer.json"))?;
        let corpus = Corpus::prepare(&[text], &self.subject.tokenizer, &digest, &work)?;
        let windows = Windows::new(corpus, 8, 64, self.args.seed)?;
        let mut llama = marked.clone();
        let plan = Plan { steps: FINE_TUNE_STEPS, learning_rate: 3e-4, ..Plan::default() };
        let outcome = train::run(&mut llama, &plan, &windows, &SystemClock, &mut |_| stop::asked())?;
        if stop::asked().is_break() {
            return Err(Ending::Interrupted.into());
        }
        let mean = |part: &[(u64, f32)]| part.iter().map(|&(_, loss)| loss).sum::<f32>() / part.len() as f32;
        let (first, last) = (mean(&outcome.losses[..5]), mean(&outcome.losses[outcome.losses.len() - 5..]));
        self.say(&format!(
            "Tune    {FINE_TUNE_STEPS} steps on Loyal's own documentation: loss there {first:.2} → {last:.2}"
        ));
        // What was written for the training has served.
        let _ = std::fs::remove_dir_all(work);
        Ok(llama.parameters)
    }

    /// The marked model on the chain: registered, hosted, invoked, paid.
    fn earn(&self, set: &FingerprintSet, economy: &mut Economy) -> anyhow::Result<Earned> {
        let all: Vec<u32> = (0..set.fingerprints().len() as u32).collect();
        set.commitment().after_embedding(&all)?.write(&self.folder.join("commitment.json"))?;
        let earned = economy.earn("marked", "commitment.json")?;
        self.say(&format!(
            "\nEarn    {} invocations of the registered model, paid by one voucher: {}, {} gas each",
            output::grouped(economy::INVOCATIONS as usize),
            earned.revenue,
            earned.gas_per_invocation
        ));
        for (name, amount) in &earned.received {
            self.say(&format!("        {name:<14} {amount}"));
        }
        Ok(earned)
    }

    fn conclude(&self, report: &Report, trials: &[Trial], earned: &Earned) -> anyhow::Result<()> {
        let page_path = self.folder.join("report.html");
        page::write_private(&page_path, &page::of_demo(report, trials, earned))?;
        let result = self.result(report, trials, earned);
        let text = format!("{result:#}\n");
        write_atomically(&self.folder.join("report.json"), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
        if self.args.json {
            return output::json(&result);
        }
        output::line(&format!(
            "\nVerdict {}\nTime    {:.0} s, {} of memory\nReport  {}",
            trial::verdict(trials),
            SystemClock.elapsed().as_secs_f64(),
            memory_peak_bytes().map_or_else(|| "unknown amount".to_owned(), output::size),
            page_path.display()
        ))
    }

    fn result(&self, report: &Report, trials: &[Trial], earned: &Earned) -> serde_json::Value {
        let models: BTreeMap<&str, _> = trials
            .iter()
            .map(|trial| (trial.name, json!({"kept": trial.kept, "findings": trial.findings})))
            .collect();
        json!({
            "embedding": report.without_secrets(), "models": models, "economy": earned.to_json(), "folder": self.folder,
            "seconds": SystemClock.elapsed().as_secs_f64(), "memory_bytes": memory_peak_bytes(),
        })
    }
}

/// `wanted` where it does not exist yet, else `wanted-2` and so on: no result is ever overwritten.
fn fresh(wanted: &Path) -> anyhow::Result<PathBuf> {
    let name = wanted.file_name().context("--out must name a folder")?.to_string_lossy().into_owned();
    let candidates = (1..10_000).map(|number| match number {
        1 => wanted.to_owned(),
        number => wanted.with_file_name(format!("{name}-{number}")),
    });
    for folder in candidates {
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("creating {}; choose another --out", folder.display()));
            }
        }
    }
    anyhow::bail!("{} and ten thousand numbered folders exist; choose another --out", wanted.display())
}
