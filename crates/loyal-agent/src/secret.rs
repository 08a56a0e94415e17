//! Secrets a tool may use and a model may not see: a model writes `{{secret:name}}`, and the value takes its place at the last moment.

use std::sync::Arc;

use loyal_types::Origin;

use crate::tool::ToolFault;
use crate::{Error, Result};

/// Shorter values would be found in texts that do not hold them.
const VALUE_BYTES_MIN: usize = 8;
const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

/// Values by name, each for one origin alone. Clones are the same.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Vec<Secret>>);

#[derive(Clone)]
struct Secret {
    name: String,
    value: String,
    origin: Origin,
}

impl Secrets {
    /// With one more. It goes to `origin` (scheme, domain and port) and nowhere else.
    ///
    /// # Errors
    /// [`Error::BadSecret`] where the name is not `[a-z][a-z0-9_]*`, or the value has less than 8 bytes or a control
    /// character.
    pub fn with(self, name: &str, value: &str, origin: Origin) -> Result<Self> {
        let bad = |why: &str| Error::BadSecret { name: name.to_owned(), why: why.to_owned() };
        if !crate::tool::is_name(name) {
            return Err(bad("its name is not of the form [a-z][a-z0-9_]*"));
        }
        if value.len() < VALUE_BYTES_MIN {
            return Err(bad("its value has less than 8 bytes: it could not be told from other text"));
        }
        if value.chars().any(char::is_control) {
            return Err(bad("its value holds a control character"));
        }
        let mut all = Arc::unwrap_or_clone(self.0);
        all.retain(|known| known.name != name);
        all.push(Secret { name: name.to_owned(), value: value.to_owned(), origin });
        // A value that is part of another is looked for after it.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.value.len()));
        Ok(Self(Arc::new(all)))
    }

    /// Their placeholders, each with the origin it is for: what a model is told of them.
    pub fn placeholders(&self) -> impl Iterator<Item = (String, &Origin)> {
        self.0.iter().map(|secret| (placeholder(&secret.name), &secret.origin))
    }

    /// A text for `origin` with values in the place of placeholders, and whether there were any.
    ///
    /// # Errors
    /// For the model: there is no such secret, it is for another origin, or the text holds a value as it is, which only
    /// somebody who stole it can have written there.
    pub fn fill(&self, text: &str, origin: &Origin, form: Form) -> Result<(String, bool), ToolFault> {
        if let Some(secret) = self.0.iter().find(|secret| found(text, &secret.value)) {
            return Err(ToolFault(format!(
                "the value of {} may not be sent as it is",
                placeholder(&secret.name)
            )));
        }
        let (mut filled, mut rest, mut any) = (String::new(), text, false);
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, after)) = after.split_once(CLOSE) else { break };
            let Some(secret) = self.0.iter().find(|secret| secret.name == name) else {
                let name: String = name.chars().take(64).collect();
                return Err(ToolFault(format!("there is no secret {name:?}")));
            };
            if secret.origin != *origin {
                let wanted = &secret.origin;
                return Err(ToolFault(format!(
                    "{} is for {wanted} alone, not for {origin}",
                    placeholder(name)
                )));
            }
            filled.push_str(before);
            filled.push_str(&form.write(&secret.value));
            (rest, any) = (after, true);
        }
        filled.push_str(rest);
        Ok((filled, any))
    }

    /// A text without values: each is hidden behind its placeholder, also where it is written for an address.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        let hide = |text: String, secret: &Secret| {
            let mark = placeholder(&secret.name);
            forms(&secret.value).iter().fold(text, |text, form| {
                if text.contains(form.as_str()) { text.replace(form.as_str(), &mark) } else { text }
            })
        };
        self.0.iter().fold(text, hide)
    }
}

fn placeholder(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

fn found(text: &str, value: &str) -> bool {
    forms(value).iter().any(|form| text.contains(form.as_str()))
}

/// A value in all the forms that it is looked for in: those it is sent in, and those in which servers and pages show it.
fn forms(value: &str) -> Vec<String> {
    let html = |quote: &str, apostrophe: &str| {
        let text = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', quote).replace('\'', apostrophe)
    };
    let mut forms: Vec<_> = [Form::Plain, Form::Address, Form::Json].map(|form| form.write(value)).into();
    forms.push(Form::Address.write(value).replace("%20", "+"));
    forms.extend([
        html("&quot;", "'"),
        html("&quot;", "&#39;"),
        html("&#34;", "&#39;"),
        html("&quot;", "&#x27;"),
    ]);
    forms.sort();
    forms.dedup();
    forms
}

/// How a value is written where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// In an address, or in a form sent like one.
    Address,
    /// Within a string of JSON.
    Json,
}

impl Form {
    fn write(self, value: &str) -> String {
        let percent = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        };
        match self {
            Self::Plain => value.to_owned(),
            Self::Address => value.bytes().map(percent).collect(),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
        }
    }
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|secret| &secret.name)).finish()
    }
}
