//! `loyal prover watch`: endpoints that nobody registered, asked on a schedule and within a budget.

mod document;
mod dossier;
mod list;
mod registered;
mod summary;
mod told;
mod visit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use loyal_fingerprint::check::ledger::Colluders;
use loyal_fingerprint::copies::{HostCopy, Register};
use loyal_fingerprint::watch::{Allowance, Diary, Money};
use loyal_fingerprint::{FingerprintSet, Pool, trace};
use loyal_model::{Config, Tokenizer};
use loyal_types::{Clock as _, Hash};
use rand::rngs::OsRng;
use rand::{SeedableRng as _, TryRngCore as _};
use rand_chacha::ChaCha20Rng;

use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::endpoint::{Limits, Ordinary};
use crate::fingerprint::check::weights_digest;
use crate::site::Site;
use crate::subject::Subject;
use crate::time::parse_span;
use crate::{output, shipped, stop};
use list::Entry;
use registered::Registered;

/// Arguments of `loyal prover watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each endpoint is visited now and again: ordinary prompts find out whether the same model answers there as before, then \
a few fingerprints are asked among more of them. Evidence adds up from visit to visit, over days, in one inquiry for \
each model behind each endpoint. An endpoint that has changed becomes another suspect, and every suspect tested makes \
the verdict of the next one harder. When an inquiry has its evidence, a dossier is written: what was asked, what it \
means and what it does not, and evidence that a stranger can compute again. If there are copies of a traced model, the \
endpoint is then asked whose copy it serves.

A list has an address on each line and, with spaces between, what else is known:
  https://host.example/v1  model=dobby-70b  key-env=HOST_KEY  price=0.0004  requests-a-day=60

Everything lies beside the secret file: the ledger of spent fingerprints, the diary of the watch, its transcripts and \
dossiers. A watch that was stopped or killed goes on where it was when it is run again, and has sent no more than its \
diary says. A dossier lays open the fingerprints that were answered, which burns them for everybody.

Examples:
  loyal prover watch --list endpoints.txt --fingerprints secret.json --reference ./unmarked --every 6h --budget 5
  loyal prover watch https://host.example/v1 --fingerprints secret.json --reference ./unmarked --once
  loyal prover watch --list endpoints.txt --fingerprints secret.json --status")]
pub(crate) struct Args {
    /// Addresses of endpoints (https://host/v1).
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// File with an endpoint on each line.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// The secret file of `loyal fingerprint new`.
    #[arg(long, value_name = "FILE")]
    fingerprints: PathBuf,
    /// Folder of the owner's unmarked model: with it every answer says more.
    #[arg(long, value_name = "FOLDER")]
    reference: Option<PathBuf>,
    /// Folder with the registered tokenizer [default: that of --reference, or of the default model if it fits]
    #[arg(long, value_name = "FOLDER")]
    tokenizer: Option<PathBuf>,
    /// Time between two visits of an endpoint, give or take a quarter.
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = parse_span)]
    every: u64,
    /// Visit each endpoint once, whether it is due or not, and end.
    #[arg(long)]
    once: bool,
    /// Ask nobody: say where every inquiry stands, and end.
    #[arg(long, conflicts_with = "once")]
    status: bool,
    /// Ask nobody: write the dossiers of these endpoints, whatever the evidence, and end.
    #[arg(long, value_name = "URL", conflicts_with_all = ["once", "status"])]
    dossier: Vec<String>,
    /// Fingerprints asked at a visit.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    queries: u16,
    /// Ordinary prompts for each fingerprint.
    #[arg(long, value_name = "N", default_value_t = 1)]
    cover: u8,
    /// Requests to one endpoint in any 24 hours, ordinary prompts and repetitions counted.
    #[arg(long, value_name = "N", default_value_t = 200)]
    requests_a_day: u64,
    /// Requests to all endpoints as long as the diary lives.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Money for all endpoints as long as the diary lives, in the currency of the list's prices.
    #[arg(long, value_name = "SUM")]
    budget: Option<Money>,
    /// Time between two requests to one host, at least.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_span)]
    pace: u64,
    /// Hosts visited at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    at_once: u8,
    /// Seconds to wait for one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Seconds after which a host that says it is busy is left until the next visit.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    give_up_after: u64,
    /// The pool to ask: probes, ownership or tracing.
    #[arg(long, value_name = "POOL", default_value_t = Pool::Probes)]
    pool: Pool,
    /// Registrations ever claimed and suspects tested outside of this watch: each makes a verdict harder.
    #[arg(long, value_name = "R", default_value_t = 0)]
    registrations: u32,
    /// A host that may learn from the others what it was asked, or `all`: what is spent on one is not asked of another.
    #[arg(long, value_name = "HOST")]
    colluding_with: Vec<String>,
    /// Chance at most that a copy is named whose host had no part in it.
    #[arg(long, value_name = "δ", default_value_t = trace::DELTA)]
    delta: f64,
    /// Text to take ordinary prompts from [default: a built-in one]
    #[arg(long, value_name = "FILE")]
    ordinary: Option<PathBuf>,
    /// Folder for dossiers [default: beside the secret file]
    #[arg(long, value_name = "FOLDER")]
    dossiers: Option<PathBuf>,
    /// Number of the model on the chain: dossiers then say what was registered, and when.
    #[arg(long, value_name = "MODEL")]
    registered: Option<u64>,
    #[command(flatten)]
    site: Site,
}

/// What a watch needs, at hand.
struct Watch<'a> {
    args: &'a Args,
    set: FingerprintSet,
    tokenizer: Tokenizer,
    /// Where the tokenizer was read from.
    tokenizer_folder: PathBuf,
    reference: Option<(Subject, Hash)>,
    ordinary: Ordinary,
    copies: Vec<HostCopy>,
    registered: Option<Registered>,
    diary: Mutex<Diary>,
    /// Where transcripts lie.
    transcripts: PathBuf,
    /// Where dossiers lie.
    dossiers: PathBuf,
    /// Whether a worker failed, so that the others end too.
    is_halted: AtomicBool,
}

/// Watches until it is stopped, or nothing is left that it may spend.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.every > 0, "--every 0s leaves nobody alone; say how long, such as 6h");
    let entries = list::entries(&args.urls, args.list.as_ref(), args.budget)?;
    let watch = Watch::open(args)?;
    if args.status {
        return entries.iter().try_for_each(|entry| watch.tell(&watch.standing(entry)?));
    }
    if !args.dossier.is_empty() {
        return watch.write_dossiers(&entries);
    }
    stop::listen();
    let mut draw = ChaCha20Rng::from_seed(seed()?);
    watch.rounds(&entries, &mut draw)?;
    if stop::asked().is_break() {
        output::say("stopped; the same command goes on");
        return Err(Ending::Interrupted.into());
    }
    Ok(())
}

impl<'a> Watch<'a> {
    fn open(args: &'a Args) -> anyhow::Result<Self> {
        let set = FingerprintSet::read(&args.fingerprints)?;
        set.secret(0)?;
        let count = args.pool.indices(set.fingerprints().len()).count();
        ensure!(count > 0, "the pool {} of {} is empty", args.pool, args.fingerprints.display());
        ensure!(
            args.delta > 0.0 && args.delta < 1.0,
            "--delta {}: choose a chance between 0 and 1",
            args.delta
        );
        let time = SystemClock.unix_seconds();
        // First of all, so that nobody else begins.
        let path = Diary::beside(&args.fingerprints, &set);
        let diary = if args.status {
            Diary::read(&path, set.leaf_root())?
        } else {
            Diary::open(&path, set.leaf_root(), (args.registrations, time))?
        };
        let reference = args.reference.as_deref().map(|folder| reference(folder, &set)).transpose()?;
        let (tokenizer, tokenizer_folder) = tokenizer(args, &set)?;
        let registered =
            args.registered.map(|model| Registered::find(&args.site, model, &set)).transpose()?;
        let transcripts = path.with_extension("transcripts");
        if !args.status {
            std::fs::create_dir_all(&transcripts).with_context(|| transcripts.display().to_string())?;
        }
        let dossiers = args.dossiers.clone().unwrap_or_else(|| path.with_extension("dossiers"));
        Ok(Self {
            args,
            copies: Register::beside(&args.fingerprints, &set).copies()?,
            set,
            tokenizer,
            tokenizer_folder,
            reference,
            ordinary: Ordinary::read(args.ordinary.as_deref())?,
            registered,
            diary: Mutex::new(diary),
            transcripts,
            dossiers,
            is_halted: AtomicBool::new(false),
        })
    }

    /// Visits whoever is due, several hosts at a time and each host's endpoints one after another, again and again.
    fn rounds(&self, entries: &[Entry], draw: &mut ChaCha20Rng) -> anyhow::Result<()> {
        let mut hosts: BTreeMap<String, Vec<Turn<'_>>> = BTreeMap::new();
        for entry in entries {
            let client = self.client(entry, 0)?;
            let name = entry.name(&client);
            let due = if self.args.once { 0 } else { self.diary().due(&name) };
            hosts.entry(client.host()).or_default().push(Turn { entry, due });
        }
        let hosts: Vec<Mutex<(Vec<Turn<'_>>, ChaCha20Rng)>> =
            hosts.into_values().map(|turns| Mutex::new((turns, ChaCha20Rng::from_rng(&mut *draw)))).collect();
        let workers = usize::from(self.args.at_once).min(hosts.len());
        let failed = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work(&hosts))).collect();
            workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
        });
        for worker in failed {
            worker
                .map_err(|_| anyhow::anyhow!("a worker of the watch ended in the middle of its work"))??;
        }
        Ok(())
    }

    /// What one of the workers does: it takes a host whose turn it is, and visits what is due there.
    fn work(&self, hosts: &[Mutex<(Vec<Turn<'_>>, ChaCha20Rng)>]) -> anyhow::Result<()> {
        loop {
            if self.ends() {
                return Ok(());
            }
            let now = SystemClock.unix_seconds();
            // A host that another worker has is left to it.
            let mut is_over = true;
            for host in hosts {
                let Ok(mut host) = host.try_lock() else {
                    is_over = false;
                    continue;
                };
                let (turns, draw) = &mut *host;
                while let Some(at) = turns.iter().position(|turn| turn.due <= now) {
                    if self.ends() {
                        return Ok(());
                    }
                    let turn = turns.remove(at);
                    let visit = self
                        .visit(turn.entry, draw)
                        .inspect_err(|_| self.is_halted.store(true, Ordering::SeqCst))?;
                    self.tell(&visit.told)?;
                    if let Some(due) = visit.due.filter(|_| !self.args.once) {
                        turns.push(Turn { due, ..turn });
                    }
                }
                is_over &= turns.is_empty();
            }
            if is_over {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ends(&self) -> bool {
        stop::asked().is_break() || self.is_halted.load(Ordering::SeqCst)
    }

    fn diary(&self) -> std::sync::MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allowance(&self, entry: &Entry) -> Allowance {
        Allowance {
            a_day: entry.requests_a_day.unwrap_or(self.args.requests_a_day),
            in_all: self.args.requests,
            money: self.args.budget,
            price: entry.price.unwrap_or(Money::ZERO),
        }
    }

    fn limits(&self, budget: u64) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.args.timeout),
            give_up_after: Duration::from_secs(self.args.give_up_after),
            budget: Some(usize::try_from(budget).unwrap_or(usize::MAX)),
            pace: Duration::from_secs(self.args.pace),
            says_who: false,
        }
    }

    fn colluders(&self) -> Colluders {
        if self.args.colluding_with.iter().any(|host| host == "all") {
            return Colluders::All;
        }
        let plain = |host: &String| host.trim_end_matches('/').to_lowercase();
        Colluders::Named(self.args.colluding_with.iter().map(plain).collect())
    }
}

/// An endpoint, and when it is due.
#[derive(Debug, Clone, Copy)]
struct Turn<'a> {
    entry: &'a Entry,
    due: u64,
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed)?;
    Ok(seed)
}

/// The reference, with a digest of its weights.
fn reference(folder: &Path, set: &FingerprintSet) -> anyhow::Result<(Subject, Hash)> {
    let failed = || format!("the reference model in {}", folder.display());
    let subject = Subject::open(folder).with_context(failed)?;
    set.fits(&subject.tokenizer).with_context(failed)?;
    Ok((subject, weights_digest(folder).with_context(failed)?))
}

/// The registered tokenizer, and the folder that holds it.
fn tokenizer(args: &Args, set: &FingerprintSet) -> anyhow::Result<(Tokenizer, PathBuf)> {
    let named = args.tokenizer.as_ref().or(args.reference.as_ref());
    let folder = match named {
        Some(folder) => folder.clone(),
        None => shipped::folder(None)?,
    };
    let tokenizer = Tokenizer::read(&folder, &Config::read(&folder)?)?;
    set.fits(&tokenizer).with_context(|| match named {
        Some(folder) => folder.display().to_string(),
        None => {
            "name a folder that holds the registered tokenizer with --tokenizer, or the unmarked model with \
                 --reference"
                .to_owned()
        }
    })?;
    Ok((tokenizer, folder))
}
