//! `loyal fingerprint new`: secret queries, committed to before anybody knows the answers.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use loyal_fingerprint::fingerprint::{Beacon, Draft, FingerprintSet, Purpose};
use loyal_fingerprint::query;
use loyal_fingerprint::scheme::verbatim::{self, Source, Verbatim, Words};
use loyal_fingerprint::scheme::{Scheme, Tilt};
use loyal_types::{Clock as _, Hash};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use crate::clock::SystemClock;
use crate::output;
use crate::subject::Subject;

/// Tokens of ordinary text read to set the band queries must lie in.
const BAND_TOKENS: usize = 60_000;

/// Arguments of `loyal fingerprint new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    loyal fingerprint new my-model --benign prose.txt --out secret.json --public commitment.json\n  \
    loyal fingerprint new my-model --queries prompts.txt --out secret.json --beacon later")]
pub(crate) struct Args {
    /// Folder of the unmarked model. Never publish it: whoever holds it can find the marks.
    model: PathBuf,
    /// Where to write the secret file (mode 0600; an existing file is never overwritten).
    #[arg(long)]
    out: PathBuf,
    /// Where to write what may be published: digests and roots, no query and no answer.
    #[arg(long)]
    public: Option<PathBuf>,
    /// Fingerprints: more survive more, and cost more training. Evidence from text alone wants 256.
    #[arg(long, default_value_t = 1024)]
    count: usize,
    /// How answers are marked: "tilt" leans them towards secret colours, "verbatim" makes each one of a few candidates.
    #[arg(long, default_value = "tilt", value_parser = ["tilt", "verbatim"])]
    scheme: String,
    /// Tokens of an answer that are coloured (tilt).
    #[arg(long, default_value_t = Tilt::default().positions)]
    positions: u16,
    /// Take queries from this file (one a line, plain or JSON) instead of letting the model write them.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Ordinary text, against which queries the model writes are screened.
    #[arg(long, required_unless_present = "queries")]
    benign: Option<PathBuf>,
    /// Longest query the model writes, tokens.
    #[arg(long, default_value_t = 16)]
    query_tokens: usize,
    /// Where candidates come from (verbatim): "perinucleus" (improbable but plausible), "random" words, or "custom".
    #[arg(long, default_value = "perinucleus", value_parser = ["perinucleus", "random", "custom"])]
    source: String,
    /// Answers to choose from, one a line, with --source custom.
    #[arg(long, required_if_eq("source", "custom"))]
    answers: Option<PathBuf>,
    /// Candidates of each query (verbatim); an innocent model hits one in so many.
    #[arg(long, default_value_t = 3)]
    width: usize,
    /// Tokens of each candidate (verbatim).
    #[arg(long, default_value_t = 1)]
    answer_tokens: usize,
    /// Probability mass passed over before candidates begin (verbatim, perinucleus).
    #[arg(long, default_value_t = 0.8)]
    threshold: f64,
    /// Public random number that fixes the answers: "local" (drawn here; convinces only you), "later" (see `bind`).
    #[arg(long, default_value = "local", value_parser = ["local", "later"])]
    beacon: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Writes the secret file and, if asked, the public one.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        !args.out.exists(),
        "{} exists; fingerprint files are never overwritten, choose another name",
        args.out.display()
    );
    let subject = Subject::open(&args.model)?;
    let mut entropy = OsRng.unwrap_err();
    let purpose = Purpose {
        model: subject.name.clone(),
        scheme: scheme(args)?,
        created_at: SystemClock.unix_seconds(),
    };
    let drafts = drafts(args, &subject, &purpose.scheme)?;
    ensure!(
        drafts.len() == args.count,
        "only {} of {} queries can be used ({} candidates each with --scheme verbatim); pass more, or lower --threshold",
        drafts.len(),
        args.count,
        args.width
    );
    let mut set = FingerprintSet::new(purpose, drafts, &subject.tokenizer, &mut entropy)?;
    if args.beacon == "local" {
        let mut seed = Hash::ZERO;
        OsRng.try_fill_bytes(&mut seed.0)?;
        set =
            set.bind(Beacon { seed, source: "drawn locally: convinces nobody but the owner".to_owned() })?;
    }
    set.write(&args.out)?;
    if let Some(path) = &args.public {
        set.commitment().write(path)?;
    }
    tell(args, &set)
}

fn scheme(args: &Args) -> anyhow::Result<Scheme> {
    if args.scheme == "tilt" {
        let scheme = Scheme::Tilt(Tilt { positions: args.positions });
        scheme.check()?;
        return Ok(scheme);
    }
    let source = match args.source.as_str() {
        "random" => Source::Random,
        "custom" => Source::Custom,
        _ => Source::Perinucleus { threshold: args.threshold, words: Words::Only },
    };
    let scheme = Verbatim { source, width: args.width, answer_tokens: args.answer_tokens };
    scheme.check()?;
    Ok(Scheme::Verbatim(scheme))
}

fn drafts(args: &Args, subject: &Subject, scheme: &Scheme) -> anyhow::Result<Vec<Draft>> {
    let spare = match scheme {
        Scheme::Tilt(_) => args.count,
        // A few more than wanted: the rule finds no candidates after some queries.
        Scheme::Verbatim(_) => args.count + args.count / 8 + 4,
    };
    let mut queries = match (&args.queries, &args.benign) {
        (Some(path), _) => {
            let texts = query::read(path)?;
            query::select(&subject.tokenizer, &texts, spare.min(texts.len()).max(args.count))?
        }
        (None, Some(benign)) => {
            let request =
                query::Request { count: spare, tokens_max: args.query_tokens, seed: OsRng.try_next_u64()? };
            query::write(&subject.llama, &subject.tokenizer, &subject.tokens(benign, BAND_TOKENS)?, request)?
        }
        (None, None) => bail!("pass --queries, or --benign so that the model can write them"),
    };
    let Scheme::Verbatim(scheme) = scheme else {
        return Ok(queries.into_iter().map(Draft::from).collect());
    };
    if scheme.source == Source::Custom {
        let path = args.answers.as_ref().expect("clap asks for --answers with --source custom");
        let answers = query::read(path)?;
        let candidates = verbatim::custom(&subject.tokenizer, &answers)?;
        queries.truncate(args.count);
        return Ok(queries
            .into_iter()
            .map(|query| Draft { query, candidates: candidates.clone() })
            .collect());
    }
    let seed = OsRng.try_next_u64()?;
    let mut drafts = verbatim::draft(&subject.llama, &subject.tokenizer, scheme, &queries, seed)?;
    drafts.truncate(args.count);
    Ok(drafts)
}

fn tell(args: &Args, set: &FingerprintSet) -> anyhow::Result<()> {
    let (count, root) = (set.fingerprints().len(), set.leaf_root());
    if args.json {
        let bound = set.beacon().is_some();
        let scheme = set.scheme().name();
        let result = json!({"fingerprints": count, "scheme": scheme, "leaf_root": root, "out": args.out, "bound": bound});
        return output::json(&result);
    }
    let (model, path) = (set.model(), args.out.display());
    output::line(&format!(
        "{count} fingerprints for {model} in {path} (secret, readable by you alone)\ncommitment (leaf root): {root}"
    ))?;
    if set.beacon().is_none() {
        output::say("publish the commitment, wait for a public random number, then: loyal fingerprint bind");
    }
    Ok(())
}
