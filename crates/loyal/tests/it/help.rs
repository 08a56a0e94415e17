//! What the command line says about itself.

use crate::command::Place;

#[test]
fn every_help() {
    let place = Place::new();
    let manual = place.run(&["manual"]).good().to_owned();
    let commands: Vec<&str> =
        manual.lines().filter_map(|line| line.strip_prefix("## `loyal")?.strip_suffix('`')).collect();
    assert!(commands.contains(&" model generate"), "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let help = place.run(&[&words[..], &["--help"]].concat());
        let name = if words.is_empty() { "loyal".to_owned() } else { words.join("_") };
        insta::assert_snapshot!(name, help.good());
        assert!(help.stdout.contains("-h, --help"), "{command}");
    }
}

#[test]
fn the_version() {
    let text = Place::new().run(&["--version"]).good().to_owned();
    assert_eq!(text, format!("loyal {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_has_its_script() {
    let place = Place::new();
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef loyal"), ("fish", "complete -c loyal")] {
        let script = place.run(&["completions", shell]).good().to_owned();
        assert!(script.contains(word) && script.contains("generate"), "{shell}");
        let value = place.run(&["completions", shell, "--json"]).json();
        assert_eq!(value["script"], script);
    }
    assert!(place.run(&["completions", "powershell"]).good().contains("Register-ArgumentCompleter"));
    place.run(&["completions", "tcsh"]).bad(2, &["tcsh", "bash"]);
}

#[test]
fn the_bash_script_is_bash() {
    let place = Place::new();
    let script = place.run(&["completions", "bash"]).good().to_owned();
    place.write("loyal.bash", script + "\ncomplete -p loyal\n");
    let output = std::process::Command::new("bash").arg(place.path("loyal.bash")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("loyal"));
}
