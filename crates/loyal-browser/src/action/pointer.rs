//! Actions of the mouse: click, point, hover, drag and wheel, each with what reached the page.

use serde::Deserialize;
use serde_json::{Value, json};

use super::hit::Aim;
use super::input::modifiers;
use super::settle::{Mark, Rest};
use super::{Acted, Button, Press, Spot};
use crate::snapshot::Point;
use crate::{Browser, Error, Ref, Result, page};

/// How often a target that moves away is aimed at.
const AIM_COUNT_MAX: usize = 3;
/// Steps of a drag.
const DRAG_STEP_COUNT: u32 = 8;

/// What an element says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Look {
    pub(super) tag: String,
    pub(super) r#type: String,
    pub(super) disabled: bool,
    #[serde(default)]
    pub(super) readonly: bool,
    #[serde(default)]
    pub(super) editable: bool,
    pub(super) value: Option<String>,
    #[serde(default)]
    pub(super) checked: bool,
}

#[derive(Deserialize)]
struct Armed {
    before: u64,
    #[serde(flatten)]
    look: Look,
}

impl Browser {
    pub(super) async fn click(&mut self, session: &str, target: Ref, how: &Press) -> Result<Acted> {
        let known = modifiers("click", &how.keys)?;
        for _ in 0..AIM_COUNT_MAX {
            let aim = self.aim(target).await?;
            let kinds = ["pointerdown", "mousedown", "click"];
            let (mark, look) = self.arm(session, &aim, &kinds).await?;
            is_clickable(target, &look)?;
            let done = self.press_at(session, aim.point, (how, known)).await;
            let rest = self.settle(session, &mark, done).await?;
            if reached(&rest) {
                return Ok(Acted { point: Some(aim.point), ..rest.acted });
            }
        }
        Err(Error::Missed { target, what: "click" })
    }

    /// Listens on the element, and notes the state before the action.
    pub(super) async fn arm(&self, session: &str, aim: &Aim, kinds: &[&str]) -> Result<(Mark, Look)> {
        let arm = "(el, kinds) => loyal.arm(loyal.up(el), kinds)";
        let armed: Armed = aim.element.ask(&self.cdp, arm, &[json!(kinds)]).await?;
        let place = (aim.place.session.as_str(), aim.place.frame.as_str());
        Ok((self.mark_with(session, place, armed.before), armed.look))
    }

    pub(super) async fn press_at(&self, session: &str, at: Point, (how, keys): (&Press, u32)) -> Result<()> {
        let (button, bit) = match how.button {
            Button::Left => ("left", 1),
            Button::Right => ("right", 2),
            Button::Middle => ("middle", 4),
        };
        // Chromium answers each event with the next frame it draws, and keeps their order: to wait for every answer
        // before the next event would cost a frame each.
        let mut events = vec![self.mouse(session, "mouseMoved", at, json!({"modifiers": keys}))];
        for count in 1..=how.count.clamp(1, 3) {
            let pressed = json!({"button": button, "buttons": bit, "clickCount": count, "modifiers": keys});
            events.push(self.mouse(session, "mousePressed", at, pressed));
            let released = json!({"button": button, "buttons": 0, "clickCount": count, "modifiers": keys});
            events.push(self.mouse(session, "mouseReleased", at, released));
        }
        self.cdp.in_order(events).await
    }

    async fn mouse(&self, session: &str, kind: &str, at: Point, mut more: Value) -> Result<()> {
        more["type"] = json!(kind);
        (more["x"], more["y"]) = (json!(at.x), json!(at.y));
        self.cdp.tell(Some(session), "Input.dispatchMouseEvent", more).await
    }

    pub(super) async fn point(&mut self, session: &str, at: Point, how: &Press) -> Result<Acted> {
        let known = modifiers("point", &how.keys)?;
        let mark = self.mark(session, None).await?;
        let done = self.press_at(session, at, (how, known)).await;
        let rest = self.settle(session, &mark, done).await?;
        Ok(Acted { point: Some(at), ..rest.acted })
    }

    pub(super) async fn hover(&mut self, session: &str, target: Ref) -> Result<Acted> {
        for _ in 0..AIM_COUNT_MAX {
            let aim = self.aim(target).await?;
            let (mark, _) = self.arm(session, &aim, &["mousemove", "mouseover", "pointermove"]).await?;
            // A pointer that is there already moves within the element.
            let beside = Point { x: aim.point.x + 1.0, y: aim.point.y };
            self.mouse(session, "mouseMoved", beside, json!({})).await?;
            let done = self.mouse(session, "mouseMoved", aim.point, json!({})).await;
            let rest = self.settle(session, &mark, done).await?;
            if reached(&rest) {
                return Ok(Acted { point: Some(aim.point), ..rest.acted });
            }
        }
        Err(Error::Missed { target, what: "pointer" })
    }

    pub(super) async fn drag(&mut self, session: &str, from: Spot, to: Spot) -> Result<Acted> {
        // The end first: looking for it may scroll, and so move the start.
        let end = match to {
            Spot::At(point) => point,
            Spot::Target { target } => self.aim(target).await?.point,
        };
        let (start, armed) = match from {
            Spot::At(point) => (point, None),
            Spot::Target { target } => {
                let aim = self.aim(target).await?;
                let (mark, look) = self.arm(session, &aim, &["pointerdown", "mousedown"]).await?;
                if look.disabled {
                    return Err(Error::Disabled { target });
                }
                (aim.point, Some((mark, target)))
            }
        };
        let mark = match &armed {
            Some((mark, _)) => mark.clone(),
            None => self.mark(session, None).await?,
        };
        let done = self.drag_along(session, start, end).await;
        let rest = self.settle(session, &mark, done).await?;
        match armed {
            Some((_, target)) if !reached(&rest) => Err(Error::Missed { target, what: "press" }),
            _ => Ok(Acted { point: Some(end), ..rest.acted }),
        }
    }

    async fn drag_along(&self, session: &str, start: Point, end: Point) -> Result<()> {
        let held = json!({"button": "left", "buttons": 1, "clickCount": 1});
        self.mouse(session, "mouseMoved", start, json!({})).await?;
        self.mouse(session, "mousePressed", start, held.clone()).await?;
        for step in 1..=DRAG_STEP_COUNT {
            let part = f64::from(step) / f64::from(DRAG_STEP_COUNT);
            let at = Point { x: start.x + (end.x - start.x) * part, y: start.y + (end.y - start.y) * part };
            self.mouse(session, "mouseMoved", at, json!({"button": "left", "buttons": 1})).await?;
        }
        let free = json!({"button": "left", "buttons": 0, "clickCount": 1});
        self.mouse(session, "mouseReleased", end, free).await
    }

    pub(super) async fn scroll(
        &mut self,
        session: &str,
        target: Option<Ref>,
        (x, y): (f64, f64),
    ) -> Result<Acted> {
        if !(x.is_finite() && y.is_finite()) {
            let why = "x and y are numbers of pixels".to_owned();
            return Err(Error::BadAction { action: "scroll", why });
        }
        let aim = match target {
            Some(target) => Some(self.aim(target).await?),
            None => None,
        };
        if x == 0.0 && y == 0.0 && aim.is_some() {
            return Ok(Acted { point: aim.map(|aim| aim.point), ..Acted::default() });
        }
        let main = self.main_frame(session);
        let whole = self.whole(session).await?;
        let at = aim.as_ref().map_or(whole, |aim| aim.point);
        let before: String = match &aim {
            Some(aim) => aim.element.ask(&self.cdp, "el => loyal.scrolled(loyal.up(el))", &[]).await?,
            None => {
                let under = [json!(at.x), json!(at.y)];
                page::ask(&self.cdp, (session, &main), "(x, y) => loyal.scrolledAt(x, y)", &under).await?
            }
        };
        self.mouse(session, "mouseWheel", at, json!({"deltaX": x, "deltaY": y})).await?;
        let after: String = match &aim {
            Some(aim) => {
                let rest = "(el, before) => loyal.scrollRest(() => loyal.scrolled(loyal.up(el)), before)";
                aim.element.ask(&self.cdp, rest, &[json!(before)]).await?
            }
            None => {
                let rest = "(x, y, before) => loyal.scrollRest(() => loyal.scrolledAt(x, y), before)";
                let under = [json!(at.x), json!(at.y), json!(before)];
                page::ask(&self.cdp, (session, &main), rest, &under).await?
            }
        };
        Ok(Acted { changed: before != after, point: Some(at), ..Acted::default() })
    }

    /// The middle of what is in view.
    async fn whole(&self, session: &str) -> Result<Point> {
        let main = self.main_frame(session);
        page::ask(
            &self.cdp,
            (session, &main),
            "() => ({ x: Math.floor(innerWidth / 2), y: Math.floor(innerHeight / 2) })",
            &[],
        )
        .await
    }
}

/// Whether an action had an effect on what was armed.
fn reached(rest: &Rest) -> bool {
    let Acted { navigated, dialog, opened, .. } = &rest.acted;
    !rest.seen.is_empty() || navigated.is_some() || dialog.is_some() || !opened.is_empty()
}

fn is_clickable(target: Ref, look: &Look) -> Result<()> {
    let unfit = |why: &str| Err(Error::Unfit { target, why: why.to_owned() });
    match (look.tag.as_str(), look.r#type.as_str()) {
        _ if look.disabled => Err(Error::Disabled { target }),
        ("select", "select-one") => unfit("is a list of choices; choose with the action `select`"),
        ("input", "file") => unfit("takes files; give them with the action `upload`"),
        _ => Ok(()),
    }
}
