//! A loss curve as a self-contained SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 48.0;

/// Draws loss (nats per token) against the step, smoothed over 1 % of the run, with the raw losses behind.
pub(crate) fn svg(losses: &[(u64, f32)]) -> String {
    let (last, low, high) = bounds(losses);
    let x = |step: u64| MARGIN + (WIDTH - 2.0 * MARGIN) * step as f64 / last;
    let y = |loss: f32| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * f64::from((loss - low) / (high - low));
    let line = |points: &[(u64, f32)]| {
        points.iter().fold(String::new(), |mut path, &(step, loss)| {
            let _ = write!(path, "{:.1},{:.1} ", x(step), y(loss));
            path
        })
    };
    let thin = losses.len().div_ceil(1000).max(1);
    let raw: Vec<(u64, f32)> = losses.iter().copied().step_by(thin).collect();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    for tick in 0..=4 {
        let loss = low + (high - low) * tick as f32 / 4.0;
        let step = (last * f64::from(tick) / 4.0) as u64;
        let _ = write!(
            text,
            "<line x1=\"{MARGIN}\" x2=\"{:.0}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"8\" y=\"{:.1}\">{loss:.2}</text><text x=\"{:.1}\" y=\"{:.0}\">{step}</text>",
            WIDTH - MARGIN,
            y(loss),
            y(loss),
            y(loss) + 4.0,
            x(step) - 10.0,
            HEIGHT - MARGIN + 18.0
        );
    }
    let _ = writeln!(
        text,
        "<polyline fill=\"none\" stroke=\"#b9d2ee\" points=\"{}\"/>\
         <polyline fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\" points=\"{}\"/>\
         <text x=\"{MARGIN}\" y=\"24\">training loss, nats per token, by step</text></svg>",
        line(&raw),
        line(&smoothed(losses))
    );
    text
}

fn bounds(losses: &[(u64, f32)]) -> (f64, f32, f32) {
    let last = losses.iter().map(|&(step, _)| step).max().unwrap_or(1).max(1) as f64;
    let low = losses.iter().map(|&(_, loss)| loss).fold(f32::INFINITY, f32::min);
    let high = losses.iter().map(|&(_, loss)| loss).fold(f32::NEG_INFINITY, f32::max);
    if low < high { (last, low, high) } else { (last, 0.0, high.max(1.0)) }
}

fn smoothed(losses: &[(u64, f32)]) -> Vec<(u64, f32)> {
    let span = (losses.len() / 100).max(1);
    let mean = |part: &[(u64, f32)]| {
        let sum: f32 = part.iter().map(|&(_, loss)| loss).sum();
        (part[part.len() / 2].0, sum / part.len() as f32)
    };
    losses.chunks(span).map(mean).collect()
}
