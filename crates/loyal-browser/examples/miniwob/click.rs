//! Tasks that are solved by clicking, one thing or several.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loyal_browser::snapshot::Point;
use loyal_browser::{Action, Node, Ref};

use crate::episode::{Episode, has_class, numbers};

pub(crate) async fn run(e: &mut Episode<'_>, task: &str) -> Result<bool> {
    match task {
        "click-test" => button(e, "Click Me!").await?,
        "click-test-2" | "click-test-transfer" => {
            let name = e.between("button ", ".")?;
            button(e, &name).await?;
        }
        "click-button" | "unicode-test" => {
            let name = e.quote()?;
            button(e, &name).await?;
        }
        "click-button-sequence" => {
            button(e, "ONE").await?;
            button(e, "TWO").await?;
        }
        "button-delay" => {
            button(e, "ONE").await?;
            let seconds = *e.numbers().first().context("a number of seconds")?;
            tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
            button(e, "TWO").await?;
        }
        "click-link" => link(e).await?,
        "click-dialog" => button(e, "Close").await?,
        "click-dialog-2" => {
            let name = e.quote()?;
            button(e, if name == "x" { "Close" } else { &name }).await?;
        }
        "click-tab" => {
            let name = e.between("Click on ", ".")?;
            let key = e.page.named("link", &name).context("the tab")?.key;
            e.click(key).await?;
        }
        "click-tab-2" | "click-tab-2-easy" | "click-tab-2-medium" | "click-tab-2-hard" => tabs(e).await?,
        "click-collapsible-2" | "click-collapsible-2-nodelay" => sections(e).await?,
        "click-collapsible" | "click-collapsible-nodelay" => {
            let key = e.page.find(|node| node.role == "tab").context("the section")?.key;
            e.click(key).await?;
            rest(e, 500).await?;
            e.submit().await?;
        }
        "click-widget" => {
            let kind = e.quote()?;
            let key =
                e.page.find(|node| node.attribute("data-type") == Some(&kind)).context("the widget")?.key;
            e.click(key).await?;
        }
        "click-color" => colour(e).await?,
        "click-shades" => {
            let colour = e.between("shades of ", " and")?;
            let shade = |node: &&&Node| node.attribute("data-color") == Some(&colour);
            let keys: Vec<Ref> = e.tags("span").iter().filter(shade).map(|node| node.key).collect();
            all(e, keys).await?;
            e.submit().await?;
        }
        "focus-text" => e.click_id("tt").await?,
        "focus-text-2" => {
            let id = format!("tt{}", e.numbers().first().context("which")?);
            e.click_id(&id).await?;
        }
        "grid-coordinate" => {
            let id = format!("({})", e.between("(", ")")?);
            e.click_id(&id).await?;
        }
        "navigate-tree" => tree(e).await?,
        "ascending-numbers" => ascending(e).await?,
        _ => return more(e, task).await,
    }
    Ok(true)
}

async fn more(e: &mut Episode<'_>, task: &str) -> Result<bool> {
    match task {
        "click-shape" => {
            let shape = e.between("Click on a ", "")?;
            let key = shapes(e, &shape).first().copied().context("the shape")?;
            let at = e.page.node(key).context("the shape")?.rect.centre();
            e.click_at(at.x, at.y).await?;
        }
        "count-shape" => {
            let shape = e.between("How many ", "are there")?;
            let shape = shape.trim_end_matches('s').to_owned();
            let count = shapes(e, &shape).len().to_string();
            button(e, &count).await?;
        }
        "identify-shape" => {
            let kinds = [("rect", "Rectangle"), ("circle", "Circle"), ("polygon", "Triangle")];
            let drawn = kinds.iter().find(|(tag, _)| !e.tags(tag).is_empty()).map(|(_, name)| *name);
            let digit = e
                .tags("text")
                .first()
                .map(|text| e.text_of(text))
                .is_some_and(|text| text.trim().chars().all(|letter| letter.is_ascii_digit()));
            let name = drawn.unwrap_or(if digit { "Number" } else { "Letter" });
            button(e, name).await?;
        }
        "click-pie" | "click-pie-nodelay" => pie(e).await?,
        "click-menu" => menu(e).await?,
        "click-menu-2" => icons(e).await?,
        "find-greatest" => greatest(e).await?,
        "stock-market" => stock(e).await?,
        "generate-number" => generate(e).await?,
        "guess-number" => guess(e).await?,
        "tic-tac-toe" => return Ok(false),
        _ => return Ok(false),
    }
    Ok(true)
}

pub(crate) async fn button(e: &mut Episode<'_>, name: &str) -> Result<()> {
    let found = e.area().find(|node| node.tag == "button" && node.name.trim() == name.trim());
    let key = found.with_context(|| format!("no button {name:?}"))?.key;
    e.click(key).await
}

async fn all(e: &mut Episode<'_>, keys: Vec<Ref>) -> Result<()> {
    for key in keys {
        e.click(key).await?;
    }
    Ok(())
}

/// Lets a page move, and looks again.
pub(crate) async fn rest(e: &mut Episode<'_>, millis: u64) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    e.look().await
}

fn shown_link(e: &Episode<'_>, text: &str) -> Option<Ref> {
    let fits =
        |node: &&&Node| e.text_of(node).trim() == text.trim() && node.rect.height > 0.0 && node.on_screen;
    e.class("alink").iter().find(fits).map(|node| node.key)
}

async fn link(e: &mut Episode<'_>) -> Result<()> {
    let text = e.quote()?;
    let key = shown_link(e, &text).context("the link")?;
    e.click(key).await
}

async fn tabs(e: &mut Episode<'_>) -> Result<()> {
    let text = e.quote()?;
    let tabs: Vec<Ref> = e.page.nodes.iter().filter(|node| node.role == "tab").map(|node| node.key).collect();
    for tab in tabs {
        e.click(tab).await?;
        e.look().await?;
        if let Some(key) = shown_link(e, &text) {
            return e.click(key).await;
        }
    }
    bail!("no tab has {text:?}")
}

async fn sections(e: &mut Episode<'_>) -> Result<()> {
    let text = e.quote()?;
    let heads: Vec<Ref> =
        e.page.nodes.iter().filter(|node| node.role == "tab").map(|node| node.key).collect();
    for head in heads {
        if e.page.node(head).is_some_and(|node| node.is("collapsed")) {
            e.click(head).await?;
            rest(e, 500).await?;
        }
        if let Some(key) = shown_link(e, &text) {
            return e.click(key).await;
        }
    }
    bail!("no section has {text:?}")
}

async fn colour(e: &mut Episode<'_>) -> Result<()> {
    let boxes = e.class("color");
    let asked = e.page.find(|node| node.attribute("id") == Some("query-color"));
    let found = match asked {
        Some(asked) => boxes.iter().find(|node| node.colours.1 == asked.colours.1),
        None => {
            let name = e.between("Click on the ", " colored")?;
            boxes.iter().find(|node| node.attribute("data-color") == Some(&name))
        }
    };
    let key = found.context("the box")?.key;
    e.click(key).await
}

/// The shapes that fit a description such as "large red digit".
pub(crate) fn shapes(e: &Episode<'_>, description: &str) -> Vec<Ref> {
    const DRAWN: [&str; 4] = ["text", "circle", "rect", "polygon"];
    let fits = |node: &&Node| {
        let large = match node.attribute("font-size") {
            Some(size) => size == "20px",
            None => node.rect.width > 15.0,
        };
        let text = e.text_of(node);
        let digit = text.trim().chars().all(|letter| letter.is_ascii_digit());
        description.split(' ').filter(|word| !word.is_empty()).all(|word| match word {
            "large" => large,
            "small" => !large,
            "item" => true,
            "shape" => node.tag != "text",
            "letter" => node.tag == "text" && !digit,
            "digit" => node.tag == "text" && digit,
            "circle" => node.tag == "circle",
            "rectangle" => node.tag == "rect",
            "triangle" => node.tag == "polygon",
            _ if node.attribute("fill") == Some(word) => true,
            _ => node.tag == "text" && text.trim() == word,
        })
    };
    e.area().filter(|node| DRAWN.contains(&node.tag.as_str())).filter(fits).map(|node| node.key).collect()
}

async fn pie(e: &mut Episode<'_>) -> Result<()> {
    let wanted = e.quote()?;
    let centre = e.id("wheelnav-divWheel-spreader")?.rect.centre();
    e.click_at(centre.x, centre.y).await?;
    // The wheel unfolds for a while, and what is clicked too early does not count.
    for _ in 0..6 {
        rest(e, 700).await?;
        let title = |node: &&Node| {
            let id = node.attribute("id").unwrap_or_default();
            id.starts_with("wheelnav-divWheel-title") && e.text_of(node).trim() == wanted
        };
        let at = e.area().find(title).context("the item")?.rect.centre();
        e.click_at(at.x, at.y).await?;
        if e.reward().await?.is_some() {
            return Ok(());
        }
    }
    bail!("the wheel does not take {wanted:?}")
}

fn item(e: &Episode<'_>, name: &str) -> Option<Ref> {
    let fits =
        |node: &&Node| node.role == "menuitem" && node.rect.height > 0.0 && e.text_of(node).trim() == name;
    e.area().filter(fits).last().map(|node| node.key)
}

async fn menu(e: &mut Episode<'_>) -> Result<()> {
    let path = e.between("Select ", "")?;
    let names: Vec<&str> = path.split('>').collect();
    for (depth, name) in names.iter().enumerate() {
        let key = item(e, name).with_context(|| format!("no item {name:?}"))?;
        if depth + 1 == names.len() {
            return e.click(key).await;
        }
        e.act(Action::Hover { target: key }).await?;
        rest(e, 600).await?;
    }
    Ok(())
}

async fn icons(e: &mut Episode<'_>) -> Result<()> {
    let label = e.quoted().get(1).cloned();
    let icon = e.page.nodes.iter().filter(|node| e.within(node, "query") && has_class(node, "ui-icon"));
    let icon = icon.filter_map(|node| node.attribute("class")?.split(' ').nth(1)).next().map(str::to_owned);
    button(e, "Menu").await?;
    rest(e, 200).await?;
    let tops: Vec<Ref> = e
        .area()
        .filter(|node| node.role == "menuitem" && node.rect.height > 0.0)
        .map(|node| node.key)
        .collect();
    for top in tops {
        let found = |e: &Episode<'_>| match (&label, &icon) {
            (Some(label), _) => item(e, label),
            (None, Some(icon)) => {
                let marked = e.class(icon).into_iter().find(|node| node.rect.height > 0.0 && node.on_screen);
                marked.map(|node| node.key)
            }
            (None, None) => None,
        };
        if let Some(key) = found(e) {
            return e.click(key).await;
        }
        e.act(Action::Hover { target: top }).await?;
        rest(e, 600).await?;
        if let Some(key) = found(e) {
            return e.click(key).await;
        }
    }
    bail!("no item {label:?} {icon:?}")
}

async fn tree(e: &mut Episode<'_>) -> Result<()> {
    let name = e.quote()?;
    for _ in 0..12 {
        let fits = |node: &&Node| {
            (has_class(node, "file") || has_class(node, "folder"))
                && e.text_of(node).trim() == name
                && node.rect.height > 0.0
        };
        let found = e.area().find(fits).map(|node| node.key);
        if let Some(key) = found {
            return e.click(key).await;
        }
        let closed = |node: &&&Node| node.rect.height > 0.0;
        let closed = e.class("expandable-hitarea").iter().find(closed).context("a closed folder")?.key;
        e.click(closed).await?;
        rest(e, 300).await?;
    }
    bail!("{name:?} is in no folder")
}

async fn ascending(e: &mut Episode<'_>) -> Result<()> {
    let mut places: Vec<(i64, Point)> = Vec::new();
    for text in e.tags("text") {
        let number = numbers(&e.text_of(text)).first().copied().context("a number")?;
        places.push((number, text.rect.centre()));
    }
    places.sort_by_key(|(number, _)| *number);
    for (_, at) in places {
        e.click_at(at.x, at.y).await?;
    }
    Ok(())
}

async fn greatest(e: &mut Episode<'_>) -> Result<()> {
    let cards: Vec<Ref> = e.class("card").iter().map(|node| node.key).collect();
    let mut best = None;
    for card in cards {
        e.click(card).await?;
        e.look().await?;
        let text = e.page.node(card).map(|node| e.text_of(node)).unwrap_or_default();
        let number = numbers(&text).first().copied().context("a number on the card")?;
        if best.is_none_or(|(known, _)| number > known) {
            best = Some((number, card));
        }
    }
    e.click(best.context("a card")?.1).await?;
    e.submit().await
}

async fn stock(e: &mut Episode<'_>) -> Result<()> {
    let price = |text: &str| {
        text.rsplit('$').next().and_then(|digits| digits.trim().trim_end_matches('.').parse::<f64>().ok())
    };
    let bound = price(&e.goal).context("a price")?;
    for look in 0..2000 {
        let now = e.text_of(e.id("stock-price")?);
        // The price goes on between the look and the click: first for one that is well below.
        let margin = if look < 1000 { 0.99 } else { 1.0 };
        if price(&now).is_some_and(|now| now < bound * margin) {
            return button(e, "Buy").await;
        }
        e.look().await?;
    }
    bail!("the price never fell")
}

async fn generate(e: &mut Episode<'_>) -> Result<()> {
    let bound = e.numbers().first().copied();
    for _ in 0..100 {
        button(e, "Generate").await?;
        e.look().await?;
        let now = numbers(&e.text_of(e.id("display-number")?)).first().copied().context("a number")?;
        let good = match bound {
            Some(bound) if e.goal.contains("less") => now < bound,
            Some(bound) => now > bound,
            None if e.goal.contains("odd") => now % 2 != 0,
            None => now % 2 == 0,
        };
        if good {
            return e.submit().await;
        }
    }
    bail!("no such number came")
}

async fn guess(e: &mut Episode<'_>) -> Result<()> {
    let (mut low, mut high) = (0, 9);
    while low <= high {
        let middle = (low + high) / 2;
        e.fill_id("tt", &middle.to_string()).await?;
        e.submit().await?;
        if e.reward().await?.is_some() {
            return Ok(());
        }
        e.look().await?;
        let said = e.text_of(e.id("feedback")?);
        if said.contains("lower") {
            high = middle - 1;
        } else {
            low = middle + 1;
        }
    }
    bail!("no number is left")
}
