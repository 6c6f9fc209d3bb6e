//! Every sample but `kv`, run as its users run it, and its output.

mod common;

use common::{Running, Server, run};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};

macro_rules! sample {
    ($name:literal) => {
        Command::new(env!(concat!("CARGO_BIN_EXE_", $name)))
    };
}

fn stdout_of(command: &mut Command) -> String {
    let output = run(command, b"");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("samples print UTF-8")
}

#[test]
fn empty_creates_its_machine_and_ends() {
    assert_eq!(stdout_of(&mut sample!("empty")), "created\nloop ended\n");
}

#[test]
fn timer_counts_down() {
    assert_eq!(stdout_of(&mut sample!("timer")), "3\n2\n1\n0\n");
}

#[test]
fn wakeup_hears_eleven_and_the_rest_are_told() {
    let mut expected: String = (1..=11).map(|n| format!("wakeup {n}\n")).collect();
    expected += "machine ended\n40 wakeups were told that the machine is closed\n";
    assert_eq!(stdout_of(&mut sample!("wakeup")), expected);
}

#[test]
fn timer_with_wakeup_replaces_its_deadline() {
    assert_eq!(
        stdout_of(&mut sample!("timer_with_wakeup")),
        "deadline in 5 s\nwoken: deadline in 1 s\n1 s passed: deadline in 500 ms\n500 ms passed\n"
    );
}

#[test]
fn context_plays_ping_pong() {
    assert_eq!(
        stdout_of(&mut sample!("context")),
        "ping 3\npong 3\nping 2\npong 2\nping 1\npong 1\nping is out of balls\n"
    );
}

#[test]
fn sock_greets_every_caller_with_its_number() {
    let server = Server::start(&mut sample!("sock"));
    for caller in 1..=3 {
        let mut text = String::new();
        server.connect().read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("hello, caller {caller}\n"));
    }
    server.end(libc::SIGTERM);
}

#[test]
fn echo_gives_everything_back_and_then_its_fin() {
    let server = Server::start(&mut sample!("echo"));
    let mut stream = server.connect();
    // More than kernel buffers and the server's watermark hold, so that flow control has to work.
    let sent: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(
        received == sent,
        "{} of {} bytes",
        received.len(),
        sent.len()
    );
    server.end(libc::SIGTERM);
}

#[test]
fn echo_drains_on_sigint_with_a_connection_open() {
    let mut server = Server::start(&mut sample!("echo"));
    let mut stream = server.connect();
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    server.process.signal(libc::SIGINT);
    // The server says goodbye with a FIN, not with a reset.
    assert_eq!(stream.read(&mut answer).unwrap(), 0);
    drop(stream);
    assert!(server.process.wait().success());
}

#[test]
fn echo_says_what_is_wrong_with_an_address() {
    let output = run(sample!("echo").args(["--listen", "nonsense"]), b"");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("\"nonsense\" is not an address: expected IP:PORT"),
        "{text}"
    );
}

#[test]
fn echo_says_that_a_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(sample!("echo").args(["--listen", &addr]), b"");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("address already in use"), "{text}");
}

#[test]
fn telnet_sends_its_input_and_prints_the_answer() {
    let server = Server::start(&mut sample!("echo"));
    let addr = server.addr.to_string();
    let input = "hello\n".repeat(20_000);
    let output = run(sample!("telnet").arg(&addr), input.as_bytes());
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout == input.as_bytes(),
        "{} bytes came back",
        output.stdout.len()
    );
    server.end(libc::SIGTERM);
}

#[test]
fn telnet_reads_a_file_as_well() {
    let server = Server::start(&mut sample!("echo"));
    let path = std::env::temp_dir().join(format!("rotor-telnet-{}", std::process::id()));
    std::fs::write(&path, "from a file\n").unwrap();
    let mut command = sample!("telnet");
    command
        .arg(server.addr.to_string())
        .stdin(std::fs::File::open(&path).unwrap())
        .stdout(Stdio::piped());
    let mut child = Running::start(&mut command);
    let output = child.stdout();
    assert!(child.wait().success());
    assert_eq!(
        common::Lines::of(output).next().as_deref(),
        Some("from a file")
    );
    std::fs::remove_file(&path).unwrap();
    server.end(libc::SIGTERM);
}

#[test]
fn telnet_says_that_nobody_answers() {
    // A port that was free a moment ago.
    let addr = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = run(sample!("telnet").arg(addr.to_string()), b"");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("connection refused"), "{text}");
    let output = run(&mut sample!("telnet"), b"");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("usage: telnet ADDR"), "{text}");
}
