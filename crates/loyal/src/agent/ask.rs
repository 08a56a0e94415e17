//! `loyal agent ask`: one question to an agent, its answer as it comes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loyal_agent::agent::log::Log;
use loyal_agent::agent::{self, budget};
use loyal_agent::client::{Client, Limits, Reach};
use loyal_agent::event::{Content, FINAL_RESPONSE};
use loyal_agent::session::Request;
use loyal_agent::ulid::Ulids;
use loyal_agent::{Event, Query, Session, Ulid};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use super::mind::Mind;
use super::person::with_person;
use super::toolset::Toolset;
use crate::{clock::SystemClock, output};

/// Arguments of `loyal agent ask`.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
#[command(after_help = "\
With an address it asks the agent there. Without one, and with --model-url or --wallet, an agent of this program works on the \
question; --person lets it ask you, and lets you allow what it may not do by itself. \
Standard output has the answer, standard error the steps on the way. With --json standard output has every event, \
one a line.

Examples:
  loyal agent ask http://127.0.0.1:8000 \"What is new?\"
  loyal agent ask https://agent.example/assist \"And before that?\" --activity 01M81BY2RSJS94CWFCAFFQAPWV
  loyal agent ask \"Which of my notes is about bees?\" --wallet loyal-wallet --key me.json --files ./notes --person")]
pub(crate) struct Args {
    /// The agent's address, with or without /assist.
    url: Option<String>,
    /// The question.
    prompt: String,
    /// The conversation it continues, as the agent remembers it; a new one unless given.
    #[arg(long, value_name = "ULID", requires = "url")]
    activity: Option<Ulid>,
    /// Seconds the whole may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Refuse agents on private networks and on this machine.
    #[arg(long, requires = "url")]
    public: bool,
    /// Let the agent of this program ask whoever sits at the terminal.
    #[arg(long, requires = "thinks")]
    person: bool,
    /// Print every event as JSON; of the agent of this program, the outcome.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    mind: Mind,
    #[command(flatten)]
    tools: Toolset,
}

/// Asks.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match (&args.url, args.mind.is_named()) {
            (Some(url), false) => {
                ensure!(args.tools.is_empty(), "the agent at {url} has its own tools");
                ask(args, url).await
            }
            (None, true) => think(args).await,
            (Some(_), true) => bail!("either the address of an agent or a model, not both"),
            (None, false) => {
                bail!("who is asked? Name the address of an agent, or a model with --model-url or --wallet")
            }
        }
    })
}

/// An agent of this program works on the question.
async fn think(args: &Args) -> anyhow::Result<()> {
    let mut tools = args.tools.open().await?;
    if args.person {
        tools = with_person(tools)?;
    }
    let (log, _) = Log::in_memory(Arc::new(SystemClock));
    let limits = budget::Limits { wall: Duration::from_secs(args.timeout), ..budget::Limits::default() };
    let (mut run, style) = args.mind.run(tools, log, limits).await?;
    let outcome = agent::run(&args.prompt, style, &mut run).await?;
    super::tell(&outcome, args.json)
}

async fn ask(args: &Args, url: &str) -> anyhow::Result<()> {
    let mut ids = Ulids::new(Arc::new(SystemClock), ChaCha12Rng::from_seed(rand::random()));
    let activity = args.activity.unwrap_or_else(|| ids.draw());
    let session = Session::new("loyal", activity, ids.draw(), Vec::new());
    let query = Query { id: ids.draw(), prompt: args.prompt.clone() };
    let reach = if args.public { Reach::Public } else { Reach::Local };
    let limits = Limits { reach, total: Duration::from_secs(args.timeout), ..Limits::default() };
    let secret = format!("{:032x}", rand::random::<u128>());
    let request = Request { query, session: Some(session) };
    let client = Client::new(limits);
    let mut events = client.run_resumable(url, &request, &secret).await?;
    let mut printed = Printed::default();
    while let Some(event) = events.next().await {
        let event = event?;
        if args.json {
            output::line(&serde_json::to_string(&event).context("an event is JSON")?)?;
        } else {
            printed.add(event)?;
        }
    }
    if args.json { Ok(()) } else { printed.end(activity) }
}

/// What was printed so far, and what may still have to be.
#[derive(Default)]
struct Printed {
    answered: bool,
    blocks: String,
    failed: Option<String>,
}

impl Printed {
    fn add(&mut self, event: Event) -> anyhow::Result<()> {
        if event.name == FINAL_RESPONSE {
            if let Some(text) = event.text() {
                self.answered = true;
                output::write(text)?;
            }
            return Ok(());
        }
        match event.content {
            Content::Text(text) => {
                output::say(&format!("[{}] {text}", event.name));
                self.blocks.push_str(&text);
            }
            Content::Json(document) => output::say(&format!("[{}] {}", event.name, document.as_json())),
            Content::Chunk(chunk) => output::say(&format!("[{}] {}", event.name, chunk.text)),
            Content::Error(fault) => {
                output::say(&format!("[error {}] {}", fault.code, fault.message));
                self.failed = Some(fault.message);
            }
            Content::Done(_) => {}
        }
        Ok(())
    }

    fn end(self, activity: Ulid) -> anyhow::Result<()> {
        if self.answered {
            output::line("")?;
        } else if !self.blocks.is_empty() {
            output::line(&self.blocks)?;
        } else if let Some(failed) = self.failed {
            bail!("the agent failed: {failed}");
        }
        output::say(&format!("go on with --activity {activity}"));
        Ok(())
    }
}
