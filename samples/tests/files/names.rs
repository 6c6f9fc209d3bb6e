//! Names of every kind: those that lead out, those that are not UTF-8, and those of what is no file.

use super::support::{Served, TestDir};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;

#[test]
fn no_name_leads_out_whatever_is_asked() {
    let outside = TestDir::new("outside");
    let secret = outside.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let served = Served::new("inside");
    fs::create_dir(served.at("sub")).unwrap();
    fs::write(served.at("a"), b"inside").unwrap();
    symlink(&secret, served.at("absolute")).unwrap();
    symlink(outside.path(), served.at("directory")).unwrap();
    symlink("../../../../../../etc/passwd", served.at("sub/relative")).unwrap();
    symlink("../a", served.at("sub/within")).unwrap();
    let up = format!(
        "../{}/secret",
        outside.path().file_name().unwrap().display()
    );
    let names = [
        up.as_str(),
        "sub/../../secret",
        secret.to_str().unwrap(),
        "absolute",
        "directory/secret",
        "sub/relative",
        "/etc/passwd",
    ];
    for name in names {
        let expected = format!("{name}: the name leads out of the served directory");
        for command in ["get", "size", "exists"] {
            assert_eq!(served.refused(&[command, name]), expected, "{command}");
        }
    }
    for name in [up.as_str(), secret.to_str().unwrap(), "directory/secret"] {
        let expected = format!("{name}: the name leads out of the served directory");
        assert_eq!(served.refused(&["del", name]), expected);
        assert_eq!(served.refused(&["put", "--replace", name]), expected);
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    // What stays inside is followed; what leads out is not listed.
    assert_eq!(served.told(&["get", "sub/within"]), "inside");
    assert_eq!(served.told(&["get", "sub/../a"]), "inside");
    let list = "           6 a\n           6 sub/within\n";
    assert_eq!(served.told(&["list"]), list);
}

#[test]
fn names_that_are_not_utf8_come_back_as_they_went() {
    let served = Served::new("bytes");
    let name = OsString::from_vec(b"n\xffame\xfe".to_vec());
    let output = served.ask_with(&[OsStr::new("put"), &name], b"content");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(served.dir.path().join(&name)).unwrap(), b"content");
    assert_eq!(served.told(&[OsStr::new("get"), &name]), "content");
    assert_eq!(served.told(&[OsStr::new("size"), &name]), "7\n");
    let listed = served.ask(&["list"]).stdout;
    assert_eq!(listed, b"           7 n\xffame\xfe\n");
    assert_eq!(served.told(&[OsStr::new("del"), &name]), "");
    assert!(served.dir.names().is_empty());
    // In messages they are escaped, and so are those that would move a terminal.
    let moves = OsStr::from_bytes(b"a\x1b[2J\xff");
    let words = served.refused(&[OsStr::new("get"), moves]);
    assert_eq!(words, "a\\u{1b}[2J\\xff: no such file");
}

#[test]
fn what_is_no_file_neither_blocks_nor_is_served() {
    let served = Served::new("kinds");
    served.dir.fifo("pipe");
    symlink("pipe", served.at("to_pipe")).unwrap();
    symlink("to_itself", served.at("to_itself")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(served.at("socket")).unwrap();
    for name in ["pipe", "to_pipe", "socket"] {
        let expected = format!("{name}: not a regular file");
        assert_eq!(served.refused(&["get", name]), expected);
        assert_eq!(served.refused(&["size", name]), expected);
    }
    for name in ["pipe", "socket"] {
        let expected = format!("{name}: not a regular file");
        assert_eq!(served.refused(&["put", "--replace", name]), expected);
        assert_eq!(served.refused(&["del", name]), expected);
        assert_eq!(served.ask(&["exists", name]).stdout, b"no\n");
    }
    let words = served.refused(&["get", "to_itself"]);
    assert!(words.contains("symbolic links"), "{words}");
    assert_eq!(served.told(&["list"]), "");
}

#[test]
fn twenty_thousand_files_are_listed() {
    let served = Served::new("many");
    for sub in 0..4 {
        let sub = served.at(&format!("sub{sub}"));
        fs::create_dir(&sub).unwrap();
        for n in 0..5000 {
            fs::File::create(sub.join(format!("{n:04}"))).unwrap();
        }
    }
    let list = served.told(&["list"]);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 20_000);
    assert_eq!(lines[0], "           0 sub0/0000");
    assert_eq!(lines[12_345], "           0 sub2/2345");
}
