//! Tasks that are solved by dragging, and by points on drawings.

use anyhow::{Context as _, Result, bail};
use loyal_browser::action::Spot;
use loyal_browser::snapshot::{Point, Rect};
use loyal_browser::{Action, Node};

use crate::click::rest;
use crate::episode::{Episode, numbers};

pub(crate) async fn run(e: &mut Episode<'_>, task: &str) -> Result<bool> {
    match task {
        "drag-box" => {
            let (small, large) = (e.id("draggableSmall")?, e.id("draggableLarge")?);
            let (target, start, end) = (small.key, small.rect.centre(), large.rect.centre());
            if small.covered_by.is_some()
                || large.rect.x < start.x && start.x < large.rect.x + large.rect.width
            {
                // The large one may lie over the small one: it goes out of the way first.
                let from = Point { x: large.rect.x + 3.0, y: large.rect.y + 3.0 };
                let aside = if end.x > 80.0 { -60.0 } else { 60.0 };
                e.drag(from, Point { x: from.x + aside, y: from.y }).await?;
                e.look().await?;
            }
            let end = e.id("draggableLarge")?.rect.centre();
            let to = Spot::At(Point { x: end.x.round(), y: end.y.round() });
            e.act(Action::Drag { from: Spot::Target { target }, to }).await?;
            e.submit().await?;
        }
        "drag-circle" | "drag-single-shape" => {
            let shape = e.area().find(|node| ["circle", "rect", "polygon"].contains(&node.tag.as_str()));
            let at = shape.context("the shape")?.rect.centre();
            let (x, y) = match () {
                () if e.goal.contains(" left") => (-20.0, 0.0),
                () if e.goal.contains(" right") => (20.0, 0.0),
                () if e.goal.contains(" up") => (0.0, -20.0),
                () => (0.0, 20.0),
            };
            // A drag puts the shape's middle under the pointer: along both axes from where that is.
            e.drag(at, Point { x: at.x + x, y: at.y + y }).await?;
            e.submit().await?;
        }
        "drag-items" | "drag-items-grid" => items(e).await?,
        "drag-sort-numbers" => sort(e).await?,
        "drag-shapes" | "drag-shapes-2" => boxes(e).await?,
        "resize-textarea" => {
            let handle = e.class("ui-resizable-se").first().context("the handle")?.rect.centre();
            let by = if e.goal.contains("larger") { 12.0 } else { -12.0 };
            e.drag(handle, Point { x: handle.x + by, y: handle.y + by }).await?;
            e.submit().await?;
        }
        "draw-line" => {
            let at = e.tags("circle").first().context("the dot")?.rect.centre();
            let (x, y) = if e.goal.contains("vertical") { (0.0, 30.0) } else { (30.0, 0.0) };
            let (start, end) = (Point { x: at.x - x, y: at.y - y }, Point { x: at.x + x, y: at.y + y });
            e.drag(start, end).await?;
            e.submit().await?;
        }
        "circle-center" => {
            let at = e.tags("circle").first().context("the circle")?.rect.centre();
            mark(e, at).await?;
        }
        "find-midpoint" => {
            let dots: Vec<Point> = e.tags("circle").iter().map(|dot| dot.rect.centre()).collect();
            let [a, b] = dots[..] else { bail!("{} dots instead of two", dots.len()) };
            mark(e, Point { x: (a.x + b.x) / 2.0, y: (a.y + b.y) / 2.0 }).await?;
        }
        "bisect-angle" | "right-angle" => angle(e, task).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The points of a drawing's dots, the vertex first.
async fn angle(e: &mut Episode<'_>, task: &str) -> Result<()> {
    let dots = e.tags("circle");
    let blue = |node: &&&Node| node.attribute("fill") == Some("blue");
    let vertex = dots.iter().find(blue).context("the vertex")?.rect.centre();
    let others: Vec<Point> = dots.iter().filter(|dot| !blue(dot)).map(|dot| dot.rect.centre()).collect();
    let unit = |point: &Point| {
        let (x, y) = (point.x - vertex.x, point.y - vertex.y);
        let length = x.hypot(y);
        (x / length, y / length)
    };
    let (x, y) = match (task, &others[..]) {
        ("bisect-angle", [a, b]) => {
            let ((ax, ay), (bx, by)) = (unit(a), unit(b));
            let length = (ax + bx).hypot(ay + by);
            ((ax + bx) / length, (ay + by) / length)
        }
        ("right-angle", [a]) => {
            let (x, y) = unit(a);
            (-y, x)
        }
        _ => bail!("{} dots beside the vertex", others.len()),
    };
    let field = e.id("svg-grid")?.rect;
    let inside = |at: &Point| {
        at.x > field.x + 2.0
            && at.y > field.y + 2.0
            && at.x < field.x + field.width - 2.0
            && at.y < field.y + field.height - 2.0
    };
    let ways = (8..130).map(f64::from).flat_map(|by| [by, -by]);
    let ways = ways.filter(|by| task == "right-angle" || *by > 0.0);
    let points = ways.map(|by| Point { x: vertex.x + x * by, y: vertex.y + y * by }).filter(inside);
    // Clicks are at whole pixels: the point whose direction that harms least.
    let harm = |at: &Point| {
        let (dx, dy) = (at.x.round() - vertex.x, at.y.round() - vertex.y);
        ((dx * y - dy * x) / dx.hypot(dy)).abs()
    };
    let at = points.min_by(|a, b| harm(a).total_cmp(&harm(b))).context("a point inside the drawing")?;
    mark(e, at).await
}

/// Marks a point of a drawing, and submits: the page takes the drawing to begin 50 pixels below its top.
async fn mark(e: &mut Episode<'_>, at: Point) -> Result<()> {
    let field = e.id("svg-grid")?.rect;
    e.click_at(at.x - field.x, at.y - field.y + 50.0).await?;
    e.submit().await
}

fn places(e: &Episode<'_>) -> Vec<(String, Rect)> {
    e.tags("li").iter().map(|item| (e.text_of(item).trim().to_owned(), item.rect)).collect()
}

/// Takes an item to the place of another, a little beyond its middle.
async fn carry(e: &mut Episode<'_>, from: Rect, to: Rect) -> Result<()> {
    let (start, end) = (from.centre(), to.centre());
    let beyond = |from: f64, to: f64, by: f64| {
        if to > from + 2.0 {
            by
        } else if to < from - 2.0 {
            -by
        } else {
            0.0
        }
    };
    let end = Point { x: end.x + beyond(start.x, end.x, 4.0), y: end.y + beyond(start.y, end.y, 6.0) };
    e.drag(start, end).await
}

async fn items(e: &mut Episode<'_>) -> Result<()> {
    let places = places(e);
    let from = places
        .iter()
        .position(|(name, _)| e.goal.starts_with(&format!("Drag {name} ")))
        .context("the item")?;
    let goal = e.goal.split(" to the ").nth(1).unwrap_or_default().trim_end_matches('.').to_owned();
    let grid = places.len() == 9;
    let row = match () {
        () if goal.starts_with("top") => 0,
        () if goal.starts_with("bottom") => 2,
        () => 1,
    };
    let column = match () {
        () if goal.ends_with("left") => 0,
        () if goal.ends_with("right") => 2,
        () => 1,
    };
    let by = if grid { 3 } else { 1 };
    let to = match () {
        () if e.goal.contains(" up by one") => from - by,
        () if e.goal.contains(" down by one") => from + by,
        () if e.goal.contains(" left by one") => from - 1,
        () if e.goal.contains(" right by one") => from + 1,
        () if grid => row * 3 + column,
        () if goal == "top" => 0,
        () if goal == "bottom" => places.len() - 1,
        () => usize::try_from(numbers(&goal.replace(|letter: char| letter.is_alphabetic(), " "))[0])? - 1,
    };
    carry(e, places[from].1, places[to].1).await
}

async fn sort(e: &mut Episode<'_>) -> Result<()> {
    for place in 0..4 {
        let places = places(e);
        let number = |index: usize| numbers(&places[index].0).first().copied().unwrap_or(0);
        let least = (place..places.len()).min_by_key(|index| number(*index)).context("an item")?;
        if least != place {
            carry(e, places[least].1, places[place].1).await?;
            rest(e, 300).await?;
        }
    }
    e.submit().await
}

async fn boxes(e: &mut Episode<'_>) -> Result<()> {
    let kind = e.between("Drag all ", " into")?;
    let colour = kind.strip_suffix(" shapes");
    let tag = match kind.as_str() {
        "rectangles" => "rect",
        "circles" => "circle",
        _ => "polygon",
    };
    let is_box = |node: &&Node| node.attribute("id") == Some("shape-container");
    let mut boxes: Vec<Rect> = e.area().filter(is_box).map(|node| node.rect).collect();
    boxes.sort_by(|a, b| a.x.total_cmp(&b.x));
    let drawn = |node: &&Node| ["rect", "circle", "polygon"].contains(&node.tag.as_str()) && !is_box(node);
    let fits = |node: &Node| match colour {
        Some(colour) => node.attribute("fill") == Some(colour),
        None => node.tag == tag,
    };
    let shapes: Vec<(bool, Point)> =
        e.area().filter(drawn).map(|node| (fits(node), node.rect.centre())).collect();
    for (wanted, at) in shapes {
        let target = match (wanted, boxes.len()) {
            (true, _) => boxes.first(),
            (false, 2) => boxes.get(1),
            (false, _) => None,
        };
        if let Some(target) = target {
            e.drag(at, target.centre()).await?;
        }
    }
    e.submit().await
}
