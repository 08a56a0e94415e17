//! From prompts to answers: many at once, streamed, stopped where asked.

use std::ops::ControlFlow;

use crate::decoder::{Decoder, Session};
use crate::error::{Error, Result};
use crate::sampler::{Sampler, Sampling, top_logprobs};
use crate::tokenizer::{TextStream, Tokenizer};

/// What is asked of the model.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt's tokens, BOS included where the model wants one.
    pub prompt: Vec<u32>,
    /// At most so many new tokens.
    pub new_tokens_max: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// How many of the most probable tokens to name at each position; 0 for none.
    pub top_logprobs: usize,
    /// Whether the model's end tokens end the answer; they are not part of it.
    pub stop_at_eos: bool,
}

impl Default for Request {
    /// Greedy, 256 tokens, ended by the model.
    fn default() -> Self {
        Self {
            prompt: Vec::new(),
            new_tokens_max: 256,
            sampling: Sampling::default(),
            stop: Vec::new(),
            top_logprobs: 0,
            stop_at_eos: true,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop text appeared.
    Stop,
    /// The model ended it.
    Eos,
    /// It is as long as was asked for.
    Length,
    /// Whoever receives the text asked for no more.
    Cancelled,
}

/// The probabilities at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The token that was chosen.
    pub token: u32,
    /// Its log-probability before temperature and filters, nats.
    pub logprob: f32,
    /// The most probable tokens, most probable first.
    pub top: Vec<(u32, f32)>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Its tokens, without an end token, with those that spell a stop text.
    pub tokens: Vec<u32>,
    /// Its text, the same as was streamed.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// One per token where they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
}

/// Answers all requests side by side. `on_text` gets each request's index and the next piece of its text;
/// breaking ends that answer. Nothing of a stop text is ever given out, even where tokens cut it in pieces.
///
/// An answer depends on its request alone, not on the others.
///
/// # Errors
/// A prompt is empty, has foreign tokens or leaves no room for the answer (before any work is done), or
/// sampling has a value outside its range.
pub fn run(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    requests: &[Request],
    on_text: &mut dyn FnMut(usize, &str) -> ControlFlow<()>,
) -> Result<Vec<Completion>> {
    let mut answers = Answers::new(decoder, tokenizer);
    for (index, request) in requests.iter().enumerate() {
        answers.admit(index, request.clone())?;
    }
    let mut done = Vec::with_capacity(requests.len());
    while !answers.is_empty() {
        done.extend(answers.step(on_text)?);
    }
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, completion)| completion).collect())
}

/// Answers on their way, side by side: further requests may join between any two steps.
pub struct Answers<'a> {
    decoder: &'a Decoder,
    tokenizer: &'a Tokenizer,
    open: Vec<(usize, Answer<'a>)>,
    logits: Vec<f32>,
}

impl std::fmt::Debug for Answers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<usize> = self.open.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Answers").field("open", &names).finish_non_exhaustive()
    }
}

impl<'a> Answers<'a> {
    /// None yet.
    #[must_use]
    pub const fn new(decoder: &'a Decoder, tokenizer: &'a Tokenizer) -> Self {
        Self { decoder, tokenizer, open: Vec::new(), logits: Vec::new() }
    }

    /// One more request, called `name` from here on.
    ///
    /// # Errors
    /// Its prompt is empty, has foreign tokens or leaves no room for the answer, or sampling has a value outside its
    /// range. The others go on.
    pub fn admit(&mut self, name: usize, request: Request) -> Result<()> {
        check(self.decoder, &request)?;
        self.open.push((name, Answer::new(self.decoder, self.tokenizer, request)?));
        Ok(())
    }

    /// Requests that are not answered yet.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether all are answered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Probabilities of the tokens that the request called `name` has so far.
    #[must_use]
    pub fn logprobs(&self, name: usize) -> &[TokenLogprobs] {
        self.open.iter().find(|(open, _)| *open == name).map_or(&[], |(_, answer)| &answer.logprobs)
    }

    /// One more token for each request; gives back those that are answered by now. `on_text` gets a request's name
    /// and the next piece of its text; breaking ends that answer.
    ///
    /// # Errors
    /// The decoder fails, which it does for none of the requests that were admitted.
    pub fn step(
        &mut self,
        on_text: &mut dyn FnMut(usize, &str) -> ControlFlow<()>,
    ) -> Result<Vec<(usize, Completion)>> {
        let mut going: Vec<&mut (usize, Answer<'a>)> =
            self.open.iter_mut().filter(|(_, answer)| answer.finish.is_none()).collect();
        if !going.is_empty() {
            let (mut sessions, fed): (Vec<&mut Session>, Vec<&[u32]>) =
                going.iter_mut().map(|(_, answer)| (&mut answer.session, answer.fed.as_slice())).unzip();
            self.decoder.feed_batch_into(&mut sessions, &fed, &mut self.logits)?;
            let rows = self.logits.chunks_exact(self.decoder.config().vocab_size);
            for ((name, answer), logits) in going.into_iter().zip(rows) {
                answer.step(self.decoder, logits, &mut |text| on_text(*name, text));
            }
        }
        let done = self.open.extract_if(.., |(_, answer)| answer.finish.is_some());
        Ok(done.map(|(name, answer)| (name, answer.complete())).collect())
    }
}

fn check(decoder: &Decoder, request: &Request) -> Result<()> {
    let context_tokens = decoder.config().context_tokens;
    let (prompt_tokens, new_tokens) = (request.prompt.len(), request.new_tokens_max);
    if request.prompt.is_empty() {
        let problem = "it has no tokens".to_owned();
        let remedy = "give at least one, such as the BOS token".to_owned();
        return Err(Error::Argument { name: "prompt", problem, remedy });
    }
    if let Some(token) = request.prompt.iter().find(|&&token| token as usize >= decoder.config().vocab_size) {
        let problem = format!("token {token} is not below {}", decoder.config().vocab_size);
        let remedy = "use the tokenizer that came with the model".to_owned();
        return Err(Error::Argument { name: "tokens", problem, remedy });
    }
    if prompt_tokens.saturating_add(new_tokens) > context_tokens {
        return Err(Error::ContextOverflow { prompt_tokens, new_tokens, context_tokens });
    }
    Ok(())
}

/// One request on its way.
struct Answer<'a> {
    request: Request,
    session: Session,
    sampler: Sampler,
    stream: TextStream<'a>,
    stops: Stops,
    /// Tokens to feed next: the prompt, then one at a time.
    fed: Vec<u32>,
    tokens: Vec<u32>,
    text: String,
    logprobs: Vec<TokenLogprobs>,
    finish: Option<Finish>,
}

impl<'a> Answer<'a> {
    fn new(decoder: &Decoder, tokenizer: &'a Tokenizer, request: Request) -> Result<Self> {
        Ok(Self {
            session: decoder.session(),
            sampler: Sampler::new(&request.sampling)?,
            stream: tokenizer.stream_after(&request.prompt),
            stops: Stops::new(&request.stop),
            fed: request.prompt.clone(),
            tokens: Vec::new(),
            text: String::new(),
            logprobs: Vec::new(),
            finish: (request.new_tokens_max == 0).then_some(Finish::Length),
            request,
        })
    }

    fn step(&mut self, decoder: &Decoder, logits: &[f32], emit: &mut dyn FnMut(&str) -> ControlFlow<()>) {
        let token = self.sampler.sample(logits);
        if self.request.stop_at_eos && decoder.config().eos_tokens.contains(&token) {
            self.end(Finish::Eos, emit);
            return;
        }
        if self.request.top_logprobs > 0 {
            let top = top_logprobs(logits, self.request.top_logprobs);
            let shift = crate::sampler::log_total(logits);
            let logprob = (f64::from(logits[token as usize]) - shift) as f32;
            self.logprobs.push(TokenLogprobs { token, logprob, top });
        }
        self.tokens.push(token);
        self.fed.clear();
        self.fed.push(token);
        if let Some(text) = self.stream.push(token) {
            let (safe, stopped) = self.stops.push(&text);
            if stopped {
                self.finish = Some(Finish::Stop);
            }
            self.give_out(&safe, emit);
        }
        if self.finish.is_none() && self.tokens.len() >= self.request.new_tokens_max {
            self.end(Finish::Length, emit);
        }
    }

    /// Ends the answer with what was held back.
    fn end(&mut self, finish: Finish, emit: &mut dyn FnMut(&str) -> ControlFlow<()>) {
        self.finish = Some(finish);
        if let Some(text) = self.stream.finish() {
            let (safe, stopped) = self.stops.push(&text);
            self.give_out(&safe, emit);
            if stopped {
                self.finish = Some(Finish::Stop);
                return;
            }
        }
        let rest = self.stops.finish();
        self.give_out(&rest, emit);
    }

    fn give_out(&mut self, text: &str, emit: &mut dyn FnMut(&str) -> ControlFlow<()>) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        if emit(text).is_break() {
            self.finish = Some(self.finish.unwrap_or(Finish::Cancelled));
        }
    }

    fn complete(self) -> Completion {
        Completion {
            tokens: self.tokens,
            text: self.text,
            finish: self.finish.unwrap_or(Finish::Length),
            logprobs: self.logprobs,
        }
    }
}

/// Looks for stop texts in a stream, and holds back what may be the beginning of one.
#[derive(Debug)]
struct Stops {
    stops: Vec<String>,
    held: String,
}

impl Stops {
    fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes the next text; answers what may be given out, and whether a stop text was found after it.
    fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        // The one that ends first, as if the text came letter by letter.
        let ends = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at)));
        if let Some((_, place)) = ends.min() {
            self.held.truncate(place);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self.stops.iter().map(|stop| beginning(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the longest end of `text` that `stop` begins with, and is longer than.
fn beginning(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest).rev().find(|&n| text.as_bytes().ends_with(&stop.as_bytes()[..n])).unwrap_or(0)
}
