//! How the program ends: by a signal, or because it cannot start.

use crate::support::{KV, Server, bulk, output_of, request};
use std::process::Command;

fn both_signals_end_it_well_and_replies_still_arrive(workers: &str) {
    for signum in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start(&["--workers", workers]);
        let (mut idle, mut busy) = (server.connect(), server.connect());
        idle.ask("PING", "+PONG\r\n");
        let value = vec![b'x'; 8 << 20];
        busy.send(request(&[b"SET", b"big", &value]));
        busy.expect("+OK\r\n");
        busy.send(request(&[b"GET", b"big"]));
        // Once the reply has begun it waits in the server, for it is larger than the sockets' buffers.
        busy.expect("$8388608\r\n");
        server.signal(signum);
        assert_eq!(idle.rest(), b"", "told by an end");
        drop(idle);
        let expected = bulk(&value);
        busy.expect(&expected["$8388608\r\n".len()..]);
        assert_eq!(busy.rest(), b"");
        drop(busy);
        assert_eq!(server.wait().code(), Some(0), "signal {signum}");
    }
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let server = Server::start(&[]);
    let (status, text) = output_of(Command::new(KV).args(["--listen", &server.addr]));
    assert_eq!(status.code(), Some(1));
    let expected = format!("Error: cannot serve at {}: ", server.addr);
    assert!(
        text.starts_with(&expected) && text.contains("address already in use"),
        "{text}"
    );
    server.assert_serves();
}

#[test]
fn what_cannot_be_started_is_a_clear_error() {
    for (args, expected) in [
        (
            &["--listen", "localhost"][..],
            "\"localhost\" is not an address: expected IP:PORT, [IPv6]:PORT or unix:PATH",
        ),
        (
            &["--listen", "unix:/nowhere/socket"],
            "cannot serve at unix:/nowhere/socket: ",
        ),
        (
            &["--listen", "192.0.2.1:6380"],
            "cannot serve at 192.0.2.1:6380: ",
        ),
        (&["--maxmemory", "lots"], "\"lots\" is not a size"),
        (&["--port", "1"], "invalid option '--port'"),
    ] {
        let (status, text) = output_of(Command::new(KV).args(args));
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(
            text.contains(expected) && !text.contains("panicked"),
            "{text}"
        );
    }
    let (status, text) = output_of(Command::new(KV).arg("--help"));
    assert!(status.success() && text.starts_with("usage: kv"), "{text}");
}

crate::support::with_one_and_three_workers! {
    both_signals_end_it_well_and_replies_still_arrive
}
