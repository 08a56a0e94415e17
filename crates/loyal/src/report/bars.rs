//! Bars in groups, and histograms.

use std::fmt::Write as _;

use super::axis::{self, Axis, number};
use super::{COLOURS, escaped, figure, table};

/// Names below a drawing, before only some of them are written.
const NAMES_MAX: usize = 12;
/// Letters of a name below a drawing.
const LETTERS_MAX: usize = 16;
const BINS_MAX: f64 = 40.0;

/// One bar per group and series, side by side in their group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bars<'a> {
    /// What is shown.
    pub(crate) caption: &'a str,
    /// The vertical axis, with its unit.
    pub(crate) y_label: &'a str,
    /// Names of the groups, from the left.
    pub(crate) groups: &'a [&'a str],
    /// Names of the series, and their value in each group.
    pub(crate) series: &'a [(&'a str, Vec<f64>)],
}

/// How often values fall where; several series lie over each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Histogram<'a> {
    /// What is shown.
    pub(crate) caption: &'a str,
    /// The horizontal axis, with its unit.
    pub(crate) x_label: &'a str,
    /// Names of the series, and their values; those that are not finite are left away.
    pub(crate) series: &'a [(&'a str, Vec<f64>)],
}

impl Bars<'_> {
    pub(super) fn figure(&self) -> String {
        let legend: Vec<&str> = self.series.iter().map(|(name, _)| *name).collect();
        if self.groups.is_empty() || self.series.is_empty() {
            return figure(self.caption, &[], "<p>No figures.</p>", "");
        }
        let values = self.series.iter().flat_map(|(_, values)| values.iter().copied());
        // Bars begin at zero, or their lengths would lie.
        let up = Axis::around(values.chain([0.0]));
        let mut svg = axis::open(self.caption, &self.says());
        axis::vertical(&mut svg, &up, self.y_label);
        let share = 1.0 / self.groups.len() as f64;
        let width = (axis::across(share) - axis::across(0.0)) * 0.76 / self.series.len() as f64;
        for (index, (_, values)) in self.series.iter().enumerate() {
            for (group, &value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                let left = axis::across((group as f64 + 0.12) * share) + width * index as f64;
                bar(&mut svg, &up, (left, width), (value, &format!("s{}", index % COLOURS)));
            }
        }
        let step = self.groups.len().div_ceil(NAMES_MAX);
        for (group, name) in self.groups.iter().enumerate().step_by(step) {
            axis::below(&mut svg, axis::across((group as f64 + 0.5) * share), &shortened(name));
        }
        svg.push_str("</svg>");
        figure(self.caption, &legend, &svg, &self.figures())
    }

    fn says(&self) -> String {
        let mut text = format!("{}.", self.y_label);
        for (name, values) in self.series {
            let shown = values.iter().zip(self.groups).take(NAMES_MAX);
            let list: Vec<String> =
                shown.map(|(value, group)| format!("{group} {}", number(*value))).collect();
            let more = if values.len() > NAMES_MAX { " and more" } else { "" };
            let _ = write!(text, " {name}: {}{more}.", list.join(", "));
        }
        text
    }

    fn figures(&self) -> String {
        let head: Vec<&str> = [""].into_iter().chain(self.series.iter().map(|(name, _)| *name)).collect();
        let row = |(index, group): (usize, &&str)| {
            let cells =
                self.series.iter().map(|(_, values)| number(values.get(index).copied().unwrap_or(f64::NAN)));
            std::iter::once((*group).to_owned()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = self.groups.iter().enumerate().map(row).collect();
        table("", &head, &rows)
    }
}

impl Histogram<'_> {
    pub(super) fn figure(&self) -> String {
        let legend: Vec<&str> = self.series.iter().map(|(name, _)| *name).collect();
        let all =
            || self.series.iter().flat_map(|(_, values)| values.iter().copied()).filter(|v| v.is_finite());
        let longest = self.series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        if all().next().is_none() {
            return figure(self.caption, &[], "<p>No figures.</p>", "");
        }
        let across = Axis::around(all());
        let (ticks, bins) =
            (across.ticks().collect::<Vec<_>>(), (longest as f64).sqrt().clamp(5.0, BINS_MAX));
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        let bins = bins as usize;
        let counts: Vec<Vec<f64>> =
            self.series.iter().map(|(_, values)| counts(values, low, high, bins)).collect();
        let up = Axis::around(counts.iter().flatten().copied().chain([0.0]));
        let mut svg = axis::open(self.caption, &self.says());
        axis::vertical(&mut svg, &up, "how many");
        axis::horizontal(&mut svg, &across, self.x_label);
        let width = (axis::across(1.0) - axis::across(0.0)) / bins as f64;
        for (index, counts) in counts.iter().enumerate() {
            let class = format!("over s{}", index % COLOURS);
            for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
                let left = axis::across(0.0) + width * bin as f64;
                bar(&mut svg, &up, (left + 0.5, width - 1.0), (count, &class));
            }
        }
        svg.push_str("</svg>");
        figure(self.caption, &legend, &svg, "")
    }

    fn says(&self) -> String {
        let mut text = format!("How often each {} appears.", self.x_label);
        for (name, values) in self.series {
            let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            sorted.sort_by(f64::total_cmp);
            if let (Some(low), Some(high)) = (sorted.first(), sorted.last()) {
                let (low, middle, high) = (number(*low), number(sorted[sorted.len() / 2]), number(*high));
                let count = sorted.len();
                let _ = write!(text, " {name}: {count} values from {low} to {high}, median {middle}.");
            }
        }
        text
    }
}

fn counts(values: &[f64], low: f64, high: f64, bins: usize) -> Vec<f64> {
    let mut counts = vec![0.0; bins];
    for value in values.iter().filter(|value| value.is_finite()) {
        let bin = ((value - low) / (high - low) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1.0;
    }
    counts
}

/// A bar from zero to a value, in a colour.
fn bar(svg: &mut String, up: &Axis, (left, width): (f64, f64), (value, class): (f64, &str)) {
    let (zero, end) = (axis::y(up, 0.0), axis::y(up, value));
    let _ = write!(
        svg,
        "<rect class=\"{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
        escaped(class),
        zero.min(end),
        (zero - end).abs()
    );
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LETTERS_MAX {
        return name.to_owned();
    }
    name.chars().take(LETTERS_MAX - 1).chain(['\u{2026}']).collect()
}
