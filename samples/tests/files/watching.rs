//! Changes, whoever makes them, are told to who watches.

use super::support::Served;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

#[test]
fn own_changes_and_those_of_others_are_told() {
    let served = Served::new("watch");
    fs::create_dir(served.at("sub")).unwrap();
    fs::write(served.at("old"), b"old").unwrap();
    let watching = [served.watch(), served.watch()];
    // Through the server: a file that was received appears in one step.
    assert!(served.ask_with(&["put", "a"], b"new").status.success());
    for one in &watching {
        assert_eq!(one.until(&["created a"]), ["created a"]);
    }
    assert!(served.ask_with(&["put", "sub/a"], b"new").status.success());
    served.told(&["del", "a"]);
    // From outside.
    fs::write(served.at("b"), b"b").unwrap();
    fs::write(served.at("old"), b"new").unwrap();
    fs::rename(served.at("b"), served.at("sub/c")).unwrap();
    fs::remove_file(served.at("sub/c")).unwrap();
    let expected = [
        "created sub/a",
        "removed a",
        "created b",
        "written b",
        "written old",
        "removed b",
        "created sub/c",
        "removed sub/c",
    ];
    for one in &watching {
        assert_eq!(one.until(&["removed sub/c"]), expected);
    }
}

#[test]
fn a_directory_that_is_made_later_is_watched_too_and_its_end_told_once() {
    let served = Served::new("watch-sub");
    let watching = served.watch();
    fs::create_dir(served.at("sub")).unwrap();
    assert_eq!(watching.until(&["created sub"]), ["created sub"]);
    // It takes the system's watcher a moment to look into it.
    let mut told = Vec::new();
    for n in 0.. {
        fs::write(served.at(&format!("sub/{n}")), b"").unwrap();
        fs::write(served.at("beacon"), b"").unwrap();
        fs::remove_file(served.at("beacon")).unwrap();
        told.extend(watching.until(&["removed beacon"]));
        if told.iter().any(|line| line.starts_with("created sub/")) {
            break;
        }
        assert!(n < 1000, "{told:?}");
    }
    fs::remove_dir_all(served.at("sub")).unwrap();
    fs::write(served.at("end"), b"").unwrap();
    let rest = watching.until(&["created end"]);
    let ends = rest.iter().filter(|line| *line == "removed sub").count();
    assert_eq!(ends, 1, "{rest:?}");
}

/// A directory's files may be older than the system's watch of it.
#[test]
fn what_is_in_a_directory_that_appears_is_told() {
    let served = Served::new("watch-full");
    let watching = served.watch();
    for n in 0..30 {
        let full = served.at(&format!("full{n}"));
        fs::create_dir(&full).unwrap();
        for k in 0..3 {
            fs::write(full.join(k.to_string()), b"").unwrap();
        }
    }
    let expect = |mut names: Vec<String>| {
        while !names.is_empty() {
            let lines: Vec<_> = names.iter().map(|name| format!("created {name}")).collect();
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let told = watching.until(&lines);
            let last = &told[told.len() - 1]["created ".len()..];
            names.retain(|name| name != last);
        }
    };
    expect(
        (0..90)
            .map(|n| format!("full{}/{}", n / 3, n % 3))
            .collect(),
    );
    // One that was full before, and what is deep in it.
    fs::create_dir_all(served.at("full0/sub/deep")).unwrap();
    fs::write(served.at("full0/sub/deep/file"), b"").unwrap();
    symlink(".", served.at("full0/loop")).unwrap();
    fs::rename(served.at("full0"), served.at("moved")).unwrap();
    expect(
        ["0", "1", "2", "sub/deep/file"]
            .map(|name| format!("moved/{name}"))
            .into(),
    );
    // It is watched there.
    fs::write(served.at("moved/sub/new"), b"").unwrap();
    watching.until(&["created moved/sub/new"]);
    fs::write(served.at("end"), b"").unwrap();
    let rest = watching.until(&["created end"]);
    assert!(!rest.iter().any(|line| line.contains("loop/")), "{rest:?}");
}

#[test]
fn reading_is_no_change_and_uploads_are_told_when_complete() {
    let served = Served::new("watch-quiet");
    fs::write(served.at("a"), b"a").unwrap();
    let watching = served.watch();
    served.told(&["get", "a"]);
    served.told(&["list"]);
    assert_eq!(
        served.refused(&["put", "a"]),
        "a: there is a file of this name already"
    );
    fs::write(served.dir.path().join(OsStr::from_bytes(b".upload-x")), b"").unwrap();
    fs::write(served.at("end"), b"").unwrap();
    assert_eq!(watching.until(&["created end"]), ["created end"]);
}

/// More changes than a client reads are not kept for it: it hears that some were lost, and the server goes on.
#[test]
fn who_does_not_read_hears_later_that_changes_were_lost() {
    let served = Served::new("watch-slow");
    let slow = served.watch();
    let name = "n".repeat(200);
    slow.process.signal(libc::SIGSTOP);
    for n in 0..20_000 {
        let path = served.at(&format!("{name}{n}"));
        fs::write(&path, b"").unwrap();
        fs::remove_file(&path).unwrap();
    }
    slow.process.signal(libc::SIGCONT);
    slow.until(&["lost"]);
    // A change that is made now is told, unless what was lost includes it; then that is told once more.
    for n in 0.. {
        let end = format!("end{n}");
        fs::write(served.at(&end), b"").unwrap();
        let told = format!("created {end}");
        if slow.until(&[&told, "lost"]).last() == Some(&told) {
            break;
        }
        assert!(n < 1000, "it loses for ever");
    }
}
