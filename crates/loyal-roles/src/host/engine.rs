//! The engine: one thread that makes all answers side by side, and the queue in front of it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};

use loyal_model::generate::{Answers, Completion, Request, TokenLogprobs};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Model, Settings};

/// What comes out of the engine, for one of the answers to a request.
#[derive(Debug)]
pub(super) enum Made {
    /// More of its text, and what stands behind it. As many of these as an answer has tokens at most: the channel
    /// needs no other bound.
    More { index: usize, text: String, logprobs: Vec<TokenLogprobs> },
    /// It is finished; also with what has not been told yet.
    Done { index: usize, completion: Box<Completion>, logprobs: Vec<TokenLogprobs> },
    /// It cannot be made.
    Failed(loyal_model::Error),
}

/// One answer to be made.
struct Job {
    request: Request,
    index: usize,
    to: UnboundedSender<Made>,
}

/// The way into the engine.
pub(super) struct Queue {
    jobs: Mutex<Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    waiting_count_max: usize,
}

/// There is no room to wait.
#[derive(Debug)]
pub(super) struct Full;

impl Queue {
    /// Lets `requests` wait for their places, all or none. What is made of them comes out of the channel; whoever
    /// drops it needs the answers no more.
    pub(super) fn join(&self, requests: Vec<Request>) -> Result<UnboundedReceiver<Made>, Full> {
        let count = requests.len();
        let has_room = |waiting: usize| Some(waiting + count).filter(|&all| all <= self.waiting_count_max);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, has_room).map_err(|_| Full)?;
        let (to, made) = unbounded_channel();
        let jobs = self.jobs.lock().map_err(|_| Full)?;
        for (index, request) in requests.into_iter().enumerate() {
            jobs.send(Job { request, index, to: to.clone() }).map_err(|_| Full)?;
        }
        Ok(made)
    }
}

/// The thread's own.
pub(super) struct Engine {
    model: Arc<Model>,
    jobs: Receiver<Job>,
    waiting: Arc<AtomicUsize>,
    batch_count_max: usize,
}

/// An answer under way: where it goes, and how much has gone there.
struct Way {
    index: usize,
    to: UnboundedSender<Made>,
    told: usize,
}

impl Engine {
    pub(super) fn new(model: Arc<Model>, settings: &Settings) -> (Self, Queue) {
        let (sender, jobs) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            jobs: Mutex::new(sender),
            waiting: Arc::clone(&waiting),
            waiting_count_max: settings.waiting_count_max,
        };
        (Self { model, jobs, waiting, batch_count_max: settings.batch_count_max }, queue)
    }

    /// Takes up what waits and gives every answer its next token, until the queue is gone.
    pub(super) fn run(self) {
        let mut answers = Answers::new(&self.model.decoder, &self.model.tokenizer);
        let mut ways: HashMap<usize, Way> = HashMap::new();
        let mut name = 0;
        loop {
            while answers.len() < self.batch_count_max {
                let Some(job) = self.next(answers.is_empty()) else { break };
                name += 1;
                if job.to.is_closed() {
                    continue;
                }
                match answers.admit(name, job.request) {
                    Ok(()) => drop(ways.insert(name, Way { index: job.index, to: job.to, told: 0 })),
                    Err(error) => drop(job.to.send(Made::Failed(error))),
                }
            }
            if answers.is_empty() {
                return;
            }
            if let Err(error) = step(&mut answers, &mut ways) {
                // Nothing that was admitted makes the decoder fail; if it does all the same, nobody waits for ever.
                let mut told = Some(error);
                for (_, way) in ways.drain() {
                    let _ = told.take().map(|error| way.to.send(Made::Failed(error)));
                }
                answers = Answers::new(&self.model.decoder, &self.model.tokenizer);
            }
        }
    }

    /// The next job; waits for it where there is nothing else to do. `None` where there is none, now or ever.
    fn next(&self, idle: bool) -> Option<Job> {
        let job = if idle {
            self.jobs.recv().ok()?
        } else {
            match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        Some(job)
    }
}

/// One token for each answer, told to those who wait for it.
fn step(answers: &mut Answers<'_>, ways: &mut HashMap<usize, Way>) -> loyal_model::Result<()> {
    let mut texts: Vec<(usize, String)> = Vec::new();
    let stepped = answers.step(&mut |name, text| {
        texts.push((name, text.to_owned()));
        match ways.get(&name) {
            Some(way) if !way.to.is_closed() => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    for (name, text) in texts {
        if let Some(way) = ways.get_mut(&name) {
            let all = answers.logprobs(name);
            let logprobs = all[way.told.min(all.len())..].to_vec();
            way.told = way.told.max(all.len());
            // It fails where nobody waits any more, which ends the answer at its next text.
            let _ = way.to.send(Made::More { index: way.index, text, logprobs });
        }
    }
    for (name, completion) in stepped? {
        if let Some(way) = ways.remove(&name) {
            let logprobs = completion.logprobs[way.told.min(completion.logprobs.len())..].to_vec();
            let _ = way.to.send(Made::Done { index: way.index, completion: Box::new(completion), logprobs });
        }
    }
    Ok(())
}
