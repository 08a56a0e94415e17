//! A check of arguments against the schema of a tool that is not ours: what every such schema says, and no more.

use serde_json::Value;

/// Depth of a schema that is looked at.
const DEPTH_MAX: usize = 32;

/// Where arguments break their schema, and what would be right.
///
/// It knows `type`, `required`, `properties`, `additionalProperties: false`, `items`, `enum` and `const`. What it does not
/// know it lets pass: the tool itself has the last word.
pub(crate) fn fault(schema: &Value, value: &Value) -> Option<String> {
    at(schema, value, "", 0)
}

fn at(schema: &Value, value: &Value, path: &str, depth: usize) -> Option<String> {
    let here = || if path.is_empty() { "the arguments".to_owned() } else { format!("the argument {path}") };
    if depth > DEPTH_MAX {
        return Some(format!("{} are nested too deeply", here()));
    }
    if let Some(kinds) = schema.get("type")
        && !kinds_of(kinds).any(|kind| is(kind, value))
    {
        let wanted: Vec<_> = kinds_of(kinds).collect();
        return Some(format!("{} must be of type {}", here(), wanted.join(" or ")));
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        return Some(format!("{} must be one of {}", here(), Value::Array(allowed.clone())));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Some(format!("{} must be {}", here(), schema["const"]));
    }
    match value {
        Value::Object(members) => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            if let Some(missing) =
                required.filter_map(Value::as_str).find(|name| !members.contains_key(*name))
            {
                return Some(format!("{} lack {missing:?}", here()));
            }
            let properties = schema.get("properties").and_then(Value::as_object);
            members.iter().find_map(|(name, value)| match properties.and_then(|known| known.get(name)) {
                Some(schema) => at(schema, value, &format!("{path}.{name}"), depth + 1),
                None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    Some(format!("{} have no {name:?}", here()))
                }
                None => None,
            })
        }
        Value::Array(items) => {
            let schema = schema.get("items")?;
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| at(schema, item, &format!("{path}[{index}]"), depth + 1))
        }
        _ => None,
    }
}

fn kinds_of(kinds: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match kinds {
        Value::String(kind) => Box::new(std::iter::once(kind.as_str())),
        Value::Array(kinds) => Box::new(kinds.iter().filter_map(Value::as_str)),
        _ => Box::new(std::iter::empty()),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => true,
    }
}
