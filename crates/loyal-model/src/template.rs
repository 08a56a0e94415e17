//! From a conversation to a prompt, as the model's chat template says.

mod namespaces;
mod python;

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::{Environment, ErrorKind, Value, context};
use serde::Serialize;

use crate::error::{Error, Result};

const FILE: &str = "chat_template.jinja";
const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// Steps of the template engine; real templates take some hundred a message.
const STEPS_MAX: u64 = 5_000_000;
const NAME: &str = "chat";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// "system", "user", "assistant", or what else the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A day of the Gregorian calendar, for templates that name today's date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: i32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
}

/// A chat template, rendered as `transformers` renders it. Templates come with models and are not trusted:
/// they have no files, no network and a bounded number of steps.
#[derive(Debug)]
pub struct ChatTemplate {
    engine: Environment<'static>,
    special: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja`, or the template in `tokenizer_config.json`; `None` where the model has
    /// neither (a base model, to be prompted with plain text).
    ///
    /// # Errors
    /// A file cannot be read or is malformed, or the template has a syntax error.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| Error::file(path, "reading", source));
        let path = folder.join(CONFIG);
        let remedy = "download tokenizer_config.json again from the same place as the weights";
        let config: serde_json::Value = if path.exists() {
            serde_json::from_slice(&read(&path)?).map_err(|e| Error::malformed(&path, e, remedy))?
        } else {
            serde_json::Value::Null
        };
        let own = folder.join(FILE);
        let source = if own.exists() {
            let text = String::from_utf8(read(&own)?);
            Some(text.map_err(|e| Error::malformed(&own, e, "a template must be UTF-8 text"))?)
        } else {
            in_config(&config).map(str::to_owned)
        };
        source.map(|source| Self::new(&source, special_tokens(&config))).transpose()
    }

    /// A template from its source; `special` are the variables `bos_token`, `eos_token` and the like.
    ///
    /// # Errors
    /// The template is too long or has a syntax error.
    pub fn new(source: &str, special: BTreeMap<String, String>) -> Result<Self> {
        if source.len() > TEMPLATE_BYTES_MAX {
            let problem = format!("{} bytes are too long; at most {TEMPLATE_BYTES_MAX}", source.len());
            return Err(Error::Template(problem));
        }
        if let Some(fault) = namespaces::fault(source) {
            return Err(Error::Template(fault));
        }
        let mut engine = Environment::new();
        engine.set_trim_blocks(true);
        engine.set_lstrip_blocks(true);
        engine.set_fuel(Some(STEPS_MAX));
        engine.set_formatter(python::write);
        engine.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        engine.add_filter("tojson", python::to_json);
        engine.add_function("raise_exception", |text: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
        });
        let source = python::without_generation_marks(source);
        engine.add_template_owned(NAME, source).map_err(|error| failed(&error))?;
        Ok(Self { engine, special })
    }

    /// The same template for conversations held on `date`. Without it, templates that ask for today's date
    /// fall back to a date of their own.
    #[must_use]
    pub fn on(mut self, date: Date) -> Self {
        self.engine.add_function("strftime_now", move |format: String| python::format_date(date, &format));
        self
    }

    /// The prompt for `messages`; with `add_generation_prompt` it ends where the assistant's answer begins.
    ///
    /// The text already has the BOS token where the template writes one: encode it with
    /// [`encode_plain`](crate::Tokenizer::encode_plain).
    ///
    /// # Errors
    /// The template refuses the conversation (its own words are in the error) or takes too many steps.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let template = self.engine.get_template(NAME).map_err(|error| failed(&error))?;
        let special = Value::from_serialize(&self.special);
        let context = context! { messages, add_generation_prompt, tools => (), documents => (), ..special };
        template.render(context).map_err(|error| failed(&error))
    }
}

fn failed(error: &minijinja::Error) -> Error {
    let place = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    Error::Template(match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {STEPS_MAX} steps; it may be hostile or broken"),
        _ => format!("{}{place}", error.detail().unwrap_or(&error.kind().to_string())),
    })
}

/// A string, or a list of named templates with one called "default".
fn in_config(config: &serde_json::Value) -> Option<&str> {
    let template = &config["chat_template"];
    template.as_str().or_else(|| {
        let list = template.as_array()?;
        list.iter().find(|entry| entry["name"] == "default")?["template"].as_str()
    })
}

/// All `…_token` entries: strings, or objects with a `content`.
fn special_tokens(config: &serde_json::Value) -> BTreeMap<String, String> {
    let entries = config.as_object().into_iter().flatten();
    let text =
        |value: &serde_json::Value| value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned);
    entries
        .filter(|(name, _)| name.ends_with("_token"))
        .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
        .collect()
}
