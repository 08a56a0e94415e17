//! What an agent thinks with, as flags of the command line.

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::U256;
use anyhow::{Context as _, bail};
use clap::ValueEnum;
use loyal_access::caller::Settings;
use loyal_agent::agent::budget::{Budget, Limits};
use loyal_agent::agent::log::Log;
use loyal_agent::agent::{Run, Style, Thinker};
use loyal_agent::llm::{Fallback, Llm, OpenAi, Paid, Prompted};
use loyal_agent::python::Program;
use loyal_agent::tool::Toolbox;
use loyal_protocol::Asset;

use super::toolset;
use crate::access::{self, WalletFolder};
use crate::chain::Folder;
use crate::clock::SystemClock;
use crate::output;
use crate::site::Site;

/// A model, and how an agent thinks with it. Whether one must be named is the command's to say.
#[derive(Debug, clap::Args)]
pub(crate) struct Mind {
    #[command(flatten)]
    source: Source,
    /// How the agent thinks.
    #[arg(long, value_enum, default_value = "react", requires = "thinks")]
    style: StyleArg,
    /// Let the model judge each answer before it is given.
    #[arg(long, requires = "thinks")]
    judge: bool,
}

/// Where a model is, and how it is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    #[command(flatten)]
    place: Place,
    /// The name of the model there.
    #[arg(long, value_name = "NAME", requires = "thinks")]
    model: Option<String>,
    /// The file that holds the key of an account there.
    #[arg(long, value_name = "FILE", requires = "model_url")]
    key_file: Option<PathBuf>,
    /// Tell the model of its tools in words: for models and hosts that know no calls.
    #[arg(long, requires = "thinks")]
    prompted: bool,
    /// Tokens of one answer at most.
    #[arg(long, value_name = "COUNT", default_value_t = 1024, requires = "thinks")]
    answer_tokens: u32,
    #[command(flatten)]
    payment: Payment,
}

/// A model for nothing, or one that is paid.
#[derive(Debug, clap::Args)]
#[group(id = "thinks", multiple = false)]
struct Place {
    /// A model behind a URL of OpenAI's kind, up to and with /v1.
    #[arg(long, value_name = "URL")]
    model_url: Option<String>,
    /// The model that the credential in this wallet is for (`loyal access request`), paid for each ask.
    #[arg(long, value_name = "FOLDER")]
    wallet: Option<PathBuf>,
}

/// How a model is paid.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Payment")]
struct Payment {
    /// Where the host answers, up to and with /v1; the credential's hosts in their order unless given.
    #[arg(long, value_name = "URL", requires = "wallet")]
    host: Option<String>,
    /// Who holds the credential and pays: a key file, or the number of an account of the development chain.
    #[arg(long, value_name = "KEY", requires = "wallet")]
    key: Option<String>,
    /// A file with the key file's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// The most that one run may spend; what all its steps cost at most unless given.
    #[arg(long, value_name = "AMOUNT", requires = "wallet")]
    spend: Option<String>,
    /// The chain, where the credential's own address of it is not meant.
    #[arg(long = "chain", value_name = "URL", requires = "wallet")]
    chains: Vec<String>,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StyleArg {
    /// Ask, act and look, until there is an answer.
    React,
    /// Write Python in which tools are functions.
    Code,
    /// Plan parts, do each, and put them together.
    Recursive,
}

/// A model, ready to be asked.
pub(crate) struct Opened {
    pub(crate) llm: Arc<dyn Llm>,
    /// The most one run may spend, where the command line says so.
    spend: Option<u128>,
    pub(crate) answer_tokens_max: u32,
}

impl Opened {
    /// With what a run may spend among its bounds.
    pub(crate) fn limits(&self, limits: Limits) -> Limits {
        let steps = self.llm.amount_max().saturating_mul(limits.steps.into());
        Limits { amount: self.spend.unwrap_or(steps), ..limits }
    }
}

impl Source {
    /// Whether a model was named.
    pub(crate) const fn is_named(&self) -> bool {
        self.place.model_url.is_some() || self.place.wallet.is_some()
    }

    /// The model. What a paid one asks for is said.
    pub(crate) async fn open(&self) -> anyhow::Result<Opened> {
        let (llm, spend): (Arc<dyn Llm>, _) = match (&self.place.model_url, &self.place.wallet) {
            (Some(url), _) => {
                let mut model = OpenAi::new(url, self.model.as_deref().unwrap_or("default"))?;
                if let Some(path) = &self.key_file {
                    let key = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                    model = model.with_key(&key)?;
                }
                (if self.prompted { Arc::new(Prompted(model)) } else { Arc::new(model) }, None)
            }
            (None, Some(wallet)) => {
                let (paid, spend) = self.payment.open(wallet).await?;
                let paid = paid.with_model(self.model.clone());
                (if self.prompted { Arc::new(Prompted(paid)) } else { Arc::new(Fallback::new(paid)) }, spend)
            }
            (None, None) => bail!("which model? --model-url names one, --wallet one that is paid"),
        };
        Ok(Opened { llm, spend, answer_tokens_max: self.answer_tokens })
    }
}

impl Payment {
    async fn open(&self, wallet: &std::path::Path) -> anyhow::Result<(Paid, Option<u128>)> {
        let key = self.key.as_deref().context("--key: who pays?")?;
        let site = Site::at(self.folder.clone(), self.chains.clone());
        let settings = Settings { host: self.host.clone(), ..Settings::default() };
        let (wallet, password) = (WalletFolder::at(wallet), self.password_file.as_deref());
        let (caller, client) = access::caller(&site, &wallet, (key, password), settings)?;
        let paid = Paid::open(caller).await?;
        let asset = Asset::read(&client, paid.asset().parse()?)?;
        let spend = self.spend.as_ref().map(|text| asset.parse(text).context("--spend")).transpose()?;
        output::say(&format!("an ask costs {} at most", asset.text(U256::from(paid.amount_max()))));
        Ok((paid, spend))
    }
}

impl Mind {
    /// Whether a model was named.
    pub(crate) const fn is_named(&self) -> bool {
        self.source.is_named()
    }

    /// An agent that thinks so.
    pub(crate) async fn thinker(&self, tools: Toolbox) -> anyhow::Result<Thinker> {
        let model = self.source.open().await?;
        let mut thinker = Thinker::new("loyal", model.llm.clone(), Arc::new(SystemClock), rand::random());
        thinker.limits = model.limits(thinker.limits);
        thinker.answer_tokens_max = model.answer_tokens_max;
        thinker.tools = tools;
        thinker.judge = self.judge;
        (thinker.style, thinker.python) = self.style()?;
        Ok(thinker)
    }

    /// One run that thinks so, and how.
    pub(crate) async fn run(&self, tools: Toolbox, log: Log, limits: Limits) -> anyhow::Result<(Run, Style)> {
        let model = self.source.open().await?;
        let budget = Budget::new(model.limits(limits), log.now());
        let mut run = Run::new(model.llm, budget, log, rand::random()).with_tools(tools);
        run.answer_tokens_max = model.answer_tokens_max;
        run.judge = self.judge;
        let (style, python) = self.style()?;
        run.python = python;
        Ok((run, style))
    }

    fn style(&self) -> anyhow::Result<(Style, Option<Program>)> {
        Ok(match self.style {
            StyleArg::React => (Style::React, None),
            StyleArg::Code => (Style::Code, Some(toolset::interpreter()?)),
            StyleArg::Recursive => (Style::Recursive, None),
        })
    }
}
