//! Where templates written for Python's Jinja expect Python's habits.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, Value};

use super::Date;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Writes a value as Python's `str` would.
pub(super) fn write(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        None => {
            let mut text = String::new();
            represent(value, &mut text)?;
            out.write_str(&text)?;
        }
    }
    Ok(())
}

/// Python's `repr`.
fn represent(value: &Value, out: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => {}
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            out.push(quote);
            for c in text.chars() {
                match c {
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\\' => out.push_str("\\\\"),
                    c if c == quote => out.extend(['\\', c]),
                    c => out.push(c),
                }
            }
            out.push(quote);
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                represent(&item, out)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                represent(&key, out)?;
                out.push_str(": ");
                represent(&value.get_item(&key)?, out)?;
            }
            out.push('}');
        }
        _ => write!(out, "{value}").map_err(|_| Error::from(ErrorKind::WriteFailure))?,
    }
    Ok(())
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
#[allow(clippy::needless_pass_by_value, reason = "the engine's filters take their arguments by value")]
pub(super) fn to_json(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let sorted: Option<bool> = kwargs.get("sort_keys")?;
    // `transformers` takes these two as well; ensure_ascii is off there unless asked for.
    let _: Option<Value> = kwargs.get("separators")?;
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let mut json = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    if sorted == Some(true) {
        json.sort_all_objects();
    }
    let mut out = String::new();
    dump(&json, indent.map(|width| (width.min(16), 0)), &mut out);
    Ok(Value::from_safe_string(out))
}

/// `indent` is the width of a step and the depth.
fn dump(value: &serde_json::Value, indent: Option<(usize, usize)>, out: &mut String) {
    let deeper = indent.map(|(width, depth)| (width, depth + 1));
    let break_line = |out: &mut String, indent: Option<(usize, usize)>| {
        if let Some((width, depth)) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    let separate = |out: &mut String, index: usize| {
        if index > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        break_line(out, deeper);
    };
    match value {
        serde_json::Value::Array(list) if !list.is_empty() => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                separate(out, index);
                dump(item, deeper, out);
            }
            break_line(out, indent);
            out.push(']');
        }
        serde_json::Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                separate(out, index);
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push_str(": ");
                dump(item, deeper, out);
            }
            break_line(out, indent);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// `{% generation %}` and its end only mark text for training; they become blocks that change nothing.
pub(super) fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let start = start + 2; // behind the mark: `{%}` opens a tag and does not close it
        let Some(length) = rest[start..].find("%}") else { break };
        let inner = &rest[start..start + length];
        out.push_str(&rest[..start]);
        match inner.trim_matches(['-', '+']).trim() {
            "generation" => out.push_str(&inner.replace("generation", "if true")),
            "endgeneration" => out.push_str(&inner.replace("endgeneration", "endif")),
            _ => out.push_str(inner),
        }
        rest = &rest[start + length..];
    }
    out.push_str(rest);
    out
}

/// `strftime` for a day at midnight.
pub(super) fn format_date(date: Date, format: &str) -> Result<String, Error> {
    let wrong = |problem: String| Error::new(ErrorKind::InvalidOperation, problem);
    let (month, day) = (date.month as usize, date.day);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(wrong(format!("{date:?} is no day of the calendar")));
    }
    let weekday = DAYS[(days_since_1970(date) + 3).rem_euclid(7) as usize];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut code = chars.next();
        let unpadded = code == Some('-');
        if unpadded {
            code = chars.next();
        }
        let number = |n: u32| if unpadded { n.to_string() } else { format!("{n:02}") };
        out.push_str(&match code {
            Some('d') => number(day),
            Some('e') => format!("{day:2}"),
            Some('m') => number(date.month),
            Some('y') => number(date.year.rem_euclid(100) as u32),
            Some('Y') => date.year.to_string(),
            Some('B') => MONTHS[month - 1].to_owned(),
            Some('b' | 'h') => MONTHS[month - 1][..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H' | 'M' | 'S') => number(0),
            Some('I') => "12".to_owned(),
            Some('p') => "AM".to_owned(),
            Some('F') => format!("{}-{month:02}-{day:02}", date.year),
            Some('%') => "%".to_owned(),
            other => return Err(wrong(format!("strftime_now does not know %{}", other.unwrap_or(' ')))),
        });
    }
    Ok(out)
}

/// Days from 1 January 1970, a Thursday.
fn days_since_1970(date: Date) -> i64 {
    // Years from March, so that the leap day comes last.
    let (month, year) = (i64::from(date.month), i64::from(date.year) - i64::from(date.month <= 2));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(date.day) - 1;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
