//! The sample `rpc_menu`, run on the servers of others.

mod common;

use common::{Server, goodbye, run};
use std::process::{Command, Output};

fn rpc_menu(args: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_rpc_menu")).args(args), b"")
}

fn menu_of(server: &Server) -> String {
    let output = rpc_menu(&[&server.addr.to_string()]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("samples print UTF-8")
}

#[test]
fn the_menu_of_a_server_is_printed_with_its_limits() {
    let mut files = Command::new(env!("CARGO_BIN_EXE_files"));
    let dir = std::env::temp_dir();
    let server = Server::start(files.arg("serve").arg(dir).args(["--workers", "1"]));
    let menu = menu_of(&server);
    let lines: Vec<_> = menu.lines().collect();
    assert_eq!(lines[0], "service files, protocol version 1");
    for expected in [
        "frames             at most ",
        "calls in flight    at most 256",
        "window of a stream 262144 bytes",
        "metadata of a call at most 1024 bytes",
        "unknown calls      refused",
    ] {
        assert!(menu.contains(expected), "{expected:?} is not in:\n{menu}");
    }
    let entries: Vec<_> = menu.split("\n\n").skip(1).collect();
    assert_eq!(entries.len(), 7, "{menu}");
    for (rank, call, kind, digests) in [
        (0, "list_all(", "call with a server stream", 2),
        (1, "size(name: Name)", "unary call", 2),
        (
            3,
            "put(name: Name, may_replace: bool, chunks: stream Bytes)",
            "client stream",
            3,
        ),
    ] {
        let entry = entries[rank];
        assert!(entry.starts_with(&format!("{rank:3} ")), "{entry}");
        for expected in [call, kind, "version 1"] {
            assert!(entry.contains(expected), "{expected:?} is not in:\n{entry}");
        }
        let found = entry
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().next());
        let found: Vec<_> = found.flatten().collect();
        assert_eq!(found.len(), digests, "{entry}");
        let is_digest = |text: &&str| text.len() == 16 && u64::from_str_radix(text, 16).is_ok();
        assert!(found.iter().all(is_digest), "{entry}");
    }
}

#[test]
fn another_server_has_another_menu() {
    let server = Server::start(Command::new(env!("CARGO_BIN_EXE_calc")).arg("serve"));
    let menu = menu_of(&server);
    assert!(
        menu.starts_with("service calc, protocol version 1\n"),
        "{menu}"
    );
    assert!(menu.contains("simplify(expr: Expr) -> Expr\n"), "{menu}");
}

#[test]
fn what_a_server_says_does_not_move_the_terminal() {
    let output = rpc_menu(&[&goodbye("go away\x1b[2J\r\n").to_string()]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    assert!(words.ends_with("go away\\u{1b}[2J\\r\\n\n"), "{words:?}");
}

#[test]
fn what_is_no_such_server_is_told() {
    // Nobody listens there who is not the system itself.
    let at = "127.0.0.1:1";
    let words = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = rpc_menu(&[at]);
    assert_eq!(output.status.code(), Some(1));
    let text = words(output);
    assert!(text.starts_with(&format!("rpc_menu: {at}: ")), "{text}");
    for args in [&[][..], &["a", "b"], &["--colour"]] {
        let output = rpc_menu(args);
        assert_eq!(output.status.code(), Some(2));
        let text = words(output);
        assert!(text.contains("usage: rpc_menu ADDR"), "{text}");
    }
}
