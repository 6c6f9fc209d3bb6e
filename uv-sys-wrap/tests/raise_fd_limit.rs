//! Raising the limit on descriptors, in child processes whose limits a shell has lowered: the limit belongs to all
//! threads of a process, and a lowered hard limit does not come back.

#![cfg(unix)]

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use uv_sys_wrap::{FdLimit, HeldBack, fd_limit, raise_fd_limit};

const CHILD: &str = "UV_SYS_WRAP_FD_LIMIT_TEST_CHILD";

#[test]
fn a_low_soft_limit_is_raised_to_the_cap() {
    if is_child() {
        assert_eq!(fd_limit(), Some(128));
        let report = raise_fd_limit(200);
        assert_eq!((report.asked, report.before, report.now), (200, 128, 200));
        assert_eq!((report.hard, report.held_back), (Some(256), None));
        assert_eq!(report.to_string(), "asked for 200 descriptors, got 200");
        // What is reported is in force.
        let files = open_until_refused();
        assert!((150..200).contains(&files), "{files} files were opened");
        return;
    }
    in_child(
        "a_low_soft_limit_is_raised_to_the_cap",
        "ulimit -Sn 128 && ulimit -Hn 256",
    );
}

#[test]
fn the_hard_limit_holds_back_and_is_named() {
    if is_child() {
        let report = raise_fd_limit(1 << 20);
        let expected = FdLimit {
            asked: 1 << 20,
            before: 128,
            now: 256,
            hard: Some(256),
            held_back: Some(HeldBack::Hard),
        };
        assert_eq!(report, expected);
        assert_eq!(
            report.to_string(),
            "asked for 1,048,576 descriptors, got 256: the hard limit"
        );
        assert_eq!(fd_limit(), Some(256));
        // Nothing is left to raise; the answer stays the same but for what was there before.
        let again = raise_fd_limit(1 << 20);
        assert_eq!(
            again,
            FdLimit {
                before: 256,
                ..expected
            }
        );
        return;
    }
    in_child(
        "the_hard_limit_holds_back_and_is_named",
        "ulimit -Sn 128 && ulimit -Hn 256",
    );
}

#[test]
fn a_limit_above_the_cap_is_never_lowered() {
    if is_child() {
        let report = raise_fd_limit(100);
        assert_eq!((report.before, report.now), (128, 128));
        assert_eq!(report.held_back, None);
        assert_eq!(fd_limit(), Some(128));
        return;
    }
    in_child("a_limit_above_the_cap_is_never_lowered", "ulimit -Sn 128");
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test of this file under limits that a shell sets first, for at most a minute.
fn in_child(test: &str, limits: &str) {
    let output = run(Command::new("sh")
        .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "the child ran no test: {said}");
}

fn run(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > give_up {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

fn open_until_refused() -> usize {
    let files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok())
        .take(10_000)
        .collect();
    files.len()
}
