//! Text cut into tokens by the registered tokenizer, going on from a prompt: anybody who holds the tokenizer cuts the
//! same way, so that nobody chooses the pieces whose colours count.

use loyal_model::Tokenizer;

use super::{Answerer, Ask, Reply, Said, Shown};
use crate::error::Result;

/// The first `count` tokens of `text` after `prompt` (empty where the prompt's end is not known, as in a chat). `None`
/// where the tokenizer has no tokens that spell it, or the first ones depend on what follows.
///
/// # Errors
/// The tokenizer fails.
pub fn first(tokenizer: &Tokenizer, prompt: &str, text: &str, count: usize) -> Result<Option<Vec<u32>>> {
    // A character that never came to its end could be any.
    let text = text.split(char::REPLACEMENT_CHARACTER).next().unwrap_or_default();
    let Some(mut tokens) = all(tokenizer, prompt, text)? else { return Ok(None) };
    tokens.truncate(count);
    let Ok(kept) = String::from_utf8(bytes(tokenizer, &tokens)) else { return Ok(None) };
    Ok((all(tokenizer, prompt, &kept)?.as_ref() == Some(&tokens)).then_some(tokens))
}

/// All tokens of `text` after `prompt`.
fn all(tokenizer: &Tokenizer, prompt: &str, text: &str) -> Result<Option<Vec<u32>>> {
    let before = tokenizer.encode(prompt)?;
    let whole = tokenizer.encode(&format!("{prompt}{text}"))?;
    // Where the last word of the prompt grows, the text stands for itself.
    let candidates =
        [whole.strip_prefix(before.as_slice()).map(<[u32]>::to_vec), Some(tokenizer.encode_plain(text)?)];
    Ok(candidates.into_iter().flatten().find(|tokens| bytes(tokenizer, tokens) == text.as_bytes()))
}

fn bytes(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|&token| tokenizer.piece(token).unwrap_or_default()).collect()
}

/// A suspect at hand whose text is cut again like an endpoint's, where text is all that is looked at.
#[derive(Debug)]
pub struct Recut<'a, A> {
    /// Who answers.
    pub suspect: A,
    /// The registered tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl<A: Answerer> Answerer for Recut<'_, A> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> Result<Vec<Reply>> {
        let replies = self.suspect.answer(prompts, ask)?;
        if ask.mode.shows_logprobs() {
            return Ok(replies);
        }
        let again = |(prompt, reply): (&String, Reply)| {
            let Reply::Answered(said) = reply else { return Ok(reply) };
            let tokens: Vec<u32> = said.iter().map(|one| one.token).collect();
            let text = String::from_utf8_lossy(&bytes(self.tokenizer, &tokens)).into_owned();
            let Some(tokens) = first(self.tokenizer, prompt, &text, ask.tokens)? else {
                return Ok(Reply::Refused("text that the registered tokenizer does not cut".to_owned()));
            };
            Ok(Reply::Answered(
                tokens.into_iter().map(|token| Said { token, shown: Shown::Nothing }).collect(),
            ))
        };
        prompts.iter().zip(replies).map(again).collect()
    }
}
