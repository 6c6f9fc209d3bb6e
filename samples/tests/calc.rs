//! The sample `calc`, run as its users run it.

mod common;

use common::{Server, goodbye, run};
use std::process::{Command, Output};

fn calc() -> Command {
    Command::new(env!("CARGO_BIN_EXE_calc"))
}

fn server() -> Server {
    Server::start(calc().arg("serve"))
}

fn ask(server: &Server, args: &[&str]) -> Output {
    let at = server.addr.to_string();
    run(calc().args(["--connect", &at]).args(args), b"")
}

fn told(server: &Server, args: &[&str]) -> String {
    let output = ask(server, args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("samples print UTF-8")
}

fn refused(server: &Server, args: &[&str]) -> String {
    let output = ask(server, args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("samples print UTF-8")
}

#[test]
fn an_expression_is_simplified_and_evaluated_by_the_server() {
    let server = server();
    assert_eq!(told(&server, &["1 + 2 * 3"]), "7\n7\n");
    let args = ["2 * (x + 3) + 0 * y", "x=4", "y=1e3"];
    assert_eq!(told(&server, &args), "2 * (x + 3)\n14\n");
    assert_eq!(told(&server, &["--", "-x ^ 2", "x=-3"]), "-x ^ 2\n-9\n");
    server.end(libc::SIGTERM);
}

#[test]
fn what_has_no_value_says_why() {
    let server = server();
    let output = ask(&server, &["x + 0"]);
    assert_eq!(output.stdout, b"x\n", "simplified it is all the same");
    for (args, expected) in [
        (&["x + 0"][..], "calc: x has no value\n"),
        (&["1 / (x - x)", "x=1"], "calc: division by zero\n"),
        (
            &["10 ^ 400"],
            "calc: 10 ^ 400 is too large, or no real number\n",
        ),
        (
            &["1 +"],
            "calc: at character 4: expected a number, a name, - or (\n",
        ),
    ] {
        assert_eq!(refused(&server, args), expected);
    }
}

/// As deep as can be read is not too deep to travel, be computed and come back.
#[test]
fn the_deepest_and_the_longest_expressions_travel() {
    let server = server();
    let deep = ["x - (".repeat(48), "x".to_owned(), ")".repeat(48)].concat();
    assert_eq!(told(&server, &[&deep, "x=2"]).lines().last(), Some("2"));
    let long = vec!["x"; 100].join(" + ");
    assert_eq!(told(&server, &[&long, "x=2"]).lines().last(), Some("200"));
    let signs = ["-".repeat(98), "x".to_owned()].concat();
    assert_eq!(told(&server, &["--", &signs, "x=2"]), "x\n2\n");
    // A wide tree of some thousand nodes.
    let wide = (0..9).fold("x".to_owned(), |tree, _| format!("({tree}) + ({tree})"));
    assert_eq!(told(&server, &[&wide, "x=2"]).lines().last(), Some("1024"));
    let words = refused(&server, &[&" ".repeat(70_000)]);
    assert!(words.contains("longer than 65536 bytes"), "{words}");
    let words = refused(&server, &[&"(".repeat(30_000)]);
    assert!(
        words.contains("nested more deeply than 100 levels"),
        "{words}"
    );
}

#[test]
fn misuse_is_told_with_the_usage_and_its_own_status() {
    for (args, expected) in [
        (&[][..], "an expression is missing"),
        (&["1", "x"], "\"x\" is not NAME=VALUE"),
        (&["1", "x=y"], "\"x=y\" is not NAME=VALUE"),
        (&["serve", "1"], "do not belong together"),
        (&["1", "--listen", "127.0.0.1:0"], "do not belong together"),
        (&["1", "--colour"], "colour"),
    ] {
        let output = run(calc().args(args), b"");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(
            words.contains(expected) && words.contains("usage: calc"),
            "{words}"
        );
    }
}

#[test]
fn what_a_server_says_does_not_move_the_terminal() {
    let at = goodbye("go away\x1b[2J\r\n").to_string();
    let output = run(calc().args(["1", "--connect", &at]), b"");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    assert!(words.ends_with("go away\\u{1b}[2J\\r\\n\n"), "{words:?}");
}

#[test]
fn without_a_server_there_is_an_answer_too() {
    // Nobody listens there who is not the system itself.
    let at = "127.0.0.1:1";
    let output = run(calc().args(["1", "--connect", at]), b"");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("refused"), "{words}");
}
