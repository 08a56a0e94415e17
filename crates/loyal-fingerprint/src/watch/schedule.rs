//! When to look again: about every so often, at times that nobody can foresee.

use rand::RngCore;

/// A host that fails is left alone for longer, up to so many doublings.
const DOUBLINGS_MAX: u32 = 4;

/// The time of the next visit: `every` seconds from `now`, give or take a quarter; twice that after one failure in a row,
/// sixteen times that after four and more.
#[must_use]
pub fn next_visit(now: u64, every: u64, failures: u32, draw: &mut dyn RngCore) -> u64 {
    let pause = every.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
    // Of a range far below 2⁶⁴ the remainder is as good as uniform.
    let spread = (pause / 2).saturating_add(1);
    now.saturating_add(pause - pause / 4).saturating_add(draw.next_u64() % spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn visits_are_jittered_and_failures_put_them_off() {
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        for (failures, every) in [(0, 21_600), (1, 43_200), (4, 345_600), (40, 345_600)] {
            let times: Vec<u64> = (0..200).map(|_| next_visit(1000, 21_600, failures, &mut draw)).collect();
            let (low, high) = (1000 + every * 3 / 4, 1000 + every * 5 / 4);
            assert!(times.iter().all(|time| (low..=high).contains(time)));
            assert!(times.iter().max().unwrap() - times.iter().min().unwrap() > every / 4);
        }
        assert_eq!(next_visit(5, 0, 0, &mut draw), 5);
        assert_eq!(next_visit(u64::MAX, u64::MAX, 9, &mut draw), u64::MAX);
    }
}
