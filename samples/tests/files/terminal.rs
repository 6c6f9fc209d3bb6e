//! What is shown on a terminal, and only there.

use super::common::PATIENCE;
use super::support::{Client, Served, bytes};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A terminal: what is written to its second half arrives at the first.
fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: both places are there to be written to, and null is allowed for what is not wanted.
    let code = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    assert_eq!(code, 0, "there is a terminal");
    // SAFETY: they are open, and nobody else's.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// What arrives there until the other half is closed.
fn shown(mut master: File) -> mpsc::Receiver<String> {
    let (tell, all) = mpsc::channel();
    thread::spawn(move || {
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        // Linux says so by an error.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        tell.send(String::from_utf8_lossy(&text).into_owned())
    });
    all
}

#[test]
fn a_long_transfer_shows_its_progress_and_removes_it() {
    let served = Served::new("progress");
    let large = bytes(20 << 20);
    fs::write(served.at("large"), &large).unwrap();
    let (master, slave) = terminal();
    let text = shown(master);
    let mut command = served.client(&["get", "large"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(slave);
    let mut client = Client::spawn(command);
    let mut content = client.first(1 << 20);
    // Longer than what needs no progress.
    thread::sleep(Duration::from_millis(1300));
    let output = client.end();
    assert!(output.status.success());
    content.extend(output.stdout);
    assert!(content == large);
    let text = text.recv_timeout(PATIENCE).unwrap();
    assert!(text.starts_with("\rlarge "), "{text:?}");
    assert!(
        text.contains("% [") && text.contains("of 20.0 MiB"),
        "{text:?}"
    );
    assert!(text.ends_with("\r\x1b[K"), "{text:?}");
}

#[test]
fn a_short_transfer_shows_none() {
    let served = Served::new("no-progress");
    fs::write(served.at("small"), b"small").unwrap();
    let (master, slave) = terminal();
    let text = shown(master);
    let mut command = served.client(&["get", "small"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(slave);
    assert!(Client::spawn(command).end().status.success());
    assert_eq!(text.recv_timeout(PATIENCE).unwrap(), "");
}

#[test]
fn a_terminal_gets_names_that_do_not_move_it() {
    let served = Served::new("escapes");
    fs::write(served.at("a\x1b[2J\nb"), b"").unwrap();
    let (master, slave) = terminal();
    let text = shown(master);
    let mut command = served.client(&["list"]);
    command.stdin(Stdio::null()).stdout(slave);
    assert!(Client::spawn(command).end().status.success());
    let text = text.recv_timeout(PATIENCE).unwrap();
    assert_eq!(text, "           0 a\\u{1b}[2J\\nb\r\n");
    // A pipe gets what there is.
    assert_eq!(served.told(&["list"]), "           0 a\x1b[2J\nb\n");
}
