//! The keyboard: names of keys, and text typed key by key.

use serde_json::json;

use super::Acted;
use crate::{Browser, Error, Ref, Result};

/// Keys that are no letters: name, code, number, and the text they make.
const KEYS: [(&str, &str, u32, &str); 30] = [
    ("Enter", "Enter", 13, "\r"),
    ("Tab", "Tab", 9, ""),
    ("Escape", "Escape", 27, ""),
    ("Backspace", "Backspace", 8, ""),
    ("Delete", "Delete", 46, ""),
    ("Insert", "Insert", 45, ""),
    ("Space", "Space", 32, " "),
    ("ArrowLeft", "ArrowLeft", 37, ""),
    ("ArrowUp", "ArrowUp", 38, ""),
    ("ArrowRight", "ArrowRight", 39, ""),
    ("ArrowDown", "ArrowDown", 40, ""),
    ("Home", "Home", 36, ""),
    ("End", "End", 35, ""),
    ("PageUp", "PageUp", 33, ""),
    ("PageDown", "PageDown", 34, ""),
    ("F1", "F1", 112, ""),
    ("F2", "F2", 113, ""),
    ("F3", "F3", 114, ""),
    ("F4", "F4", 115, ""),
    ("F5", "F5", 116, ""),
    ("F6", "F6", 117, ""),
    ("F7", "F7", 118, ""),
    ("F8", "F8", 119, ""),
    ("F9", "F9", 120, ""),
    ("F10", "F10", 121, ""),
    ("F11", "F11", 122, ""),
    ("F12", "F12", 123, ""),
    ("ContextMenu", "ContextMenu", 93, ""),
    ("CapsLock", "CapsLock", 20, ""),
    ("Shift", "ShiftLeft", 16, ""),
];

/// Keys that are held: name, its bit, and its number.
const HELD: [(&str, u32, u32); 4] = [("Alt", 1, 18), ("Control", 2, 17), ("Meta", 4, 91), ("Shift", 8, 16)];

/// The most characters of one action.
const TEXT_CHARS_MAX: usize = 20_000;
/// The most presses of one action.
const PRESS_COUNT_MAX: u32 = 500;

#[derive(Debug, Clone)]
struct Key {
    key: String,
    code: String,
    number: u32,
    text: String,
}

/// The bits of keys held down.
pub(super) fn modifiers(action: &'static str, keys: &[String]) -> Result<u32> {
    let bit = |name: &String| {
        let found = HELD.iter().find(|(held, ..)| held.eq_ignore_ascii_case(name));
        let why = || format!("{name:?} cannot be held; Alt, Control, Meta and Shift can");
        found.map(|(_, bit, _)| *bit).ok_or_else(|| Error::BadAction { action, why: why() })
    };
    keys.iter().map(bit).try_fold(0, |bits, bit| Ok(bits | bit?))
}

fn named(name: &str) -> Option<Key> {
    let alias = match name.to_ascii_lowercase().as_str() {
        "return" => "Enter".to_owned(),
        "esc" => "Escape".to_owned(),
        "up" | "down" | "left" | "right" => format!("arrow{name}"),
        _ => name.to_owned(),
    };
    let of = |(key, code, number, text): &(&str, &str, u32, &str)| Key {
        key: if *key == "Space" { " ".to_owned() } else { (*key).to_owned() },
        code: (*code).to_owned(),
        number: *number,
        text: (*text).to_owned(),
    };
    if let Some(found) = KEYS.iter().find(|(key, ..)| key.eq_ignore_ascii_case(&alias)) {
        return Some(of(found));
    }
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    Some(letter_key(letter))
}

fn letter_key(letter: char) -> Key {
    let upper = letter.to_ascii_uppercase();
    let (code, number) = match letter {
        'a'..='z' | 'A'..='Z' => (format!("Key{upper}"), u32::from(upper)),
        '0'..='9' => (format!("Digit{letter}"), u32::from(letter)),
        ' ' => ("Space".to_owned(), 32),
        '\n' | '\r' => ("Enter".to_owned(), 13),
        '\t' => ("Tab".to_owned(), 9),
        _ => (String::new(), 0),
    };
    let (key, text) = match letter {
        '\n' | '\r' => ("Enter".to_owned(), "\r".to_owned()),
        '\t' => ("Tab".to_owned(), String::new()),
        _ => (letter.to_string(), letter.to_string()),
    };
    Key { key, code, number, text }
}

impl Browser {
    pub(super) async fn press(&mut self, session: &str, keys: &str, count: u32) -> Result<Acted> {
        let bad = |why: String| Error::BadAction { action: "press", why };
        if !(1..=PRESS_COUNT_MAX).contains(&count) {
            return Err(bad(format!("count is from 1 to {PRESS_COUNT_MAX}, not {count}")));
        }
        let mut parts: Vec<String> = keys.split('+').map(str::to_owned).collect();
        if keys.len() > 1 && keys.ends_with('+') {
            parts.truncate(parts.len() - 2);
            parts.push("+".to_owned());
        } else if keys == "+" {
            parts = vec!["+".to_owned()];
        }
        let last = parts.pop().unwrap_or_default();
        let held = modifiers("press", &parts)?;
        let held_alone = HELD.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&last));
        let key = match held_alone {
            Some((name, _, number)) => Key {
                key: (*name).to_owned(),
                code: format!("{name}Left"),
                number: *number,
                text: String::new(),
            },
            None => named(&last).ok_or_else(|| {
                bad(format!("{last:?} is no key; write a letter, or Enter, Tab, Escape, ArrowDown, F5 …"))
            })?,
        };
        let mark = self.mark(session, None).await?;
        let done = self.strike(session, &key, (&parts, held), count).await;
        Ok(self.settle(session, &mark, done).await?.acted)
    }

    async fn strike(
        &self,
        session: &str,
        key: &Key,
        (parts, held): (&[String], u32),
        count: u32,
    ) -> Result<()> {
        for part in parts {
            self.hold(session, part, "rawKeyDown", held).await?;
        }
        for _ in 0..count {
            self.key(session, key, held).await?;
        }
        for part in parts.iter().rev() {
            self.hold(session, part, "keyUp", 0).await?;
        }
        Ok(())
    }

    async fn hold(&self, session: &str, name: &str, kind: &str, held: u32) -> Result<()> {
        let Some((name, _, number)) = HELD.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        let event = json!({
            "type": kind, "key": name, "code": format!("{name}Left"), "windowsVirtualKeyCode": number,
            "modifiers": held,
        });
        self.cdp.tell(Some(session), "Input.dispatchKeyEvent", event).await
    }

    async fn key(&self, session: &str, key: &Key, held: u32) -> Result<()> {
        // With Control, Alt or Meta a letter is a command, and no text.
        let text = if held & !8 == 0 { key.text.as_str() } else { "" };
        let mut event = json!({
            "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "key": key.key, "code": key.code,
            "windowsVirtualKeyCode": key.number, "modifiers": held,
        });
        if !text.is_empty() {
            event["text"] = json!(text);
            event["unmodifiedText"] = json!(text);
        }
        if held & 2 != 0 {
            let command = match key.key.to_ascii_lowercase().as_str() {
                "a" => Some("selectAll"),
                "c" => Some("copy"),
                "v" => Some("paste"),
                "x" => Some("cut"),
                "z" => Some("undo"),
                _ => None,
            };
            event["commands"] = json!(command.into_iter().collect::<Vec<_>>());
        }
        self.cdp.tell(Some(session), "Input.dispatchKeyEvent", event.clone()).await?;
        event["type"] = json!("keyUp");
        for member in ["text", "unmodifiedText", "commands"] {
            event.as_object_mut().and_then(|event| event.remove(member));
        }
        self.cdp.tell(Some(session), "Input.dispatchKeyEvent", event).await
    }

    pub(super) async fn type_text(
        &mut self,
        session: &str,
        target: Option<Ref>,
        text: &str,
    ) -> Result<Acted> {
        let long = text.chars().count();
        if long > TEXT_CHARS_MAX {
            let why =
                format!("{long} characters are too many to type (at most {TEXT_CHARS_MAX}); use `fill`");
            return Err(Error::BadAction { action: "type", why });
        }
        let mut element = None;
        if let Some(target) = target {
            let (place, found) = self.element(target).await?;
            let focused: bool = found.ask(&self.cdp, "el => loyal.caret(loyal.up(el))", &[]).await?;
            if !focused {
                self.click(session, target, &super::Press::default()).await?;
            }
            element = Some((place, found));
        }
        let inside = element.as_ref().map(|(place, _)| (place.session.as_str(), place.frame.as_str()));
        let mark = self.mark(session, inside).await?;
        let done = self.type_letters(session, text).await;
        let mut acted = self.settle(session, &mark, done).await?.acted;
        if let Some((_, element)) = element.filter(|_| acted.dialog.is_none()) {
            // An element that its own typing took away has no value left.
            acted.value =
                element.ask(&self.cdp, "el => loyal.value(loyal.up(el))", &[]).await.unwrap_or(None);
        }
        Ok(acted)
    }

    async fn type_letters(&self, session: &str, text: &str) -> Result<()> {
        for letter in text.chars() {
            if letter.is_ascii() {
                let shift = if letter.is_ascii_uppercase() { 8 } else { 0 };
                self.key(session, &letter_key(letter), shift).await?;
            } else {
                self.insert(session, &letter.to_string()).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn insert(&self, session: &str, text: &str) -> Result<()> {
        self.cdp.tell(Some(session), "Input.insertText", json!({"text": text})).await
    }

    pub(super) async fn backspace(&self, session: &str) -> Result<()> {
        let key = named("Backspace").expect("it stands in the table");
        self.key(session, &key, 0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_names() {
        for (name, key, code, number) in [
            ("Enter", "Enter", "Enter", 13),
            ("esc", "Escape", "Escape", 27),
            ("Down", "ArrowDown", "ArrowDown", 40),
            ("a", "a", "KeyA", 65),
            ("7", "7", "Digit7", 55),
            ("space", " ", "Space", 32),
        ] {
            let found = named(name).unwrap();
            assert_eq!((found.key.as_str(), found.code.as_str(), found.number), (key, code, number));
        }
        assert!(named("Hyper").is_none());
    }

    #[test]
    fn only_some_keys_are_held() {
        assert_eq!(modifiers("click", &["control".to_owned(), "Shift".to_owned()]), Ok(10));
        assert!(modifiers("click", &["a".to_owned()]).is_err());
    }
}
