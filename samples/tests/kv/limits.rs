//! The limits of the server: clients, memory, silence, descriptors.

use crate::support::{Client, KV, Server, bulk, eventually, request};
use std::process::Command;
use std::time::Duration;

fn one_client_too_many_is_told_so(workers: &str) {
    let server = Server::start(&["--workers", workers, "--maxclients", "3"]);
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.ask("PING", "+PONG\r\n"));
    for _ in 0..5 {
        let mut refused = server.connect();
        assert_eq!(refused.rest(), b"-ERR max number of clients reached\r\n");
    }
    clients[0].ask(
        "CONFIG GET maxclients",
        "*2\r\n$10\r\nmaxclients\r\n$1\r\n3\r\n",
    );
    clients.pop();
    eventually("there is room again", || {
        let mut client = server.connect();
        client.try_send(b"PING\r\n");
        client.line() == "+PONG"
    });
}

#[test]
fn memory_is_limited() {
    let server = Server::start(&["--maxmemory", "1mb"]);
    let mut client = server.connect();
    client.send(request(&[b"SET", b"big", &vec![b'x'; 900_000]]));
    client.expect("+OK\r\n");
    client.send(request(&[b"SET", b"more", &vec![b'x'; 200_000]]));
    client.expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    client.ask("DEL big", ":1\r\n");
    client.send(request(&[b"SET", b"more", &vec![b'x'; 200_000]]));
    client.expect("+OK\r\n");
    client.send(request(&[b"GET", b"more"]));
    client.expect(bulk(&vec![b'x'; 200_000]));
}

fn a_silent_client_is_hung_up_on_if_asked_for(workers: &str) {
    let server = Server::start(&["--workers", workers, "--timeout", "1"]);
    let (mut silent, mut subscriber) = (server.connect(), server.connect());
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    assert_eq!(silent.rest(), b"");
    let mut publisher = server.connect();
    publisher.ask("PUBLISH c x", ":1\r\n");
}

/// With 128 descriptors and 200 clients, some are served, some refused and some wait; the loop does not spin.
fn more_clients_than_descriptors(workers: &str) {
    let mut command = Command::new("prlimit");
    command.args([
        "--nofile=128",
        KV,
        "--listen",
        "127.0.0.1:0",
        "--workers",
        workers,
    ]);
    let server = Server::of(command);
    let mut first = server.connect();
    first.ask("PING", "+PONG\r\n");
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for i in 0..100 {
        first.ask(&format!("SET key{i} {i}"), "+OK\r\n");
    }
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    let spent = server.cpu_time() - before;
    assert!(
        spent < Duration::from_millis(200),
        "the loop spins: {spent:?}"
    );
    first.ask("GET key7", "$1\r\n7\r\n");
    // Each is served or told at last, as those before it leave.
    for client in &mut clients {
        client.try_send(b"PING\r\n");
    }
    let mut served = 0;
    for mut client in clients {
        match client.line().as_str() {
            "+PONG" => served += 1,
            "-ERR max number of clients reached" => {}
            other => panic!("{other}"),
        }
    }
    assert!(served > 0);
    eventually("new clients are served", || {
        let mut client = server.connect();
        client.try_send(b"PING\r\n");
        client.line() == "+PONG"
    });
    first.ask("DBSIZE", ":100\r\n");
}

crate::support::with_one_and_three_workers! {
    one_client_too_many_is_told_so
    a_silent_client_is_hung_up_on_if_asked_for
    more_clients_than_descriptors
}
