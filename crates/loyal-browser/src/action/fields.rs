//! Fields: what they hold is replaced, chosen or set, and read back.

use serde::Deserialize;
use serde_json::json;

use super::pointer::Look;
use super::{Acted, Press};
use crate::page::Element;
use crate::snapshot::Place;
use crate::{Browser, Error, Ref, Result};

/// Kinds of input whose parts cannot be typed as one text.
const SET: [&str; 7] = ["date", "time", "datetime-local", "month", "week", "color", "range"];

#[derive(Deserialize)]
struct Cleared {
    focused: bool,
    #[serde(flatten)]
    look: Look,
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    missing: Vec<String>,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    off: bool,
    value: Option<String>,
    #[serde(default)]
    good: bool,
}

impl Browser {
    pub(super) async fn fill(&mut self, session: &str, target: Ref, value: &str) -> Result<Acted> {
        let aim = self.aim(target).await;
        // A field under its own decoration can still be filled; one that is not drawn cannot.
        let (place, element) = match aim {
            Ok(aim) => (aim.place, aim.element),
            Err(Error::Covered { .. }) => self.element(target).await?,
            Err(error) => return Err(error),
        };
        let look: Look = element.ask(&self.cdp, "el => loyal.look(loyal.up(el))", &[]).await?;
        is_fillable(target, &look)?;
        let mark = self.mark(session, Some((&place.session, &place.frame))).await?;
        let done = self.fill_in(session, (target, &element), (&look, value)).await;
        let mut acted = self.settle(session, &mark, done).await?.acted;
        if acted.dialog.is_some() || acted.navigated.is_some() {
            return Ok(acted);
        }
        let found = self.held(target, &place, &element).await?;
        let same = |text: &str| text.replace("\r\n", "\n").trim_end_matches('\n').to_owned();
        let kept = same(&found) == same(value) || look.r#type == "number" && equal_numbers(&found, value);
        if !kept {
            return Err(Error::NotKept { target, wanted: value.to_owned(), found });
        }
        let secret = look.r#type == "password";
        acted.value = Some(if secret { "•".repeat(value.chars().count()) } else { found });
        Ok(acted)
    }

    async fn fill_in(
        &self,
        session: &str,
        (target, element): (Ref, &Element),
        (look, value): (&Look, &str),
    ) -> Result<()> {
        if SET.contains(&look.r#type.as_str()) && look.tag == "input" {
            let set = "(el, value) => { el.focus(); return loyal.set(el, value); }";
            let _: Option<String> = element.ask(&self.cdp, set, &[json!(value)]).await?;
            return Ok(());
        }
        let cleared: Cleared = element.ask(&self.cdp, "el => loyal.clear(loyal.up(el))", &[]).await?;
        if !cleared.focused {
            let why = "does not take the caret, so nothing can be written into it".to_owned();
            return Err(Error::Unfit { target, why });
        }
        if value.is_empty() {
            let holds = cleared.look.value.is_some_and(|value| !value.is_empty());
            return if holds { self.backspace(session).await } else { Ok(()) };
        }
        self.insert(session, value).await
    }

    async fn held(&mut self, target: Ref, place: &Place, element: &Element) -> Result<String> {
        let found = element.ask::<Option<String>>(&self.cdp, "el => loyal.value(loyal.up(el))", &[]).await;
        match found {
            Ok(found) => Ok(found.unwrap_or_default()),
            Err(error) if super::settle::is_replaced(&error) => {
                // A page may draw its field anew; the place still has it, or it is gone.
                let again = crate::page::resolve(&self.cdp, place).await;
                match again {
                    Ok(again) => {
                        let found: Option<String> =
                            again.ask(&self.cdp, "el => loyal.value(loyal.up(el))", &[]).await?;
                        Ok(found.unwrap_or_default())
                    }
                    Err(_) => Err(self.stale(target).await),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn select(&mut self, session: &str, target: Ref, options: &[String]) -> Result<Acted> {
        let (place, element) = self.element(target).await?;
        let look: Look = element.ask(&self.cdp, "el => loyal.look(loyal.up(el))", &[]).await?;
        if look.tag != "select" {
            let why = format!("is a <{}>, no list of choices; click it, and then what it shows", look.tag);
            return Err(Error::Unfit { target, why });
        }
        if look.disabled {
            return Err(Error::Disabled { target });
        }
        let mark = self.mark(session, Some((&place.session, &place.frame))).await?;
        let choose = "(el, wanted) => loyal.choose(el, wanted)";
        let chosen = element.ask::<Chosen>(&self.cdp, choose, &[json!(options)]).await;
        let chosen = match chosen {
            Err(Error::DialogOpen { kind, message }) => {
                return Ok(Acted { dialog: Some((kind, message)), changed: true, ..Acted::default() });
            }
            chosen => chosen?,
        };
        if !chosen.missing.is_empty() {
            let why = format!("has no option {:?}; it has {}", chosen.missing, chosen.options.join(" | "));
            return Err(Error::Unfit { target, why });
        }
        if chosen.off {
            return Err(Error::Disabled { target });
        }
        let rest = self.settle(session, &mark, Ok(())).await?;
        if !chosen.good {
            let found = chosen.value.unwrap_or_default();
            return Err(Error::NotKept { target, wanted: options.join(", "), found });
        }
        Ok(Acted { value: chosen.value, changed: true, ..rest.acted })
    }

    pub(super) async fn check(&mut self, session: &str, target: Ref, on: bool) -> Result<Acted> {
        let read = "el => loyal.look(loyal.up(el))";
        let (_, element) = self.element(target).await?;
        let look: Look = element.ask(&self.cdp, read, &[]).await?;
        let said = |on: bool| if on { "checked" } else { "not checked" }.to_owned();
        if look.checked == on {
            return Ok(Acted { value: Some(said(on)), ..Acted::default() });
        }
        let mut acted = self.click(session, target, &Press::default()).await?;
        if acted.dialog.is_some() || acted.navigated.is_some() {
            return Ok(acted);
        }
        let now: Look = element.ask(&self.cdp, read, &[]).await?;
        if now.checked != on {
            return Err(Error::NotKept { target, wanted: said(on), found: said(now.checked) });
        }
        acted.value = Some(said(on));
        Ok(acted)
    }
}

fn is_fillable(target: Ref, look: &Look) -> Result<()> {
    let unfit = |why: String| Err(Error::Unfit { target, why });
    if look.disabled {
        return Err(Error::Disabled { target });
    }
    if look.readonly {
        return unfit("can only be read".to_owned());
    }
    match (look.tag.as_str(), look.r#type.as_str()) {
        ("input", "checkbox" | "radio") => unfit("is a box; set it with the action `check`".to_owned()),
        ("input", "file") => unfit("takes files; give them with the action `upload`".to_owned()),
        ("input", "button" | "submit" | "reset" | "image") => unfit("is a button; click it".to_owned()),
        ("select", _) => unfit("is a list of choices; choose with the action `select`".to_owned()),
        ("input" | "textarea", _) => Ok(()),
        _ if look.editable => Ok(()),
        (tag, _) => unfit(format!("is a <{tag}>, which holds no text")),
    }
}

fn equal_numbers(a: &str, b: &str) -> bool {
    a.parse::<f64>().ok().zip(b.parse::<f64>().ok()).is_some_and(|(a, b)| a.to_bits() == b.to_bits())
}
