//! What was said so far, and the prompt it makes.

use loyal_model::template::{ChatTemplate, Message};
use loyal_model::{Error, Tokenizer};

/// How a conversation is written for the model.
#[derive(Debug)]
pub(super) enum Form {
    /// As the model's chat template says.
    Template(ChatTemplate),
    /// As a plain transcript, for base models.
    Transcript,
}

/// What one side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    User(String),
    Assistant(String),
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    form: Form,
    system: Option<String>,
    turns: Vec<Turn>,
    answer_tokens: usize,
}

impl Conversation {
    /// An empty one, in which answers have at most `answer_tokens`.
    pub(super) const fn new(form: Form, system: Option<String>, answer_tokens: usize) -> Self {
        Self { form, system, turns: Vec::new(), answer_tokens }
    }

    pub(super) const fn form(&self) -> &Form {
        &self.form
    }

    pub(super) const fn answer_tokens(&self) -> usize {
        self.answer_tokens
    }

    /// Texts before which an answer ends.
    pub(super) fn stops(&self) -> Vec<String> {
        match self.form {
            Form::Template(_) => Vec::new(),
            Form::Transcript => vec!["\nUser:".to_owned(), "\nAssistant:".to_owned()],
        }
    }

    pub(super) fn add(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    /// Adds a message and answers the prompt for it, and how many of the oldest turns had to go so that prompt and
    /// answer fit in `context` tokens.
    ///
    /// # Errors
    /// The message alone does not fit, or the template refuses it; then it is not part of the conversation.
    pub(super) fn prompt(
        &mut self,
        message: String,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> loyal_model::Result<(Vec<u32>, usize)> {
        self.turns.push(Turn::User(message));
        let mut first = 0;
        let outcome = loop {
            let prompt = match self.render(&self.turns[first..], tokenizer) {
                Ok(prompt) => prompt,
                Err(error) => break Err(error),
            };
            if prompt.len() + self.answer_tokens <= context {
                break Ok(prompt);
            }
            if first + 1 >= self.turns.len() {
                let (prompt_tokens, new_tokens) = (prompt.len(), self.answer_tokens);
                break Err(Error::ContextOverflow { prompt_tokens, new_tokens, context_tokens: context });
            }
            // A question goes with its answer: what is left begins with a message.
            first += 1;
            while matches!(self.turns.get(first), Some(Turn::Assistant(_))) {
                first += 1;
            }
        };
        match outcome {
            Ok(prompt) => {
                self.turns.drain(..first);
                Ok((prompt, first))
            }
            Err(error) => {
                self.turns.pop();
                Err(error)
            }
        }
    }

    fn render(&self, turns: &[Turn], tokenizer: &Tokenizer) -> loyal_model::Result<Vec<u32>> {
        match &self.form {
            Form::Template(template) => {
                let message = |role: &str, content: &str| Message {
                    role: role.to_owned(),
                    content: content.to_owned(),
                };
                let system = self.system.iter().map(|text| message("system", text));
                let said = turns.iter().map(|turn| match turn {
                    Turn::User(text) => message("user", text),
                    Turn::Assistant(text) => message("assistant", text),
                });
                let messages: Vec<Message> = system.chain(said).collect();
                tokenizer.encode_plain(&template.render(&messages, true)?)
            }
            Form::Transcript => tokenizer.encode(&self.transcript(turns)),
        }
    }

    fn transcript(&self, turns: &[Turn]) -> String {
        let mut text = self.system.as_ref().map_or_else(String::new, |system| format!("{system}\n\n"));
        for turn in turns {
            let (name, said) = match turn {
                Turn::User(said) => ("User", said),
                Turn::Assistant(said) => ("Assistant", said),
            };
            text.push_str(&format!("{name}: {said}\n"));
        }
        text + "Assistant:"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// One token a byte, and one before every text.
    fn tokenizer() -> Tokenizer {
        let json = Tokenizer::train(&mut std::iter::once("a b c".to_owned()), 257).unwrap();
        Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap()
    }

    fn said(conversation: &mut Conversation, text: &str, context: usize) -> (String, usize) {
        let tokenizer = tokenizer();
        let (prompt, dropped) = conversation.prompt(text.to_owned(), &tokenizer, context).unwrap();
        assert!(prompt.len() + conversation.answer_tokens() <= context);
        conversation.add(Turn::Assistant("Yes.".to_owned()));
        (tokenizer.decode(&prompt).unwrap(), dropped)
    }

    #[test]
    fn a_transcript_is_written_as_the_help_says() {
        let mut conversation = Conversation::new(Form::Transcript, Some("Be kind.".to_owned()), 10);
        assert_eq!(said(&mut conversation, "Hi", 500), ("Be kind.\n\nUser: Hi\nAssistant:".to_owned(), 0));
        let (text, _) = said(&mut conversation, "Ok?", 500);
        assert_eq!(text, "Be kind.\n\nUser: Hi\nAssistant: Yes.\nUser: Ok?\nAssistant:");
    }

    #[test]
    fn the_oldest_turns_go_first_and_the_system_prompt_stays() {
        let mut conversation = Conversation::new(Form::Transcript, Some("S".to_owned()), 10);
        said(&mut conversation, "one", 70);
        let (text, dropped) = said(&mut conversation, "two", 70);
        assert_eq!((text.as_str(), dropped), ("S\n\nUser: one\nAssistant: Yes.\nUser: two\nAssistant:", 0));
        let (text, dropped) = said(&mut conversation, "three", 70);
        assert_eq!((text.as_str(), dropped), ("S\n\nUser: two\nAssistant: Yes.\nUser: three\nAssistant:", 2));
    }

    #[test]
    fn a_message_that_never_fits_is_refused_and_forgotten() {
        let mut conversation = Conversation::new(Form::Transcript, None, 10);
        said(&mut conversation, "one", 70);
        let long = "x".repeat(80);
        let error = conversation.prompt(long, &tokenizer(), 70).unwrap_err();
        assert!(matches!(error, Error::ContextOverflow { .. }), "{error}");
        let (text, dropped) = said(&mut conversation, "two", 70);
        assert_eq!((text.as_str(), dropped), ("User: one\nAssistant: Yes.\nUser: two\nAssistant:", 0));
    }

    #[test]
    fn a_template_is_used_where_there_is_one() {
        let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
        let template = ChatTemplate::new(source, BTreeMap::new()).unwrap();
        let mut conversation = Conversation::new(Form::Template(template), Some("S".to_owned()), 10);
        assert_eq!(said(&mut conversation, "one", 70).0, "<system>S<user>one<assistant>");
        assert!(conversation.stops().is_empty());
    }
}
