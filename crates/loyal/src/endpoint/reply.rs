//! What an endpoint's reply says: text, and log probabilities that must fit it.

use std::collections::HashMap;

use loyal_fingerprint::check::transcript::Route;
use loyal_fingerprint::check::{Ask, Mode, Said, Shown};
use serde_json::Value;

/// Two numbers for one log probability may differ by rounding.
const ROUNDING: f32 = 0.05;
/// Probabilities may add up to more than one by rounding.
const SUM_MAX: f64 = 1.02;

/// A reply, in bytes and numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    pub(super) text: String,
    steps: Vec<Step>,
}

/// One token as the endpoint tells it.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    piece: Vec<u8>,
    logprob: f32,
    top: Vec<(Vec<u8>, f32)>,
}

impl Heard {
    /// Reads a reply; says why it is none.
    pub(super) fn read(route: Route, reply: &Value) -> Result<Self, String> {
        let choice = &reply["choices"][0];
        if let Some(message) = reply["error"]["message"].as_str() {
            return Err(format!("an error for an answer: {}", message.chars().take(200).collect::<String>()));
        }
        let text = match route {
            Route::Chat => &choice["message"]["content"],
            Route::Completions | Route::Weights => &choice["text"],
        };
        let text = text.as_str().ok_or("an answer without a text")?.to_owned();
        let logprobs = &choice["logprobs"];
        // Some endpoints tell completions in the shape of chats.
        let steps = match (logprobs["content"].as_array(), logprobs["tokens"].as_array()) {
            (Some(list), _) => list.iter().map(step).collect::<Option<Vec<_>>>(),
            (None, Some(tokens)) => (0..tokens.len()).map(|at| listed(logprobs, at)).collect(),
            (None, None) => Some(Vec::new()),
        };
        // Numbers that cannot be read are no reason to lose the text.
        Ok(Self { text, steps: steps.unwrap_or_default() })
    }

    /// Whether log probabilities came along.
    pub(super) fn top_count(&self) -> usize {
        self.steps.iter().map(|step| step.top.len()).min().unwrap_or(0)
    }

    /// The tokens it says, with what was shown, if all fits together; else in what it does not. Where the endpoint
    /// draws its text although it should not, the likeliest token need not be the one said.
    pub(super) fn said(
        &self,
        tokens: &HashMap<Vec<u8>, u32>,
        ask: Ask,
        wavers: bool,
    ) -> Result<Vec<Said>, String> {
        if self.steps.is_empty() {
            return if self.text.is_empty() { Ok(Vec::new()) } else { Err("there are none".to_owned()) };
        }
        let spelt: Vec<u8> = self.steps.iter().flat_map(|step| step.piece.iter().copied()).collect();
        let spelt = String::from_utf8_lossy(&spelt).into_owned();
        if spelt != self.text && spelt.strip_prefix(' ') != Some(&self.text) && !spelt.starts_with(&self.text)
        {
            return Err("their tokens spell another text".to_owned());
        }
        let limit = if let Mode::Top(k) = ask.mode { usize::from(k) } else { usize::MAX };
        let mut said = Vec::new();
        for step in self.steps.iter().take(ask.tokens) {
            step.check(wavers)?;
            // What is no piece of the vocabulary ends what can be compared: an end token, for one.
            let Some(&token) = tokens.get(&step.piece) else { break };
            let mut top: Vec<(u32, f32)> = step
                .top
                .iter()
                .filter_map(|(piece, logprob)| Some((*tokens.get(piece)?, *logprob)))
                .collect();
            top.sort_by(|a, b| b.1.total_cmp(&a.1));
            top.truncate(limit);
            said.push(Said { token, shown: Shown::Top(top) });
        }
        Ok(said)
    }

    /// Of all tokens told, the share that the registered tokenizer has.
    pub(super) fn known(&self, tokens: &HashMap<Vec<u8>, u32>) -> (usize, usize) {
        let all = self.steps.iter().flat_map(|step| step.top.iter().map(|(piece, _)| piece));
        let all: Vec<&Vec<u8>> = all.filter(|piece| !piece.is_empty()).collect();
        (all.iter().filter(|piece| tokens.contains_key(**piece)).count(), all.len())
    }
}

impl Step {
    /// Whether the numbers can be log probabilities of one distribution, from which the token was taken.
    fn check(&self, wavers: bool) -> Result<(), String> {
        let numbers = || self.top.iter().map(|(_, logprob)| *logprob);
        if self.top.is_empty() {
            return Err("none but the token's own".to_owned());
        }
        if numbers().chain([self.logprob]).any(|x| !x.is_finite() || x > ROUNDING) {
            return Err("numbers that are no log probabilities".to_owned());
        }
        if numbers().map(|x| f64::from(x).exp()).sum::<f64>() > SUM_MAX {
            return Err("probabilities that add up to more than one".to_owned());
        }
        let highest = numbers().fold(f32::NEG_INFINITY, f32::max);
        let lowest = numbers().fold(f32::INFINITY, f32::min);
        match self.top.iter().find(|(piece, _)| *piece == self.piece) {
            Some((_, x)) if (x - self.logprob).abs() > ROUNDING => {
                Err("two numbers for one token".to_owned())
            }
            None if self.logprob > lowest + ROUNDING => {
                Err("a likely token that is not among the likeliest".to_owned())
            }
            _ if !wavers && self.logprob < highest - ROUNDING => {
                Err("the token said is not the likeliest".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Tokens with nothing shown besides.
pub(super) fn plain(tokens: &[u32]) -> Vec<Said> {
    tokens.iter().map(|&token| Said { token, shown: Shown::Nothing }).collect()
}

/// Whether two answers to one prompt are of different models: another first token, or other log probabilities of it.
pub(super) fn differ(a: &[Said], b: &[Said], least: f32) -> bool {
    let (Some(a), Some(b)) = (a.first(), b.first()) else { return a.len() != b.len() };
    match (&a.shown, &b.shown) {
        (Shown::Top(first), Shown::Top(second)) => {
            let second: HashMap<u32, f32> = second.iter().copied().collect();
            // A token that left the list proves nothing: the ends of two lists may differ.
            first.iter().any(|(token, x)| second.get(token).is_some_and(|y| (x - y).abs() > least))
                || first.iter().filter(|(token, _)| second.contains_key(token)).count() * 2 < first.len()
        }
        _ => a.token != b.token,
    }
}

/// An entry of `logprobs.content`.
fn step(entry: &Value) -> Option<Step> {
    let top = entry["top_logprobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let top = top
        .iter()
        .map(|other| Some((piece(other)?, number(&other["logprob"])?)))
        .collect::<Option<Vec<_>>>()?;
    Some(Step { piece: piece(entry)?, logprob: number(&entry["logprob"])?, top })
}

/// Position `at` of the four lists of the completions API.
fn listed(logprobs: &Value, at: usize) -> Option<Step> {
    let top = match &logprobs["top_logprobs"][at] {
        Value::Object(map) => {
            map.iter().map(|(text, x)| Some((written(text), number(x)?))).collect::<Option<Vec<_>>>()?
        }
        _ => Vec::new(),
    };
    let piece = written(logprobs["tokens"][at].as_str()?);
    Some(Step { piece, logprob: number(&logprobs["token_logprobs"][at])?, top })
}

fn number(value: &Value) -> Option<f32> {
    Some(value.as_f64()? as f32)
}

fn piece(entry: &Value) -> Option<Vec<u8>> {
    match entry["bytes"].as_array() {
        Some(bytes) => bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect(),
        None => entry["token"].as_str().map(written),
    }
}

/// A token as completions write it: its text, or `bytes:\xe2\x80`.
fn written(text: &str) -> Vec<u8> {
    let bytes = text.strip_prefix("bytes:").and_then(|escaped| {
        let parts = escaped.strip_prefix("\\x")?.split("\\x");
        parts.map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
    });
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokens() -> HashMap<Vec<u8>, u32> {
        [" cat", " dog", " é"]
            .iter()
            .zip(0..)
            .map(|(text, token)| (text.as_bytes().to_vec(), token))
            .collect()
    }

    fn of(reply: &Value) -> Result<Vec<Said>, String> {
        let ask = Ask { tokens: 1, mode: Mode::Top(5) };
        Heard::read(Route::Completions, reply).and_then(|heard| heard.said(&tokens(), ask, false))
    }

    fn reply(text: &str, token: &str, own: f64, top: &Value) -> Value {
        json!({"choices": [{"text": text, "logprobs":
            {"tokens": [token], "token_logprobs": [own], "top_logprobs": [top], "text_offset": [0]}}]})
    }

    #[test]
    fn honest_numbers_are_read() {
        let said = of(&reply(" cat", " cat", -0.2, &json!({" cat": -0.2, " dog": -2.0, "?": -3.0}))).unwrap();
        assert_eq!(said, [Said { token: 0, shown: Shown::Top(vec![(0, -0.2), (1, -2.0)]) }]);
        let chat = json!({"choices": [{"message": {"content": " é"}, "logprobs": {"content": [{"token": "?",
            "bytes": [32, 195, 169], "logprob": -0.1, "top_logprobs": [{"token": " é", "logprob": -0.1}]}]}}]});
        let heard = Heard::read(Route::Chat, &chat).unwrap();
        let ask = Ask { tokens: 1, mode: Mode::Top(5) };
        assert_eq!(heard.said(&tokens(), ask, false).unwrap()[0].token, 2);
        assert_eq!(written("bytes:\\xe2\\x80"), [0xe2, 0x80]);
    }

    #[test]
    fn lies_are_noticed() {
        let lies = [
            ("another text", reply(" dog", " cat", -0.2, &json!({" cat": -0.2}))),
            ("no log probabilities", reply(" cat", " cat", 0.7, &json!({" cat": 0.7}))),
            ("no log probabilities", reply(" cat", " cat", -0.2, &json!({" cat": -0.2, " dog": -1e300}))),
            ("more than one", reply(" cat", " cat", -0.1, &json!({" cat": -0.1, " dog": -0.1}))),
            ("two numbers", reply(" cat", " cat", -0.2, &json!({" cat": -0.9}))),
            ("not among", reply(" cat", " cat", -0.2, &json!({" dog": -2.0}))),
            ("not the likeliest", reply(" cat", " cat", -2.0, &json!({" cat": -2.0, " dog": -0.2}))),
            ("there are none", json!({"choices": [{"text": " cat"}]})),
            ("none but", reply(" cat", " cat", -0.2, &json!({}))),
        ];
        for (why, reply) in lies {
            let found = of(&reply).unwrap_err();
            assert!(found.contains(why), "{why}: {found}");
        }
        for garbage in [json!({}), json!([1]), json!({"choices": []}), json!({"choices": [{"text": 7}]})] {
            assert!(of(&garbage).unwrap_err().contains("without a text"));
        }
    }

    #[test]
    fn another_model_is_noticed() {
        let said = |list: &[(u32, f32)]| vec![Said { token: list[0].0, shown: Shown::Top(list.to_vec()) }];
        let first = said(&[(0, -0.2), (1, -2.0)]);
        assert!(!differ(&first, &said(&[(0, -0.25), (1, -2.1)]), 0.5));
        assert!(differ(&first, &said(&[(0, -1.2), (1, -2.0)]), 0.5));
        assert!(differ(&first, &said(&[(7, -0.2), (8, -2.0)]), 0.5));
        assert!(differ(&plain(&[1]), &plain(&[2]), 0.5) && !differ(&plain(&[1]), &plain(&[1, 2]), 0.5));
    }
}
