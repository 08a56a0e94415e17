//! `loyal agent browse`: a goal, a model and a real browser.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use loyal_agent::agent::budget::{Budget, Limits};
use loyal_agent::agent::log::Log;
use loyal_agent::agent::{self, Run, Style};
use loyal_agent::tool::{BROWSE, Grant, Toolbox, browse_with_secrets, domains_named};
use loyal_browser::trace::{self, Trace};
use loyal_browser::{Browser, Launch, Reach};
use serde_json::json;

use super::mind::Source;
use super::person::with_person;
use super::toolset;
use crate::{clock::SystemClock, output};

/// Arguments of `loyal agent browse`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["model_url", "wallet"]))]
#[command(after_help = "\
It needs Chromium or Chrome (Debian: apt install chromium). It may go to the domains of the addresses in the goal and to \
those of --allow, and nowhere else: not for a click, not for a picture of a page. There it may do whatever a visitor may, \
so give it no account that matters.

Examples:
  loyal agent browse \"find the test card and play the video\" --model-url http://127.0.0.1:8080/v1 --allow media.example
  loyal agent browse \"read https://news.example and sum it up\" --model-url http://127.0.0.1:8080/v1
  loyal agent browse \"which of the two is cheaper?\" --model-url http://127.0.0.1:8080/v1 --anywhere --trace ./trace")]
pub(crate) struct Args {
    /// What is to be done, with the address to begin at if it matters.
    goal: String,
    #[command(flatten)]
    source: Source,
    /// A domain that may be visited, with those below it, beside those of addresses in the goal. May be repeated.
    #[arg(long, value_name = "DOMAIN")]
    allow: Vec<String>,
    /// Let it visit any domain.
    #[arg(long, conflicts_with = "allow")]
    anywhere: bool,
    /// A secret, read from a file, that it may type into pages of this origin alone; the model sees {{secret:NAME}}. May be
    /// repeated.
    #[arg(long, value_name = "NAME=ORIGIN=FILE")]
    secret: Vec<String>,
    /// Let it reach private networks and this machine.
    #[arg(long)]
    local: bool,
    /// Show the browser's window.
    #[arg(long)]
    visible: bool,
    /// Run without Chromium's sandbox: as root, and in many containers, there is none.
    #[arg(long)]
    no_sandbox: bool,
    /// Chromium's program; looked for unless given.
    #[arg(long, value_name = "FILE")]
    chromium: Option<PathBuf>,
    /// A folder whose files may be uploaded.
    #[arg(long, value_name = "FOLDER")]
    uploads: Option<PathBuf>,
    /// Write what it saw and did into this folder, and trace.html that shows it.
    #[arg(long, value_name = "FOLDER")]
    trace: Option<PathBuf>,
    /// Write the log of the run, which replays it.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Rounds at most.
    #[arg(long, value_name = "COUNT", default_value_t = 40)]
    steps: u64,
    /// Seconds the whole may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Let it ask whoever sits at the terminal.
    #[arg(long)]
    person: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Browses.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work(args))
}

async fn work(args: &Args) -> anyhow::Result<()> {
    let model = args.source.open().await?;
    let secrets = toolset::secrets(&args.secret)?;
    let domains = domains(args)?;
    let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
    let reach = Reach { local: args.local, ..Reach::default().only(&domains) };
    let launch = Launch {
        program: args.chromium.clone(),
        headless: !args.visible,
        sandbox: !args.no_sandbox,
        reach,
        ..Launch::default()
    };
    let mut browser = Browser::launch(launch).await?;
    if let Some(folder) = &args.uploads {
        browser = browser.with_uploads(folder);
    }
    output::say(browser.version());
    output::say(&match &domains[..] {
        [] => "it may visit any domain".to_owned(),
        some => format!("it may visit {} and what is below", some.join(", ")),
    });
    let counter = browser.domain_counter();
    let clock = Arc::new(SystemClock);
    let trace = args.trace.as_ref().map(|folder| Trace::begin(folder, clock.clone())).transpose()?;
    let browsing = browse_with_secrets(browser, trace, secrets.clone());
    // Whoever starts this asked for just that: the tool may act on the domains that were allowed.
    let calls = u32::try_from(args.steps.saturating_mul(4)).unwrap_or(u32::MAX);
    let grant = Grant { tool: BROWSE.to_owned(), arguments: json!({}), call_count_max: calls };
    let mut tools = Toolbox::new().with_all([browsing]).with_grant(grant).with_secrets(secrets);
    if args.person {
        tools = with_person(tools)?;
    }
    let log = match &args.log {
        Some(path) => Log::new(File::create_new(path).with_context(|| path.display().to_string())?, clock),
        None => Log::in_memory(clock).0,
    };
    let wall = Duration::from_secs(args.timeout);
    let limits = Limits { steps: args.steps, wall, tool_calls: u64::from(calls), ..Limits::default() };
    let budget = Budget::new(model.limits(limits), log.now());
    let mut run = Run::new(model.llm, budget, log, rand::random()).with_tools(tools);
    run.answer_tokens_max = model.answer_tokens_max;
    let outcome = agent::run(&args.goal, Style::React, &mut run).await;
    if let Some(folder) = &args.trace {
        let path = folder.join("trace.html");
        std::fs::write(&path, trace::page(folder)?).with_context(|| path.display().to_string())?;
        output::say(&format!("what it saw and did: {}", path.display()));
    }
    let counts = counter.counts();
    let denied: Vec<_> =
        counts.iter().filter(|(_, count)| count.denied > 0).map(|(name, _)| name.as_str()).collect();
    if !denied.is_empty() {
        let some = denied.iter().take(20).copied().collect::<Vec<_>>().join(", ");
        output::say(&format!("refused, as not allowed: {some}"));
    }
    let outcome = outcome?;
    super::tell(&outcome, args.json)
}

/// Where it may go: nowhere it was not sent. Empty is anywhere.
fn domains(args: &Args) -> anyhow::Result<Vec<String>> {
    if args.anywhere {
        return Ok(Vec::new());
    }
    let mut domains = args.allow.clone();
    domains.extend(domains_named(&args.goal));
    ensure!(
        !domains.is_empty(),
        "where may it go? Put an address into the goal (https://…), name domains with --allow, or say --anywhere"
    );
    Ok(domains)
}
