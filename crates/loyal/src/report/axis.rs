//! Axes: which figures stand at them, and where a value lies.

use std::fmt::Write as _;

use super::escaped;

/// Size of a drawing; the page scales it.
pub(super) const WIDTH: f64 = 720.0;
pub(super) const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// What is smaller is drawn as zero.
const SMALLEST: f64 = 1e-100;

/// From the lowest to the highest value, ends on round figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// An axis with about five figures on which all finite `values` lie.
    pub(super) fn around(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match high - low {
            span if span.is_nan() || span < 0.0 => (0.0, 1.0),
            // One value alone stands in the middle of something, and wider than its own rounding.
            span if span <= high.abs().max(low.abs()).max(SMALLEST) * 1e-12 => {
                let margin = if high.abs() < SMALLEST { 1.0 } else { high.abs() / 2.0 };
                (low - margin, high + margin)
            }
            _ => (low, high),
        };
        let step = round_step((high - low) / 5.0);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// The figures at the axis.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let Self { low, high, step } = *self;
        let count = ((high - low) / step).round().clamp(1.0, 20.0) as u32;
        // Adding zero turns -0 into 0.
        (0..=count).map(move |tick| low + f64::from(tick) * step + 0.0)
    }

    /// A tick as text, with as many digits as the axis needs.
    pub(super) fn name(&self, value: f64) -> String {
        let value = if value.abs() < self.step * 1e-6 { 0.0 } else { value };
        let largest = self.low.abs().max(self.high.abs());
        if largest >= 1e7 || largest < 1e-4 {
            return format!("{value:.1e}");
        }
        let digits = (-self.step.log10().floor()).clamp(0.0, 8.0) as usize;
        format!("{value:.digits$}")
    }

    /// Where on the axis a value lies, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The first of 1, 2, 5, 10 … times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digit = step / power;
    // Not exactly, for rounding's sake.
    power * [1.0, 2.0, 5.0].into_iter().find(|&round| digit <= round + 1e-9).unwrap_or(10.0)
}

/// A horizontal place on the drawing, for a share from 0 to 1.
pub(super) fn across(share: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * share
}

/// A horizontal place on the drawing.
pub(super) fn x(axis: &Axis, value: f64) -> f64 {
    across(axis.share(value))
}

/// A vertical place on the drawing.
pub(super) fn y(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.share(value)
}

/// The beginning of a drawing: its size, and what it shows, for those who cannot see it.
pub(super) fn open(caption: &str, says: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}. {}\">",
        escaped(caption),
        escaped(says)
    )
}

/// Lines across the drawing, the figures at its left, and the vertical axis' name.
pub(super) fn vertical(svg: &mut String, axis: &Axis, label: &str) {
    for tick in axis.ticks() {
        let place = y(axis, tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            place + 4.0,
            axis.name(tick)
        );
    }
    let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    let _ = write!(
        svg,
        "<text transform=\"rotate(-90 12 {middle})\" x=\"12\" y=\"{middle}\" text-anchor=\"middle\">{}</text>",
        escaped(label)
    );
}

/// The figures below the drawing, and the horizontal axis' name.
pub(super) fn horizontal(svg: &mut String, axis: &Axis, label: &str) {
    for tick in axis.ticks() {
        below(svg, x(axis, tick), &axis.name(tick));
    }
    horizontal_name(svg, label);
}

/// The horizontal axis' name.
pub(super) fn horizontal_name(svg: &mut String, label: &str) {
    let middle = across(0.5);
    let _ = write!(
        svg,
        "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 6.0,
        escaped(label)
    );
}

/// A text below the drawing.
pub(super) fn below(svg: &mut String, place: f64, text: &str) {
    let _ = write!(
        svg,
        "<text x=\"{place:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        HEIGHT - BOTTOM + 17.0,
        escaped(text)
    );
}

/// A figure for a table or a spoken text.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "\u{2013}".to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = if size >= 1000.0 { 1 } else { 4 };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], names: &[&str]) {
        let axis = Axis::around(values.iter().copied());
        assert_eq!(axis.ticks().map(|tick| axis.name(tick)).collect::<Vec<_>>(), names, "{values:?}");
    }

    #[test]
    fn ticks_are_round() {
        check(&[0.0, 10.0], &["0", "2", "4", "6", "8", "10"]);
        check(&[0.13, 0.41], &["0.1", "0.2", "0.3", "0.4", "0.5"]);
        check(&[-1.0, 1.0], &["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        check(&[-3.0, 900.0], &["-200", "0", "200", "400", "600", "800", "1000"]);
    }

    #[test]
    fn any_values_have_an_axis() {
        check(&[], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(&[f64::NAN, f64::INFINITY], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(&[4.0], &["2", "3", "4", "5", "6"]);
        for value in [1e-300, 1e300, -1e18, 0.0, 5e-324] {
            let axis = Axis::around([value].into_iter());
            assert!(y(&axis, value).is_finite(), "{value}");
            assert!(axis.ticks().count() <= 21);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (1.5, "1.5"), (-12345.678, "-12345.7"), (1e-5, "1.000e-5"), (f64::NAN, "\u{2013}")]
        {
            assert_eq!(number(value), text);
        }
    }
}
