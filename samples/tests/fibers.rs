//! The sample `fibers`, run as its users run it.

mod common;

use common::run;
use std::process::{Command, Output};

fn fibers(args: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_fibers")).args(args), b"")
}

fn stdout_of(args: &[&str]) -> String {
    let output = fibers(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("samples print UTF-8")
}

#[test]
fn ten_thousand_fibers_ping_each_other() {
    assert_eq!(
        stdout_of(&[]),
        "10000 fibers are waiting\n100000 pings were passed on\n0 stacks are still in use\n"
    );
}

#[test]
fn the_smallest_ring_is_one_that_pings_itself() {
    assert_eq!(
        stdout_of(&["--count", "1", "--rounds", "3"]),
        "1 fibers are waiting\n3 pings were passed on\n0 stacks are still in use\n"
    );
}

/// More than a process may have mappings, and more than an inbox holds messages. Where the kernel has no guard regions
/// (before Linux 6.13) there cannot be so many, and that is said.
#[test]
fn a_hundred_thousand_are_no_different() {
    let output = fibers(&["--count", "100000", "--rounds", "1"]);
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("stacks are in use"), "{text}");
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.ends_with("100000 pings were passed on\n0 stacks are still in use\n"),
        "{text}"
    );
}

#[test]
fn fibers_says_what_is_wrong_with_its_arguments() {
    for (args, expected) in [
        (&["--count", "0"][..], "at least 1"),
        (&["--colour"][..], "colour"),
    ] {
        let output = fibers(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
