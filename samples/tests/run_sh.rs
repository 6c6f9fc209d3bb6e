//! `samples/run.sh`, with a cargo that builds nothing and names the programs that were built for these tests.

mod common;

use common::{Lines, Running, Server, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const RUN_SH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/run.sh");

/// A directory of programs that come before all others, removed at the end.
struct Programs(PathBuf);

impl Programs {
    fn new(name: &str) -> Self {
        let own = format!("rotor-run-sh-{name}-{}", std::process::id());
        let programs = Self(std::env::temp_dir().join(own));
        let _ = fs::remove_dir_all(&programs.0);
        fs::create_dir_all(&programs.0).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_files")).parent().unwrap();
        // A program of the test's own goes before the one that was built.
        let cargo = format!(
            r#"while [ "$1" != --bin ]; do shift; done
               at='{}'; [ -x "$at/$2" ] || at='{}'
               echo "{{\"name\":\"$2\",\"executable\":\"$at/$2\"}}""#,
            programs.0.display(),
            built.display()
        );
        programs.add("cargo", &cargo);
        programs
    }

    fn add(&self, name: &str, script: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run_sh(&self, args: &[&str]) -> Command {
        let mut command = Command::new(RUN_SH);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.0.display()));
        command.args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        run(&mut self.run_sh(args), b"")
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// kv is in the place of the script, so that Ctrl-C and other signals reach it.
#[test]
fn the_default_job_shows_the_files_and_becomes_kv() {
    let programs = Programs::new("default");
    programs.add("kv", r#"echo "kv is $$, with $# arguments""#);
    let mut command = programs.run_sh(&[]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut script = Running::start(command.stderr(Stdio::null()));
    let (lines, mut told) = (Lines::of(script.stdout()), Vec::new());
    while let Some(line) = lines.next() {
        told.push(line);
    }
    assert!(script.wait().success(), "{told:#?}");
    let kv = format!("kv is {}, with 0 arguments", script.id());
    let at = |expected: &str| {
        let at = told.iter().position(|line| line.contains(expected));
        at.unwrap_or_else(|| panic!("{expected:?} is not in {told:#?}"))
    };
    let order = [
        "put large.bin: 3000000 bytes",
        "get large.bin: 3000000 bytes, as they were put",
        "removed large.bin",
        "redis-cli -p 6380",
        &kv,
    ];
    assert!(order.map(at).is_sorted(), "{told:#?}");
}

#[test]
fn a_demo_that_fails_is_the_end() {
    let programs = Programs::new("fails");
    programs.add("files", "exit 1");
    programs.add("kv", "echo kv");
    let output = programs.output(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn rpc_menu_and_files_are_run_with_their_arguments() {
    let programs = Programs::new("named");
    let mut files = Command::new(env!("CARGO_BIN_EXE_files"));
    files.arg("serve").arg(&programs.0).args(["--workers", "1"]);
    let server = Server::start(&mut files);
    let at = server.addr.to_string();
    let output = programs.output(&["rpc-menu", &at]);
    assert!(output.status.success(), "{output:?}");
    let menu = text(&output.stdout);
    assert!(
        menu.starts_with("service files, protocol version 1\n"),
        "{menu}"
    );
    let output = programs.output(&["files", "exists", "cargo", "--connect", &at]);
    assert_eq!(text(&output.stdout), "yes\n");
    // Their own words and status.
    let output = programs.output(&["files", "get", "a file", "--connect", &at]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).ends_with("files: a file: no such file\n"));
    let output = programs.output(&["rpc-menu"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn what_there_is_is_told_without_building() {
    let programs = Programs::new("told");
    programs.add("cargo", "echo built >&2; exit 1");
    let list = text(&programs.output(&["--list"]).stdout);
    for name in ["calc ", "files ", "kv ", "rpc_menu "] {
        let line = list.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.len() > 30), "{name}: {list}");
    }
    let output = programs.output(&["--help"]);
    assert!(output.status.success() && output.stdout.starts_with(b"usage: samples/run.sh"));
    for name in ["nonsense", "../kv", ".", "files/x"] {
        let output = programs.output(&[name]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let words = text(&output.stderr);
        assert!(
            words.contains("there is no sample") && words.contains("usage: "),
            "{words}"
        );
    }
}
