//! A check of an endpoint: spent in the ledger, kept in a transcript, hidden among ordinary prompts.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context as _;
use loyal_fingerprint::check::ledger::{Colluders, Target};
use loyal_fingerprint::check::transcript::Record;
use loyal_fingerprint::check::{Books, Case, Hearing, Ledger, Mode, hearing};
use loyal_fingerprint::{FingerprintSet, Pool};
use loyal_model::{Config, Tokenizer};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use super::{Args, Bar, Outcomes, refuse};
use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::endpoint::{Access, Client, Endpoint, Limits, Manner, Ordinary};
use crate::{output, shipped, stop};

/// What is for endpoints alone.
#[derive(Debug, clap::Args)]
pub(super) struct EndpointArgs {
    /// Folder with the registered tokenizer [default: that of --reference, or of the default model if it fits]
    #[arg(long, value_name = "FOLDER")]
    tokenizer: Option<PathBuf>,
    /// Name of the model at the endpoint [default: the first one it lists]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// File that holds the endpoint's API key.
    #[arg(long, value_name = "FILE", conflicts_with = "api_key_env")]
    api_key_file: Option<PathBuf>,
    /// Variable of the environment that holds the endpoint's API key.
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// Send so many requests at most, ordinary prompts and repetitions counted.
    #[arg(long, value_name = "N")]
    budget: Option<usize>,
    /// Ordinary prompts for each fingerprint [default: 1]
    #[arg(long, value_name = "N")]
    cover: Option<usize>,
    /// Text to take ordinary prompts from [default: a built-in one]
    #[arg(long, value_name = "FILE")]
    ordinary: Option<PathBuf>,
    /// Requests at the same time [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    concurrency: Option<u8>,
    /// Seconds to wait for one answer [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Seconds after which a host that says it is busy is given up [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    give_up_after: Option<u64>,
    /// A host that may learn from this one what it was asked, or `all`: fingerprints spent there are not asked here.
    #[arg(long, value_name = "HOST")]
    colluding_with: Vec<String>,
}

impl EndpointArgs {
    pub(super) fn given(&self) -> [(&'static str, bool); 11] {
        [
            ("--tokenizer", self.tokenizer.is_some()),
            ("--model", self.model.is_some()),
            ("--api-key-file", self.api_key_file.is_some()),
            ("--api-key-env", self.api_key_env.is_some()),
            ("--budget", self.budget.is_some()),
            ("--cover", self.cover.is_some()),
            ("--ordinary", self.ordinary.is_some()),
            ("--concurrency", self.concurrency.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--give-up-after", self.give_up_after.is_some()),
            ("--colluding-with", !self.colluding_with.is_empty()),
        ]
    }

    fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.timeout.unwrap_or(60)),
            give_up_after: Duration::from_secs(self.give_up_after.unwrap_or(3600)),
            budget: self.budget,
            pace: Duration::ZERO,
            says_who: true,
        }
    }

    fn access(&self) -> Option<Access> {
        let variable = self.api_key_env.clone().map(Access::Variable);
        self.api_key_file.clone().map(Access::File).or(variable)
    }

    fn cover(&self) -> usize {
        self.cover.unwrap_or(1)
    }

    fn concurrency(&self) -> usize {
        self.concurrency.unwrap_or(4).into()
    }

    fn colluders(&self) -> Colluders {
        if self.colluding_with.iter().any(|host| host == "all") {
            return Colluders::All;
        }
        let plain = |host: &String| host.trim_end_matches('/').to_lowercase();
        Colluders::Named(self.colluding_with.iter().map(plain).collect::<BTreeSet<_>>())
    }
}

/// Asks an endpoint.
pub(super) fn run(args: &Args, set: &FingerprintSet) -> anyhow::Result<()> {
    refuse(&args.local.given(), "folders")?;
    let options = &args.endpoint;
    let reference = args.reference(set)?;
    let tokenizer = tokenizer(args, set)?;
    let tokenizer = match (&tokenizer, &reference) {
        (Some(tokenizer), _) => tokenizer,
        (None, Some((subject, _))) => &subject.tokenizer,
        (None, None) => anyhow::bail!(
            "an endpoint's text is cut by the registered tokenizer: name a folder that holds it with --tokenizer, or the unmarked model with --reference"
        ),
    };
    stop::listen();
    let client = Client::new(&args.suspect, options.access().as_ref(), options.limits())?;
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed)?;
    let manner = Manner {
        model: options.model.clone(),
        known: None,
        cover: options.cover(),
        concurrency: options.concurrency(),
        seed,
    };
    let (to, notes) = channel();
    let ordinary = Ordinary::read(options.ordinary.as_deref())?;
    let mut endpoint = Endpoint::new(client.clone(), tokenizer, ordinary, (manner, to))?;
    let name = endpoint.name();
    let transcript = args.transcript.clone().unwrap_or_else(|| beside(&args.fingerprints, &name));
    let census = endpoint.census(mode_before(&transcript)?.or(args.mode), set.scheme().answer_tokens())?;
    if !args.json {
        output::say(&format!("{name} shows {}", census.mode));
    }
    let mut request = args.request(set, census.mode);
    // Who leaked it is told by all that answers and all that does not.
    request.stops_early = args.pool != Some(Pool::Tracing);
    request.batch = options.concurrency();
    let round = (1 + options.cover()) * request.batch * request.draws;
    let hearing = Hearing {
        case: Case { set, tokenizer, reference: reference.as_ref().map(|(subject, _)| &subject.llama) },
        request,
        suspect: &name,
        route: census.route,
        registrations: args.registrations,
        reference: reference.as_ref().map(|(_, digest)| *digest),
        limit: args.limit.unwrap_or(usize::MAX),
    };
    let target = Target { host: client.host(), colluders: options.colluders() };
    let ledger = Ledger::beside(&args.fingerprints, set);
    let mut books =
        Books::new(&SystemClock).with_transcript(&transcript).with_ledger(ledger, target).with_notes(notes);
    let bar = Bar::new(set.fingerprints().len(), args.json);
    let findings = hearing::run(&mut endpoint, &hearing, &mut books, &mut |progress| {
        bar.show(progress);
        let goes_on = stop::asked().is_continue() && client.gone().is_none() && client.affords(round);
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    drop((bar, books));
    let notes: Vec<String> = Record::read(&transcript)?.notes().map(str::to_owned).collect();
    if !args.json {
        notes.iter().for_each(|note| output::say(&format!("note: {note}")));
    }
    let more = json!({"route": census.route, "requests": client.sent(), "notes": notes});
    Outcomes { args, set, findings, suspect: &name, transcript: Some(&transcript) }.tell(&more)?;
    ended(&client, round)
}

/// Why it ended before it was done, if it did.
fn ended(client: &Client, round: usize) -> anyhow::Result<()> {
    let again = "what was asked is kept: the same command goes on";
    if stop::asked().is_break() {
        output::say(&format!("stopped; {again}"));
        return Err(Ending::Interrupted.into());
    }
    if let Some(problem) = client.gone() {
        anyhow::bail!("{} was given up: {problem}; {again}", client.base());
    }
    if !client.affords(round) {
        output::say(&format!(
            "the budget of requests is used up after {}; {again} with a budget of its own",
            client.sent()
        ));
    }
    Ok(())
}

/// The tokenizer that was named, or the default model's where it is the registered one and there is no reference.
fn tokenizer(args: &Args, set: &FingerprintSet) -> anyhow::Result<Option<Tokenizer>> {
    let read =
        |folder: &Path| -> anyhow::Result<Tokenizer> { Ok(Tokenizer::read(folder, &Config::read(folder)?)?) };
    if let Some(folder) = &args.endpoint.tokenizer {
        let tokenizer = read(folder)?;
        set.fits(&tokenizer).with_context(|| folder.display().to_string())?;
        return Ok(Some(tokenizer));
    }
    if args.reference.is_some() {
        return Ok(None);
    }
    let tokenizer = read(&shipped::folder(None)?)?;
    Ok(set.fits(&tokenizer).is_ok().then_some(tokenizer))
}

/// `secret.json` and `http://127.0.0.1:8080/v1#tiny` have `secret.json.http-127.0.0.1-8080-v1-tiny.transcript`.
fn beside(secret: &Path, suspect: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = suspect.chars().map(plain).collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    let mut path = secret.as_os_str().to_owned();
    let name: String = words.join("-").chars().take(120).collect();
    path.push(format!(".{name}.transcript"));
    PathBuf::from(path)
}

/// The mode of a transcript that is there already: a check goes on as it began.
fn mode_before(transcript: &Path) -> anyhow::Result<Option<Mode>> {
    match std::fs::metadata(transcript) {
        Ok(metadata) if metadata.len() > 0 => {}
        _ => return Ok(None),
    }
    // A first line that a crash cut short is no transcript yet.
    let bytes = std::fs::read(transcript).with_context(|| transcript.display().to_string())?;
    if !bytes.contains(&b'\n') {
        return Ok(None);
    }
    Ok(Some(Record::parse(&bytes, transcript)?.header().mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_lies_beside_the_secret() {
        let path = beside(Path::new("a/secret.json"), "http://127.0.0.1:8080/v1#some/model 7");
        assert_eq!(path, Path::new("a/secret.json.http-127.0.0.1-8080-v1-some-model-7.transcript"));
    }
}
