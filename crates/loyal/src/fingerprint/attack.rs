//! `loyal fingerprint attack`: what hosts do to marks, what is left of them, and what it costs.

mod page;
mod private;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use loyal_fingerprint::attack::public_base::Size;
use loyal_fingerprint::attack::rows::{self, Budget};
use loyal_fingerprint::attack::{
    Extent, Field, Group, Line, MODES, Progress, Relative, Row, Table, Text, Tuning, battery, published,
    tuning,
};
use loyal_fingerprint::fingerprint::{FingerprintSet, Purpose};
use loyal_fingerprint::scheme::Scheme;
use loyal_fingerprint::scheme::verbatim::{self, Verbatim};
use loyal_model::Llama;
use loyal_model::weights::write_atomically;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::json;

use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::fingerprint::embed::bar;
use crate::subject::Subject;
use crate::{output, stop};

/// Share of the text that is kept for measuring; the attacker trains on the rest.
const HELD_OUT: usize = 5;
/// Pieces of text that stand before queries.
const TEXTS: usize = 32;
/// Steps of an epoch with `--quick`.
const QUICK_STEPS: u64 = 60;

/// Arguments of `loyal fingerprint attack`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Groups: clean, inference, sampling, prompt, storage, merge, tuning, adaptive, public-base.\n\
    Everything but tuning takes minutes for a small model; fine-tuning goes once and three times through each text.\n\
    Stopped by Ctrl-C, the same command goes on after the last finished row.\n\n\
    Example:\n  \
    loyal fingerprint attack marked --fingerprints secret.json --base my-model --text prose.txt --out attacks"
)]
pub(crate) struct Args {
    /// Folder of the marked model.
    model: PathBuf,
    /// The secret file its marks were made from.
    #[arg(long)]
    fingerprints: PathBuf,
    /// Folder of the exact unmarked model: the checker's reference.
    #[arg(long)]
    base: PathBuf,
    /// Text of the kind the model was made for; a fifth of it is kept for measuring.
    #[arg(long)]
    text: PathBuf,
    /// Text of another kind, for fine-tuning. Without it such rows are left out.
    #[arg(long)]
    other: Option<PathBuf>,
    /// Folder of the public model that the unmarked one was made from, for the group public-base.
    #[arg(long)]
    public: Option<PathBuf>,
    /// Groups of attacks, separated by commas (default: all that the given models and texts allow).
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Also attack marks of the published recipe (perinucleus answers, averaged weights), made from --base here.
    #[arg(long)]
    baseline: bool,
    /// Also take --base for a public model: fine-tune it in private ("small", "medium", "large"), mark that with the same
    /// fingerprints, and attack with the public one at hand.
    #[arg(long, value_delimiter = ',', value_name = "SIZE", value_parser = ["small", "medium", "large"])]
    private: Vec<String>,
    /// Measure less and train 60 steps an epoch at most.
    #[arg(long)]
    quick: bool,
    /// Seed of everything drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for rows.jsonl, attack.json and attack.html.
    #[arg(long)]
    out: PathBuf,
    /// Print finished rows and the result as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Runs the battery; Ctrl-C or a crash leaves a journal that the same command goes on from.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    stop::listen();
    let groups = groups(args)?;
    let opened = Opened::read(args)?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("creating {}", args.out.display()))?;
    let rows = opened.rows(&groups, args);
    let field = opened.field(args);
    let mut all = Tables { marked: attack(args, &field, &rows, "rows.jsonl")?, ..Tables::default() };
    if args.baseline {
        all.baselines = baselines(args, &opened, &rows)?;
    }
    for size in Size::ALL.into_iter().filter(|size| args.private.iter().any(|name| name == size.name())) {
        let table = private::run(args, &opened, size)?;
        all.private.push((size, table));
    }
    finish(args, &opened, &all)
}

/// Everything measured.
#[derive(Debug, Default)]
struct Tables {
    marked: Option<Table>,
    baselines: Vec<(String, Table)>,
    private: Vec<(Size, Table)>,
}

impl Tables {
    fn to_json(&self) -> serde_json::Value {
        let baseline = |(name, table): &(String, Table)| json!({"recipe": name, "table": table});
        let private = |(size, table): &(Size, Table)| json!({"size": size, "table": table});
        json!({
            "marked": self.marked,
            "baselines": self.baselines.iter().map(baseline).collect::<Vec<_>>(),
            "private": self.private.iter().map(private).collect::<Vec<_>>(),
        })
    }
}

/// Models and texts of the command line.
struct Opened {
    marked: Subject,
    twin: Subject,
    public: Option<Subject>,
    set: FingerprintSet,
    held_out: Vec<u32>,
    same: Vec<u32>,
    other: Vec<u32>,
}

impl Opened {
    fn read(args: &Args) -> anyhow::Result<Self> {
        let set = FingerprintSet::read(&args.fingerprints)?;
        let (marked, twin) = (Subject::open(&args.model)?, Subject::open(&args.base)?);
        set.fits(&marked.tokenizer)?;
        let public = args.public.as_deref().map(Subject::open).transpose()?;
        let mut held_out = marked.tokens(&args.text, usize::MAX)?;
        let same = held_out.split_off(held_out.len() / HELD_OUT);
        let other = args.other.as_deref().map(|path| marked.tokens(path, usize::MAX)).transpose()?;
        Ok(Self { marked, twin, public, set, held_out, same, other: other.unwrap_or_default() })
    }

    fn field(&self, args: &Args) -> Field<'_> {
        let extent = match args.quick {
            true => Extent { windows: 16, generations: 8, ..Extent::default() },
            false => Extent::default(),
        };
        Field {
            marked: &self.marked.llama,
            twin: &self.twin.llama,
            public: self.public.as_ref().map(|subject| &subject.llama),
            set: &self.set,
            tokenizer: &self.marked.tokenizer,
            held_out: &self.held_out,
            same: &self.same,
            // A sibling is made by somebody with text of their own; without it, with this one's.
            other: if self.other.is_empty() { &self.same } else { &self.other },
            extent,
            sibling_steps: 60,
            clock: &SystemClock,
            seed: args.seed,
        }
    }

    fn rows(&self, groups: &BTreeSet<Group>, args: &Args) -> Vec<Row> {
        let most = if args.quick { QUICK_STEPS } else { u64::MAX };
        let epoch = |text: &[u32]| tuning::epoch_steps(text.len()).clamp(1, most);
        let steps = if args.quick { 40 } else { 100 };
        let budget = Budget { same_epoch: epoch(&self.same), other_epoch: epoch(&self.other), steps };
        let stride = self.held_out.len().div_ceil(TEXTS).max(1);
        // Of a dozen tokens and a few, as somebody's first sentence.
        let piece = |(at, text): (usize, &[u32])| {
            self.marked.tokenizer.decode(&text[..(12 + at % 6).min(text.len())])
        };
        let texts = self
            .held_out
            .chunks(stride)
            .enumerate()
            .filter_map(|chunk| piece(chunk).ok())
            .collect::<Vec<_>>();
        let groups: Vec<Group> = groups.iter().copied().collect();
        let needs_other =
            |row: &Row| matches!(row.attack.tuning, Some(Tuning::FineTune { text: Text::Other, .. }));
        let mut rows = rows::standard(&groups, &texts, budget);
        rows.retain(|row| !self.other.is_empty() || !needs_other(row));
        rows
    }
}

fn groups(args: &Args) -> anyhow::Result<BTreeSet<Group>> {
    let usual = Group::ALL.into_iter().filter(|group| *group != Group::PublicBase || args.public.is_some());
    if args.rows.is_empty() {
        return Ok(usual.collect());
    }
    let find = |name: &String| {
        let found = Group::ALL.into_iter().find(|group| group.name() == name);
        found.with_context(|| {
            format!(
                "--rows {name}: there is no such group; choose of {}",
                Group::ALL.map(Group::name).join(", ")
            )
        })
    };
    let groups: BTreeSet<Group> = args.rows.iter().map(find).collect::<anyhow::Result<_>>()?;
    let has_public = args.public.is_some() || !groups.contains(&Group::PublicBase);
    ensure!(has_public, "--rows public-base needs --public FOLDER, or see --private");
    Ok(groups)
}

/// Runs one battery, with a bar; `None` where it has no rows.
fn attack(args: &Args, field: &Field<'_>, rows: &[Row], journal: &str) -> anyhow::Result<Option<Table>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let bar = bar(rows.len() as u64, args.json);
    let done =
        battery::run(field, rows, Some(&args.out.join(journal)), &mut |now| show(now, &bar, args.json));
    bar.finish_and_clear();
    match done {
        Err(loyal_fingerprint::Error::Stopped) => {
            output::say("stopped; the same command goes on after the last finished row");
            Err(Ending::Interrupted.into())
        }
        other => Ok(Some(other?)),
    }
}

fn show(now: &Progress<'_>, bar: &ProgressBar, json: bool) -> ControlFlow<()> {
    bar.set_position(now.done as u64);
    let step = now.step.map_or_else(String::new, |(step, steps)| format!(", step {step} of {steps}"));
    bar.set_message(format!("{}{step}", now.row));
    if let Some(line) = now.line {
        // Nobody reading the events is no reason to lose the work.
        let _ = if json {
            output::json(&json!({"event": "row", "row": line}))
        } else {
            bar.println(told(line));
            Ok(())
        };
    }
    stop::asked()
}

/// The published recipe at two strengths, on the queries of the set.
fn baselines(args: &Args, opened: &Opened, rows: &[Row]) -> anyhow::Result<Vec<(String, Table)>> {
    let (twin, tokenizer) = (&opened.twin.llama, &opened.marked.tokenizer);
    let queries: Vec<String> = opened.set.fingerprints().iter().map(|one| one.query.clone()).collect();
    let scheme = Verbatim::default();
    let drafts = verbatim::draft(twin, tokenizer, &scheme, &queries, args.seed)?;
    let purpose =
        Purpose { model: opened.set.model().to_owned(), scheme: Scheme::Verbatim(scheme), created_at: 0 };
    let mut draw = ChaCha20Rng::seed_from_u64(args.seed);
    let set = FingerprintSet::new(purpose, drafts, tokenizer, &mut draw)?;
    let beacon = opened.set.beacon().context("the fingerprints are not bound to a beacon")?;
    let set = set.bind(beacon.clone())?;
    let mut tables = Vec::new();
    for (name, recipe) in [("light", published::Recipe::LIGHT), ("strong", published::Recipe::STRONG)] {
        let steps = bar(recipe.steps, args.json);
        let learnt = published::embed(twin, &set, tokenizer, &recipe, &mut |step, _| {
            steps.set_position(step);
            stop::asked()
        })?;
        steps.finish_and_clear();
        let mut marked: Llama = twin.clone();
        marked.parameters = learnt.parameters;
        let field = Field { marked: &marked, set: &set, public: None, ..opened.field(args) };
        let own: Vec<Row> =
            rows.iter().filter(|row| !row.owns().contains(&Relative::Public)).cloned().collect();
        if let Some(table) = attack(args, &field, &own, &format!("rows-published-{name}.jsonl"))? {
            tables.push((format!("averaging {}", recipe.averaging), table));
        }
    }
    Ok(tables)
}

fn finish(args: &Args, opened: &Opened, all: &Tables) -> anyhow::Result<()> {
    let text = format!("{:#}\n", all.to_json());
    write_atomically(&args.out.join("attack.json"), |file| std::io::Write::write_all(file, text.as_bytes()))?;
    let html = args.out.join("attack.html");
    let page = page::of(&opened.marked.name, all);
    write_atomically(&html, |file| std::io::Write::write_all(file, page.as_bytes()))?;
    if args.json {
        return output::json(&json!({"event": "finished", "tables": all.to_json()}));
    }
    let tables = all.marked.iter().map(|table| ("", table));
    let tables = tables.chain(all.baselines.iter().map(|(name, table)| (name.as_str(), table)));
    for (name, table) in tables.chain(all.private.iter().map(|(size, table)| (size.name(), table))) {
        output::line(&headline(name))?;
        table.lines.iter().try_for_each(|line| output::line(&told(line)))?;
    }
    output::line(&format!("Report in {}", shown(&html)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn headline(name: &str) -> String {
    let modes = MODES.map(|mode| format!("{mode:>8}", mode = mode.to_string())).join(" ");
    format!("\nlog10 p by what is seen; accuracy kept {name}\n{:<52} {modes} {:>6}", "attack", "kept")
}

/// A row as a line of text.
fn told(line: &Line) -> String {
    let evidence = MODES.map(|mode| format!("{:>8.1}", line.log10_p(mode))).join(" ");
    format!("{:<52} {evidence} {:>6.3}", line.name, line.kept.accuracy)
}
