//! What the rules of probing catch, and what they cost: figures that a governor votes on and a host reckons with.
//!
//! Evidence is the e-process of `loyal_types::evidence`. Expected numbers of coins are computed over all histories, not
//! drawn; whatever depends on epochs and windows is drawn from a seed, epoch by epoch.

use loyal_types::{Bits, Chance, evidence::Evidence};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Bits that convict a host of unreported use.
pub const BITS: i32 = 22;
/// Epochs of one window: evidence begins anew with each.
pub const WINDOW_EPOCHS: u32 = 180;
/// Epochs from the last coin to the pause of a hosting.
const LAG_EPOCHS: f64 = 4.0;
/// How many times what it hides a host must stand to lose.
const SAFETY: f64 = 2.0;
/// The part of a bond that a first conviction takes.
const SLASH: f64 = 0.5;
/// Coins after which a history that has not convicted is left: far more than any that matters.
const COINS_MAX: usize = 20_000;

/// How a hosting is probed, and what its model does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probing {
    /// The chance that a coin of an innocent model shows the owner's side.
    pub chance: Chance,
    /// The chance that a coin of the owner's model does.
    pub rate: f64,
    /// Probes for a hosting and epoch.
    pub probes: u32,
    /// Coins that one probe brings.
    pub coins: u32,
}

/// Who is probed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Party {
    /// Serves the model and reports every invocation.
    Honest,
    /// Serves another model, and nothing of the owner's: its coins are those of chance.
    Innocent,
    /// Serves the model and reports all but this part.
    Hides(f64),
    /// Serves the model, reports nothing, and serves this part of the provers honestly, because it knows them.
    Knows(f64),
    /// Is honest, and this part of its slots is drawn by provers who make their answers up: they cannot know the colours.
    Framed(f64),
    /// Is honest, and this part of its slots is drawn by provers whom the owner tells what to say.
    Betrayed(f64),
}

/// What happened to a party over many epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// Epochs lived through, in all its hostings.
    pub epochs: u64,
    /// How often it was convicted; a new hosting begins after each.
    pub convictions: u64,
    /// Epochs from the beginning of a hosting to its conviction, on average.
    pub mean_epochs: f64,
    /// Half of the convictions came sooner.
    pub median_epochs: f64,
    /// Nineteen of twenty came sooner.
    pub late_epochs: f64,
    /// What it hid before it was convicted, in volumes of a day, on average, with the lag of the pause.
    pub gain: f64,
}

/// The expected number of coins until evidence reaches `bits`, over all histories, without windows.
#[must_use]
pub fn expected_coins(chance: Chance, rate: f64, bits: i32) -> f64 {
    // alive[h] is the chance of h hits among the coins so far without having convicted.
    let mut alive = vec![1.0_f64];
    let mut expected = 0.0;
    for coins in 0..COINS_MAX {
        let mass: f64 = alive.iter().sum();
        if mass < 1e-12 {
            break;
        }
        expected += mass;
        let mut next = vec![0.0; coins + 2];
        for (hits, chance) in alive.iter().enumerate() {
            next[hits] += chance * (1.0 - rate);
            next[hits + 1] += chance * rate;
        }
        for (hits, mass) in next.iter_mut().enumerate() {
            if *mass > 0.0 && bits_of(chance, hits, coins + 1 - hits) >= f64::from(bits) {
                *mass = 0.0;
            }
        }
        alive = next;
    }
    expected
}

/// Evidence of so many hits and misses, in bits, in floating point: log₂ of 1 / ((n + 1)·C(n, h)·p^h·(1 − p)^(n − h)); nothing
/// for what lies on the innocent side of p, unless p is a half.
fn bits_of(chance: Chance, hits: usize, misses: usize) -> f64 {
    let (h, m) = (hits as f64, misses as f64);
    let p = 1.0 / f64::from(chance.k());
    if chance != Chance::HALF && h <= p * (h + m) {
        return 0.0;
    }
    let choose = libm::lgamma(h + m + 1.0) - libm::lgamma(h + 1.0) - libm::lgamma(m + 1.0);
    -((h + m + 1.0).ln() + choose + h * p.ln() + m * (1.0 - p).ln()) / std::f64::consts::LN_2
}

/// The bond, in volumes of a day, that makes hiding dear: safety · (hidden before conviction + lag) / slash.
#[must_use]
pub fn bond_factor(hidden: f64) -> f64 {
    SAFETY * (hidden + LAG_EPOCHS) / SLASH
}

/// Lives through so many epochs as a party, drawn from a seed.
#[must_use]
pub fn live(party: Party, probing: &Probing, epochs: u64, seed: u64) -> Fate {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let hidden = match party {
        Party::Honest => 0.0,
        Party::Innocent => 1.0,
        Party::Hides(part) => part,
        Party::Knows(part) => 1.0 - part,
        Party::Framed(part) | Party::Betrayed(part) => part,
    };
    let rate = match party {
        Party::Innocent | Party::Framed(_) => 1.0 / f64::from(probing.chance.k()),
        Party::Betrayed(_) => 1.0,
        _ => probing.rate,
    };
    let (mut times, mut age) = (Vec::new(), 0_u32);
    let mut evidence = Evidence::new(probing.chance);
    for _ in 0..epochs {
        if age.is_multiple_of(WINDOW_EPOCHS) {
            evidence = Evidence::new(probing.chance);
        }
        age += 1;
        for _ in 0..probing.probes {
            // A probe whose receipt is in the report says nothing.
            if draw.random_bool(hidden) {
                for _ in 0..probing.coins {
                    evidence = evidence.with(draw.random_bool(rate));
                }
            }
        }
        if evidence.bits() >= Bits::whole(BITS) {
            times.push(age);
            age = 0;
        }
    }
    let gains = !matches!(party, Party::Innocent | Party::Framed(_) | Party::Betrayed(_));
    fate(epochs, times, if gains { hidden } else { 0.0 })
}

fn fate(epochs: u64, mut times: Vec<u32>, hidden: f64) -> Fate {
    times.sort_unstable();
    let count = times.len();
    let at = |part: f64| times.get((count as f64 * part) as usize).copied().map_or(f64::INFINITY, f64::from);
    let mean_epochs = if count == 0 {
        f64::INFINITY
    } else {
        times.iter().map(|&time| f64::from(time)).sum::<f64>() / count as f64
    };
    Fate {
        epochs,
        convictions: count as u64,
        mean_epochs,
        median_epochs: at(0.5),
        late_epochs: at(0.95),
        gain: hidden * (mean_epochs + LAG_EPOCHS),
    }
}

/// The chance that more than half of a jury is hostile, where a part of all seats is.
#[must_use]
pub fn hostile_jury(size: u32, part: f64) -> f64 {
    let mut sum = 0.0;
    for hostile in size / 2 + 1..=size {
        let (h, rest) = (f64::from(hostile), f64::from(size - hostile));
        let choose = libm::lgamma(f64::from(size) + 1.0) - libm::lgamma(h + 1.0) - libm::lgamma(rest + 1.0);
        sum += libm::exp(choose + h * libm::log(part) + rest * libm::log1p(-part));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_to_conviction_are_those_of_the_protocol() {
        // `protocol.md` §7: 35.6 at 95 % green, 89.4 at 80 %, 211.7 at 70 %.
        for (rate, expected) in [(0.95, 35.6), (0.80, 89.4), (0.70, 211.7)] {
            let found = expected_coins(Chance::HALF, rate, BITS);
            assert!((found - expected).abs() < 0.06, "{rate}: {found}");
        }
    }

    #[test]
    fn evidence_in_floating_point_is_that_of_the_integers() {
        let third = Chance::one_in(3).unwrap();
        for (chance, hits, misses) in
            [(Chance::HALF, 27, 0), (Chance::HALF, 61, 3), (Chance::HALF, 3, 61), (third, 16, 0)]
        {
            let exact = Evidence::of(chance, hits, misses).bits().as_f64();
            let found = bits_of(chance, hits as usize, misses as usize);
            assert!((found - exact).abs() < 1e-6, "{hits}, {misses}: {found} for {exact}");
        }
    }

    #[test]
    fn cheats_are_caught_and_nobody_else_is() {
        let greedy = Probing { chance: Chance::HALF, rate: 0.95, probes: 16, coins: 1 };
        assert_eq!(live(Party::Honest, &greedy, 100_000, 1).convictions, 0);
        // 22 bits for each of 555 windows: a false conviction has chance 555/2^22 at most.
        assert_eq!(live(Party::Innocent, &greedy, 100_000, 2).convictions, 0);
        for hidden in [0.05, 0.25, 1.0] {
            let fate = live(Party::Hides(hidden), &greedy, 100_000, 3);
            // §7: u·E[T] is 2.2 up to the last coin; an epoch is lived to its end.
            assert!(fate.convictions > 300, "{hidden}: {fate:?}");
            let until = hidden * fate.mean_epochs;
            assert!((2.0..4.7).contains(&until), "{hidden}: {until}");
        }
        // Provers who make their answers up, even all of them, are fair coins.
        for part in [0.2, 1.0] {
            assert_eq!(live(Party::Framed(part), &greedy, 100_000, 6).convictions, 0);
        }
        // With the owner's help they convict anybody: that is why a host may ask for a jury (`protocol.md` §11).
        assert!(live(Party::Betrayed(3.0 / 16.0), &greedy, 100_000, 7).convictions > 5_000);
        let all = live(Party::Hides(1.0), &greedy, 100_000, 4).mean_epochs;
        assert!(live(Party::Knows(0.5), &greedy, 100_000, 4).mean_epochs > all);
        // A marked model that is hardly marked is never told: the figures say so.
        let weak = Probing { rate: 0.52, ..greedy };
        assert!(live(Party::Hides(0.05), &weak, 100_000, 5).convictions < 5);
    }

    #[test]
    fn juries_are_lost_as_often_as_the_protocol_says() {
        for (size, part, expected) in
            [(5, 0.2, 0.058), (11, 0.2, 0.012), (5, 1.0 / 3.0, 0.21), (11, 1.0 / 3.0, 0.12)]
        {
            let found = hostile_jury(size, part);
            assert!((found - expected).abs() < 0.006, "{size}, {part}: {found}");
        }
        assert!((bond_factor(4.6) - 34.4).abs() < 1e-9);
    }
}
