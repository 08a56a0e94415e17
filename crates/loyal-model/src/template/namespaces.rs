//! Namespaces that could hold themselves: writing such a value out would never end, so templates that could make
//! one are refused before they run.

/// Says why `source` is refused, if it is. A namespace may be made by `set name = namespace(…)` and used as
/// `name.attribute`, as real templates do; any other use could store it inside itself.
pub(super) fn fault(source: &str) -> Option<String> {
    let tokens: Vec<Vec<&str>> = tags(source).into_iter().map(words).collect();
    let made: Vec<&str> = tokens.iter().flat_map(|words| words.windows(4)).filter_map(made_here).collect();
    for words in &tokens {
        for (at, &word) in words.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map_or("", |index| words[index]);
            let after = |ahead: usize| words.get(at + ahead).copied().unwrap_or("");
            let is_attribute = before(1) == ".";
            if word == "namespace" && !is_attribute {
                let is_making = before(1) == "=" && before(3) == "set" && after(1) == "(";
                if !is_making {
                    return Some("a namespace must be made by {% set name = namespace(…) %}".to_owned());
                }
            } else if made.contains(&word) && !is_attribute {
                let is_made = before(1) == "set" && after(1) == "=" && after(2) == "namespace";
                if !is_made && !matches!(after(1), "." | "[") {
                    return Some(format!("the namespace {word} must be used as {word}.attribute only"));
                }
            }
        }
    }
    None
}

fn made_here<'a>(words: &[&'a str]) -> Option<&'a str> {
    match words {
        ["set", name, "=", "namespace"] => Some(name),
        _ => None,
    }
}

/// What stands inside `{% … %}` and `{{ … }}`.
fn tags(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("{%").into_iter().chain(rest.find("{{")).min() {
        let inner = &rest[start + 2..];
        // An unclosed tag goes to the end; the engine will refuse it.
        let length = inner.find("%}").into_iter().chain(inner.find("}}")).min().unwrap_or(inner.len());
        found.push(&inner[..length]);
        rest = &inner[length..];
    }
    found
}

/// Names and single signs of a tag, without white space and without what stands in quotes.
fn words(tag: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = tag.trim_start_matches(['-', '+']).trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => {
                let closing = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
                rest = &rest[closing..];
                rest = rest.trim_start();
                continue;
            }
            c if is_name(c) => rest.find(|c: char| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_real_templates_do_passes() {
        for source in [
            "{% set ns = namespace(found=false) %}{% set ns.found = true %}{{ ns.found }}",
            "{%- set ns=namespace(count=0) -%}{% set ns.count = ns.count + 1 %}{{ ns['count'] }}",
            "{{ 'the namespace ns' }} namespace {{ tool.namespace }} {{ message.ns }}",
        ] {
            assert_eq!(fault(source), None, "{source}");
        }
    }

    #[test]
    fn a_namespace_that_could_hold_itself_is_refused() {
        for source in [
            "{% set ns = namespace() %}{% set ns.a = ns %}",
            "{% set ns = namespace() %}{% set ns.a = [ns] %}",
            "{% set ns = namespace() %}{% set m = ns %}{% set ns.a = m %}",
            "{% set ns = namespace() %}{{ f(ns) }}",
            "{% set ns = namespace() %}{% set ns.a = namespace() %}",
            "{% set f = namespace %}",
            "{{ namespace(a=1) }}",
        ] {
            assert!(fault(source).is_some(), "{source}");
        }
    }
}
