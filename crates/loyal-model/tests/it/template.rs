//! Chat templates render as in `transformers`.

use std::collections::BTreeMap;

use loyal_model::template::{ChatTemplate, Date, Message};

use crate::shared::{golden, json};

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned() }
}

fn special() -> BTreeMap<String, String> {
    [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(a, b)| (a.to_owned(), b.to_owned())).into()
}

#[test]
fn golden_conversations() {
    let golden = json(&golden("templates.json"));
    let date = Date { year: 2026, month: 11, day: 24 };
    let mut refused = 0;
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let source = golden["templates"][name].as_str().unwrap();
        let template = ChatTemplate::new(source, special()).unwrap().on(date);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let messages: Vec<Message> = case["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| Message { role: text(&entry["role"]), content: text(&entry["content"]) })
            .collect();
        let found = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap());
        match case["error"].as_str() {
            None => assert_eq!(found.unwrap(), case["text"].as_str().unwrap(), "{name}: {messages:?}"),
            Some(error) => {
                refused += 1;
                let found = found.unwrap_err().to_string();
                assert!(found.contains(error), "{name}: {found} for {error}");
            }
        }
    }
    assert!(refused > 0, "some conversations must be refused");
}

#[test]
fn templates_are_found_where_models_keep_them() {
    let folder = tempfile::tempdir().unwrap();
    assert!(ChatTemplate::read(folder.path()).unwrap().is_none());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let read = || {
        ChatTemplate::read(folder.path()).unwrap().unwrap().render(&[message("user", "hi")], false).unwrap()
    };
    write(
        "tokenizer_config.json",
        r#"{"bos_token": {"content": "<b>"}, "chat_template": "{{ bos_token }}one"}"#,
    );
    assert_eq!(read(), "<b>one");
    let list = r#"{"chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "two"}]}"#;
    write("tokenizer_config.json", list);
    assert_eq!(read(), "two");
    write("chat_template.jinja", "{{ messages[0].content }} three");
    assert_eq!(read(), "hi three");
}

#[test]
fn dates_are_passed_in() {
    let source = "{{ strftime_now('%A %-d %B %Y, %a %d %b %m %y %e %F %H:%M') if strftime_now is defined else 'no date' }}";
    let at = |year, month, day| {
        ChatTemplate::new(source, special())
            .unwrap()
            .on(Date { year, month, day })
            .render(&[], false)
            .unwrap()
    };
    assert_eq!(at(2024, 2, 29), "Thursday 29 February 2024, Thu 29 Feb 02 24 29 2024-02-29 00:00");
    assert_eq!(at(1999, 12, 5), "Sunday 5 December 1999, Sun 05 Dec 12 99  5 1999-12-05 00:00");
    assert_eq!(ChatTemplate::new(source, special()).unwrap().render(&[], false).unwrap(), "no date");
}

#[test]
fn generation_marks_change_nothing() {
    let source = "a{% generation %} b {%- endgeneration %}c";
    assert_eq!(ChatTemplate::new(source, special()).unwrap().render(&[], false).unwrap(), "a bc");
}

#[test]
fn broken_and_hostile_templates_are_refused() {
    let error = |source: &str| match ChatTemplate::new(source, special()) {
        Err(error) => error.to_string(),
        Ok(template) => template.render(&[message("user", "hi")], false).unwrap_err().to_string(),
    };
    let forever = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(error(forever).contains("steps"), "{}", error(forever));
    assert!(error("{% if %}").contains("line 1"), "{}", error("{% if %}"));
    assert!(error("{% include 'tokenizer.json' %}").contains("template"));
    assert!(error("{{ raise_exception('no tools here') }}").contains("no tools here"));
    assert!(error(&"x".repeat(2 << 20)).contains("too long"));
    assert!(error("{{ messages[0].content.nonsense() }}").contains("nonsense"));
    let deep = format!("{}1{}", "{{ ".to_owned() + &"(".repeat(100_001), ")".repeat(100_001) + " }}");
    assert!(error(&deep).contains("recursion"), "{}", error(&deep));
    let macros = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(error(macros).contains("recursion"), "{}", error(macros));
}
