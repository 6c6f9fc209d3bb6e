//! Whole files, and what is left of transfers that are cut off.

use super::common::{Lines, Running, run};
use super::support::{Client, Served, TestDir, bytes, files, refusal, wait_until};
use std::fs;
use std::io::Write;
use std::process::{ChildStdin, Stdio};
use std::thread;
use std::time::Duration;

const LARGE: usize = 20 << 20;

#[test]
fn a_large_file_is_the_same_after_it_went_both_ways() {
    let served = Served::new("large");
    let large = bytes(LARGE);
    assert!(served.ask_with(&["put", "large"], &large).status.success());
    assert!(fs::read(served.at("large")).unwrap() == large);
    let output = served.ask(&["get", "large"]);
    assert!(output.status.success() && output.stdout == large);
    assert!(output.stderr.is_empty(), "no progress where nobody sees it");
    let offset = (LARGE - 100_000).to_string();
    let output = served.ask(&["get", "large", "--offset", &offset]);
    assert!(output.stdout == large[LARGE - 100_000..]);
}

#[test]
fn several_clients_at_once_are_served() {
    let served = Served::new("several");
    let content: Vec<Vec<u8>> = (0..8).map(|n| bytes((n + 1) << 17)).collect();
    thread::scope(|threads| {
        for (n, content) in content.iter().enumerate() {
            let name = n.to_string();
            let mut put = served.client(&["put", &name]);
            let mut get = served.client(&["get", &name]);
            threads.spawn(move || {
                let output = run(&mut put, content);
                assert!(output.status.success(), "{output:?}");
                assert!(run(&mut get, b"").stdout == *content);
            });
        }
    });
    assert_eq!(served.dir.names().len(), 8);
}

/// A client that puts, and has sent so much that the server has some of it; and what it waits for more from.
fn begun_upload(served: &Served) -> (Client, ChildStdin) {
    let mut client = Client::start(served.client(&["put", "a"]));
    let mut stdin = client.stdin();
    stdin.write_all(&bytes(1 << 20)).unwrap();
    wait_until(|| {
        let mut entries = fs::read_dir(served.dir.path()).unwrap().flatten();
        entries.any(|entry| entry.metadata().is_ok_and(|about| about.len() > 0))
    });
    (client, stdin)
}

#[test]
fn an_upload_that_is_cut_off_leaves_nothing() {
    let served = Served::new("cut-off");
    let (mut client, stdin) = begun_upload(&served);
    let names = served.dir.names();
    assert!(
        names.len() == 1 && names[0].starts_with(".upload-"),
        "{names:?}"
    );
    assert_eq!(served.told(&["list"]), "", "it is nobody's yet");
    assert_eq!(
        served.refused(&["get", &names[0]]),
        format!("{}: no file can have this name", names[0])
    );
    client.kill();
    client.end();
    drop(stdin);
    wait_until(|| served.dir.names().is_empty());
    served.server.end(libc::SIGTERM);
}

#[test]
fn a_server_that_ends_removes_what_is_not_complete() {
    let mut served = Served::new("ends");
    let (client, stdin) = begun_upload(&served);
    served.server.process.signal(libc::SIGTERM);
    // The second signal ends the drain.
    thread::sleep(Duration::from_millis(200));
    served.server.process.signal(libc::SIGTERM);
    served.server.process.wait();
    assert_eq!(served.dir.names(), [""; 0]);
    drop(stdin);
    assert_eq!(client.end().status.code(), Some(1));
}

#[test]
fn a_transfer_that_stands_still_is_ended() {
    let served = Served::with("idle", &["--idle", "1"]);
    let (client, mut stdin) = begun_upload(&served);
    wait_until(|| served.dir.names().is_empty());
    // The client hears of it as soon as it goes on.
    let _ = stdin.write_all(&bytes(1 << 20));
    drop(stdin);
    assert_eq!(refusal(&client.end()), "a: nothing moved for too long");
    fs::write(served.at("large"), bytes(LARGE)).unwrap();
    let mut client = Client::start(served.client(&["get", "large"]));
    client.first(1000);
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(refusal(&client.end()), "large: nothing moved for too long");
}

#[test]
fn a_local_file_that_cannot_be_read_stores_nothing() {
    let served = Served::new("local");
    let words = served.refused(&["put", "a", "/"]);
    assert_eq!(words, "/: Is a directory (os error 21)");
    wait_until(|| served.dir.names().is_empty());
}

#[test]
fn who_reads_no_further_ends_the_client_and_not_the_server() {
    let served = Served::new("left");
    fs::write(served.at("large"), bytes(LARGE)).unwrap();
    let mut client = Client::start(served.client(&["get", "large"]));
    client.first(1000);
    client.close_stdout();
    let output = client.end();
    assert_eq!(
        (output.status.code(), &output.stderr[..]),
        (Some(1), &b""[..])
    );
    assert_eq!(served.told(&["size", "large"]), format!("{LARGE}\n"));
}

#[test]
fn a_file_that_becomes_shorter_is_told_rather_than_made_up() {
    let served = Served::new("shorter");
    fs::write(served.at("a"), bytes(LARGE)).unwrap();
    let mut client = Client::start(served.client(&["get", "a"]));
    client.first(1000);
    // The client reads no further before we do, so the server has not read far either.
    fs::write(served.at("a"), b"short").unwrap();
    let words = "a: the file became shorter while it was sent";
    assert_eq!(refusal(&client.end()), words);
}

#[test]
fn a_slow_reader_is_waited_for_and_takes_little_memory() {
    let served = Served::new("slow");
    fs::write(served.at("large"), bytes(LARGE)).unwrap();
    let before = resident_kib(served.server.process.id());
    let mut slow: Vec<_> = (0..8)
        .map(|_| Client::start(served.client(&["get", "large"])))
        .collect();
    for client in &mut slow {
        client.first(1000);
    }
    thread::sleep(Duration::from_millis(300));
    let grown = resident_kib(served.server.process.id()).saturating_sub(before);
    assert!(
        grown < 8 * 2048,
        "{grown} KiB for 8 clients that read slowly"
    );
    // Another one is served meanwhile.
    assert_eq!(served.told(&["size", "large"]), format!("{LARGE}\n"));
    for client in slow {
        assert_eq!(client.end().stdout.len(), LARGE - 1000);
    }
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
fn a_unix_socket_serves_as_well() {
    let dir = TestDir::new("unix");
    fs::write(dir.path().join("a"), b"abc").unwrap();
    let at = format!("unix:{}", dir.path().join("socket").display());
    let mut command = files();
    command.arg("serve").arg(dir.path());
    command.args(["--workers", "1", "--listen", &at]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::null());
    let mut server = Running::start(&mut command);
    let lines = Lines::of(server.stdout());
    assert_eq!(lines.next(), Some(format!("listening on {at}")));
    let output = run(files().args(["get", "a", "--connect", &at]), b"");
    assert_eq!(output.stdout, b"abc");
    server.signal(libc::SIGTERM);
    assert!(server.wait().success());
}
