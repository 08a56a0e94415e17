//! `loyal model chat`: a conversation, in a terminal or through a pipe.

mod conversation;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use loyal_model::generate::{self, Finish, Request};
use loyal_model::sampler::Sampling;
use loyal_model::template::ChatTemplate;
use serde_json::json;

use super::opened::{Kept, Opened};
use super::prompt;
use super::sampling::SamplingArgs;
use crate::ending::Ending;
use crate::{output, stop};
use conversation::{Conversation, Form, Turn};

/// Arguments of `loyal model chat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
In a terminal, type a message and press Enter. Ctrl-C stops an answer, a second one ends the conversation, and
so does Ctrl-D. Through a pipe every line is a message, and every answer is printed on a line of its own (with
--json as an object, in which answers may have several lines).

A model made for conversations says by its chat template how they are written. A base model has none: then the
conversation is written as a plain transcript, which the model goes on with until it would write the next
\"User:\" itself:
  <system prompt>

  User: <message>
  Assistant: <answer>
  User: <message>
  Assistant:

When a conversation outgrows the model's context, its oldest turns are dropped, and a note on standard error
says so.

Examples:
  loyal model chat
  loyal model chat ./SmolLM2-135M-Instruct --system \"Answer in one sentence.\"
  printf 'Hello!\\nWho are you?\\n' | loyal model chat ./SmolLM2-135M-Instruct --temperature 0")]
pub(crate) struct Args {
    /// Folder of the model [default: the model that comes with Loyal]
    folder: Option<PathBuf>,
    /// Says at the start who the model is to be.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Longest answer [default: 256, or a quarter of the model's context if that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    precision: Kept,
    /// Print each answer as a JSON object on one line.
    #[arg(long)]
    json: bool,
}

/// A conversation that is going on.
struct Chat<'a> {
    args: &'a Args,
    model: Opened,
    conversation: Conversation,
    sampling: Sampling,
    interactive: bool,
}

/// Answers message after message, until there are no more.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let model = Opened::open(args.folder.as_deref(), args.precision)?;
    let form = ChatTemplate::read(&model.folder)?.map_or(Form::Transcript, Form::Template);
    let context = model.decoder.config().context_tokens;
    let answer_tokens = args.max_tokens.map_or_else(|| (context / 4).clamp(1, 256), |n| n as usize);
    let conversation = Conversation::new(form, args.system.clone(), answer_tokens);
    let interactive = io::stdin().is_terminal();
    let mut chat = Chat { args, model, conversation, sampling: args.sampling.sampling(), interactive };
    stop::listen();
    stop::working(false);
    if interactive {
        chat.greet();
    }
    while let Some(message) = chat.hear()? {
        let answered = chat.reply(message);
        match answered {
            // In a terminal the person can say something else.
            Err(error) if interactive && error.downcast_ref::<Ending>().is_none() => output::complain(&error),
            other => other?,
        }
    }
    Ok(())
}

impl Chat<'_> {
    fn greet(&self) {
        let how = match self.conversation.form() {
            Form::Template(_) => "",
            Form::Transcript => " It is a base model: expect text that goes on, not answers that help.",
        };
        let folder = self.model.folder.display();
        output::say(&format!(
            "Talking to {folder}, seed {}.{how} Ctrl-C stops an answer, Ctrl-D ends.",
            self.sampling.seed
        ));
    }

    /// The next message that is not empty.
    fn hear(&self) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            if self.interactive {
                let mut stderr = io::stderr().lock();
                let _ = write!(stderr, "\x1b[1myou>\x1b[0m ").and_then(|()| stderr.flush());
            }
            line.clear();
            let count =
                io::stdin().lock().read_until(b'\n', &mut line).context("standard input: reading failed")?;
            if count == 0 {
                return Ok(None);
            }
            let text = prompt::utf8(std::mem::take(&mut line), "standard input")?;
            if !text.trim().is_empty() {
                return Ok(Some(text.trim().to_owned()));
            }
        }
    }

    fn reply(&mut self, message: String) -> anyhow::Result<()> {
        let context = self.model.decoder.config().context_tokens;
        let (prompt, dropped) = self.conversation.prompt(message, &self.model.tokenizer, context)?;
        if dropped > 0 {
            output::say(&format!(
                "[the conversation outgrew the model's {context} tokens: the oldest {dropped} turns were dropped]"
            ));
        }
        let request = Request {
            new_tokens_max: self.conversation.answer_tokens(),
            prompt,
            sampling: self.sampling.clone(),
            stop: self.conversation.stops(),
            ..Request::default()
        };
        let prompt_tokens = request.prompt.len();
        stop::working(true);
        let (text, tokens, finish) = self.answer(request)?;
        stop::working(false);
        // The next answer is not to be drawn with the same random numbers.
        self.sampling.seed = self.sampling.seed.wrapping_add(1);
        if self.args.json {
            output::json(&json!({"answer": text, "prompt_tokens": prompt_tokens, "tokens": tokens,
                "dropped_turns": dropped, "interrupted": finish == Finish::Cancelled}))?;
        }
        let stopped = finish == Finish::Cancelled;
        self.conversation.add(Turn::Assistant(text));
        if stopped && !self.interactive { Err(Ending::Interrupted.into()) } else { Ok(()) }
    }

    /// The answer's text, number of tokens, and why it ended.
    fn answer(&self, request: Request) -> anyhow::Result<(String, usize, Finish)> {
        let mut written = Ok(());
        let mut begun = false;
        let mut answers =
            generate::run(&self.model.decoder, &self.model.tokenizer, &[request], &mut |_, text| {
                // A transcript has a space behind "Assistant:"; templates have what they have.
                let text = if begun { text } else { text.trim_start() };
                begun |= !text.is_empty();
                if !self.args.json {
                    let line = if self.interactive { text.to_owned() } else { text.replace('\n', " ") };
                    written = output::write(&line);
                }
                if written.is_err() { ControlFlow::Break(()) } else { stop::asked() }
            })?;
        written?;
        if !self.args.json {
            output::line("")?;
        }
        let answer = answers.pop().context("one request has one answer")?;
        Ok((answer.text.trim().to_owned(), answer.tokens.len(), answer.finish))
    }
}
