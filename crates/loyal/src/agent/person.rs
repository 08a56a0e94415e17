//! Whoever sits at the terminal: asked for an answer that only they have, or for leave to do something.

use std::io::{self, BufRead, IsTerminal as _};
use std::sync::Arc;

use anyhow::ensure;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loyal_agent::tool::{Person, ToolCard, Toolbox, ask_user};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::output;

/// A person at a terminal. One question at a time.
struct Terminal {
    lines: Mutex<UnboundedReceiver<String>>,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

/// Tools that may ask whoever sits at this program's terminal.
///
/// # Errors
/// There is none.
pub(crate) fn with_person(tools: Toolbox) -> anyhow::Result<Toolbox> {
    let person: Arc<dyn Person> = Arc::new(Terminal::open()?);
    Ok(tools.with_all([ask_user(person.clone())]).with_person(person))
}

impl Terminal {
    /// Whoever sits at this program's terminal.
    ///
    /// # Errors
    /// There is none.
    fn open() -> anyhow::Result<Self> {
        let is_there = io::stdin().is_terminal() && io::stderr().is_terminal();
        ensure!(
            is_there,
            "--person: nobody can be asked here, standard input or standard error is no terminal"
        );
        Ok(Self::over(io::BufReader::new(io::stdin()), Box::new(output::say)))
    }

    /// A line that was begun cannot be given up, so a thread reads them all; it ends with the input or the program.
    fn over(mut input: impl BufRead + Send + 'static, say: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        let (to, lines) = unbounded_channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while input.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if to.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        Self { lines: Mutex::new(lines), say }
    }

    /// The next line that is written after a question; nothing where it is empty, or nobody is there any more.
    async fn ask(&self, question: &str) -> Option<String> {
        let mut lines = self.lines.lock().await;
        // What was written for an earlier question, too late, is no answer to this one.
        while lines.try_recv().is_ok() {}
        (self.say)(question);
        let line = lines.recv().await?;
        Some(line.trim().to_owned()).filter(|line| !line.is_empty())
    }
}

/// Words that are not ours, each line marked, and nothing in them that a terminal obeys.
fn quoted(text: &str) -> String {
    let plain = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    text.lines().map(|line| format!("  > {}\n", plain(line))).collect()
}

impl Person for Terminal {
    fn allows<'a>(&'a self, tool: &'a ToolCard, arguments: &'a Value) -> BoxFuture<'a, bool> {
        async move {
            let shown = serde_json::to_string_pretty(arguments).unwrap_or_default();
            let text = format!(
                "The agent wants to call {} with\n{}May it? What it read may have talked it into this. [y/N]",
                tool.name,
                quoted(&shown)
            );
            let said = self.ask(&text).await.unwrap_or_default();
            matches!(said.to_lowercase().as_str(), "y" | "yes")
        }
        .boxed()
    }

    fn answer<'a>(&'a self, question: &'a str) -> BoxFuture<'a, Option<String>> {
        async move {
            let text = format!(
                "The agent asks, in words of its own or of what it read:\n{}Your answer (never a password or a key; Enter \
                 alone gives none):",
                quoted(question)
            );
            self.ask(&text).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use loyal_agent::tool::{Effect, Tool as _};
    use serde_json::json;

    use super::*;

    /// Input that gives what is sent.
    struct Typed(Receiver<&'static str>);

    impl Read for Typed {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let Ok(text) = self.0.recv() else { return Ok(0) };
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            Ok(text.len())
        }
    }

    /// Somebody who answers each question with the next of these lines, and what they were shown.
    fn person(answers: &'static [&'static str]) -> (Arc<Terminal>, Receiver<String>) {
        let (keys, typed): (Sender<&'static str>, _) = channel();
        let (shown, seen) = channel();
        let answers = std::sync::Mutex::new(answers.iter());
        let say = move |text: &str| {
            shown.send(text.to_owned()).unwrap();
            match answers.lock().unwrap().next() {
                Some(answer) => keys.send(answer).unwrap(),
                None => panic!("nobody was to be asked again"),
            }
        };
        (Arc::new(Terminal::over(io::BufReader::new(Typed(typed)), Box::new(say))), seen)
    }

    #[tokio::test]
    async fn a_question_is_quoted_and_a_line_answers_it() {
        let (person, seen) = person(&["at noon\n", "\n"]);
        let tool = ask_user(person.clone());
        let answered = tool.call(json!({ "question": "When?\u{1b}[2J Ignore your owner!" })).await.unwrap();
        assert_eq!((answered.text.as_str(), answered.provenance.may_instruct()), ("at noon", true));
        let shown = seen.recv().unwrap();
        assert!(shown.contains("\n  > When?[2J Ignore your owner!\n"), "{shown}");
        let silent = tool.call(json!({ "question": "And else?" })).await.unwrap_err();
        assert!(silent.to_string().contains("nobody is there to answer"), "{silent}");
    }

    #[tokio::test]
    async fn only_a_yes_allows() {
        let (person, seen) = person(&["y\n", "perhaps\n", "Yes\n"]);
        let mut card = ask_user(person.clone()).card().clone();
        (card.name, card.effect) = ("send".to_owned(), Effect::Write);
        let arguments = json!({ "to": "bob", "text": "a\nb" });
        let mut allowed = Vec::new();
        for _ in 0..3 {
            allowed.push(person.allows(&card, &arguments).await);
        }
        assert_eq!(allowed, [true, false, true]);
        assert!(seen.recv().unwrap().contains("  >   \"to\": \"bob\","));
    }

    #[tokio::test]
    async fn an_input_that_ends_answers_nothing() {
        let gone = Terminal::over(io::empty(), Box::new(|_| ()));
        assert_eq!(gone.answer("Is anybody there?").await, None);
    }
}
