//! One episode of a task: what it asks for, what the page shows, and short words for acting on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loyal_browser::action::{Press, Spot};
use loyal_browser::snapshot::Point;
use loyal_browser::{Action, Browser, Node, Ref, Snapshot};

/// How long looks and clicks took.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) looks: Vec<(usize, Duration)>,
    pub(crate) clicks: Vec<Duration>,
}

pub(crate) struct Episode<'a> {
    pub(crate) browser: &'a mut Browser,
    pub(crate) times: &'a mut Times,
    pub(crate) goal: String,
    /// What the goal of some tasks says apart from its words.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) page: Snapshot,
}

impl<'a> Episode<'a> {
    /// Begins a task anew with a seed.
    pub(crate) async fn begin(
        browser: &'a mut Browser,
        times: &'a mut Times,
        (url, seed): (&str, u64),
    ) -> Result<Self> {
        browser.act(&Action::Goto { url: url.to_owned() }).await?;
        let start = format!(
            "core.EPISODE_MAX_TIME = 1e6; Math.seedrandom({seed}); core.startEpisodeReal();
             new Promise(done => {{ const look = () => WOB_TASK_READY ? done() : setTimeout(look, 20); look() }})
             .then(() => core.getUtterance())"
        );
        let goal = browser.evaluate(&start).await?;
        let words = goal.as_str().or_else(|| goal["utterance"].as_str());
        let words = words.with_context(|| format!("{goal} is no goal in words"))?.to_owned();
        let fields = goal["fields"].as_object().into_iter().flatten();
        let fields =
            fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        let mut episode = Self { browser, times, goal: words, fields, page: Snapshot::default() };
        episode.look().await?;
        Ok(episode)
    }

    pub(crate) async fn look(&mut self) -> Result<()> {
        let start = Instant::now();
        self.page = self.browser.snapshot().await?;
        self.times.looks.push((self.page.nodes.len(), start.elapsed()));
        Ok(())
    }

    /// What the page paid; none while the episode goes on.
    pub(crate) async fn reward(&mut self) -> Result<Option<f64>> {
        let paid = self.browser.evaluate("WOB_DONE_GLOBAL ? WOB_RAW_REWARD_GLOBAL : null").await?;
        Ok(paid.as_f64())
    }

    pub(crate) async fn act(&mut self, action: Action) -> Result<()> {
        self.browser.act(&action).await.with_context(|| format!("{action:?}"))?;
        Ok(())
    }

    /// Whether a node is inside the node with an id.
    pub(crate) fn within(&self, node: &Node, id: &str) -> bool {
        let mut node = Some(node);
        while let Some(inner) = node {
            if inner.attribute("id") == Some(id) {
                return true;
            }
            node = inner.parent.and_then(|parent| self.page.nodes.get(parent));
        }
        false
    }

    /// The elements of the task itself: neither its goal nor the display of rewards.
    pub(crate) fn area(&self) -> impl Iterator<Item = &Node> {
        const AROUND: [&str; 4] = ["query", "reward-display", "sync-task-cover", "click-canvas"];
        let outside = |node: &Node| AROUND.iter().any(|id| self.within(node, id));
        self.page.nodes.iter().filter(move |node| !outside(node))
    }

    pub(crate) fn tags(&self, tag: &str) -> Vec<&Node> {
        self.area().filter(|node| node.tag == tag).collect()
    }

    pub(crate) fn class(&self, class: &str) -> Vec<&Node> {
        self.area().filter(|node| has_class(node, class)).collect()
    }

    pub(crate) fn id(&self, id: &str) -> Result<&Node> {
        let node = self.page.find(|node| node.attribute("id") == Some(id));
        node.with_context(|| format!("no #{id}"))
    }

    pub(crate) fn text_of(&self, node: &Node) -> String {
        self.page.text_of(node)
    }

    pub(crate) async fn click(&mut self, target: Ref) -> Result<()> {
        let start = Instant::now();
        self.act(Action::Click { target, how: Press::default() }).await?;
        self.times.clicks.push(start.elapsed());
        Ok(())
    }

    pub(crate) async fn click_id(&mut self, id: &str) -> Result<()> {
        let key = self.id(id)?.key;
        self.click(key).await
    }

    pub(crate) async fn click_at(&mut self, x: f64, y: f64) -> Result<()> {
        self.act(Action::Point { at: Point { x: x.round(), y: y.round() }, how: Press::default() }).await
    }

    pub(crate) async fn fill(&mut self, target: Ref, value: &str) -> Result<()> {
        self.act(Action::Fill { target, value: value.to_owned() }).await
    }

    pub(crate) async fn fill_id(&mut self, id: &str, value: &str) -> Result<()> {
        let key = self.id(id)?.key;
        self.fill(key, value).await
    }

    pub(crate) async fn check(&mut self, target: Ref, on: bool) -> Result<()> {
        self.act(Action::Check { target, on }).await
    }

    pub(crate) async fn press(&mut self, keys: &str, count: u32) -> Result<()> {
        self.act(Action::Press { keys: keys.to_owned(), count }).await
    }

    pub(crate) async fn drag(&mut self, from: Point, to: Point) -> Result<()> {
        self.act(Action::Drag { from: Spot::At(from), to: Spot::At(to) }).await
    }

    pub(crate) async fn submit(&mut self) -> Result<()> {
        let button = self
            .area()
            .find(|node| node.tag == "button" && ["Submit", "Search", "Login"].contains(&node.name.trim()));
        let key = button.context("no button to submit")?.key;
        self.click(key).await
    }

    /// The parts of the goal between double quotes.
    pub(crate) fn quoted(&self) -> Vec<String> {
        self.goal.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The first quoted part.
    pub(crate) fn quote(&self) -> Result<String> {
        self.quoted().into_iter().next().with_context(|| format!("nothing quoted in {:?}", self.goal))
    }

    /// What stands between two parts of the goal.
    pub(crate) fn between(&self, from: &str, to: &str) -> Result<String> {
        let rest = self.goal.split_once(from).map(|(_, rest)| rest);
        let part =
            rest.and_then(
                |rest| if to.is_empty() { Some(rest) } else { rest.split_once(to).map(|(part, _)| part) },
            );
        let Some(part) = part else { bail!("{:?} has nothing between {from:?} and {to:?}", self.goal) };
        Ok(part.trim().to_owned())
    }

    /// The numbers of the goal.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        numbers(&self.goal)
    }
}

pub(crate) fn has_class(node: &Node, class: &str) -> bool {
    node.attribute("class").is_some_and(|classes| classes.split(' ').any(|name| name == class))
}

pub(crate) fn numbers(text: &str) -> Vec<i64> {
    let mut numbers = Vec::new();
    let letters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < letters.len() {
        let start = at;
        if letters[at] == '-' && (at == 0 || !letters[at - 1].is_alphanumeric()) {
            at += 1;
        }
        let digits = letters[at..].iter().take_while(|letter| letter.is_ascii_digit()).count();
        if digits > 0 {
            at += digits;
            numbers.extend(letters[start..at].iter().collect::<String>().parse::<i64>());
        } else {
            at = start + 1;
        }
    }
    numbers
}
