//! Servers that end, and clients that find none.

use super::support::{Client, Served, bytes, files, refusal, wait_until};
use crate::common::{goodbye, run};
use std::fs;
use std::io::Write;
use std::net::TcpListener;

const LARGE: usize = 20 << 20;

/// A client in the middle of a file that it reads no further.
fn begun_download(served: &Served) -> Client {
    fs::write(served.at("large"), bytes(LARGE)).unwrap();
    let mut client = Client::start(served.client(&["get", "large"]));
    client.first(1000);
    client
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_file_is_told_of() {
    let mut served = Served::new("killed");
    let client = begun_download(&served);
    served.server.process.signal(libc::SIGKILL);
    served.server.process.wait();
    let output = client.end();
    let words = refusal(&output);
    assert!(words.starts_with("large: disconnected"), "{words}");
    assert!(output.stdout.len() < LARGE);
}

#[test]
fn a_server_that_is_told_to_end_sends_the_file_to_its_end() {
    let mut served = Served::new("drain");
    let client = begun_download(&served);
    served.server.process.signal(libc::SIGTERM);
    let output = client.end();
    assert!(output.status.success(), "{:?}", output.stderr);
    assert_eq!(output.stdout.len(), LARGE - 1000);
    assert!(served.server.process.wait().success());
}

/// Not at the end of the drain, which would cut the connection off.
#[test]
fn who_watches_is_told_that_the_server_ends() {
    let served = Served::new("watched");
    let mut watching = Client::start(served.client(&["watch"]));
    assert_eq!(watching.first(9), b"watching\n");
    served.server.end(libc::SIGTERM);
    assert_eq!(refusal(&watching.end()), "watch: the server ends");
}

#[test]
fn where_no_server_is_that_is_said() {
    // Nobody listens there who is not the system itself.
    let at = "127.0.0.1:1";
    let words = refusal(&run(files().args(["list", "--connect", at]), b""));
    assert!(
        words.starts_with(at) && words.contains("refused"),
        "{words}"
    );
    let words = refusal(&run(files().args(["list", "--connect", "nowhere"]), b""));
    assert!(words.starts_with("nowhere: "), "{words}");
    let words = refusal(&run(files().args(["list", "--connect", "unix:/none"]), b""));
    assert!(words.starts_with("unix:/none: "), "{words}");
}

#[test]
fn a_server_that_speaks_something_else_is_not_mistaken() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let at = other.local_addr().unwrap().to_string();
    let mut command = files();
    command.args(["list", "--connect", &at]);
    let client = Client::start(command);
    let mut connection = None;
    wait_until(|| {
        connection = other.accept().ok();
        connection.is_some()
    });
    let (mut connection, _) = connection.unwrap();
    connection
        .write_all(b"220 mail.example.org ESMTP\r\n")
        .unwrap();
    let words = refusal(&client.end());
    assert!(words.starts_with(&format!("{at}: ")), "{words}");
}

#[test]
fn what_a_server_says_does_not_move_the_terminal() {
    let at = goodbye("go away\x1b[2J\r\n").to_string();
    let words = refusal(&run(files().args(["list", "--connect", &at]), b""));
    assert!(words.ends_with("go away\\u{1b}[2J\\r\\n"), "{words:?}");
}

#[test]
fn the_second_server_at_an_address_says_that_it_is_taken() {
    let served = Served::new("first");
    let at = served.server.addr.to_string();
    let mut command = files();
    command.arg("serve").arg(served.dir.path());
    command.args(["--listen", &at]);
    let words = refusal(&run(&mut command, b""));
    assert!(words.contains(&at), "{words}");
}
