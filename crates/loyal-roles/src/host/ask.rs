//! What a request asks for: the parameters both ways of asking share, read strictly.

use axum::body::Bytes;
use loyal_model::generate::Request;
use loyal_model::sampler::Sampling;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Host;
use super::fault::Fault;

/// Most log probabilities named at each position.
pub(super) const TOP_MAX: usize = 20;
/// Most texts that end an answer, as in the OpenAI API.
const STOP_COUNT_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 1024;

/// Parameters of completions and of chat alike. Fields that nobody here knows are ignored, as clients send many; those
/// that would change the answer are refused.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Common {
    model: Option<String>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<usize>,
    min_p: Option<f32>,
    seed: Option<i64>,
    n: Option<usize>,
    stop: Option<Texts>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    repetition_penalty: Option<f32>,
    logit_bias: Option<Value>,
    response_format: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

/// What to answer, and how to tell it.
#[derive(Debug)]
pub(super) struct Asked {
    /// A request for each answer: those of one prompt after another.
    pub(super) requests: Vec<Request>,
    /// Tokens of the prompts, each counted once.
    pub(super) prompt_tokens: usize,
    /// Log probabilities to name besides the chosen token's; `None` for none at all.
    pub(super) top: Option<usize>,
    /// Whether to answer piece by piece.
    pub(super) stream: bool,
    /// Whether a stream ends with the count of tokens.
    pub(super) include_usage: bool,
}

/// The body as JSON.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::body(format!("the body is not as it should be: {error}")))
}

impl Common {
    /// Requests for `prompts`, each `n` times.
    pub(super) fn asked(
        &self,
        host: &Host,
        prompts: Vec<Vec<u32>>,
        (tokens_default, top): (Option<usize>, Option<usize>),
        stops: &[String],
    ) -> Result<Asked, Fault> {
        self.check(host)?;
        let n = self.n.unwrap_or(1);
        if n == 0 || n.saturating_mul(prompts.len()) > host.settings.answer_count_max {
            let most = host.settings.answer_count_max;
            return Err(Fault::parameter(
                "n",
                format!("{n} answers to {} prompts; at most {most} in all", prompts.len()),
            ));
        }
        if top.is_some_and(|top| top > TOP_MAX) {
            return Err(Fault::parameter("top_logprobs", format!("at most {TOP_MAX}")));
        }
        let stop = [stops, &self.stops()?].concat();
        let prompt_tokens = prompts.iter().map(Vec::len).sum();
        let mut requests = Vec::with_capacity(n * prompts.len());
        let context = host.model.decoder.config().context_tokens;
        let base = self.seed.map_or_else(|| host.seed(), |seed| seed as u64);
        for prompt in prompts {
            let room = context.saturating_sub(prompt.len());
            let wanted = self.max_completion_tokens.or(self.max_tokens).or(tokens_default);
            for step in 0..n as u64 {
                requests.push(Request {
                    prompt: prompt.clone(),
                    new_tokens_max: wanted.unwrap_or(room.max(1)),
                    sampling: self.sampling(base.wrapping_add(step)),
                    stop: stop.clone(),
                    // The chosen token's own comes with the others.
                    top_logprobs: top.map_or(0, |top| top.max(1)),
                    stop_at_eos: true,
                });
            }
        }
        let include_usage = self.stream_options.as_ref().and_then(|one| one.include_usage).unwrap_or(false);
        Ok(Asked { requests, prompt_tokens, top, stream: self.stream.unwrap_or(false), include_usage })
    }

    /// Refuses what makes no sense and what is not known here.
    fn check(&self, host: &Host) -> Result<(), Fault> {
        if let Some(asked) = self.model.as_ref().filter(|asked| **asked != host.model.name) {
            return Err(Fault::no_such_model(asked, &host.model.name));
        }
        let range = |name, value: Option<f32>, good: std::ops::RangeInclusive<f32>| match value {
            Some(value) if !good.contains(&value) => Err(Fault::parameter(
                name,
                format!("{value}; it must be from {} to {}", good.start(), good.end()),
            )),
            _ => Ok(()),
        };
        range("temperature", self.temperature, 0.0..=2.0)?;
        range("top_p", self.top_p, f32::MIN_POSITIVE..=1.0)?;
        range("min_p", self.min_p, 0.0..=1.0)?;
        let unknown = "this host does not know it; leave it out";
        for (name, value, neutral) in [
            ("frequency_penalty", self.frequency_penalty, 0.0),
            ("presence_penalty", self.presence_penalty, 0.0),
            ("repetition_penalty", self.repetition_penalty, 1.0),
        ] {
            if value.is_some_and(|value| value != neutral) {
                return Err(Fault::parameter(name, unknown));
            }
        }
        let is_empty =
            |bias: &Value| bias.is_null() || bias.as_object().is_some_and(serde_json::Map::is_empty);
        if self.logit_bias.as_ref().is_some_and(|bias| !is_empty(bias)) {
            return Err(Fault::parameter("logit_bias", unknown));
        }
        if self.response_format.as_ref().is_some_and(|format| !format.is_null() && format["type"] != "text") {
            return Err(Fault::parameter("response_format", "this host answers in plain text only"));
        }
        Ok(())
    }

    fn sampling(&self, seed: u64) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
            min_p: self.min_p.unwrap_or(0.0),
            seed,
        }
    }

    fn stops(&self) -> Result<Vec<String>, Fault> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Texts::One(text)) => vec![text.clone()],
            Some(Texts::Many(texts)) => texts.clone(),
        };
        if stops.len() > STOP_COUNT_MAX
            || stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX)
        {
            let most = format!("at most {STOP_COUNT_MAX} texts of 1 to {STOP_BYTES_MAX} bytes");
            return Err(Fault::parameter("stop", most));
        }
        Ok(stops)
    }
}
