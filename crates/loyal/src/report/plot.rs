//! Lines and points over two axes.

use std::fmt::Write as _;

use super::axis::{self, Axis, number};
use super::{COLOURS, escaped, figure, table};

/// Points of a line beyond this number are thinned; nobody could see them.
const POINTS_MAX: usize = 600;
/// Rows of the table beside a drawing.
const ROWS_MAX: usize = 60;

/// Points that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What they are.
    pub(crate) name: String,
    /// Across and up; points that are not finite are left away.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Series over two axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot<'a> {
    /// What is shown.
    pub(crate) caption: &'a str,
    /// The horizontal axis, with its unit.
    pub(crate) x_label: &'a str,
    /// The vertical axis, with its unit.
    pub(crate) y_label: &'a str,
    /// What is drawn.
    pub(crate) series: &'a [Series],
    /// Values to hold it against, as lines across the drawing.
    pub(crate) limits: &'a [(&'a str, f64)],
}

impl Plot<'_> {
    pub(super) fn lines(&self) -> String {
        self.draw(|svg, class, points| {
            for run in runs(points) {
                let mut path = String::new();
                for (x, y) in run {
                    let _ = write!(path, "{x:.1},{y:.1} ");
                }
                let _ = write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", path.trim_end());
            }
        })
    }

    pub(super) fn points(&self) -> String {
        self.draw(|svg, class, points| {
            for (x, y) in points.iter().flatten() {
                let _ = write!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
            }
        })
    }

    fn draw(&self, shape: impl Fn(&mut String, &str, &[Option<(f64, f64)>])) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points).filter(|(x, y)| finite(*x, *y));
        let legend: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        if all().next().is_none() {
            return figure(self.caption, &[], "<p>No figures.</p>", "");
        }
        let across = Axis::around(all().map(|&(x, _)| x));
        let up = Axis::around(all().map(|&(_, y)| y).chain(self.limits.iter().map(|&(_, limit)| limit)));
        let mut svg = axis::open(self.caption, &self.says());
        axis::vertical(&mut svg, &up, self.y_label);
        axis::horizontal(&mut svg, &across, self.x_label);
        for (index, series) in self.series.iter().enumerate() {
            let place = |&(x, y): &(f64, f64)| finite(x, y).then(|| (axis::x(&across, x), axis::y(&up, y)));
            let points: Vec<_> = thinned(&series.points, POINTS_MAX).map(place).collect();
            shape(&mut svg, &format!("s{}", index % COLOURS), &points);
        }
        for (name, limit) in self.limits {
            let (place, end) = (axis::y(&up, *limit), axis::across(1.0));
            let _ = write!(
                svg,
                "<line class=\"limit\" x1=\"{:.1}\" x2=\"{end:.1}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
                 <text class=\"limit-name\" x=\"{end:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                axis::across(0.0),
                // Above the line, unless that is outside of the drawing.
                if place < 24.0 { place + 14.0 } else { place - 5.0 },
                escaped(name)
            );
        }
        svg.push_str("</svg>");
        figure(self.caption, &legend, &svg, &self.figures())
    }

    /// What the drawing shows, in words.
    fn says(&self) -> String {
        let mut text = format!("{} over {}.", self.y_label, self.x_label);
        for series in self.series {
            let mut points = series.points.iter().filter(|(x, y)| finite(*x, *y));
            let Some(first) = points.next() else { continue };
            let last = points.next_back().unwrap_or(first);
            let _ = write!(text, " {}: from {} to {}.", series.name, number(first.1), number(last.1));
        }
        for (name, limit) in self.limits {
            let _ = write!(text, " {name}: {}.", number(*limit));
        }
        text
    }

    fn figures(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .series
            .iter()
            .flat_map(|series| {
                let share = ROWS_MAX.div_ceil(self.series.len());
                thinned(&series.points, share)
                    .map(|(x, y)| vec![series.name.clone(), number(*x), number(*y)])
                    .collect::<Vec<_>>()
            })
            .collect();
        table("", &["Series", self.x_label, self.y_label], &rows)
    }
}

fn finite(x: f64, y: f64) -> bool {
    x.is_finite() && y.is_finite()
}

/// Every so-manieth point, so that about `count` remain, and always the last.
fn thinned(points: &[(f64, f64)], count: usize) -> impl DoubleEndedIterator<Item = &(f64, f64)> {
    let step = points.len().div_ceil(count).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(move |(i, _)| i.is_multiple_of(step) || *i == last)
        .map(|(_, point)| point)
}

/// The stretches without a gap.
fn runs(points: &[Option<(f64, f64)>]) -> impl Iterator<Item = Vec<(f64, f64)>> {
    points
        .split(Option::is_none)
        .filter(|run| !run.is_empty())
        .map(|run| run.iter().flatten().copied().collect())
}
