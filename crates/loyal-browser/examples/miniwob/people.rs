//! Tasks in little copies of mail, social networks, search engines and address books.

use anyhow::{Context as _, Result, bail};
use loyal_browser::{Node, Ref};

use crate::click::{button, rest};
use crate::episode::{Episode, has_class};

pub(crate) async fn run(e: &mut Episode<'_>, task: &str) -> Result<bool> {
    match task {
        _ if task.starts_with("email-inbox") => mail(e).await?,
        "social-media" => {
            let user = e.between("user ", ",")?;
            let action = e.quote()?;
            social(e, &user, &action).await?;
        }
        "social-media-all" | "social-media-some" => {
            let user = format!("@{}", e.between("@", " and")?);
            let action = e.quote()?.to_lowercase();
            let count = e.numbers().first().copied().filter(|_| task.ends_with("some")).unwrap_or(i64::MAX);
            let mut keys = Vec::new();
            for post in posts(e, &user) {
                keys.push(inside(e, post, &action).context("its button")?);
            }
            for key in keys.into_iter().take(usize::try_from(count)?) {
                e.click(key).await?;
            }
            e.submit().await?;
        }
        "phone-book" => {
            let name = e.between("Find ", " in")?;
            let kind = e.between("their ", ".")?.replace(" number", "");
            for _ in 0..6 {
                let shown = e.class("name").first().map(|node| e.text_of(node)).unwrap_or_default();
                if shown.trim() == name {
                    let key = e.class(&kind).first().context("the entry")?.key;
                    e.click(key).await?;
                    return Ok(true);
                }
                let next = e.page.named("link", ">").context("the next page")?.key;
                e.click(next).await?;
                rest(e, 100).await?;
            }
            bail!("{name:?} is on no page");
        }
        "search-engine" => {
            let words = e.quoted();
            let number = usize::try_from(*e.numbers().first().context("which result")?)? - 1;
            e.fill_id("search-text", &words[0]).await?;
            button(e, "Search").await?;
            e.look().await?;
            if number / 3 > 0 {
                let page = (number / 3 + 1).to_string();
                let key = e.page.named("link", &page).context("the page")?.key;
                e.click(key).await?;
                rest(e, 100).await?;
            }
            let key = e.class("search-title").get(number % 3).context("the result")?.key;
            e.click(key).await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The node of a class inside another.
fn inside(e: &Episode<'_>, outer: Ref, class: &str) -> Option<Ref> {
    let around = |node: &Node| {
        let mut node = node.parent.and_then(|parent| e.page.nodes.get(parent));
        while let Some(inner) = node {
            if inner.key == outer {
                return true;
            }
            node = inner.parent.and_then(|parent| e.page.nodes.get(parent));
        }
        false
    };
    e.area().find(|node| has_class(node, class) && around(node)).map(|node| node.key)
}

fn posts(e: &Episode<'_>, user: &str) -> Vec<Ref> {
    let by_user = |post: &&&Node| {
        let name = inside(e, post.key, "username").and_then(|key| e.page.node(key));
        name.is_some_and(|name| e.text_of(name).trim() == user)
    };
    e.class("media").iter().filter(by_user).map(|node| node.key).collect()
}

async fn social(e: &mut Episode<'_>, user: &str, action: &str) -> Result<()> {
    let post = posts(e, user).first().copied().context("the post")?;
    let class = match action {
        "Share via DM" => "share",
        "Copy link to Tweet" => "copy",
        "Embed Tweet" => "embed",
        "Mute" => "menu-user",
        "Block" => "block-user",
        "Report" => "report",
        other => {
            return {
                let key = inside(e, post, &other.to_lowercase()).context("its button")?;
                e.click(key).await
            };
        }
    };
    let key = inside(e, post, "more").context("its menu")?;
    e.click(key).await?;
    e.look().await?;
    let key = inside(e, post, class).context("the item")?;
    e.click(key).await
}

async fn mail(e: &mut Episode<'_>) -> Result<()> {
    let threads: Vec<(Ref, String)> = e
        .class("email-thread")
        .iter()
        .map(|thread| {
            let name = inside(e, thread.key, "email-sender").and_then(|key| e.page.node(key));
            (thread.key, name.map(|name| e.text_of(name).trim().to_owned()).unwrap_or_default())
        })
        .collect();
    let wanted = match e.fields.get("by") {
        Some(by) => by.clone(),
        None => e.between("email by ", " and ")?,
    };
    let thread =
        threads.iter().find(|(_, name)| *name == wanted).with_context(|| format!("no mail by {wanted:?}"))?.0;
    let task = e.fields.get("task").cloned().unwrap_or_default();
    if e.goal.contains("star icon") || task == "star" || task == "important" {
        let key = inside(e, thread, "star").context("its star")?;
        return e.click(key).await;
    }
    if e.goal.contains("trash icon") || task == "delete" {
        let key = inside(e, thread, "trash").context("its bin")?;
        return e.click(key).await;
    }
    e.click(thread).await?;
    e.look().await?;
    if e.goal.contains("reply to them") || task == "reply" {
        let text = match e.fields.get("message") {
            Some(text) => text.clone(),
            None => e.quote()?,
        };
        let key = e.class("email-reply").first().context("reply")?.key;
        e.click(key).await?;
        e.look().await?;
        e.fill_id("reply-text", &text).await?;
        return e.click_id("send-reply").await;
    }
    let to = match e.fields.get("to") {
        Some(to) => to.clone(),
        None => e.between("forward that email to ", ".")?,
    };
    let key = e.class("email-forward").first().context("forward")?.key;
    e.click(key).await?;
    e.look().await?;
    let field = e.class("forward-sender").first().context("whom to")?.key;
    e.fill(field, &to).await?;
    e.click_id("send-forward").await
}
