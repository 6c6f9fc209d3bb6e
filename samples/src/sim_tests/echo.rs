//! The `echo` sample in the simulator: the machine that runs on libuv, by the thousand seeds.

use super::{Echo, Seed};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, PeerId, Sim, SimConfig, SimLoop, check, check_with};
use std::time::Duration;

fn addr() -> Addr {
    "127.0.0.1:7".parse().expect("an address")
}

fn serve(sim: &mut Sim) -> SimLoop<Echo> {
    let server = sim.add::<Echo>(Config::default(), |_| Ok(())).unwrap();
    sim.spawn::<Echo, Echo>(&server, Seed::Listen(addr()))
        .unwrap();
    sim.run_for(Duration::from_millis(1));
    server
}

/// Bytes that tell where they are from: which peer, and where in its stream.
fn bytes(peer: usize, from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|n| (n * 31 + peer * 7) as u8)
        .collect()
}

/// Several peers send at various times and half-close; each must get back exactly what it sent, then the server's FIN.
fn converse(sim: &mut Sim) {
    let server = serve(sim);
    let seed = sim.seed();
    let peers: Vec<PeerId> = (0..1 + seed as usize % 4)
        .map(|_| sim.connect(addr()))
        .collect();
    let mut sent = vec![0; peers.len()];
    for round in 0..5 {
        for (n, &peer) in peers.iter().enumerate() {
            let len = (seed as usize * 131 + round * 977 + n * 53) % 3000;
            sim.send(peer, &bytes(n, sent[n], len));
            sent[n] += len;
        }
        sim.run_for(Duration::from_micros(seed % 5000));
    }
    for &peer in &peers {
        sim.shutdown(peer);
    }
    sim.run(Duration::from_secs(60));
    for (n, &peer) in peers.iter().enumerate() {
        assert!(*sim.received(peer) == bytes(n, 0, sent[n])[..], "peer {n}");
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
    }
    assert_eq!(sim.stats(&server).machines, 1, "only the listener is left");
}

#[test]
fn what_is_sent_comes_back_by_two_thousand_seeds() {
    check(0..2000, converse);
}

#[test]
fn a_silent_peer_is_hung_up_on_after_two_looks_and_a_busy_one_is_not() {
    check(0..1000, |sim| {
        let server = serve(sim);
        let silent = sim.connect(addr());
        let busy = sim.connect(addr());
        for minute in 0..15 {
            sim.send(busy, &[minute]);
            sim.run_for(Duration::from_secs(60));
        }
        assert!(!sim.is_open(silent) || sim.saw_eof(silent));
        assert!(sim.is_open(busy) && !sim.saw_eof(busy));
        assert_eq!(sim.received(busy).len(), 15);
        assert_eq!(sim.stats(&server).machines, 2);
    });
}

#[test]
fn broken_connections_cost_nobody_else_anything() {
    let config = SimConfig {
        break_percent: 30,
        ..SimConfig::default()
    };
    check_with(0..1000, &config, |sim| {
        let server = serve(sim);
        let peers: Vec<PeerId> = (0..8).map(|_| sim.connect(addr())).collect();
        for (n, &peer) in peers.iter().enumerate() {
            sim.send(peer, &bytes(n, 0, 500));
        }
        sim.run_for(Duration::from_secs(5));
        for (n, &peer) in peers.iter().enumerate() {
            if sim.is_open(peer) {
                assert!(*sim.received(peer) == bytes(n, 0, 500)[..]);
                sim.shutdown(peer);
            }
        }
        assert_ne!(sim.run(Duration::from_secs(3600)), Ended::Over);
        assert_eq!(sim.stats(&server).machines, 1);
    });
}
