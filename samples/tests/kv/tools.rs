//! Redis' own tools work with it. Where they are not installed this is skipped, but not in CI.

use crate::support::{Server, output_of};
use std::process::Command;

fn is_installed(tool: &str) -> bool {
    if Command::new(tool).arg("--version").output().is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{tool} is missing: install redis-tools"
    );
    println!("SKIPPED: {tool} is not installed; it is in the package redis-tools");
    false
}

fn redis_cli(workers: &str) {
    if !is_installed("redis-cli") {
        return;
    }
    let server = Server::start(&["--workers", workers]);
    for (args, expected) in [
        (&["ping"][..], "PONG\n"),
        (&["set", "greeting", "hello there"], "OK\n"),
        (&["get", "greeting"], "hello there\n"),
        (
            &["--no-raw", "mget", "greeting", "x"],
            "1) \"hello there\"\n2) (nil)\n",
        ),
        (
            &["incr", "greeting"],
            "ERR value is not an integer or out of range\n\n",
        ),
        (&["--scan"], "greeting\n"),
        (&["-r", "3", "incr", "n"], "1\n2\n3\n"),
        (&["info", "nothing"], ""),
    ] {
        let mut cli = Command::new("redis-cli");
        let (status, text) = output_of(cli.args(["-p", server.port()]).args(args));
        assert!(status.success(), "{args:?}: {text}");
        assert_eq!(text, expected, "{args:?}");
    }
}

fn redis_benchmark(workers: &str) {
    if !is_installed("redis-benchmark") {
        return;
    }
    let server = Server::start(&["--workers", workers]);
    for depth in ["1", "16"] {
        let mut benchmark = Command::new("redis-benchmark");
        benchmark.args([
            "-p",
            server.port(),
            "-t",
            "ping,set,get,incr,mset",
            "-n",
            "5000",
            "-P",
            depth,
        ]);
        let (status, text) = output_of(benchmark.arg("--csv"));
        assert!(status.success(), "{text}");
        let lower = text.to_lowercase();
        assert!(
            !lower.contains("error") && !lower.contains("warning"),
            "{text}"
        );
        for test in [
            "PING_INLINE",
            "PING_MBULK",
            "SET",
            "GET",
            "INCR",
            "MSET (10 keys)",
        ] {
            assert!(text.contains(&format!("\"{test}\",")), "{test}: {text}");
        }
    }
    server.assert_serves();
}

crate::support::with_one_and_three_workers! {
    redis_cli
    redis_benchmark
}
