//! `cargo local` in a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::command::Place;

/// Runs a command whose input, output and errors are a terminal. Returns what the terminal got.
fn shown(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let end: OwnedFd = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(variables.iter().copied());
    for set in [Command::stdin, Command::stdout, Command::stderr] {
        set(&mut command, Stdio::from(end.try_clone().unwrap()));
    }
    let mut process = command.spawn().unwrap();
    // The terminal ends with its last writer.
    drop((command, end));
    let reader = std::thread::spawn(move || {
        let (mut terminal, mut got, mut buffer) = (File::from(terminal), Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            got.extend_from_slice(&buffer[..length]);
        }
        got
    });
    process.wait().unwrap();
    String::from_utf8(reader.join().unwrap()).unwrap()
}

/// Returns whether a text selects a color.
fn has_color(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|sequence| {
        let (codes, _) = sequence.split_once(|char: char| char.is_alphabetic()).unwrap_or_default();
        let selects = codes.split(';').any(|code| code.parse().is_ok_and(|code: u8| (30..48).contains(&code)));
        selects && sequence[codes.len()..].starts_with('m')
    })
}

#[test]
fn an_error_is_red_in_a_terminal_unless_colors_are_off() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["demo", "--port", "0", "--data", file.path().to_str().unwrap()];
    let colored = shown(&arguments, &[]);
    assert!(has_color(&colored) && colored.contains("error:"), "{colored:?}");
    let plain = shown(&arguments, &[("NO_COLOR", "1")]);
    assert!(!has_color(&plain) && plain.contains("error: "), "{plain:?}");
}

#[test]
fn a_demo_shows_its_status_below_its_lines_in_a_terminal() {
    let place = Place::with(&["echo hello"]);
    let folder = place.folder.path();
    let (data, source) = (folder.join("data"), folder.join("app"));
    let arguments = [&["demo"], &place.arguments(&data, &source)[..]].concat();
    let colored = shown(&arguments, &[]);
    assert!(has_color(&colored), "{colored:?}");
    // A status is erased before the next line is written.
    assert!(colored.contains("\u{1b}[2K"), "{colored:?}");
    assert!(
        colored.contains("stdout | hello\r\n") && colored.contains("The deployment succeeded after "),
        "{colored:?}"
    );

    std::fs::remove_dir_all(&data).unwrap();
    let plain = shown(&arguments, &[("NO_COLOR", "1")]);
    assert!(!has_color(&plain) && plain.contains("\u{1b}[2K"), "{plain:?}");

    std::fs::remove_dir_all(&data).unwrap();
    let dumb = shown(&arguments, &[("TERM", "dumb")]);
    assert!(!dumb.contains("\u{1b}[2K") && dumb.contains("stdout | hello\r\n"), "{dumb:?}");
}
