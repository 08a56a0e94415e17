//! What an agent thinks with, as flags of the command line.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use loyal_agent::agent::{Style, Thinker};
use loyal_agent::llm::{Llm, OpenAi, Prompted};
use loyal_agent::tool::Toolbox;

use super::toolset;
use crate::clock::SystemClock;

/// A model, and how it is used. The address stands with each command, which may need one or not.
#[derive(Debug, clap::Args)]
pub(crate) struct Mind {
    /// The name of the model there.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "model_url")]
    model: String,
    /// The file that holds the key of an account there.
    #[arg(long, value_name = "FILE", requires = "model_url")]
    key_file: Option<PathBuf>,
    /// Tell the model of its tools in words: for models and hosts that know no calls.
    #[arg(long, requires = "model_url")]
    prompted: bool,
    /// How the agent thinks.
    #[arg(long, value_enum, default_value = "react", requires = "model_url")]
    style: StyleArg,
    /// Let the model judge each answer before it is given.
    #[arg(long, requires = "model_url")]
    judge: bool,
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

impl Mind {
    /// An agent that thinks so with the model at `url`.
    pub(crate) fn thinker(&self, url: &str, tools: Toolbox) -> anyhow::Result<Thinker> {
        let mut model = OpenAi::new(url, &self.model)?;
        if let Some(path) = &self.key_file {
            let key = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            model = model.with_key(&key)?;
        }
        let llm: Arc<dyn Llm> = if self.prompted { Arc::new(Prompted(model)) } else { Arc::new(model) };
        let mut thinker = Thinker::new("loyal", llm, Arc::new(SystemClock), rand::random());
        thinker.tools = tools;
        thinker.judge = self.judge;
        thinker.style = match self.style {
            StyleArg::React => Style::React,
            StyleArg::Code => {
                thinker.python = Some(toolset::interpreter()?);
                Style::Code
            }
            StyleArg::Recursive => Style::Recursive,
        };
        Ok(thinker)
    }
}
