//! `loyal model generate`: go on from a prompt.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use loyal_model::generate::{self, Completion, Finish, Request};
use loyal_model::{Error, Tokenizer};
use loyal_types::Clock as _;
use serde_json::{Value, json};

use super::opened::{Kept, Opened};
use super::prompt;
use super::sampling::SamplingArgs;
use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::{output, stop};

/// Tokens of an answer, where the context has room and nobody says otherwise.
const NEW_TOKENS: usize = 256;

/// Arguments of `loyal model generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The text goes to standard output as it comes; timing and the seed go to standard error. The prompt is not
repeated. Without PROMPT and --prompt-file it is read from standard input. If only one of FOLDER and PROMPT is
given, the name of a folder is taken as FOLDER and any other text as PROMPT.

Examples:
  loyal model generate \"Once upon a time\"
  loyal model generate ./SmolLM2-135M \"The capital of France is\" --temperature 0
  echo \"Dear diary,\" | loyal model generate --max-tokens 50 --seed 7
  loyal model generate \"The sea\" --count 3 --json")]
pub(crate) struct Args {
    /// Folder of the model [default: the model that comes with Loyal]
    folder: Option<OsString>,
    /// Text to go on from [default: standard input]
    prompt: Option<OsString>,
    /// File with the prompt (UTF-8), `-` for standard input; a line break at its end is left away.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Stop after so many tokens [default: 256, or as many as the context has room for]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Stop before this text appears; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on where the model would end its answer.
    #[arg(long)]
    ignore_end: bool,
    /// Write so many answers, with the seeds SEED, SEED+1 and so on, all at the same time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    count: u16,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Name the N most probable tokens at each place, with their log-probabilities in nats.
    #[arg(long, value_name = "N", default_value_t = 0)]
    logprobs: usize,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    precision: Kept,
    /// Print one JSON object when all is written.
    #[arg(long)]
    json: bool,
}

/// Answers the prompt; Ctrl-C ends the answer where it is.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let words: Vec<&OsStr> =
        [&args.folder, &args.prompt].into_iter().flatten().map(OsString::as_os_str).collect();
    let (folder, prompt) = prompt::sort(&words, args.prompt_file.is_some())?;
    let text = match prompt {
        Some(text) => text,
        None => prompt::read(args.prompt_file.as_deref())?,
    };
    let start = SystemClock.elapsed();
    let model = Opened::open(folder.as_deref(), args.precision)?;
    let opened = SystemClock.elapsed();
    let requests = requests(args, &model, &text)?;
    stop::listen();
    let (completions, first) = answer(args, &model, &requests)?;
    let timing = Timing { open: opened - start, first: first - opened, all: SystemClock.elapsed() - opened };
    if args.json {
        output::json(&to_json(&model, &requests, &completions, &timing))?;
    } else {
        show(&model.tokenizer, &requests, &completions)?;
    }
    timing.say(&requests, &completions);
    if stop::asked().is_break() { Err(Ending::Interrupted.into()) } else { Ok(()) }
}

/// One request for each answer, with seeds that follow each other.
fn requests(args: &Args, model: &Opened, text: &str) -> anyhow::Result<Vec<Request>> {
    let prompt = model.tokenizer.encode(text)?;
    let context_tokens = model.decoder.config().context_tokens;
    let room = context_tokens.saturating_sub(prompt.len());
    if room == 0 {
        return Err(
            Error::ContextOverflow { prompt_tokens: prompt.len(), new_tokens: 1, context_tokens }.into()
        );
    }
    let request = Request {
        prompt,
        new_tokens_max: args.max_tokens.unwrap_or(NEW_TOKENS.min(room)),
        sampling: args.sampling.sampling(),
        stop: args.stop.clone(),
        top_logprobs: args.logprobs,
        stop_at_eos: !args.ignore_end,
    };
    let with_seed = |step: u16| {
        let mut request = request.clone();
        request.sampling.seed = request.sampling.seed.wrapping_add(u64::from(step));
        request
    };
    Ok((0..args.count).map(with_seed).collect())
}

/// Writes a single answer as it comes. Also tells when the first text came.
fn answer(args: &Args, model: &Opened, requests: &[Request]) -> anyhow::Result<(Vec<Completion>, Duration)> {
    let live = !args.json && requests.len() == 1;
    let (mut written, mut first) = (Ok(()), None);
    let completions = generate::run(&model.decoder, &model.tokenizer, requests, &mut |_, text| {
        first.get_or_insert_with(|| SystemClock.elapsed());
        if live {
            written = output::write(text);
        }
        if written.is_err() { ControlFlow::Break(()) } else { stop::asked() }
    })?;
    written?;
    Ok((completions, first.unwrap_or_else(|| SystemClock.elapsed())))
}

/// What was not written while it came.
fn show(tokenizer: &Tokenizer, requests: &[Request], completions: &[Completion]) -> anyhow::Result<()> {
    let several = completions.len() > 1;
    for (index, (request, completion)) in requests.iter().zip(completions).enumerate() {
        if several {
            output::line(&format!(
                "=== {} of {}, seed {}",
                index + 1,
                requests.len(),
                request.sampling.seed
            ))?;
            output::write(&completion.text)?;
        }
        if !completion.text.ends_with('\n') {
            output::line("")?;
        }
        for place in &completion.logprobs {
            let named = |token: u32, logprob: f32| format!("{:?} {logprob:.3}", spelt(tokenizer, token));
            let top: Vec<String> = place.top.iter().map(|&(token, logprob)| named(token, logprob)).collect();
            output::line(&format!("{}\t| {}", named(place.token, place.logprob), top.join("  ")))?;
        }
    }
    Ok(())
}

fn spelt(tokenizer: &Tokenizer, token: u32) -> String {
    String::from_utf8_lossy(&tokenizer.piece(token).unwrap_or_default()).into_owned()
}

fn to_json(model: &Opened, requests: &[Request], completions: &[Completion], timing: &Timing) -> Value {
    let tokenizer = &model.tokenizer;
    let named = |token: u32, logprob: f32| json!({"token": token, "text": spelt(tokenizer, token), "logprob": logprob});
    let answers = requests.iter().zip(completions).map(|(request, completion)| {
        let mut value = json!({
            "seed": request.sampling.seed, "text": completion.text, "tokens": completion.tokens,
            "finish": finish(completion.finish),
        });
        if request.top_logprobs > 0 {
            let places = completion.logprobs.iter().map(|place| {
                let mut value = named(place.token, place.logprob);
                value["top"] = place.top.iter().map(|&(token, logprob)| named(token, logprob)).collect();
                value
            });
            value["logprobs"] = places.collect();
        }
        value
    });
    json!({
        "folder": model.folder, "prompt_tokens": requests.first().map_or(0, |request| request.prompt.len()),
        "answers": answers.collect::<Vec<_>>(), "open_seconds": timing.open.as_secs_f64(),
        "first_text_seconds": timing.first.as_secs_f64(), "seconds": timing.all.as_secs_f64(),
    })
}

const fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Eos => "end",
        Finish::Length => "length",
        Finish::Cancelled => "interrupted",
    }
}

/// How long it took.
struct Timing {
    open: Duration,
    first: Duration,
    all: Duration,
}

impl Timing {
    fn say(&self, requests: &[Request], completions: &[Completion]) {
        let Some(request) = requests.first() else { return };
        let tokens: usize = completions.iter().map(|completion| completion.tokens.len()).sum();
        let seconds = self.all.as_secs_f64();
        output::say(&format!(
            "[seed {}; {} tokens of prompt, {tokens} of answer in {seconds:.2} s: {:.0} tokens/s; model opened in {:.0} ms, first text after {:.0} ms]",
            request.sampling.seed,
            request.prompt.len(),
            tokens as f64 / seconds.max(1e-9),
            self.open.as_secs_f64() * 1e3,
            self.first.as_secs_f64() * 1e3,
        ));
    }
}
