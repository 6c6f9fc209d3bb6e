//! The same machines in the simulator, by many seeds: requests split anyhow, in virtual time, against a model.
#![allow(clippy::field_reassign_with_default)] // the other way is not open to us: it is non-exhaustive

use crate::support::{Dice, bulk, request};
use crate::world::{MINUTE, Servers, ms, start, start_workers};
use rotor_fsm::sim::{Ended, PeerId, Sim, SimConfig, check, check_with};
use samples::kv::Limits;
use std::collections::HashMap;

/// What a key space of one client should answer.
#[derive(Default)]
pub struct Model(HashMap<Vec<u8>, Vec<u8>>);

impl Model {
    /// The reply to a request.
    pub fn answer(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let map = &mut self.0;
        let count = |n: usize| format!(":{n}\r\n").into_bytes();
        let value =
            |value: Option<&Vec<u8>>| value.map_or(b"$-1\r\n".to_vec(), |value| bulk(value));
        let ok = || b"+OK\r\n".to_vec();
        match (&args[0][..], &args[1..]) {
            (b"PING", _) => b"+PONG\r\n".to_vec(),
            (b"ECHO", [text]) => bulk(text),
            (b"SET", [key, text, ..]) => {
                map.insert(key.clone(), text.clone());
                ok()
            }
            (b"SETNX", [key, text]) => {
                let is_new = !map.contains_key(key);
                map.entry(key.clone()).or_insert_with(|| text.clone());
                count(is_new as usize)
            }
            (b"GET", [key]) => value(map.get(key)),
            (b"GETDEL", [key]) => value(map.remove(key).as_ref()),
            (b"DEL", keys) => count(keys.iter().filter(|key| map.remove(*key).is_some()).count()),
            (b"EXISTS", keys) => count(keys.iter().filter(|key| map.contains_key(*key)).count()),
            (b"STRLEN", [key]) => count(map.get(key).map_or(0, Vec::len)),
            (b"APPEND", [key, text]) => {
                let value = map.entry(key.clone()).or_default();
                value.extend_from_slice(text);
                count(value.len())
            }
            (b"MSET", pairs) => {
                for pair in pairs.chunks(2) {
                    map.insert(pair[0].clone(), pair[1].clone());
                }
                ok()
            }
            (b"MGET", keys) => {
                let values: Vec<u8> = keys.iter().flat_map(|key| value(map.get(key))).collect();
                [format!("*{}\r\n", keys.len()).as_bytes(), &values].concat()
            }
            (b"INCR", [key]) => {
                let number = map.get(key).map_or(Some(0), |text| {
                    std::str::from_utf8(text).ok()?.parse::<i64>().ok()
                });
                let Some(number) = number else {
                    return b"-ERR value is not an integer or out of range\r\n".to_vec();
                };
                map.insert(key.clone(), (number + 1).to_string().into_bytes());
                format!(":{}\r\n", number + 1).into_bytes()
            }
            (b"PERSIST", [_]) => count(0),
            other => panic!("the model does not know {other:?}"),
        }
    }
}

/// A request that the model knows, about the keys of one client.
pub fn some_request(dice: &mut Dice, client: usize) -> Vec<Vec<u8>> {
    let key = |dice: &mut Dice| format!("{client}:{}", dice.below(6)).into_bytes();
    let text = |dice: &mut Dice| match dice.below(8) {
        0 => dice.below(1000).to_string().into_bytes(),
        1 => b"\r\n$3\r\n*1\r\n".to_vec(),
        2 => {
            let len = dice.below(3000) as usize;
            dice.bytes(len)
        }
        _ => {
            let len = dice.below(30) as usize;
            dice.bytes(len)
        }
    };
    let names: [&[u8]; 14] = [
        b"PING", b"ECHO", b"SET", b"SET", b"SETNX", b"GET", b"GETDEL", b"DEL", b"EXISTS",
        b"STRLEN", b"APPEND", b"MSET", b"MGET", b"INCR",
    ];
    let name = names[dice.below(names.len() as u64) as usize];
    let mut args = vec![name.to_vec()];
    match name {
        b"PING" => {}
        b"ECHO" => args.push(text(dice)),
        b"SET" | b"SETNX" | b"APPEND" => args.extend([key(dice), text(dice)]),
        b"MSET" => (0..1 + dice.below(12)).for_each(|_| args.extend([key(dice), text(dice)])),
        b"DEL" | b"EXISTS" | b"MGET" => (0..1 + dice.below(12)).for_each(|_| args.push(key(dice))),
        _ => args.push(key(dice)),
    }
    // With a time to live that is not over before the test is.
    if name == b"SET" && dice.below(4) == 0 {
        args.extend([b"EX".to_vec(), b"100000".to_vec()]);
    }
    args
}

/// As it goes over the wire: an array, or a line where that is possible.
pub fn encoded(dice: &mut Dice, args: &[Vec<u8>]) -> Vec<u8> {
    let is_plain = |arg: &Vec<u8>| {
        !arg.is_empty()
            && arg
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b':')
    };
    if args.iter().all(is_plain) && dice.below(2) == 0 {
        return [
            &args.join(&b' ')[..],
            if dice.below(2) == 0 { b"\n" } else { b"\r\n" },
        ]
        .concat();
    }
    request(&args.iter().map(|arg| &arg[..]).collect::<Vec<_>>())
}

/// Clients with keys of their own send at random times what comes to their minds, each to some worker.
pub fn clients_get_what_the_model_says(sim: &mut Sim, servers: &Servers) {
    let mut dice = Dice(sim.seed());
    let mut clients: Vec<(PeerId, Model, Vec<u8>)> = Vec::new();
    for _ in 0..1 + dice.below(4) {
        let at = servers.some_addr(&mut dice);
        clients.push((sim.connect(at), Model::default(), Vec::new()));
    }
    for _ in 0..1 + dice.below(20) {
        let n = dice.below(clients.len() as u64) as usize;
        let (peer, model, expected) = &mut clients[n];
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(16) {
            let args = some_request(&mut dice, n);
            bytes.extend(encoded(&mut dice, &args));
            expected.extend(model.answer(&args));
        }
        // The end of one request may come together with the beginning of the next.
        let (first, rest) = bytes.split_at(dice.below(bytes.len() as u64) as usize);
        sim.send(*peer, first);
        if dice.below(2) == 0 {
            sim.run_for(ms(dice.below(8)));
        }
        sim.send(*peer, rest);
    }
    for (peer, ..) in &clients {
        sim.shutdown(*peer);
    }
    // Not until it is idle: it may be waiting for the end of an entry.
    sim.run(MINUTE);
    let keys: usize = clients.iter().map(|(_, model, _)| model.0.len()).sum();
    for (peer, _, expected) in clients {
        assert!(*sim.received(peer) == expected[..], "replies of {peer:?}");
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
    }
    assert_eq!((servers.keys(sim), servers.clients(sim)), (keys, 0));
    servers.assert_at_rest(sim);
}

fn with_one_worker(sim: &mut Sim) {
    let servers = start_workers(sim, 1, &Limits::default());
    clients_get_what_the_model_says(sim, &servers);
}

#[test]
fn replies_are_right_and_in_order_whatever_the_splits() {
    check(0..1500, with_one_worker);
}

#[test]
fn the_same_through_very_small_buffers() {
    let mut config = SimConfig::default();
    config.buffer_bytes = (1, 40);
    config.pieces_max = 9;
    config.partial_percent = 60;
    config.short_read_percent = 60;
    check_with(0..40, &config, with_one_worker);
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in 0..20 {
        let run = || {
            let mut sim = Sim::new(seed);
            with_one_worker(&mut sim);
            (sim.trace_hash(), sim.trace_len())
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn entries_go_by_themselves_neither_early_nor_late() {
    check(0..300, |sim| {
        let server = start(sim, &Limits::default());
        let mut dice = Dice(sim.seed());
        let peer = sim.connect(server.addr(0));
        let count = 1 + dice.below(60);
        let mut ttls: Vec<u64> = (0..count).map(|_| 100 + dice.below(5000)).collect();
        let lines: String = ttls
            .iter()
            .enumerate()
            .map(|(i, ttl)| format!("SET {i} x PX {ttl}\n"))
            .collect();
        sim.send(peer, lines.as_bytes());
        let expected = 5 * ttls.len();
        let met = sim.run_until(ms(90), |sim| sim.received(peer).len() == expected);
        // What was set so late that some may be gone already tells nothing.
        if met != Ended::Met {
            return;
        }
        // All were set after the first and before the second, so each goes within its time after these.
        let (first, last) = (rotor_fsm::Time::ZERO + ms(1), sim.now());
        ttls.sort_unstable();
        let left = |sim: &mut Sim| server.keys(sim);
        let earliest = first + ms(ttls[0] - 1);
        sim.run_for(earliest.since(last));
        assert_eq!(left(sim), ttls.len(), "none is early");
        let latest = last + ms(ttls[ttls.len() - 1] + 5);
        sim.run_for(latest.since(sim.now()));
        assert_eq!(left(sim), 0, "all are gone, and nobody touched them");
        assert_eq!(sim.run(MINUTE), Ended::Idle, "and then the expirer sleeps");
    });
}

#[test]
fn subscribers_get_all_messages_in_order() {
    check(0..500, |sim| {
        let mut dice = Dice(sim.seed());
        let limits = Limits {
            pushes_max: 1 + dice.below(20) as usize,
            ..Limits::default()
        };
        let server = start(sim, &limits);
        let (subscriber, all, publisher) = (
            sim.connect(server.addr(0)),
            sim.connect(server.addr(0)),
            sim.connect(server.addr(0)),
        );
        sim.send(subscriber, b"SUBSCRIBE a b\n");
        sim.send(all, b"PSUBSCRIBE *\n");
        assert_eq!(sim.run(MINUTE), Ended::Idle);
        assert_eq!(
            sim.take_received(all),
            b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n"
        );
        sim.take_received(subscriber);
        let (mut to_one, mut to_all, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..dice.below(100) {
            let channel = [b'a' + dice.below(3) as u8];
            let text = i.to_string();
            sim.send(
                publisher,
                &request(&[b"PUBLISH", &channel, text.as_bytes()]),
            );
            if channel != *b"c" {
                to_one.extend(
                    [
                        b"*3\r\n$7\r\nmessage\r\n",
                        &bulk(&channel)[..],
                        &bulk(text.as_bytes()),
                    ]
                    .concat(),
                );
            }
            to_all.extend(
                [
                    b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n",
                    &bulk(&channel)[..],
                    &bulk(text.as_bytes()),
                ]
                .concat(),
            );
            replies.extend(if channel == *b"c" {
                b":1\r\n"
            } else {
                b":2\r\n"
            });
            if dice.below(5) == 0 {
                sim.run_for(ms(dice.below(4)));
            }
        }
        assert_eq!(sim.run(MINUTE), Ended::Idle);
        assert!(*sim.received(publisher) == replies[..] && *sim.received(subscriber) == to_one[..]);
        assert!(*sim.received(all) == to_all[..]);
        // What they were subscribed to goes with them.
        sim.reset(subscriber);
        sim.send(all, b"PUNSUBSCRIBE\n");
        sim.run(MINUTE);
        sim.take_received(publisher);
        sim.send(publisher, b"PUBLISH a x\n");
        sim.run(MINUTE);
        assert_eq!(*sim.received(publisher), *b":0\r\n");
        assert_eq!(sim.stats(server.one()).panics, 0);
    });
}

#[test]
fn broken_connections_and_garbage_disturb_nobody_else() {
    let mut config = SimConfig::default();
    config.break_percent = 30;
    config.refuse_percent = 10;
    config.descriptors_max = 12;
    check_with(0..500, &config, |sim| {
        let server = start(sim, &Limits::default());
        let mut dice = Dice(sim.seed());
        let mut peers = Vec::new();
        for _ in 0..dice.below(40) {
            if peers.is_empty() || dice.below(3) == 0 {
                peers.push(sim.connect(server.addr(0)));
            }
            let peer = peers[dice.below(peers.len() as u64) as usize];
            match dice.below(8) {
                0 => sim.reset(peer),
                1 => sim.shutdown(peer),
                2 => sim.pause(peer),
                3 => {
                    let len = dice.below(50) as usize;
                    sim.send(peer, &dice.bytes(len));
                }
                4 => sim.send(peer, b"PSUBSCRIBE *\n"),
                5 => sim.send(peer, b"PUBLISH a b\r\n*1\r\n$4\r\nQU"),
                _ => {
                    let args = some_request(&mut dice, 0);
                    sim.send(peer, &encoded(&mut dice, &args));
                }
            }
            sim.run_for(ms(dice.below(20)));
        }
        for peer in peers {
            sim.reset(peer);
        }
        sim.run(MINUTE);
        assert_eq!(sim.stats(server.one()).panics, 0);
        assert_eq!(server.clients(sim), 0);
        // Chance may refuse or break a connection, but not 20 in a row.
        let served = (0..20).any(|_| {
            let peer = sim.connect(server.addr(0));
            sim.send(peer, b"PING\n");
            sim.run_for(ms(1000));
            let is_served = *sim.received(peer) == *b"+PONG\r\n";
            sim.reset(peer);
            is_served
        });
        assert!(served);
    });
}

#[test]
fn a_shutdown_sends_what_waits_and_ends() {
    check(0..200, |sim| {
        let server = start(sim, &Limits::default());
        sim.shutdown_on_signals(server.one()).unwrap();
        let peer = sim.connect(server.addr(0));
        sim.pause(peer);
        let value = Dice(sim.seed()).bytes(50_000);
        sim.send(peer, &request(&[b"ECHO", &value]));
        sim.run_for(ms(500));
        sim.raise(15);
        sim.run_for(ms(50));
        assert!(!sim.is_over(server.one()), "the reply waits");
        sim.resume(peer);
        sim.run_until(MINUTE, |sim| sim.saw_eof(peer));
        assert!(*sim.received(peer) == bulk(&value)[..]);
        sim.shutdown(peer);
        assert_eq!(sim.run(MINUTE), Ended::Over);
        assert!(sim.take_result(server.one()).unwrap().is_ok());
    });
}
