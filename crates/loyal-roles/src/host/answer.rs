//! Answers on their way to a client: whole, or piece by piece as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use loyal_model::generate::{Completion, Finish, TokenLogprobs};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Host;
use super::ask::Asked;
use super::engine::{Full, Made};
use super::fault::Fault;

/// The shape in which one way of asking is answered.
pub(super) trait Form: Send + Sync + 'static {
    /// What names of answers begin with.
    fn prefix(&self) -> &'static str;
    /// What an answer, or a piece of it, calls itself.
    fn object(&self, stream: bool) -> &'static str;
    /// A whole answer: its number and how many log probabilities to name.
    fn whole(&self, host: &Host, choice: (usize, Option<usize>), made: &Completion) -> Value;
    /// A piece of an answer.
    fn piece(&self, host: &Host, choice: (usize, Option<usize>), piece: Piece<'_>) -> Value;
}

/// A piece of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) logprobs: &'a [TokenLogprobs],
    /// Characters of the answer before it.
    pub(super) offset: usize,
    pub(super) is_first: bool,
    pub(super) finish: Option<Finish>,
}

/// A response of JSON.
pub(crate) fn json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Why an answer ended, as the API says it.
pub(super) const fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Eos => "stop",
        Finish::Length | Finish::Cancelled => "length",
    }
}

/// A log probability as JSON can hold it.
pub(super) fn rated(logprob: f32) -> f32 {
    if logprob.is_nan() { -9999.0 } else { logprob.clamp(-9999.0, 0.0) }
}

/// Makes the answers and tells them.
pub(super) async fn give<F: Form + Copy>(host: &Arc<Host>, asked: Asked, form: &F) -> Response {
    let Asked { requests, prompt_tokens, top, stream, include_usage } = asked;
    if let Some(fault) = requests.iter().find_map(|request| fits(host, request).err()) {
        return fault.into_response();
    }
    let count = requests.len();
    let made = match host.queue.join(requests) {
        Ok(made) => made,
        Err(Full) => return Fault::busy(host.settings.retry_after_seconds).into_response(),
    };
    let (id, created) = host.stamp(form.prefix());
    let head = json!({"id": id, "object": form.object(stream), "created": created, "model": host.model.name});
    let telling =
        Telling { host: Arc::clone(host), form: *form, head, top, count, prompt_tokens, include_usage };
    if stream { telling.stream(made) } else { telling.whole(made).await }
}

/// Refuses what the engine would, while the answer can still say so by its status.
fn fits(host: &Host, request: &loyal_model::generate::Request) -> Result<(), Fault> {
    let (prompt_tokens, new_tokens) = (request.prompt.len(), request.new_tokens_max);
    let config = host.model.decoder.config();
    if let Some(token) = request.prompt.iter().find(|&&token| token as usize >= config.vocab_size) {
        return Err(Fault::parameter("prompt", format!("token {token} is not below {}", config.vocab_size)));
    }
    let context_tokens = config.context_tokens;
    if prompt_tokens.saturating_add(new_tokens) > context_tokens {
        return Err(loyal_model::Error::ContextOverflow { prompt_tokens, new_tokens, context_tokens }.into());
    }
    Ok(())
}

/// One response on its way.
struct Telling<F> {
    host: Arc<Host>,
    form: F,
    head: Value,
    top: Option<usize>,
    /// Answers wanted.
    count: usize,
    prompt_tokens: usize,
    include_usage: bool,
}

impl<F: Form> Telling<F> {
    async fn whole(self, mut made: UnboundedReceiver<Made>) -> Response {
        let mut choices = vec![Value::Null; self.count];
        let mut tokens = 0;
        while let Some(made) = made.recv().await {
            match made {
                Made::More { .. } => {}
                Made::Done { index, completion, .. } => {
                    tokens += completion.tokens.len();
                    choices[index] = self.form.whole(&self.host, (index, self.top), &completion);
                }
                Made::Failed(error) => return Fault::from(error).into_response(),
            }
        }
        if choices.iter().any(Value::is_null) {
            return Fault::broken().into_response();
        }
        let mut body = self.head.clone();
        body["choices"] = choices.into();
        body["usage"] = self.usage(tokens);
        json(&body)
    }

    fn stream(self, made: UnboundedReceiver<Made>) -> Response {
        let course = Course {
            offsets: vec![0; self.count],
            told: vec![false; self.count],
            tokens: 0,
            left: self.count,
        };
        let events = stream::unfold(
            (self, made, course, Stage::Telling),
            async |(telling, mut made, mut course, stage)| {
                let (event, stage) = match stage {
                    Stage::Telling => match made.recv().await {
                        Some(made) => telling.event(made, &mut course),
                        None if course.left == 0 && telling.include_usage => {
                            (telling.counted(course.tokens), Stage::Ending)
                        }
                        None if course.left == 0 => (Event::default().data("[DONE]"), Stage::Ended),
                        None => (Event::default().data(Fault::broken().json().to_string()), Stage::Ended),
                    },
                    Stage::Ending => (Event::default().data("[DONE]"), Stage::Ended),
                    Stage::Ended => return None,
                };
                Some((Ok::<_, Infallible>(event), (telling, made, course, stage)))
            },
        );
        Sse::new(Box::pin(events)).into_response()
    }

    fn event(&self, made: Made, course: &mut Course) -> (Event, Stage) {
        let (index, text, logprobs, finish) = match made {
            Made::More { index, text, logprobs } => (index, text, logprobs, None),
            Made::Done { index, completion, logprobs } => {
                course.tokens += completion.tokens.len();
                course.left -= 1;
                (index, String::new(), logprobs, Some(completion.finish))
            }
            Made::Failed(error) => {
                return (Event::default().data(Fault::from(error).json().to_string()), Stage::Ended);
            }
        };
        let is_first = !std::mem::replace(&mut course.told[index], true);
        let piece =
            Piece { text: &text, logprobs: &logprobs, offset: course.offsets[index], is_first, finish };
        let mut body = self.head.clone();
        body["choices"] = vec![self.form.piece(&self.host, (index, self.top), piece)].into();
        course.offsets[index] += text.chars().count();
        (Event::default().data(body.to_string()), Stage::Telling)
    }

    fn counted(&self, tokens: usize) -> Event {
        let mut body = self.head.clone();
        body["choices"] = json!([]);
        body["usage"] = self.usage(tokens);
        Event::default().data(body.to_string())
    }

    fn usage(&self, tokens: usize) -> Value {
        json!({"prompt_tokens": self.prompt_tokens, "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens})
    }
}

/// How far a stream has come.
struct Course {
    offsets: Vec<usize>,
    told: Vec<bool>,
    tokens: usize,
    left: usize,
}

/// What a stream tells next.
enum Stage {
    Telling,
    Ending,
    Ended,
}
