//! An echo server: what comes back is what was sent, however it was split, and half-close is respected.

use crate::{Dice, local, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, Sim, SimConfig, SimLoop, check, check_with};

/// Listens, or serves one connection.
pub enum Echo {
    Listening { _listener: Listener },
    Serving { socket: Socket },
}

impl Machine for Echo {
    type Context = ();
    type Message = Never;
    type Seed = Result<Incoming, Addr>;

    fn create(seed: Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(match seed {
            Ok(incoming) => Echo::Serving {
                socket: scope.open(incoming)?,
            },
            Err(at) => Echo::Listening {
                _listener: scope.listen(at)?,
            },
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (&self, event) {
            (Echo::Listening { .. }, Io::Incoming(incoming)) => drop(scope.spawn(Ok(incoming))),
            (Echo::Serving { socket }, Io::Read(bytes)) => scope.write(socket, &bytes)?,
            (Echo::Serving { socket }, Io::Eof) => scope.shutdown_write(socket)?,
            (Echo::Serving { .. }, Io::ShutDown) => return Ok(Response::done()),
            (_, Io::Failed(error)) => return Err(error.into()),
            _ => {}
        }
        Ok(Response::of(self))
    }
}

pub fn serve(sim: &mut Sim, at: Addr) -> SimLoop<Echo> {
    let server = sim.add::<Echo>(Config::default(), |_| Ok(())).unwrap();
    sim.spawn::<Echo, Echo>(&server, Err(at)).unwrap();
    sim.run_for(ms(1));
    server
}

fn peers_get_back_what_they_sent(sim: &mut Sim) {
    let server = serve(sim, local(7));
    let mut dice = Dice::of(sim);
    let mut peers = Vec::new();
    for _ in 0..1 + dice.below(4) {
        peers.push((sim.connect(local(7)), Vec::new()));
    }
    for _ in 0..dice.below(12) {
        let n = dice.below(peers.len() as u64) as usize;
        let len = 1 << dice.below(12);
        let len = 1 + dice.below(len) as usize;
        let bytes = dice.bytes(len);
        let (peer, sent) = &mut peers[n];
        sim.send(*peer, &bytes);
        sent.extend(bytes);
        if dice.below(2) == 0 {
            sim.run_for(ms(dice.below(10)));
        }
    }
    for (peer, _) in &peers {
        sim.shutdown(*peer);
    }
    assert_eq!(sim.run(ms(60_000)), Ended::Idle);
    for (peer, sent) in peers {
        assert_eq!(*sim.received(peer), sent[..]);
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer) && !sim.is_open(peer));
        assert_eq!(sim.unsent(peer), 0);
    }
    assert_eq!(sim.stats(&server).machines, 1, "all connections have ended");
    assert_eq!((sim.descriptors(), sim.bytes_in_flight()), (1, 0));
}

#[test]
fn what_comes_back_is_what_was_sent_whatever_the_splits() {
    check(0..1500, peers_get_back_what_they_sent);
}

#[test]
fn the_same_through_very_small_buffers() {
    let config = SimConfig {
        buffer_bytes: (1, 9),
        pieces_max: 9,
        partial_percent: 60,
        short_read_percent: 60,
        ..SimConfig::default()
    };
    check_with(0..60, &config, peers_get_back_what_they_sent);
}

#[test]
fn the_same_in_a_fast_and_roomy_world() {
    let config = SimConfig {
        buffer_bytes: (1 << 20, 1 << 20),
        pieces_max: 1,
        delay: (ms(0), ms(0)),
        partial_percent: 0,
        short_read_percent: 0,
        ..SimConfig::default()
    };
    check_with(0..200, &config, peers_get_back_what_they_sent);
}

#[test]
fn l4_output_after_the_peers_fin_still_arrives() {
    check(0..300, |sim| {
        serve(sim, local(7));
        let peer = sim.connect(local(7));
        let sent = Dice::of(sim).bytes(40_000);
        sim.send(peer, &sent);
        sim.shutdown(peer);
        sim.pause(peer);
        sim.run_for(ms(1000));
        assert!(!sim.saw_eof(peer), "nothing is read yet");
        sim.resume(peer);
        sim.run(ms(60_000));
        assert_eq!(*sim.received(peer), sent[..]);
        assert!(sim.saw_eof(peer));
    });
}

#[test]
fn unix_sockets_and_ipv6_are_the_same() {
    for at in ["unix:/run/echo", "[::1]:7", "127.0.0.1:7"] {
        let at: Addr = at.parse().unwrap();
        check(0..30, |sim| {
            serve(sim, at.clone());
            let peer = sim.connect(at.clone());
            sim.send(peer, b"hello");
            sim.shutdown(peer);
            sim.run(ms(60_000));
            assert_eq!(*sim.received(peer), *b"hello");
            assert!(sim.is_connected(peer) && sim.saw_eof(peer));
        });
    }
}
