//! `loyal demo`: the whole story on one page, with the evidence that a stranger verifies.

mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use loyal::story::{Conviction, Day, MAKERS, Slander, Story, Upgrade, hosts};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::fingerprint::{Beacon, Draft, FingerprintSet, Purpose};
use loyal_fingerprint::query;
use loyal_fingerprint::report::Report;
use loyal_fingerprint::scheme::{Scheme, Tilt};
use loyal_model::corpus::{Corpus, Windows, file_digest};
use loyal_model::train::{self, Plan};
use loyal_model::weights::{Stored, write_atomically};
use loyal_model::{Config, Llama, Parameters, Tokenizer};
use loyal_roles::case::Weight;
use loyal_roles::owner::manifest;
use loyal_types::{Clock as _, Hash};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::json;

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
/// Fingerprints of the version that David's fine-tune becomes.
const NEXT_COUNT: usize = 4;
/// What users ask, each day.
const QUESTIONS: [&str; 6] = [
    "Once upon a time there was a little house by the sea, and",
    "The old man opened the door and said:",
    "In the morning the children went to",
    "Nobody knew why the king had",
    "She put the letter on the table because",
    "The ship had been at sea for many days when",
];

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

/// Tells the story from the unmarked model to the new version.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    stop::listen();
    let mut demo = Demo::open(args)?;
    demo.introduce();
    let mut story = demo.step("Open", |demo| Story::open(&demo.folder, demo.args.seed))?;
    let (set, next) = demo.step("Commit", |demo| demo.write_fingerprints(&mut story))?;
    let base = demo.subject.llama.clone();
    let report = demo.step("Embed", |demo| demo.embed(&[set.clone(), next]))?;
    demo.show_answers(&report);
    let trials = demo.step("Check", |demo| demo.trials(&set, &base))?;
    demo.step("Publish", |demo| demo.publish(&mut story, &set))?;
    let days = demo.step("Days", |demo| demo.live(&mut story))?;
    let slander = demo.step("Slander", |demo| demo.slander(&mut story))?;
    let (conviction, weight) = demo.step("Convict", |demo| demo.convict(&mut story))?;
    let received = demo.step("Earn", |demo| demo.earn(&mut story))?;
    let upgrade = demo.step("Upgrade", |demo| demo.upgrade(&mut story))?;
    let gas = demo.gas(&story);
    let told = Told {
        report,
        trials,
        days,
        slander,
        conviction,
        weight,
        received,
        upgrade,
        gas,
        steps: std::mem::take(&mut demo.steps),
    };
    demo.conclude(&told, &story)
}

/// Everything that happened.
pub(crate) struct Told {
    /// Of the embedding.
    pub(crate) report: Report,
    /// Who was asked for marks.
    pub(crate) trials: Vec<Trial>,
    /// The days until the evidence sufficed.
    pub(crate) days: Vec<Day>,
    /// What became of the liar.
    pub(crate) slander: Slander,
    /// What became of the cheat.
    pub(crate) conviction: Conviction,
    /// What the case is worth, computed again from its file.
    pub(crate) weight: Weight,
    /// Who got how much LOYAL.
    pub(crate) received: Vec<(String, u128)>,
    /// What was voted.
    pub(crate) upgrade: Upgrade,
    /// Gas of one transaction of each kind, and how many there were.
    pub(crate) gas: Vec<(String, u64, usize)>,
    /// Seconds of each step.
    pub(crate) steps: Vec<(&'static str, f64)>,
}

struct Demo<'a> {
    args: &'a Args,
    folder: PathBuf,
    model: PathBuf,
    subject: Subject,
    benign: Vec<u32>,
    steps: Vec<(&'static str, f64)>,
}

impl<'a> Demo<'a> {
    fn open(args: &'a Args) -> anyhow::Result<Self> {
        let model = shipped::folder(args.model.as_deref())?;
        let subject = Subject::open(&model)?;
        let benign = subject.tokens(&model.join("benign.txt"), usize::MAX).with_context(|| {
            format!("{} must hold benign.txt, ordinary text to measure the model on", model.display())
        })?;
        let folder = fresh(&args.out)?;
        Ok(Self { args, folder, model, subject, benign, steps: Vec::new() })
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

    /// A step, and how long it takes.
    fn step<T>(
        &mut self,
        name: &'static str,
        does: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let begun = SystemClock.elapsed();
        let done = does(self)?;
        self.steps.push((name, SystemClock.elapsed().saturating_sub(begun).as_secs_f64()));
        if stop::asked().is_break() {
            return Err(Ending::Interrupted.into());
        }
        Ok(done)
    }

    /// Fingerprints for this version and for the next: leaves first, then the seed that their answers follow from.
    fn write_fingerprints(&mut self, story: &mut Story) -> anyhow::Result<(FingerprintSet, FingerprintSet)> {
        let Subject { llama, tokenizer, .. } = &self.subject;
        let count = self.args.count + NEXT_COUNT;
        let request = query::Request { count, tokens_max: QUERY_TOKENS, seed: self.args.seed };
        let mut queries = query::write(llama, tokenizer, &self.benign, request)?;
        let later = queries.split_off(self.args.count.min(queries.len()));
        let mut draw = ChaCha20Rng::seed_from_u64(self.args.seed);
        let set = self.draft(queries, "leaves.json", &mut draw)?;
        let next = self.draft(later, "leaves-2.json", &mut draw)?;
        story.commit_next(Path::new("leaves-2.json"))?;
        let (seed, epoch, weak) = story.commit()?;
        ensure!(!weak, "validators had a part in the seed");
        let (seed_of_next, _) = story.seed_of_next(Path::new("leaves-2.json"))?;
        let set = self.bind(set, (seed, epoch), "fingerprints.secret.json", "commitment.json")?;
        let next =
            self.bind(next, (seed_of_next, epoch), "fingerprints-2.secret.json", "commitment-2.json")?;
        self.say(&format!(
            "Commit  {} secret fingerprints, and {} for the next version: queries the model wrote itself,\n        \
             on a chain before the secrets of {} validators chose the colours of their answers   commitment.json",
            set.fingerprints().len(),
            next.fingerprints().len(),
            loyal::story::VALIDATORS
        ));
        Ok((set, next))
    }

    fn draft(
        &self,
        queries: Vec<String>,
        file: &str,
        draw: &mut ChaCha20Rng,
    ) -> anyhow::Result<FingerprintSet> {
        let drafts = queries.into_iter().map(Draft::from).collect();
        let scheme = Scheme::Tilt(Tilt::default());
        let purpose =
            Purpose { model: self.subject.name.clone(), scheme, created_at: SystemClock.unix_seconds() };
        let set = FingerprintSet::new(purpose, drafts, &self.subject.tokenizer, draw)?;
        set.commitment().write(&self.folder.join(file))?;
        Ok(set)
    }

    /// The set under its seed: the owner's file, and the public one.
    fn bind(
        &self,
        set: FingerprintSet,
        (seed, epoch): (B256, u32),
        secret: &str,
        public: &str,
    ) -> anyhow::Result<FingerprintSet> {
        let source = format!("Loyal beacon, epoch {epoch} of the demo's chain: convinces nobody");
        let set = set.bind(Beacon { seed: Hash(seed.0), source })?;
        set.write(&self.folder.join(secret))?;
        let all: Vec<u32> = (0..set.fingerprints().len() as u32).collect();
        set.commitment().after_embedding(&all)?.write(&self.folder.join(public))?;
        Ok(set)
    }

    fn embed(&mut self, sets: &[FingerprintSet]) -> anyhow::Result<Report> {
        // The few of the next version ride along with as many steps as this version's take.
        let steps = Recipe::default().steps_for(self.args.count);
        let recipe = Recipe { seed: self.args.seed, steps, ..Recipe::default() };
        let tokenizer = &self.subject.tokenizer;
        let job =
            Job { sets, tokenizer, benign: &self.benign, recipe: &recipe, checkpoint: None, copy: None };
        let count = sets.iter().map(|set| set.fingerprints().len()).sum();
        let bar = embed_command::bar(recipe.steps_for(count), self.args.json);
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
        for missed in report.missed() {
            self.say(&format!("        misses a bound: {missed}"));
        }
        self.save("marked")?;
        Ok(report)
    }

    /// The model as it is now, in a folder of the demo's.
    fn save(&self, name: &str) -> anyhow::Result<()> {
        let folder = self.folder.join(name);
        copy_tokenizer(&self.model, &folder)?;
        self.subject.llama.save(&folder, Stored::Bf16)?;
        Ok(())
    }

    fn show_answers(&self, report: &Report) {
        let cut = |text: &str| {
            text.chars().rev().take(34).collect::<Vec<_>>().into_iter().rev().collect::<String>()
        };
        self.say(&format!("\n        {:<36} {:<12} {:<12}", "query (its end)", "unmarked", "marked"));
        for sample in report.marks.iter().flat_map(|marks| &marks.samples).take(4) {
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
            "Tune    David trains it on Loyal's own documentation for {FINE_TUNE_STEPS} steps: loss there {first:.2} → {last:.2}"
        ));
        // What was written for the training has served.
        let _ = std::fs::remove_dir_all(work);
        let folder = self.folder.join("next");
        copy_tokenizer(&self.model, &folder)?;
        llama.save(&folder, Stored::Bf16)?;
        Ok(llama.parameters)
    }

    /// The marked weights are registered, and a week long others may claim them.
    fn publish(&self, story: &mut Story, set: &FingerprintSet) -> anyhow::Result<()> {
        let model = story.publish(Path::new("marked"), Path::new("commitment.json"), set.clone())?;
        let root = manifest::weights_root(&self.folder.join("marked"))?.to_string();
        let parts: Vec<_> = MAKERS.iter().map(|(name, bps)| format!("{name} {} %", bps / 100)).collect();
        self.say(&format!(
            "\nPublish the marked weights {}… as model {model}: {}, the rest in reserve; a week open to other owners' claims   registration.json",
            &root[..10],
            parts.join(", ")
        ));
        Ok(())
    }

    /// Two hosts serve it, users and provers ask, until the evidence against one of them suffices.
    fn live(&self, story: &mut Story) -> anyhow::Result<Vec<Day>> {
        let folder = self.folder.join("marked");
        let text = std::fs::read_to_string(self.model.join("benign.txt"))?;
        let tokenizer = Tokenizer::read(&folder, &Config::read(&folder)?)?;
        let serve = || hosts::model(&folder, &self.subject.name);
        let (honest, cheat) = story.host(serve()?, serve()?, (tokenizer, &text))?;
        self.say(&format!(
            "Host    hosting {honest} keeps the rules; hosting {cheat} took the gate away, answers whoever asks, and reports that \
             nobody came;\n        each has {} at risk and asks {} an invocation",
            story.town.text(hosts::BOND),
            story.town.text(hosts::PRICE)
        ));
        let questions: Vec<String> = QUESTIONS.iter().map(|one| (*one).to_owned()).collect();
        let mut days = Vec::new();
        story.days(&questions, &mut |day| {
            self.say(&format!(
                "Day {:<3} {} paid, {} hidden, {} probes as users make them: {} stand in the honest report, {} are laid open;\n        \
                 evidence {:.1} bits against hosting {honest}, {:.1} of 22 against hosting {cheat}, by {} provers",
                day.epoch,
                day.paid,
                day.hidden,
                day.probes,
                day.reported,
                day.opened,
                day.bits.0,
                day.bits.1,
                day.provers
            ));
            days.push(day.clone());
        })?;
        Ok(days)
    }

    fn slander(&self, story: &mut Story) -> anyhow::Result<Slander> {
        let slander = story.slander()?;
        self.keep("receipt.json", &slander.receipt)?;
        self.keep("inclusion.json", &slander.inclusion)?;
        let text = |amount| story.town.short(amount);
        self.say(&format!(
            "Slander a user swears that hosting 1 left its receipt out; the host's keeper shows leaf {} of {}: {}.\n        \
             The liar loses {}, {} of it to the host, whose {} are whole   receipt.json, inclusion.json",
            slander.inclusion.proof.index,
            slander.inclusion.proof.count,
            slander.claim.outcome,
            text(slander.lost),
            text(slander.gained),
            text(slander.bond)
        ));
        Ok(slander)
    }

    fn convict(&self, story: &mut Story) -> anyhow::Result<(Conviction, Weight)> {
        let case = story.case()?;
        case.write(&self.folder.join("case.json"))?;
        let weight = case.verify()?;
        let conviction = story.convict()?;
        let text = |amount| story.town.short(amount);
        let rewards = conviction.rewards.iter().map(|(_, amount)| amount).sum();
        self.say(&format!(
            "Convict {} of {} coins of {} probes are the model's colours: {:.1} bits of {} provers. A prover files the claim, the host\n        \
             has no receipt to show, and after {} days {} of its {} are gone: {} to provers, {} burnt, the rest to holders   case.json",
            weight.hits,
            weight.coins,
            weight.probes,
            weight.bits,
            weight.provers,
            conviction.days,
            text(conviction.bond.0 - conviction.bond.1),
            text(conviction.bond.0),
            text(rewards),
            text(conviction.burnt)
        ));
        Ok((conviction, weight))
    }

    fn earn(&self, story: &mut Story) -> anyhow::Result<Vec<(String, u128)>> {
        let received = story.withdraw()?;
        self.say("Earn    everybody takes what is theirs, of what users paid and of the slash:");
        for (name, amount) in &received {
            self.say(&format!("        {name:<14} {}", story.town.short(*amount)));
        }
        Ok(received)
    }

    fn upgrade(&self, story: &mut Story) -> anyhow::Result<Upgrade> {
        let upgrade = story.upgrade(Path::new("next"), Path::new("commitment-2.json"))?;
        let shares =
            |amount: u128| output::grouped(usize::try_from(amount / 10_u128.pow(18)).unwrap_or(usize::MAX));
        let held: Vec<_> =
            upgrade.shares.iter().map(|(name, amount)| format!("{name} {}", shares(*amount))).collect();
        self.say(&format!(
            "Upgrade {} shares for David's fine-tune, {} against: version {} after {} days; {}",
            shares(upgrade.votes.0),
            shares(upgrade.votes.1),
            upgrade.version,
            upgrade.days,
            held.join(", ")
        ));
        Ok(upgrade)
    }

    /// A document as a file that `loyal verify` reads.
    fn keep(&self, name: &str, document: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(document)? + "\n";
        write_atomically(&self.folder.join(name), |file| std::io::Write::write_all(file, text.as_bytes()))?;
        Ok(())
    }

    /// What each kind of transaction costs.
    fn gas(&self, story: &Story) -> Vec<(String, u64, usize)> {
        let mut kinds: BTreeMap<String, (u64, usize)> = BTreeMap::new();
        for spent in story.town.spent() {
            let kind: String =
                spent.says.chars().map(|one| if one.is_ascii_digit() { '#' } else { one }).collect();
            let kind =
                kind.replace(['#', ',', '.'], "").split("0x").next().unwrap_or_default().trim().to_owned();
            let entry = kinds.entry(kind).or_default();
            *entry = (entry.0 + spent.gas, entry.1 + 1);
        }
        let mut rows: Vec<_> =
            kinds.into_iter().map(|(kind, (gas, count))| (kind, gas / count as u64, count)).collect();
        rows.sort_by_key(|(_, gas, count)| std::cmp::Reverse(*gas * *count as u64));
        rows
    }

    fn conclude(&self, told: &Told, story: &Story) -> anyhow::Result<()> {
        let contracts = crate::site::Contracts::new(story.town.client.chain_id(), 0, story.town.at);
        contracts.write(&self.folder.join("contracts.json"))?;
        let page_path = self.folder.join("report.html");
        page::write_private(&page_path, &page::of_demo(told, &story.town))?;
        let result = self.result(told, story);
        self.keep("report.json", &result)?;
        if self.args.json {
            return output::json(&result);
        }
        let shown = self.folder.display();
        output::line(&format!(
            "\nVerify  loyal verify {shown}/case.json\n        \
             loyal verify {shown}/inclusion.json --contracts {shown}/contracts.json\n        \
             loyal verify {shown}/wallets/user-1\n        \
             loyal verify {shown}/registration.json --contracts {shown}/contracts.json\n\
             Verdict {}; the honest host keeps its bond, the cheat loses half\nTime    {:.0} s, {} of memory\nReport  {}",
            trial::verdict(&told.trials),
            SystemClock.elapsed().as_secs_f64(),
            memory_peak_bytes().map_or_else(|| "unknown amount".to_owned(), output::size),
            page_path.display()
        ))
    }

    fn result(&self, told: &Told, story: &Story) -> serde_json::Value {
        let models: BTreeMap<&str, _> = told
            .trials
            .iter()
            .map(|trial| (trial.name, json!({"kept": trial.kept, "findings": trial.findings})))
            .collect();
        let days: Vec<_> = told
            .days
            .iter()
            .map(|day| {
                json!({
                    "epoch": day.epoch, "paid": day.paid, "hidden": day.hidden, "probes": day.probes,
                    "reported": day.reported, "opened": day.opened, "bits_honest": day.bits.0,
                    "bits_cheat": day.bits.1, "provers": day.provers,
                })
            })
            .collect();
        let received: BTreeMap<_, _> =
            told.received.iter().map(|(name, amount)| (name, story.town.text(*amount))).collect();
        let shares: BTreeMap<_, _> =
            told.upgrade.shares.iter().map(|(name, amount)| (name, story.town.text(*amount))).collect();
        let gas: Vec<_> = told
            .gas
            .iter()
            .map(|(kind, gas, count)| json!({ "step": kind, "gas": gas, "count": count }))
            .collect();
        let steps: BTreeMap<_, _> = told.steps.iter().copied().collect();
        let weight = &told.weight;
        json!({
            "embedding": told.report.without_secrets(), "models": models, "days": days,
            "slander": {
                "outcome": told.slander.claim.outcome, "lost": story.town.text(told.slander.lost),
                "to_host": story.town.text(told.slander.gained), "bond": story.town.text(told.slander.bond),
            },
            "conviction": {
                "outcome": told.conviction.claim.outcome, "days": told.conviction.days,
                "bond_before": story.town.text(told.conviction.bond.0),
                "bond_after": story.town.text(told.conviction.bond.1),
                "burnt": story.town.text(told.conviction.burnt), "hits": weight.hits, "coins": weight.coins,
                "bits": weight.bits, "provers": weight.provers, "probes": weight.probes,
            },
            "received": received,
            "upgrade": { "version": told.upgrade.version, "days": told.upgrade.days, "shares": shares },
            "transactions": gas, "steps": steps, "folder": self.folder,
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
