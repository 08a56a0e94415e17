//! Tests of a test: do statistics of innocent models fall as fair coins do?

/// The largest distance between two samples' distributions, and the chance of as large a one if both come from the same
/// distribution (Kolmogorov–Smirnov, with Stephens' correction for the sample size). Ties, which a discrete statistic
/// has, make the chance too high and never too low.
#[must_use]
pub fn two_samples(a: &[f64], b: &[f64]) -> (f64, f64) {
    let sorted = |sample: &[f64]| {
        let mut sample = sample.to_vec();
        sample.sort_by(f64::total_cmp);
        sample
    };
    let (a, b) = (sorted(a), sorted(b));
    if a.is_empty() || b.is_empty() {
        return (0.0, 1.0);
    }
    let (mut i, mut j, mut distance) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let at = a[i].min(b[j]);
        while i < a.len() && a[i] <= at {
            i += 1;
        }
        while j < b.len() && b[j] <= at {
            j += 1;
        }
        distance = distance.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    (distance, tail(distance, n * m / (n + m)))
}

/// The same of one sample against the uniform distribution on 0 to 1.
#[must_use]
pub fn one_sample(values: &[f64]) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let distance = (0u32..).zip(&values).fold(0.0_f64, |distance, (rank, &value)| {
        let (below, above) = (f64::from(rank) / count, (f64::from(rank) + 1.0) / count);
        distance.max(value - below).max(above - value)
    });
    if values.is_empty() { (0.0, 1.0) } else { (distance, tail(distance, count)) }
}

/// P(√n·D > x): 2·Σ (−1)^(k−1)·exp(−2k²x²).
fn tail(distance: f64, count: f64) -> f64 {
    let root = count.sqrt();
    let x = distance * (root + 0.12 + 0.11 / root);
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k).powi(2) * x * x).exp()
    };
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// P-values of a discrete test, made uniform by a coin of its own: for a count of `hits` among `coins` fair coins the
/// chance of a stranger one, plus `point` (uniform on 0 to 1) times the chance of an equally strange one.
#[derive(Debug, Clone)]
pub(super) struct Randomised {
    /// The chance of each distance from the middle, by |2·hits − coins|.
    exact: Vec<f64>,
    /// The chance of a larger one.
    beyond: Vec<f64>,
}

impl Randomised {
    pub(super) fn new(coins: u32) -> Self {
        let mut exact = vec![0.0; coins as usize + 1];
        // From the middle outwards the terms only shrink: logarithms hold them all.
        let mut ln_term = -f64::from(coins) * std::f64::consts::LN_2;
        for hits in 0..=coins {
            let distance = (2 * i64::from(hits) - i64::from(coins)).unsigned_abs() as usize;
            exact[distance] += ln_term.exp();
            ln_term += (f64::from(coins - hits) / f64::from(hits + 1)).ln();
        }
        let mut beyond = vec![0.0; exact.len()];
        for distance in (0..coins as usize).rev() {
            beyond[distance] = beyond[distance + 1] + exact[distance + 1];
        }
        Self { exact, beyond }
    }

    pub(super) fn p(&self, hits: u32, point: f64) -> f64 {
        let coins = self.exact.len() as i64 - 1;
        let distance = (2 * i64::from(hits) - coins).unsigned_abs() as usize;
        (self.beyond[distance] + point * self.exact[distance]).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_definition() {
        // Uniform quantiles are as near as can be; a shifted sample is not.
        let even: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
        let (distance, p) = one_sample(&even);
        assert!((distance - 0.005).abs() < 1e-12 && p > 0.999);
        let shifted: Vec<f64> = even.iter().map(|x| x * 0.7).collect();
        let (distance, p) = one_sample(&shifted);
        assert!((distance - 0.3).abs() < 0.01 && p < 1e-6);
        assert_eq!(two_samples(&even, &even).0, 0.0);
        let (distance, p) = two_samples(&even, &shifted);
        assert!((distance - 0.3).abs() < 0.02 && p < 1e-3, "{distance} {p}");
        // Two points of four ties each.
        assert_eq!(two_samples(&[0.0, 0.0, 1.0, 1.0], &[0.0, 1.0, 1.0, 1.0]).0, 0.25);
    }

    /// The 95 % point of Kolmogorov's distribution is 1.358.
    #[test]
    fn the_tail_is_kolmogorovs() {
        let count = 1e12;
        assert!((tail(1.358_1 / f64::sqrt(count), count) - 0.05).abs() < 1e-3);
        assert!((tail(1.627_6 / f64::sqrt(count), count) - 0.01).abs() < 1e-3);
    }

    #[test]
    fn randomised_p_values_are_uniform() {
        let of = Randomised::new(5);
        // 5 or 0 of 5: 2/32; 4 or 1: 10/32 more.
        assert!((of.p(5, 1.0) - 0.0625).abs() < 1e-12 && of.p(0, 0.0).abs() < 1e-12);
        assert!((of.p(4, 1.0) - 0.375).abs() < 1e-12 && (of.p(1, 0.0) - 0.0625).abs() < 1e-12);
        assert!((of.p(2, 1.0) - 1.0).abs() < 1e-12);
        assert!((Randomised::new(2000).p(1000, 1.0) - 1.0).abs() < 1e-9);
    }
}
