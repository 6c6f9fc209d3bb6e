//! What concerns the server as a whole: commands about all keys, and limits.

use super::detour::ask;
use super::several;
use crate::sim::Model;
use crate::support::request;
use crate::world::{ms, start_workers};
use rotor_fsm::sim::{PeerId, check};
use samples::kv::Limits;
use std::collections::BTreeSet;

#[test]
fn commands_about_all_keys_ask_all_workers() {
    check(0..30, |sim| {
        let count = several(sim);
        let servers = start_workers(sim, count, &Limits::default());
        let (peer, other) = (sim.connect(servers.addr(0)), sim.connect(servers.addr(1)));
        for n in 0..50 {
            sim.send(peer, format!("SET key{n} x EX 1000\n").as_bytes());
        }
        sim.run_for(ms(300));
        assert_eq!(ask(sim, other, "DBSIZE"), ":50\r\n");
        assert_eq!(ask(sim, other, "EXPIRE key1 1"), ":1\r\n");
        sim.run_for(ms(2000));
        assert_eq!(
            ask(sim, peer, "DBSIZE"),
            ":49\r\n",
            "gone without being touched"
        );
        let keys = ask(sim, peer, "KEYS key*");
        assert!(keys.starts_with("*49\r\n") && keys.matches("$5\r\nkey").count() == 40);
        // Each worker counts what its clients asked for, and every client has another number.
        let info = ask(sim, other, "INFO");
        for line in [
            "connected_clients:2\r\n",
            "total_connections_received:2\r\n",
            "total_commands_processed:55\r\n",
            "expired_keys:1\r\n",
            "db0:keys=49,expires=49,avg_ttl=0\r\n",
        ] {
            assert!(info.contains(line), "{line}: {info}");
        }
        assert!(!ask(sim, peer, "INFO memory").contains("# Server"));
        assert_ne!(ask(sim, peer, "CLIENT ID"), ask(sim, other, "CLIENT ID"));
        assert_eq!(ask(sim, peer, "CONFIG RESETSTAT"), "+OK\r\n");
        assert!(ask(sim, other, "INFO stats").contains("total_commands_processed:1\r\n"));
        assert_eq!(ask(sim, other, "FLUSHALL"), "+OK\r\n");
        assert_eq!(ask(sim, other, "FLUSHALL x"), "-ERR syntax error\r\n");
        assert_eq!(servers.keys(sim), 0);
    });
}

#[test]
fn a_scan_meets_every_key_of_every_worker_once() {
    check(0..30, |sim| {
        let servers = start_workers(sim, several(sim), &Limits::default());
        let peer = sim.connect(servers.addr(1));
        let lasting: BTreeSet<String> = (0..100).map(|n| format!("key{n}")).collect();
        for key in &lasting {
            sim.send(peer, format!("SET {key} x\n").as_bytes());
        }
        sim.run_for(ms(300));
        let (mut met, mut cursor) = (Vec::new(), "0".to_owned());
        for round in 0.. {
            assert!(round < 200, "it ends");
            let reply = ask(sim, peer, &format!("SCAN {cursor} COUNT 7"));
            let mut words = reply
                .split("\r\n")
                .filter(|word| !word.starts_with(['$', '*']));
            cursor = words.next().unwrap().to_owned();
            met.extend(
                words
                    .filter(|key| lasting.contains(*key))
                    .map(str::to_owned),
            );
            ask(sim, peer, &format!("SET other{round} x"));
            if cursor == "0" {
                break;
            }
        }
        met.sort();
        assert_eq!(met, lasting.into_iter().collect::<Vec<_>>());
    });
}

#[test]
fn each_worker_has_its_part_of_the_memory() {
    check(0..10, |sim| {
        let limits = Limits {
            store_bytes_max: 300_000,
            ..Limits::default()
        };
        let servers = start_workers(sim, 3, &limits);
        let peer = sim.connect(servers.addr(0));
        let (a, b) = (servers.key_of(0, 0), servers.key_of(1, 0));
        let value = vec![b'x'; 80_000];
        let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
        sim.send(peer, &request(&[b"SET", b.as_bytes(), &value]));
        // All or nothing on each worker, and an error if any has no room.
        let more = servers.key_of(1, 1);
        sim.send(
            peer,
            &request(&[
                b"MSET",
                a.as_bytes(),
                b"new",
                more.as_bytes(),
                &value,
                b.as_bytes(),
                b"new",
            ]),
        );
        sim.run_for(ms(400));
        assert_eq!(*sim.received(peer), *format!("+OK\r\n{oom}").as_bytes());
        assert_eq!(ask(sim, peer, &format!("GET {a}")), "$3\r\nnew\r\n");
        assert_eq!(ask(sim, peer, &format!("STRLEN {b}")), ":80000\r\n");
        assert_eq!(ask(sim, peer, &format!("EXISTS {more}")), ":0\r\n");
        let expected = "*2\r\n$9\r\nmaxmemory\r\n$6\r\n300000\r\n";
        assert_eq!(ask(sim, peer, "CONFIG GET maxmemory"), expected);
        assert!(ask(sim, peer, "INFO memory").contains("maxmemory:300000\r\n"));
    });
}

#[test]
fn the_limit_on_clients_is_one_for_all_workers() {
    check(0..20, |sim| {
        let limits = Limits {
            clients_max: 4,
            ..Limits::default()
        };
        let servers = start_workers(sim, 2, &limits);
        let peers: Vec<PeerId> = (0..4).map(|n| sim.connect(servers.addr(n % 2))).collect();
        for peer in &peers {
            assert_eq!(ask(sim, *peer, "PING"), "+PONG\r\n");
        }
        let fifth = sim.connect(servers.addr(1));
        sim.run_for(ms(100));
        assert_eq!(
            *sim.received(fifth),
            *b"-ERR max number of clients reached\r\n"
        );
        sim.reset(peers[0]);
        sim.run_for(ms(100));
        let sixth = sim.connect(servers.addr(1));
        assert_eq!(ask(sim, sixth, "PING"), "+PONG\r\n");
    });
}

/// The model knows what a client of several workers may see: a last check that it is a model of one worker.
#[test]
fn the_model_is_that_of_one_store() {
    let mut model = Model::default();
    let args = |line: &str| {
        line.split(' ')
            .map(|arg| arg.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(model.answer(&args("MSET a 1 b 2")), b"+OK\r\n");
    assert_eq!(
        model.answer(&args("MGET b c a")),
        b"*3\r\n$1\r\n2\r\n$-1\r\n$1\r\n1\r\n"
    );
}
