//! An OpenAI-compatible endpoint as a suspect: asked by many threads, among ordinary prompts, patiently.

mod census;
mod client;
mod ordinary;
mod reply;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use loyal_fingerprint::check::transcript::Route;
use loyal_fingerprint::check::{Answerer, Ask, Mode, Pieces, Reply, Said, cut};
use loyal_model::Tokenizer;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

pub(crate) use census::Census;
pub(crate) use client::{Access, Client, Failure, Limits};
pub(crate) use ordinary::Ordinary;
use reply::Heard;

/// Ordinary prompts that are asked again and again, to notice that another model answers.
const WATCHED: usize = 6;
/// Two log probabilities of the same model at the same place differ by no more, whatever the batch they were made in.
const CHANGE_MIN: f32 = 0.5;

/// An endpoint, and what is known about it.
pub(crate) struct Endpoint<'a> {
    client: Client,
    tokenizer: &'a Tokenizer,
    tokens: HashMap<Vec<u8>, u32>,
    model: String,
    route: Route,
    /// The only way it may be asked by, if not any.
    only: Option<Route>,
    /// Whether text at temperature 0 differs from one time to the next.
    wavers: bool,
    ordinary: Ordinary,
    /// Ordinary prompts for each fingerprint.
    cover: usize,
    concurrency: usize,
    draw: ChaCha20Rng,
    /// What was answered to ordinary prompts the first time.
    watched: Vec<(String, Option<Vec<Said>>)>,
    notes: Notes,
}

/// Where notes go, each once.
#[derive(Debug)]
struct Notes {
    to: Sender<String>,
    told: Vec<&'static str>,
}

impl Notes {
    /// Says it unless it was said about the same `matter`.
    fn note(&mut self, matter: &'static str, text: &str) {
        if !self.told.contains(&matter) {
            self.told.push(matter);
            // Nobody may be listening when only a census is taken.
            let _ = self.to.send(text.to_owned());
        }
    }
}

/// How to ask an endpoint.
#[derive(Debug)]
pub(crate) struct Manner {
    /// Name of the model there; the first one it lists unless given.
    pub(crate) model: Option<String>,
    /// What is known of it from before, if it is to be held to that.
    pub(crate) known: Option<Known>,
    /// Ordinary prompts for each fingerprint.
    pub(crate) cover: usize,
    /// Requests at the same time.
    pub(crate) concurrency: usize,
    /// Where the choice of ordinary prompts and their places comes from; it must be secret.
    pub(crate) seed: [u8; 32],
}

/// What an endpoint was asked before.
#[derive(Debug)]
pub(crate) struct Known {
    /// The ordinary prompts that are watched.
    pub(crate) prompts: Vec<String>,
    /// The only way by which it is asked, if it is known.
    pub(crate) route: Option<Route>,
}

impl<'a> Endpoint<'a> {
    /// Whoever answers `client`. Asks it which models it has, and no more.
    ///
    /// # Errors
    /// It cannot be reached, or has no models to name.
    pub(crate) fn new(
        client: Client,
        tokenizer: &'a Tokenizer,
        ordinary: Ordinary,
        (manner, notes): (Manner, Sender<String>),
    ) -> anyhow::Result<Self> {
        let model = match manner.model {
            Some(model) => model,
            None => client.first_model()?,
        };
        let pieces = Pieces::new(tokenizer);
        let mut tokens = HashMap::new();
        for (token, piece) in (0u32..).zip(pieces.all()).filter(|(_, piece)| !piece.is_empty()) {
            tokens.entry(piece.clone()).or_insert(token);
        }
        let mut draw = ChaCha20Rng::from_seed(manner.seed);
        let (prompts, only) = manner.known.map_or((Vec::new(), None), |known| (known.prompts, known.route));
        let mut watched: Vec<(String, Option<Vec<Said>>)> =
            prompts.into_iter().map(|prompt| (prompt, None)).collect();
        watched.resize_with(WATCHED, || (ordinary.prompt(&mut draw), None));
        Ok(Self {
            client,
            tokenizer,
            tokens,
            model,
            route: Route::Completions,
            only,
            wavers: false,
            ordinary,
            cover: manner.cover,
            concurrency: manner.concurrency.max(1),
            draw,
            watched,
            notes: Notes { to: notes, told: Vec::new() },
        })
    }

    /// Name of the suspect in transcripts: its address and the model there.
    pub(crate) fn name(&self) -> String {
        format!("{}#{}", self.client.base(), self.model)
    }

    /// By which way it is asked; known after a census.
    pub(crate) const fn route(&self) -> Route {
        self.route
    }

    /// The ordinary prompts that are watched, with what was answered to them in the census.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (&str, Option<&[Said]>)> {
        self.watched.iter().map(|(prompt, said)| (prompt.as_str(), said.as_deref()))
    }

    /// Sends prompts, so many at a time, and answers in their order.
    fn send(&self, prompts: &[&str], ask: Ask) -> Vec<Result<Value, Failure>> {
        let next = AtomicUsize::new(0);
        let replies: Vec<Mutex<Option<Result<Value, Failure>>>> =
            prompts.iter().map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..self.concurrency.min(prompts.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::SeqCst);
                        let Some(prompt) = prompts.get(at) else { break };
                        let reply = self.client.post(path(self.route), &self.body(prompt, ask));
                        if let Ok(mut slot) = replies[at].lock() {
                            *slot = Some(reply);
                        }
                    }
                });
            }
        });
        let lost = || Failure::Refused("the answer was lost".to_owned());
        replies
            .into_iter()
            .map(|slot| slot.into_inner().ok().flatten().unwrap_or_else(|| Err(lost())))
            .collect()
    }

    fn body(&self, prompt: &str, ask: Ask) -> Value {
        let temperature = if ask.mode == Mode::Sampled { 1 } else { 0 };
        let mut body = json!({"model": self.model, "max_tokens": ask.tokens, "temperature": temperature,
            "top_p": 1, "n": 1, "stream": false});
        match self.route {
            Route::Chat => body["messages"] = json!([{"role": "user", "content": prompt}]),
            Route::Completions | Route::Weights => body["prompt"] = prompt.into(),
        }
        if let Mode::Top(k) = ask.mode {
            match self.route {
                Route::Chat => (body["logprobs"], body["top_logprobs"]) = (true.into(), k.into()),
                Route::Completions | Route::Weights => body["logprobs"] = k.into(),
            }
        }
        body
    }

    /// What a reply says, in tokens of the registered tokenizer.
    fn read(&mut self, prompt: &str, ask: Ask, reply: &Value) -> anyhow::Result<Reply> {
        let heard = match Heard::read(self.route, reply) {
            Ok(heard) => heard,
            Err(why) => return Ok(Reply::Refused(self.client.without_key(&why))),
        };
        if ask.mode.shows_logprobs() {
            match heard.said(&self.tokens, ask, self.wavers) {
                Ok(said) => return Ok(Reply::Answered(said)),
                Err(why) => self.notes.note(
                    "logprobs",
                    &format!("log probabilities that do not fit their text ({why}): such answers count by their text"),
                ),
            }
        }
        // Where the text goes on from: in a chat nobody here knows what stands before it.
        let before = if self.route == Route::Chat { "" } else { prompt };
        Ok(match cut::first(self.tokenizer, before, &heard.text, ask.tokens)? {
            Some(tokens) => Reply::Answered(reply::plain(&tokens)),
            None => Reply::Refused("text that the registered tokenizer does not cut".to_owned()),
        })
    }

    /// Compares the answer to a watched prompt with the first one.
    fn watch(&mut self, at: usize, said: Vec<Said>) {
        let Some(first) = &self.watched[at].1 else {
            self.watched[at].1 = Some(said);
            return;
        };
        if !self.wavers && reply::differ(first, &said, CHANGE_MIN) {
            self.notes.note(
                "change",
                "an ordinary prompt was answered otherwise than before: another model may answer now, or the model changed",
            );
        }
    }
}

impl Answerer for Endpoint<'_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
        let failed =
            |suspect: String, problem: String| loyal_fingerprint::Error::Suspect { suspect, problem };
        if let Some(problem) = self.client.gone() {
            return Err(failed(self.name(), problem));
        }
        // The fingerprints' places among ordinary prompts are drawn anew each time.
        let mut jobs: Vec<Job> = (0..prompts.len()).map(Job::Fingerprint).collect();
        for _ in 0..self.cover * prompts.len() {
            let watched = self.draw.random_range(0..4 * WATCHED);
            let job = if watched < WATCHED {
                Job::Watched(watched)
            } else {
                Job::Ordinary(self.ordinary.prompt(&mut self.draw))
            };
            jobs.push(job);
        }
        jobs.shuffle(&mut self.draw);
        let watched: Vec<String> = self.watched.iter().map(|(prompt, _)| prompt.clone()).collect();
        let texts: Vec<&str> = jobs
            .iter()
            .map(|job| match job {
                Job::Fingerprint(at) => prompts[*at].as_str(),
                Job::Watched(at) => watched[*at].as_str(),
                Job::Ordinary(prompt) => prompt.as_str(),
            })
            .collect();
        let replies = self.send(&texts, ask);
        let mut answers: Vec<Reply> =
            prompts.iter().map(|_| Reply::Refused("no answer".to_owned())).collect();
        for ((job, text), reply) in jobs.iter().zip(&texts).zip(replies) {
            let reply = match reply {
                Ok(reply) => {
                    self.read(text, ask, &reply).map_err(|error| failed(self.name(), error.to_string()))?
                }
                Err(failure) => Reply::Refused(failure.to_string()),
            };
            match (job, reply) {
                (Job::Fingerprint(at), reply) => answers[*at] = reply,
                (Job::Watched(at), Reply::Answered(said)) if ask.mode != Mode::Sampled => {
                    self.watch(*at, said);
                }
                _ => {}
            }
        }
        Ok(answers)
    }
}

/// One request of a round.
enum Job {
    Fingerprint(usize),
    Watched(usize),
    Ordinary(String),
}

const fn path(route: Route) -> &'static str {
    match route {
        Route::Chat => "chat/completions",
        Route::Completions | Route::Weights => "completions",
    }
}
