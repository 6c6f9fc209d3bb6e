//! Each command, what it prints and how it ends.

use super::common::run;
use super::support::{Served, files, refusal};
use std::fs;

#[test]
fn files_are_put_listed_had_and_removed() {
    let served = Served::new("commands");
    assert_eq!(served.told(&["list"]), "");
    let output = served.ask_with(&["put", "b"], b"from standard input");
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    let source = served.at("b");
    let source = source.to_str().unwrap();
    assert_eq!(served.told(&["put", "a", source]), "");
    fs::create_dir(served.at("sub")).unwrap();
    assert_eq!(served.told(&["put", "sub/c", source]), "");
    let list = "          19 a\n          19 b\n          19 sub/c\n";
    assert_eq!(served.told(&["list"]), list);
    assert_eq!(served.told(&["list", "--null"]), list.replace('\n', "\0"));
    assert_eq!(served.told(&["size", "sub/c"]), "19\n");
    assert_eq!(served.told(&["get", "a"]), "from standard input");
    assert_eq!(
        served.told(&["get", "a", "--offset", "5"]),
        "standard input"
    );
    assert_eq!(served.told(&["get", "a", "--offset", "19"]), "");
    assert_eq!(served.told(&["get", "a", "--offset", "99"]), "");
    assert_eq!(served.told(&["exists", "a"]), "yes\n");
    assert_eq!(served.told(&["del", "a"]), "");
    let output = served.ask(&["exists", "a"]);
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(1), &b"no\n"[..])
    );
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(served.dir.names(), ["b", "sub"]);
    served.server.end(libc::SIGTERM);
}

#[test]
fn an_empty_file_goes_both_ways() {
    let served = Served::new("empty");
    assert!(served.ask_with(&["put", "empty"], b"").status.success());
    assert_eq!(served.told(&["size", "empty"]), "0\n");
    assert_eq!(served.told(&["get", "empty"]), "");
    assert_eq!(served.told(&["list"]), "           0 empty\n");
}

#[test]
fn a_file_is_replaced_only_if_that_is_asked_for() {
    let served = Served::new("replace");
    assert!(served.ask_with(&["put", "a"], b"old").status.success());
    let output = served.ask_with(&["put", "a"], b"new");
    assert_eq!(refusal(&output), "a: there is a file of this name already");
    assert_eq!(served.told(&["get", "a"]), "old");
    assert!(
        served
            .ask_with(&["put", "a", "--replace"], b"new")
            .status
            .success()
    );
    assert_eq!(served.told(&["get", "a"]), "new");
}

#[test]
fn refusals_say_why() {
    let served = Served::with("refusals", &["--upload-max", "10"]);
    fs::create_dir(served.at("sub")).unwrap();
    for (args, expected) in [
        (&["get", "nothing"][..], "nothing: no such file"),
        (&["size", "nothing"], "nothing: no such file"),
        (&["del", "nothing"], "nothing: no such file"),
        (&["get", "sub"], "sub: not a regular file"),
        (&["del", "sub"], "sub: not a regular file"),
        (&["size", ""], ": no file can have this name"),
        (&["put", "sub"], "sub: not a regular file"),
        (&["put", "sub/"], "sub/: no file can have this name"),
        (&["put", "none/a"], "none/a: no such file"),
        (
            &["put", ".upload-1"],
            ".upload-1: no file can have this name",
        ),
        (
            &["put", "a", "/none"],
            "/none: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(served.refused(args), expected, "{args:?}");
    }
    let output = served.ask_with(&["put", "a"], b"eleven byte");
    assert_eq!(
        refusal(&output),
        "a: the server takes no more than 10 bytes"
    );
    // Refused long before it is sent.
    let output = served.ask_with(&["put", "a"], &vec![0; 5 << 20]);
    assert_eq!(
        refusal(&output),
        "a: the server takes no more than 10 bytes"
    );
    assert_eq!(served.dir.names(), ["sub"]);
}

#[test]
fn a_file_that_may_not_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let served = Served::new("permission");
    fs::write(served.at("secret"), b"secret").unwrap();
    fs::set_permissions(served.at("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(served.at("secret")).is_ok() {
        // For whom nothing is forbidden.
        return;
    }
    let words = "secret: the server may not do that (permission denied)";
    assert_eq!(served.refused(&["get", "secret"]), words);
}

#[test]
fn misuse_is_told_with_the_usage_and_its_own_status() {
    for (args, expected) in [
        (&[][..], "what to do is missing"),
        (&["fetch"], "there is no command fetch"),
        (&["get"], "get needs a NAME"),
        (&["list", "--colour"], "colour"),
    ] {
        let output = run(files().args(args), b"");
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(
            words.contains(expected) && words.contains("usage: files"),
            "{words}"
        );
    }
    let output = run(files().arg("--help"), b"");
    assert!(output.status.success() && output.stdout.starts_with(b"usage: files"));
}

#[test]
fn a_server_that_cannot_be_says_why() {
    for (args, expected) in [
        (&["serve", "/none"][..], "/none: No such file or directory"),
        (&["serve", "/etc/passwd"], "/etc/passwd: Not a directory"),
        (&["serve", "/tmp", "--listen", "nowhere"], "nowhere"),
    ] {
        let output = run(files().args(args), b"");
        let words = refusal(&output);
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn the_demo_shows_all_of_it_and_ends() {
    let output = run(files().arg("demo"), b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for expected in [
        "put greeting.txt: 14 bytes in 1 chunks",
        "put large.bin: 3000000 bytes in 92 chunks",
        "put greeting.txt: refused: there is a file of this name already",
        "         14 greeting.txt",
        "    3000000 large.bin",
        "get greeting.txt: hello, files!",
        "get large.bin: 3000000 bytes, as they were put",
        "size ../../etc/passwd: refused: the name leads out of the served directory",
        "del large.bin: done",
        "exists greeting.txt: false",
        "  created large.bin",
        "  removed large.bin",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    let dir = text.split(' ').nth(1).unwrap();
    assert!(!std::path::Path::new(dir).exists(), "it cleans up: {dir}");
}
