//! Requests and their replies: in a dialogue, pipelined, split, large, and over a Unix socket.

use crate::support::{Client, Dice, Server, bulk, eventually, request};
use std::process::Command;
use std::time::Duration;

fn dialogue(client: &mut Client) {
    for (line, expected) in [
        ("PING", "+PONG\r\n"),
        ("ECHO \"hello there\"", "$11\r\nhello there\r\n"),
        ("SET greeting hello", "+OK\r\n"),
        ("get greeting", "$5\r\nhello\r\n"),
        ("GET nothing", "$-1\r\n"),
        ("APPEND greeting !", ":6\r\n"),
        ("STRLEN greeting", ":6\r\n"),
        ("SET greeting x NX", "$-1\r\n"),
        ("INCR n", ":1\r\n"),
        ("INCRBY n 41", ":42\r\n"),
        ("DECR n", ":41\r\n"),
        (
            "INCR greeting",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("MSET a 1 b 2", "+OK\r\n"),
        ("MGET a nothing b", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"),
        ("EXISTS a b c", ":2\r\n"),
        ("EXPIRE a 100", ":1\r\n"),
        ("TTL a", ":100\r\n"),
        ("PERSIST a", ":1\r\n"),
        ("TTL a", ":-1\r\n"),
        ("TYPE a", "+string\r\n"),
        ("DEL a b c", ":2\r\n"),
        ("DBSIZE", ":2\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("CLIENT SETNAME me", "+OK\r\n"),
        ("CLIENT GETNAME", "$2\r\nme\r\n"),
        ("RESET", "+RESET\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("FLUSHALL", "+OK\r\n"),
        ("DBSIZE", ":0\r\n"),
        (
            "nonsense",
            "-ERR unknown command 'nonsense', with args beginning with: \r\n",
        ),
    ] {
        client.ask(line, expected);
    }
    client.send(b"QUIT\r\nPING\r\n");
    assert_eq!(client.rest(), b"+OK\r\n", "nothing after QUIT is answered");
}

fn a_dialogue(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    dialogue(&mut server.connect());
}

fn the_same_on_a_unix_socket(workers: &str) {
    let dir = std::env::temp_dir().join(format!("kv-test-{}-{workers}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket").display().to_string();
    let mut command = Command::new(crate::support::KV);
    command.args(["--listen", &format!("unix:{path}"), "--workers", workers]);
    let server = Server::of(command);
    assert_eq!(server.addr, format!("unix:{path}"));
    dialogue(&mut Client::unix(&path));
    drop(server);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn pipelined_requests_are_answered_in_order(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for i in 0..5000_u32 {
        let (key, value) = (format!("key{}", i % 100), i.to_string());
        requests.extend(request(&[b"SET", key.as_bytes(), value.as_bytes()]));
        requests.extend(request(&[b"GET", key.as_bytes()]));
        replies.extend(b"+OK\r\n");
        replies.extend(bulk(value.as_bytes()));
    }
    // The client reads nothing before all is sent: what is answered meanwhile must wait, not be lost.
    client.send(&requests);
    client.expect(&replies);
}

fn requests_may_be_split_at_every_byte(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    let requests = [
        request(&[b"SET", b"key", b"a\r\nb"]),
        request(&[b"GET", b"key"]),
        b"PING\r\n".to_vec(),
        request(&[
            b"MGET", b"key", b"key", b"key", b"key", b"key", b"key", b"key", b"key", b"key",
        ]),
    ]
    .concat();
    for byte in &requests {
        client.send([*byte]);
    }
    let value = bulk(b"a\r\nb");
    client.expect([b"+OK\r\n", &value[..], b"+PONG\r\n*9\r\n", &value.repeat(9)].concat());
    let mut dice = Dice(7);
    let mut left = &requests.repeat(50)[..];
    while !left.is_empty() {
        let (now, later) = left.split_at(left.len().min(1 + dice.below(40) as usize));
        client.send(now);
        left = later;
    }
    client.expect(
        [b"+OK\r\n", &value[..], b"+PONG\r\n*9\r\n", &value.repeat(9)]
            .concat()
            .repeat(50),
    );
}

fn large_values_and_a_client_that_reads_late(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    let value = Dice(1).bytes(3 << 20);
    client.send(request(&[b"SET", b"big", &value]));
    client.expect(b"+OK\r\n");
    // 300 MiB of answers are asked for before the first is read. Nobody is cut, and nobody waits for them.
    client.send(request(&[b"GET", b"big"]).repeat(100));
    server.assert_serves();
    assert!(resident_mib(&server) < 100, "{} MiB", resident_mib(&server));
    for _ in 0..100 {
        client.expect(bulk(&value));
    }
}

fn resident_mib(server: &Server) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    // Pages of 4 KiB.
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() / 256
}

fn a_client_that_half_closes_still_gets_its_replies(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    client.send(b"SET a 1\r\nGET a\r\nGET");
    client.end_output();
    assert_eq!(client.rest(), b"+OK\r\n$1\r\n1\r\n");
}

fn entries_go_when_their_time_has_come_though_nobody_asks_for_them(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    client.ask("SET forever 1", "+OK\r\n");
    client.ask("SET later 1 EX 1000", "+OK\r\n");
    for i in 0..2500 {
        client.send(format!("SET {i} x PX {}\r\n", 1 + i % 300));
        client.expect("+OK\r\n");
    }
    // DBSIZE counts what is there, and touches nothing.
    eventually("all are gone", || client.ask_line("DBSIZE") == ":2");
    client.ask("SET next x PX 30", "+OK\r\n");
    client.ask("PEXPIRE later 20", ":1\r\n");
    eventually("these too", || client.ask_line("DBSIZE") == ":1");
    client.ask("GET forever", "$1\r\n1\r\n");
    // An idle server sleeps.
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.cpu_time() - before < Duration::from_millis(100));
}

crate::support::with_one_and_three_workers! {
    a_dialogue
    the_same_on_a_unix_socket
    pipelined_requests_are_answered_in_order
    requests_may_be_split_at_every_byte
    large_values_and_a_client_that_reads_late
    a_client_that_half_closes_still_gets_its_replies
    entries_go_when_their_time_has_come_though_nobody_asks_for_them
}
