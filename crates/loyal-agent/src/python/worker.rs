//! The process of an interpreter: it binds itself, then runs what comes line by line, and asks its parent for everything else.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use monty::{MontyRepl, ReplProgress, ReplStartError};
use monty_types::{
    CompileOptions, ExcType, ExtFunctionResult, MontyDate, MontyDateTime, MontyException, MontyObject,
    NameLookupResult, OsFunctionCall, PrintWriter, PrintWriterCallback, ResourceLimits, ResourceTracker,
};
use serde_json::Map;

use super::wire::{Asked, Job, Order, Said, Stepped};
use super::{bound, value};

/// Runs what the parent orders until it closes the pipe: the whole of a program that is an interpreter.
///
/// # Errors
/// Where the system refuses to bind the process, or the parent says something else than it should.
pub fn serve(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    match read(&mut input)? {
        Some(Order::Bound { memory_bytes, processor_seconds }) => {
            bound::bind(memory_bytes, processor_seconds)?;
        }
        Some(_) => return Err(unexpected()),
        None => return Ok(()),
    }
    let mut repl = fresh();
    while let Some(order) = read(&mut input)? {
        let Order::Run(job) = order else { return Err(unexpected()) };
        let (next, stepped) = step(repl, &job, (&mut input, &mut output))?;
        let lost = stepped.lost;
        write(&mut output, &Said::Ended(stepped))?;
        // Time that ran out may have run out anywhere: nothing that was set can be relied on.
        repl = if lost { fresh() } else { next };
    }
    Ok(())
}

fn fresh() -> MontyRepl {
    let limits = ResourceLimits::default().max_duration(Duration::from_secs(1));
    MontyRepl::new("code", ResourceTracker::new(limits), CompileOptions::default())
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "another order was expected")
}

fn read(input: &mut impl BufRead) -> io::Result<Option<Order>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

fn write(output: &mut impl Write, said: &Said) -> io::Result<()> {
    serde_json::to_writer(&mut *output, said)?;
    output.write_all(b"\n")?;
    output.flush()
}

/// One piece of code, from its first line to its end.
fn step(
    mut repl: MontyRepl,
    job: &Job,
    (input, output): (&mut impl BufRead, &mut impl Write),
) -> io::Result<(MontyRepl, Stepped)> {
    let mut printed = Printed { text: String::new(), bytes_max: job.print_bytes_max, left_out: 0 };
    // The limit adds up over everything an interpreter runs unless it is set anew.
    repl.tracker_mut().set_max_duration(Duration::from_millis(job.time_ms));
    let mut calls_left = job.call_count_max;
    let mut progress = repl.feed_start(&job.code, Vec::new(), PrintWriter::Callback(&mut printed));
    loop {
        let print = PrintWriter::Callback(&mut printed);
        progress = match progress {
            Ok(ReplProgress::Complete { repl, value }) => return Ok((repl, shown(&value, job, printed))),
            Err(error) => return Ok(raised(*error, printed)),
            Ok(ReplProgress::FunctionCall(call)) => {
                let known = call.object_id.is_none() && job.tools.contains(&call.function_name);
                if known && calls_left == 0 {
                    let why = format!("more than {} calls of tools in one piece of code", job.call_count_max);
                    call.abort(MontyException::new(ExcType::RuntimeError, Some(why)), print)
                } else if known {
                    calls_left -= 1;
                    let name = call.function_name.clone();
                    let answer = match asked(&name, &call.args, &call.kwargs) {
                        Ok(asked) => answer(asked, input, output)?,
                        Err(why) => fault(ExcType::TypeError, format!("{name}: {why}")),
                    };
                    call.resume(answer, print)
                } else {
                    let name = call.function_name.clone();
                    call.resume(unknown(name), print)
                }
            }
            Ok(ReplProgress::NameLookup(lookup)) => {
                let known = lookup.object_id().is_none() && job.tools.contains(&lookup.name);
                let found = if known {
                    let name = lookup.name.clone();
                    NameLookupResult::Value(MontyObject::Function { name, docstring: None })
                } else {
                    NameLookupResult::Undefined
                };
                lookup.resume(found, print)
            }
            Ok(ReplProgress::OsCall(call)) => call.resume_with(print, |call| system(&call, job.unix_seconds)),
            Ok(ReplProgress::ResolveFutures(waiting)) => {
                let why = "nothing here runs at the same time: call tools without await".to_owned();
                waiting.abort(MontyException::new(ExcType::RuntimeError, Some(why)), print)
            }
        };
    }
}

/// What is not listed does not exist; for some names there is something else.
fn unknown(name: String) -> ExtFunctionResult {
    match name.as_str() {
        "eval" | "exec" | "compile" | "__import__" | "globals" | "locals" | "input" | "breakpoint" => {
            fault(ExcType::NameError, format!("name '{name}' is not defined: there is none here, by intent"))
        }
        _ => ExtFunctionResult::NotFound(name),
    }
}

fn fault(kind: ExcType, why: String) -> ExtFunctionResult {
    ExtFunctionResult::Error(MontyException::new(kind, Some(why)))
}

fn asked(
    name: &str,
    arguments: &[MontyObject],
    named: &[(MontyObject, MontyObject)],
) -> Result<Asked, String> {
    let arguments = arguments.iter().cloned().map(value::to_json).collect::<Result<_, _>>()?;
    let mut members = Map::new();
    for (name, given) in named {
        members.insert(name.to_string(), value::to_json(given.clone())?);
    }
    Ok(Asked { name: name.to_owned(), arguments, named: members })
}

/// Asks the parent, which decides.
fn answer(asked: Asked, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<ExtFunctionResult> {
    write(output, &Said::Call(asked))?;
    match read(input)? {
        Some(Order::Value(value)) => Ok(ExtFunctionResult::Return(value::to_python(value))),
        Some(Order::Fault(why)) => Ok(fault(ExcType::RuntimeError, why)),
        Some(_) => Err(unexpected()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// There is no system: no files, no environment. There may be a clock, which shows what the parent said.
fn system(call: &OsFunctionCall, unix_seconds: Option<u64>) -> ExtFunctionResult {
    let moment = unix_seconds.and_then(|seconds| i64::try_from(seconds).ok()).and_then(moment);
    match (call, moment) {
        (OsFunctionCall::DateToday, Some(MontyDateTime { year, month, day, .. })) => {
            ExtFunctionResult::Return(MontyObject::Date(MontyDate { year, month, day }))
        }
        (OsFunctionCall::DateTimeNow(None), Some(moment)) => {
            ExtFunctionResult::Return(MontyObject::DateTime(moment))
        }
        (OsFunctionCall::DateTimeNow(Some(zone)), Some(_)) => {
            let there = unix_seconds
                .and_then(|seconds| i64::try_from(seconds).ok())
                .and_then(|seconds| self::moment(seconds + i64::from(zone.offset_seconds)));
            let Some(there) = there else { return refused(call) };
            let offset_seconds = Some(zone.offset_seconds);
            let there = MontyDateTime { offset_seconds, timezone_name: zone.name.clone(), ..there };
            ExtFunctionResult::Return(MontyObject::DateTime(there))
        }
        _ => refused(call),
    }
}

fn refused(call: &OsFunctionCall) -> ExtFunctionResult {
    let why = format!("{}: there is no system here: no files, no environment, no network", call.name());
    fault(ExcType::PermissionError, why)
}

/// A moment of Coordinated Universal Time in the proleptic Gregorian calendar: Howard Hinnant's `civil_from_days`.
fn moment(unix_seconds: i64) -> Option<MontyDateTime> {
    let (days, second) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some(MontyDateTime {
        year: i32::try_from(year).ok().filter(|year| (1..=9999).contains(year))?,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(day).ok()?,
        hour: u8::try_from(second / 3600).ok()?,
        minute: u8::try_from(second / 60 % 60).ok()?,
        second: u8::try_from(second % 60).ok()?,
        microsecond: 0,
        offset_seconds: None,
        timezone_name: None,
    })
}

fn shown(value: &MontyObject, job: &Job, printed: Printed) -> Stepped {
    let value = match value {
        MontyObject::None => None,
        value => Some(crate::tool::clip(value.to_string(), job.value_bytes_max)),
    };
    Stepped { printed: printed.end(), value, ..Stepped::default() }
}

fn raised(error: ReplStartError, printed: Printed) -> (MontyRepl, Stepped) {
    let ReplStartError { repl, error } = error;
    let lost = repl.tracker().check_memory_time().is_err();
    let mut text = crate::tool::clip(error.to_string(), 2048);
    if let Some(instead) = substitute(&text) {
        text.push_str(instead);
    }
    (repl, Stepped { printed: printed.end(), value: None, raised: Some(text), lost })
}

/// What to use in place of what this Python lacks.
fn substitute(error: &str) -> Option<&'static str> {
    let lacks = |name: &str| error.contains(&format!("No module named '{name}'"));
    if lacks("random") || lacks("secrets") {
        return Some("\n(there is no randomness here: take fixed numbers)");
    }
    if lacks("decimal") || lacks("fractions") {
        return Some("\n(use integers, or the tool calculate where there is one)");
    }
    if lacks("statistics") || lacks("numpy") || lacks("pandas") {
        return Some("\n(use sum, len, sorted, lists and the module math)");
    }
    if error.contains("ModuleNotFoundError") {
        return Some(
            "\n(there are the modules asyncio, base64, binascii, collections, dataclasses, datetime, functools, itertools, \
             json, math, re, sys, typing and unicodedata, and no others)",
        );
    }
    None
}

/// What code prints, as far as it is kept.
struct Printed {
    text: String,
    bytes_max: usize,
    left_out: usize,
}

impl Printed {
    fn end(mut self) -> String {
        if self.left_out > 0 {
            self.text.push_str(&format!("\n[… {} bytes left out …]", self.left_out));
        }
        self.text
    }

    fn add(&mut self, text: &str) {
        // What was cut once stays cut: a later, shorter piece would stand in a wrong place.
        let room = if self.left_out > 0 { 0 } else { self.bytes_max.saturating_sub(self.text.len()) };
        let kept = text.floor_char_boundary(room.min(text.len()));
        self.text.push_str(&text[..kept]);
        self.left_out += text.len() - kept;
    }
}

impl PrintWriterCallback for Printed {
    fn stdout_write(&mut self, output: Cow<'_, str>) -> Result<(), MontyException> {
        self.add(&output);
        Ok(())
    }

    fn stdout_push(&mut self, end: char) -> Result<(), MontyException> {
        self.add(end.encode_utf8(&mut [0; 4]));
        Ok(())
    }
}
