//! Ends that are neither success nor failure: closed pipes, full disks, Ctrl-C.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use crate::command::{Place, finish};
use crate::model::{self, Shape};

fn place(context: usize) -> Place {
    let place = Place::new();
    model::write(&place.path("tiny"), Shape { context, ..Shape::default() });
    place.write("text.txt", "the cat saw the dog");
    place
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = place(4000);
    let endless = ["model", "generate", "tiny", "the", "--ignore-end", "--max-tokens", "3900"];
    for arguments in [&["completions", "bash"][..], &["manual"], &endless, &["model", "info", "tiny"]] {
        let mut child = place.command(arguments).spawn().unwrap();
        // As `head -c 1` does.
        let mut stdout = child.stdout.take().unwrap();
        let _ = stdout.read(&mut [0]);
        drop(stdout);
        let run = finish(child);
        assert_eq!(run.code, Some(0), "{arguments:?} {run:?}");
        assert!(!run.stderr.contains("error"), "{run:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let place = place(64);
    let commands: [&[&str]; 6] = [
        &["model", "info", "tiny"],
        &["model", "info", "tiny", "--json"],
        &["model", "generate", "tiny", "the"],
        &["model", "evaluate", "tiny", "text.txt"],
        &["completions", "zsh"],
        &["manual"],
    ];
    let before = place.files();
    for arguments in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = finish(place.command(arguments).stdout(full).spawn().unwrap());
        run.bad(1, &["standard output", "No space left", "free some space"]);
        assert_eq!(place.files(), before);
    }
}

/// Presses Ctrl-C.
#[cfg(unix)]
fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_an_answer() {
    let place = place(200_000);
    let arguments = ["model", "generate", "tiny", "the", "--ignore-end", "--max-tokens", "190000", "--json"];
    // Without --json the first text says that it works; with it the answer so far is printed.
    let mut child = place.command(&arguments[..7]).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    interrupt(&child);
    let run = finish(child);
    run.bad(130, &["seed", "interrupted"]);
    assert!(run.stdout.ends_with('\n'), "{run:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_conversation_that_waits() {
    let place = place(200);
    let arguments = ["model", "chat", "tiny", "--max-tokens", "5", "--json"];
    let mut child = place.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hi\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("answer"));
    interrupt(&child);
    assert_eq!(finish(child).code, Some(130));
    drop(stdin);
}
