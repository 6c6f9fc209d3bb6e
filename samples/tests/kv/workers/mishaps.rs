//! Workers that are slow, stuck or dead, and clients that ask for too much or leave.

use super::detour::{ask, detour};
use super::several;
use crate::sim::{encoded, some_request};
use crate::support::{Dice, bulk, request};
use crate::world::{MINUTE, ms, start_with_inboxes, start_worker, start_workers};
use rotor_fsm::sim::{PeerId, check};
use samples::kv::Limits;
use std::time::Duration;

/// While one shard is slow, what others hold is done, and every reply waits for its turn.
#[test]
fn a_slow_shard_holds_up_only_replies() {
    check(0..50, |sim| {
        let servers = start_workers(sim, 3, &Limits::default());
        let stuck = detour(sim, &servers, 1, None);
        let (a, b, c) = (
            servers.key_of(0, 0),
            servers.key_of(1, 0),
            servers.key_of(2, 0),
        );
        let peer = sim.connect(servers.addr(0));
        let lines = format!("SET {a} 1\r\nSET {b} 2\r\nSET {a} 3\r\nSET {c} 4\r\nGET {a}\r\n");
        sim.send(peer, lines.as_bytes());
        sim.run_for(ms(200));
        assert_eq!(*sim.received(peer), *b"+OK\r\n");
        let other = sim.connect(servers.addr(2));
        assert_eq!(
            ask(sim, other, &format!("MGET {a} {c}")),
            "*2\r\n$1\r\n3\r\n$1\r\n4\r\n"
        );
        // It goes on, a while later.
        sim.context(&stuck, |to| *to = Some((servers.shards[1].clone(), ms(0))));
        let poke = sim.connect(servers.addr(0));
        ask(sim, poke, &format!("GET {b}"));
        sim.run(MINUTE);
        assert_eq!(
            *sim.received(peer),
            *b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n$1\r\n3\r\n"
        );
    });
}

/// Requests that found an inbox full are sent again soon, not when somebody happens to look.
#[test]
fn a_full_inbox_costs_milliseconds() {
    check(0..30, |sim| {
        let servers = start_with_inboxes(sim, 2, &Limits::default(), 1);
        let key = servers.key_of(1, 0);
        let peers: Vec<PeerId> = (0..20).map(|_| sim.connect(servers.addr(0))).collect();
        sim.run_for(ms(100));
        for peer in &peers {
            sim.send(*peer, format!("INCR {key}\n").as_bytes());
        }
        sim.run_for(ms(300));
        for peer in &peers {
            assert!(sim.received(*peer).starts_with(b":"));
        }
    });
}

/// However much is asked for, a stuck shard makes nobody hold more than a bounded part of it.
#[test]
fn a_client_with_too_much_under_way_is_not_read() {
    check(0..30, |sim| {
        let servers = start_workers(sim, 2, &Limits::default());
        let stuck = detour(sim, &servers, 1, None);
        let key = servers.key_of(1, 0);
        let peer = sim.connect(servers.addr(0));
        let value = vec![b'x'; 1000];
        let one = request(&[b"SET", key.as_bytes(), &value]);
        sim.send(peer, &one.repeat(1000));
        sim.run_for(ms(5000));
        let taken = servers.commands(sim);
        assert!((65..200).contains(&taken), "{taken} of 1000 bytes each");
        assert!(sim.received(peer).is_empty());
        let (before, idle) = (sim.trace_len(), ms(3000));
        sim.run_for(idle);
        assert!(sim.trace_len() - before < 30, "it waits, and does not spin");
        sim.context(&stuck, |to| *to = Some((servers.shards[1].clone(), ms(0))));
        let poke = sim.connect(servers.addr(0));
        ask(sim, poke, &format!("GET {key}"));
        sim.run(MINUTE);
        assert_eq!(*sim.received(peer), *b"+OK\r\n".repeat(1000));
    });
}

/// Values whose replies are far more than a share come back in portions, as fast as they are read.
#[test]
fn large_replies_of_another_worker_come_in_portions() {
    check(0..20, |sim| {
        let servers = start_workers(sim, 2, &Limits::default());
        let key = servers.key_of(1, 0);
        let peer = sim.connect(servers.addr(0));
        let value = Dice(sim.seed()).bytes(40_000);
        sim.send(peer, &request(&[b"SET", key.as_bytes(), &value]));
        sim.run_for(ms(200));
        sim.take_received(peer);
        sim.pause(peer);
        sim.send(peer, format!("GET {key}\n").repeat(100).as_bytes());
        sim.run_for(ms(5000));
        sim.resume(peer);
        sim.run(MINUTE);
        assert!(*sim.received(peer) == bulk(&value).repeat(100)[..]);
    });
}

#[test]
fn clients_that_leave_midway_leave_nothing_behind() {
    check(0..500, |sim| {
        let mut dice = Dice(sim.seed());
        let servers = start_workers(sim, several(sim), &Limits::default());
        for worker in 0..servers.loops.len() {
            detour(sim, &servers, worker, Some(ms(dice.below(50))));
        }
        let mut peers: Vec<PeerId> = Vec::new();
        for _ in 0..dice.below(40) {
            if peers.is_empty() || dice.below(3) == 0 {
                peers.push(sim.connect(servers.some_addr(&mut dice)));
            }
            let peer = peers[dice.below(peers.len() as u64) as usize];
            match dice.below(9) {
                0 => sim.reset(peer),
                1 => sim.shutdown(peer),
                2 => sim.pause(peer),
                3 => sim.send(peer, b"PUBLISH a b\r\nKEYS *\r\nQUIT\r\n"),
                4 => sim.send(peer, b"GET a\r\n*1\r\n:2\r\n"),
                _ => {
                    let args = some_request(&mut dice, 0);
                    let bytes = encoded(&mut dice, &args);
                    sim.send(peer, &bytes);
                }
            }
            sim.run_for(ms(dice.below(20)));
        }
        for peer in peers {
            sim.reset(peer);
        }
        sim.run(MINUTE);
        assert_eq!(servers.clients(sim), 0);
        servers.assert_at_rest(sim);
    });
}

/// A client that sends, and resets the connection before the replies are there: what was taken is done.
#[test]
fn commands_of_a_client_that_is_gone_are_done() {
    check(0..100, |sim| {
        let servers = start_workers(sim, 2, &Limits::default());
        detour(sim, &servers, 1, Some(ms(20)));
        let peer = sim.connect(servers.addr(0));
        for n in 0..10 {
            let key = servers.key_of(1, n);
            sim.send(peer, format!("SET {key} x\r\n").as_bytes());
            sim.run_for(ms(8));
        }
        sim.run_for(ms(5));
        let before = servers.commands(sim);
        sim.reset(peer);
        sim.run(MINUTE);
        assert_eq!(servers.keys(sim) as u64, before);
        servers.assert_at_rest(sim);
    });
}

#[test]
fn a_dead_worker_is_named_and_the_others_go_on() {
    check(0..50, |sim| {
        let servers = start_workers(sim, 3, &Limits::default());
        let (a, b, c) = (
            servers.key_of(0, 0),
            servers.key_of(1, 0),
            servers.key_of(2, 0),
        );
        let peer = sim.connect(servers.addr(0));
        assert_eq!(
            ask(sim, peer, &format!("MSET {a} 1 {b} 2 {c} 3")),
            "+OK\r\n"
        );
        sim.close_loop(&servers.loops[1]);
        let down = "-CLUSTERDOWN the worker that holds this key is down, try again\r\n";
        let lines =
            format!("GET {a}\r\nGET {b}\r\nGET {c}\r\nGET {b}\r\nMGET {a} {b}\r\nDEL {c} {b}");
        assert_eq!(
            ask(sim, peer, &lines),
            format!("$1\r\n1\r\n{down}$1\r\n3\r\n{down}{down}{down}")
        );
        assert_eq!(ask(sim, peer, "DBSIZE"), down);
        assert_eq!(ask(sim, peer, &format!("GET {a}")), "$1\r\n1\r\n");
        // It comes back empty, and the same clients reach it.
        start_worker(sim, &servers.workers, 1, &Limits::default(), 1024);
        assert_eq!(ask(sim, peer, &format!("GET {b}")), "$-1\r\n");
        assert_eq!(ask(sim, peer, &format!("SET {b} 4")), "+OK\r\n");
        assert_eq!(ask(sim, peer, "DBSIZE"), ":2\r\n");
    });
}

/// What was on its way to a worker that died is answered with an error, within about a second.
#[test]
fn what_a_dead_worker_had_is_answered() {
    check(0..50, |sim| {
        let servers = start_workers(sim, 2, &Limits::default());
        let stuck = detour(sim, &servers, 1, None);
        let (a, b) = (servers.key_of(0, 0), servers.key_of(1, 0));
        let peer = sim.connect(servers.addr(0));
        let lines = format!("SET {a} 1\r\nSET {b} 2\r\nSET {b} 3\r\nGET {a}\r\n");
        sim.send(peer, lines.as_bytes());
        sim.run_for(ms(3000));
        assert_eq!(
            *sim.received(peer),
            *b"+OK\r\n",
            "a shard may take its time"
        );
        // It dies with the envelope, and starts again.
        sim.close_loop(&stuck);
        servers.workers.mesh().set(1, servers.shards[1].clone());
        sim.run_for(ms(1100));
        let lost = "-CLUSTERDOWN the worker that holds this key went down, the command may have been done\r\n";
        let received = String::from_utf8(sim.take_received(peer)).unwrap();
        assert!(
            received == format!("+OK\r\n{lost}{lost}$1\r\n1\r\n")
                // The second had not left yet: it was waiting for the first.
                || received == format!("+OK\r\n{lost}+OK\r\n$1\r\n1\r\n"),
            "{received}"
        );
        assert_eq!(ask(sim, peer, &format!("SET {b} 4")), "+OK\r\n");
        sim.shutdown(peer);
        sim.run(MINUTE);
        assert_eq!(servers.clients(sim), 0);
    });
}

/// A reply that is larger than the output takes cuts the client, as with one worker, and nobody else.
#[test]
fn a_reply_that_is_too_large_cuts_its_client() {
    check(0..20, |sim| {
        let limits = Limits {
            reply_bytes_max: 50_000,
            ..Limits::default()
        };
        let servers = start_workers(sim, 2, &limits);
        let key = servers.key_of(1, 0);
        let (peer, other) = (sim.connect(servers.addr(0)), sim.connect(servers.addr(0)));
        sim.send(peer, &request(&[b"SET", key.as_bytes(), &[b'x'; 30_000]]));
        sim.send(
            peer,
            format!("GET {key}\nMGET {key} {key}\nPING\n").as_bytes(),
        );
        sim.run_for(ms(500));
        assert!(sim.saw_reset(peer));
        assert_eq!(ask(sim, other, &format!("STRLEN {key}")), ":30000\r\n");
        assert_eq!(servers.clients(sim), 1);
    });
}

/// A shutdown of all workers: clients get the replies that are under way, and the shards end last.
#[test]
fn a_shutdown_waits_for_replies_of_other_workers() {
    check(0..100, |sim| {
        let servers = start_workers(sim, 2, &Limits::default());
        let slow = detour(sim, &servers, 1, Some(ms(60)));
        let key = servers.key_of(1, 0);
        let peer = sim.connect(servers.addr(0));
        sim.send(peer, format!("SET {key} 1\nGET {key}\n").as_bytes());
        sim.run_for(ms(15));
        for one in &servers.loops {
            one.handle().shutdown(Duration::from_secs(10));
        }
        sim.run_for(ms(1000));
        assert_eq!(*sim.received(peer), *b"+OK\r\n$1\r\n1\r\n");
        assert!(sim.saw_eof(peer));
        sim.shutdown(peer);
        sim.run_for(ms(1000));
        assert!(servers.loops.iter().all(|one| sim.is_over(one)));
        drop(slow);
    });
}
