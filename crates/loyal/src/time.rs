//! Times and durations as people read and write them.

use jiff::{Timestamp, tz::TimeZone};

const UNITS: [(char, &str, u64); 4] =
    [('d', "d", 86_400), ('h', "h", 3_600), ('m', "min", 60), ('s', "s", 1)];

/// A time in the reader's zone, and how far it is from `now`: "2026-11-26 09:15 UTC (in 6 h 59 min)".
pub(crate) fn text(seconds: u64, now: u64) -> String {
    let far = if seconds >= now {
        format!("in {}", span(seconds - now))
    } else {
        format!("{} ago", span(now - seconds))
    };
    let Ok(time) =
        i64::try_from(seconds).map_err(|_| ()).and_then(|at| Timestamp::from_second(at).map_err(|_| ()))
    else {
        return format!("at {seconds} s after 1970 ({far})");
    };
    format!("{} ({far})", time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M %Z"))
}

/// A duration with its two largest units: "6 d 23 h".
pub(crate) fn span(seconds: u64) -> String {
    let mut left = seconds;
    let mut parts = Vec::new();
    for (_, unit, length) in UNITS {
        if left >= length {
            parts.push(format!("{} {unit}", left / length));
            left %= length;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A duration as people write it: `90s`, `30m`, `6h`, `2d`, `1d 12h`.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration; write 90s, 30m, 6h, 2d or \"1d 12h\"");
    let mut sum = 0_u64;
    for part in text.split_whitespace() {
        let unit = part.chars().last().ok_or_else(wrong)?;
        let (_, _, length) = UNITS.into_iter().find(|(letter, ..)| *letter == unit).ok_or_else(wrong)?;
        let count: u64 = part[..part.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
        sum = count.checked_mul(length).and_then(|more| sum.checked_add(more)).ok_or_else(wrong)?;
    }
    if text.trim().is_empty() { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, written) in [
            ("90s", 90, "1 min 30 s"),
            ("30m", 1_800, "30 min"),
            ("1d 12h", 129_600, "1 d 12 h"),
            ("7d", 604_800, "7 d"),
            ("0s", 0, "0 s"),
        ] {
            assert_eq!(parse_span(text), Ok(seconds));
            assert_eq!(span(seconds), written);
        }
        for wrong in ["", "7", "d", "1w", "-1d", "99999999999999999999d", "1dd"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
        assert!(text(1_000, 400).ends_with("(in 10 min)"));
        assert!(text(u64::MAX, 400).contains("after 1970"));
    }
}
