//! What is no request is answered and the connection closed; the server goes on.

use crate::support::{Dice, Server};

fn protocol_errors_are_answered_then_closed(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let long = vec![b'x'; 70_000];
    for (bytes, expected) in [
        (
            &b"*1\r\n:3\r\n"[..],
            "-ERR Protocol error: expected '$', got ':'\r\n",
        ),
        (
            b"*abc\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (
            b"*1048577\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (
            b"*1\r\n$-5\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        (
            b"*1\r\n$536870913\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        (
            b"set \"x\r\n",
            "-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
        (&long, "-ERR Protocol error: too big inline request\r\n"),
        (
            &[b"*", &long[..]].concat(),
            "-ERR Protocol error: too big mbulk count string\r\n",
        ),
        (
            &[b"*1\r\n$", &long[..]].concat(),
            "-ERR Protocol error: too big bulk count string\r\n",
        ),
    ] {
        let mut client = server.connect();
        client.ask("PING", "+PONG\r\n");
        client.send(bytes);
        // What the peer still sends must not cost it the answer.
        client.try_send(&[b'y'; 100_000]);
        client.expect(expected);
        client.end_output();
        assert_eq!(client.rest(), b"", "closed after {expected}");
        server.assert_serves();
    }
}

fn a_browser_is_hung_up_on(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a 1\r\n");
    assert_eq!(client.rest(), b"");
    server.connect().ask("EXISTS a", ":0\r\n");
}

/// Whatever is sent, the server goes on.
fn garbage_never_takes_the_server_down(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut dice = Dice(3);
    let seeds: [&[u8]; 12] = [
        b"*3\r\n$3\r\nSET\r\n",
        b"$1\r\na\r\n",
        b"*",
        b"$",
        b"\r\n",
        b"*-1\r\n",
        b"GET",
        b"*2147483648\r\n",
        b"\"",
        b"*0\r\n",
        b"$18446744073709551616\r\n",
        b"SUBSCRIBE a\r\n",
    ];
    for round in 0..300 {
        let mut client = server.connect();
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(20) {
            if dice.below(3) == 0 {
                let len = dice.below(30) as usize;
                bytes.extend(dice.bytes(len));
            } else {
                bytes.extend(seeds[dice.below(seeds.len() as u64) as usize]);
            }
        }
        client.try_send(&bytes);
        if round % 50 == 0 {
            client.end_output();
            client.is_over();
            server.assert_serves();
        }
    }
    server.assert_serves();
}

crate::support::with_one_and_three_workers! {
    protocol_errors_are_answered_then_closed
    a_browser_is_hung_up_on
    garbage_never_takes_the_server_down
}
