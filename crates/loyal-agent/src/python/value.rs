//! Values as JSON and as Python has them.

use monty_types::MontyObject;
use num_bigint::BigInt;
use serde_json::{Map, Number, Value};

/// Depth of a value that goes from one to the other.
const DEPTH_MAX: usize = 64;

/// A value of JSON in Python.
pub(super) fn to_python(value: Value) -> MontyObject {
    match value {
        Value::Null => MontyObject::None,
        Value::Bool(value) => MontyObject::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => MontyObject::Int(number),
            (None, Some(number)) => MontyObject::BigInt(BigInt::from(number)),
            (None, None) => MontyObject::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => MontyObject::String(text),
        Value::Array(items) => MontyObject::List(items.into_iter().map(to_python).collect()),
        Value::Object(members) => {
            let pair = |(name, value)| (MontyObject::String(name), to_python(value));
            MontyObject::dict(members.into_iter().map(pair).collect::<Vec<_>>())
        }
    }
}

/// A value of Python in JSON.
///
/// # Errors
/// What kind of value has no place in JSON.
pub(super) fn to_json(value: MontyObject) -> Result<Value, String> {
    at(value, 0)
}

fn at(value: MontyObject, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err("the value is nested too deeply".to_owned());
    }
    let all = |items: Vec<MontyObject>| {
        items.into_iter().map(|item| at(item, depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::Array)
    };
    match value {
        MontyObject::None => Ok(Value::Null),
        MontyObject::Bool(value) => Ok(Value::Bool(value)),
        MontyObject::Int(number) => Ok(Value::from(number)),
        MontyObject::BigInt(number) => u64::try_from(&number).map(Value::from).map_err(|_| {
            "an integer of more than 64 bits cannot be passed: pass it as text, with str()".to_owned()
        }),
        MontyObject::Float(number) => Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| "nan and infinities cannot be passed: pass them as text".to_owned()),
        MontyObject::String(text) | MontyObject::Path(text) => Ok(Value::String(text)),
        MontyObject::List(items)
        | MontyObject::Tuple(items)
        | MontyObject::Set(items)
        | MontyObject::FrozenSet(items) => all(items),
        MontyObject::NamedTuple { values, .. } => all(values),
        MontyObject::Dict(pairs) => {
            let mut members = Map::new();
            for (name, value) in pairs {
                let MontyObject::String(name) = name else {
                    return Err("the keys of a dict that is passed must be texts".to_owned());
                };
                members.insert(name, at(value, depth + 1)?);
            }
            Ok(Value::Object(members))
        }
        other => {
            let what: String = other.py_repr().chars().take(80).collect();
            Err(format!("{what} cannot be passed: pass texts, numbers, lists and dicts"))
        }
    }
}
