//! A contract's ABI as Solidity text, for Rust's `sol!`: the same facts as the JSON, in a form people read too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The text of `contract <name>`: structs by name, then constructor, functions, events and errors as the ABI has them.
///
/// # Errors
/// When the ABI holds something this does not know.
pub(super) fn text(name: &str, abi: &Value) -> Result<String> {
    let entries = abi.as_array().context("an ABI is a list")?;
    let mut structs = BTreeMap::new();
    let mut items = String::new();
    for entry in entries {
        let inputs = parameters(entry, "inputs", &mut structs)?;
        let called = entry["name"].as_str().unwrap_or_default();
        let _ = match entry["type"].as_str().context("an entry has a type")? {
            "constructor" => writeln!(items, "    constructor({inputs});"),
            "event" => writeln!(items, "    event {called}({inputs});"),
            "error" => writeln!(items, "    error {called}({inputs});"),
            "function" => {
                let outputs = parameters(entry, "outputs", &mut structs)?;
                let returns = if outputs.is_empty() { outputs } else { format!(" returns ({outputs})") };
                let mutability = match entry["stateMutability"].as_str() {
                    Some(word @ ("view" | "pure" | "payable")) => format!(" {word}"),
                    _ => String::new(),
                };
                writeln!(items, "    function {called}({inputs}) external{mutability}{returns};")
            }
            "receive" | "fallback" => Ok(()),
            other => bail!("{called}: nobody knows what a {other} is"),
        };
    }
    let structs: String = structs.into_values().collect();
    Ok(format!("// Made by `cargo xtask contracts --write`.\ncontract {name} {{\n{structs}{items}}}\n"))
}

/// `type name, type name`, with `indexed` where it is so.
fn parameters(entry: &Value, field: &str, structs: &mut BTreeMap<String, String>) -> Result<String> {
    let Some(list) = entry[field].as_array() else { return Ok(String::new()) };
    let each = list.iter().map(|parameter| {
        let kind = kind(parameter, structs)?;
        let indexed = if parameter["indexed"] == true { " indexed" } else { "" };
        let name = parameter["name"].as_str().unwrap_or_default();
        Ok(format!("{kind}{indexed} {name}").trim_end().to_owned())
    });
    Ok(each.collect::<Result<Vec<_>>>()?.join(", "))
}

/// The type of a parameter; a struct is written down by its name on the way.
fn kind(parameter: &Value, structs: &mut BTreeMap<String, String>) -> Result<String> {
    let plain = parameter["type"].as_str().context("a parameter has a type")?;
    let Some(array) = plain.strip_prefix("tuple") else { return Ok(plain.to_owned()) };
    let internal = parameter["internalType"].as_str().context("a struct has a name")?;
    let name = internal.trim_start_matches("struct ").trim_end_matches(array);
    let name = name.rsplit('.').next().unwrap_or(name).to_owned();
    let mut text = format!("    struct {name} {{\n");
    for member in parameter["components"].as_array().context("a struct has members")? {
        let kind = kind(member, structs)?;
        let _ = writeln!(text, "        {kind} {};", member["name"].as_str().unwrap_or_default());
    }
    text.push_str("    }\n");
    if structs.insert(name.clone(), text.clone()).is_some_and(|before| before != text) {
        bail!("two structs are called {name}");
    }
    Ok(format!("{name}{array}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_abi_reads_as_solidity() {
        let point = json!({ "type": "tuple[]", "name": "points", "internalType": "struct Map.Point[]",
            "components": [{ "type": "uint8", "name": "x" }] });
        let abi = json!([
            { "type": "constructor", "inputs": [{ "type": "address", "name": "a" }] },
            { "type": "function", "name": "f", "stateMutability": "view", "inputs": [point],
              "outputs": [{ "type": "bool", "name": "" }] },
            { "type": "event", "name": "E", "inputs": [{ "type": "bytes32", "name": "id", "indexed": true }] },
            { "type": "error", "name": "Map_Lost", "inputs": [] },
            { "type": "receive", "stateMutability": "payable" }
        ]);
        let expected = "// Made by `cargo xtask contracts --write`.
contract Map {
    struct Point {
        uint8 x;
    }
    constructor(address a);
    function f(Point[] points) external view returns (bool);
    event E(bytes32 indexed id);
    error Map_Lost();
}
";
        assert_eq!(text("Map", &abi).unwrap(), expected);
    }

    #[test]
    fn what_is_unknown_is_not_guessed() {
        assert!(text("X", &json!([{ "type": "modifier" }])).is_err());
        assert!(text("X", &json!({})).is_err());
    }
}
