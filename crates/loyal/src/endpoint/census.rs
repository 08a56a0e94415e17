//! The census: with ordinary prompts, before a fingerprint is spent, it finds out what an endpoint shows.

use anyhow::bail;
use loyal_fingerprint::check::transcript::Route;
use loyal_fingerprint::check::{Ask, Mode, Reply};
use serde_json::Value;

use super::reply::Heard;
use super::{Endpoint, Failure};

/// Log probabilities asked for, most first: what the API of completions allows, what chats allow, what is usual.
const TOPS: [u8; 3] = [20, 5, 1];
/// Of the tokens named, so many must be in the registered vocabulary, or the endpoint has another one.
const KNOWN_SHARE_MIN: f64 = 0.8;
/// Of the replies, so many may contradict themselves before none is believed.
const ODD_SHARE_MAX: f64 = 0.25;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Census {
    /// The best that can be seen.
    pub(crate) mode: Mode,
    /// By which way.
    pub(crate) route: Route,
}

impl Endpoint<'_> {
    /// Asks ordinary prompts, and chooses by what comes back: log probabilities if they can be believed, else text.
    /// A `wanted` mode is taken if the endpoint offers it.
    ///
    /// # Errors
    /// The endpoint answers nothing, or does not offer what is wanted.
    pub(crate) fn census(&mut self, wanted: Option<Mode>, tokens: usize) -> anyhow::Result<Census> {
        self.find_route(tokens)?;
        let text = self.text_mode(tokens)?;
        let top = match wanted {
            Some(Mode::Greedy | Mode::Sampled) => None,
            Some(Mode::Top(k)) => self.top_mode(&[k], tokens),
            Some(Mode::Logits) => {
                bail!("{}: no endpoint shows every token's log probability; try --mode top-20", self.name())
            }
            None => self.top_mode(&TOPS, tokens),
        };
        let mode = match (wanted, top) {
            // A list may be shorter now and then: what is shown is looked at.
            (Some(Mode::Top(k)), None) => {
                bail!("{} does not offer mode top-{k}: the best it shows is {text}", self.name())
            }
            (Some(Mode::Greedy), _) if text != Mode::Greedy => {
                bail!(
                    "{} does not offer mode greedy: its text at temperature 0 differs from one time to the next",
                    self.name()
                )
            }
            (Some(wanted), _) => wanted,
            (None, found) => found.unwrap_or(text),
        };
        Ok(Census { mode, route: self.route() })
    }

    fn find_route(&mut self, tokens: usize) -> anyhow::Result<()> {
        let ask = Ask { tokens, mode: Mode::Greedy };
        let mut problems = Vec::new();
        for route in [Route::Completions, Route::Chat]
            .into_iter()
            .filter(|way| self.only.is_none_or(|only| only == *way))
        {
            self.route = route;
            let prompts: Vec<String> = self.watched.iter().map(|(prompt, _)| prompt.clone()).collect();
            for prompt in prompts {
                match self.send(&[&prompt], ask).remove(0) {
                    Ok(reply) if Heard::read(route, &reply).is_ok() => return Ok(()),
                    Ok(_) => problems.push("an answer without a text".to_owned()),
                    Err(Failure::Gone(problem)) => bail!("{}: {problem}", self.name()),
                    Err(Failure::NoSuchWay(problem) | Failure::Refused(problem)) => {
                        problems.push(problem);
                        break;
                    }
                }
            }
        }
        problems.dedup();
        let ways = match self.only {
            Some(Route::Chat) => "in a chat",
            Some(Route::Completions | Route::Weights) => "as a completion",
            None => "neither as a completion nor in a chat",
        };
        bail!("{} answers no ordinary prompt, {ways}: {}", self.name(), problems.join("; "))
    }

    /// Greedy if text at temperature 0 stays the same.
    fn text_mode(&mut self, tokens: usize) -> anyhow::Result<Mode> {
        let ask = Ask { tokens, mode: Mode::Greedy };
        let rounds = [self.round(ask), self.round(ask)];
        let mut compared = 0;
        for (at, (first, second)) in rounds[0].iter().zip(&rounds[1]).enumerate() {
            let prompt = self.watched[at].0.clone();
            let (Some(first), Some(second)) = (first, second) else { continue };
            compared += 1;
            let texts = [Heard::read(self.route, first), Heard::read(self.route, second)];
            if let [Ok(first), Ok(second)] = &texts {
                self.wavers |= first.text != second.text;
            }
            if let Reply::Answered(said) = self.read(&prompt, ask, first)? {
                self.watched[at].1 = Some(said);
            }
        }
        if compared == 0 {
            let problem = self
                .client
                .gone()
                .unwrap_or_else(|| "it answers some ordinary prompts and refuses them later".to_owned());
            bail!("{}: {problem}", self.name());
        }
        if self.wavers {
            self.notes.note(
                "wavers",
                "the text at temperature 0 differs from one time to the next: it counts as sampled",
            );
        }
        Ok(if self.wavers { Mode::Sampled } else { Mode::Greedy })
    }

    /// The most log probabilities that the endpoint shows, if they can be believed.
    fn top_mode(&mut self, tops: &[u8], tokens: usize) -> Option<Mode> {
        for &k in tops {
            let ask = Ask { tokens, mode: Mode::Top(k) };
            let read = |reply: Option<Value>| reply.and_then(|reply| Heard::read(self.route, &reply).ok());
            let heard: Vec<Option<Heard>> = self.round(ask).into_iter().map(read).collect();
            // Where a prompt gets no token there is nothing to show.
            let shown: Vec<&Heard> = heard.iter().flatten().filter(|one| !one.text.is_empty()).collect();
            let count = shown.iter().map(|one| one.top_count()).min().unwrap_or(0);
            if count == 0 {
                continue;
            }
            // As many as were asked for, or as the endpoint gives whatever is asked.
            let ask = Ask { tokens, mode: Mode::Top(u8::try_from(count).unwrap_or(k).min(k)) };
            if !self.believes(&shown, ask) {
                return None;
            }
            for (at, one) in heard.iter().enumerate() {
                self.watched[at].1 =
                    one.as_ref().and_then(|one| one.said(&self.tokens, ask, self.wavers).ok());
            }
            return Some(ask.mode);
        }
        None
    }

    /// Whether replies with log probabilities fit the registered vocabulary and themselves.
    fn believes(&mut self, heard: &[&Heard], ask: Ask) -> bool {
        let counts = heard.iter().map(|one| one.known(&self.tokens));
        let (known, all) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if (known as f64) < KNOWN_SHARE_MIN * all as f64 {
            let note = format!(
                "only {known} of {all} tokens named are in the registered vocabulary: another tokenizer, so text alone counts"
            );
            self.notes.note("tokenizer", &note);
            return false;
        }
        let odd: Vec<String> =
            heard.iter().filter_map(|one| one.said(&self.tokens, ask, self.wavers).err()).collect();
        if odd.len() as f64 > ODD_SHARE_MAX * heard.len() as f64 {
            let note =
                format!("log probabilities that do not fit their text ({}): text alone counts", odd[0]);
            self.notes.note("logprobs", &note);
            return false;
        }
        true
    }

    /// Asks every watched prompt once.
    fn round(&self, ask: Ask) -> Vec<Option<Value>> {
        let prompts: Vec<&str> = self.watched.iter().map(|(prompt, _)| prompt.as_str()).collect();
        self.send(&prompts, ask).into_iter().map(Result::ok).collect()
    }
}
