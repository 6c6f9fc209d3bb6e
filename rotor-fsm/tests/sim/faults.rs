//! Refusals, resets, exhausted limits: what machines hear of them.

use crate::echo::serve;
use crate::{Dice, local, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, Sim, SimConfig, SimLoop, check, check_with};
use rotor_fsm::{IoErrorKind, Op};

/// What a machine heard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Connected,
    Read(usize),
    Eof,
    Flushed,
    ShutDown,
    Failed(Op, IoErrorKind),
}

/// Connects or accepts, writes what it was told to, and notes all that it hears.
struct Ear {
    socket: Option<Socket>,
    _listener: Option<Listener>,
}

enum Start {
    Connect(Addr, Vec<u8>),
    Listen(Addr),
    /// Serves a connection, but does not read before this time has passed.
    Serve(Incoming),
}

#[derive(Default)]
struct Notes {
    heard: Vec<Heard>,
    bytes: Vec<u8>,
    deaf_for: std::time::Duration,
}

impl Machine for Ear {
    type Context = Notes;
    type Message = ();
    type Seed = Start;

    fn create(start: Start, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match start {
            Start::Connect(to, bytes) => {
                let socket = scope.connect(to)?;
                if !bytes.is_empty() {
                    scope.write(&socket, &bytes)?;
                }
                Ok(Response::of(Ear {
                    socket: Some(socket),
                    _listener: None,
                }))
            }
            Start::Listen(at) => {
                let listener = scope.listen(at)?;
                Ok(Response::of(Ear {
                    socket: None,
                    _listener: Some(listener),
                }))
            }
            Start::Serve(incoming) => {
                let socket = scope.open(incoming)?;
                scope.pause(&socket);
                let deaf_for = scope.ctx.deaf_for;
                Ok(Response::of(Ear {
                    socket: Some(socket),
                    _listener: None,
                })
                .after(deaf_for))
            }
        }
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let heard = match event {
            Io::Incoming(incoming) => {
                scope.spawn(Start::Serve(incoming))?;
                return Ok(Response::of(self));
            }
            Io::Connected => Heard::Connected,
            Io::Read(bytes) => {
                scope.ctx.bytes.extend_from_slice(&bytes);
                Heard::Read(bytes.len())
            }
            Io::Eof => Heard::Eof,
            Io::Flushed => Heard::Flushed,
            Io::ShutDown => Heard::ShutDown,
            Io::Failed(error) => Heard::Failed(error.op(), error.kind()),
            other => return Err(Error::msg(format!("{other:?}"))),
        };
        scope.ctx.heard.push(heard);
        Ok(Response::of(self))
    }

    /// Writes one byte.
    fn wakeup(self, (): (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if let Some(socket) = &self.socket {
            scope.write(socket, b"x")?;
        }
        Ok(Response::of(self))
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if let Some(socket) = &self.socket {
            scope.resume(socket);
        }
        Ok(Response::of(self))
    }
}

fn ears(sim: &mut Sim, start: Start, deaf_for: std::time::Duration) -> SimLoop<Ear> {
    let notes = Notes {
        deaf_for,
        ..Notes::default()
    };
    let loop_ = sim.add::<Ear>(Config::default(), |_| Ok(notes)).unwrap();
    sim.spawn::<Ear, Ear>(&loop_, start).unwrap();
    sim.run_for(ms(1));
    loop_
}

fn heard(sim: &mut Sim, by: &SimLoop<Ear>) -> Vec<Heard> {
    sim.context(by, |notes| notes.heard.clone()).unwrap()
}

#[test]
fn a_connect_that_nobody_answers_is_refused() {
    check(0..200, |sim| {
        for (at, kind) in [
            (local(9), IoErrorKind::Refused),
            (Addr::Unix("/none".into()), IoErrorKind::NotFound),
        ] {
            let ear = ears(sim, Start::Connect(at.clone(), Vec::new()), ms(0));
            sim.run(ms(1000));
            assert_eq!(heard(sim, &ear), [Heard::Failed(Op::Connect, kind)]);
            let peer = sim.connect(at);
            sim.run(ms(1000));
            assert!(sim.saw_refused(peer) && !sim.is_connected(peer) && !sim.is_open(peer));
        }
    });
}

#[test]
fn what_was_written_before_a_refusal_is_cancelled_once() {
    check(0..200, |sim| {
        let ear = ears(sim, Start::Connect(local(9), b"hello".to_vec()), ms(0));
        sim.run(ms(1000));
        let heard = heard(sim, &ear);
        assert_eq!(heard[0], Heard::Failed(Op::Connect, IoErrorKind::Refused));
        assert_eq!(
            heard[1..],
            [Heard::Failed(Op::Write, IoErrorKind::Cancelled)]
        );
    });
}

#[test]
fn connects_are_refused_by_chance_as_often_as_the_configuration_says() {
    let config = SimConfig {
        refuse_percent: 30,
        ..SimConfig::default()
    };
    let refused = std::cell::Cell::new(0);
    check_with(0..1000, &config, |sim| {
        serve(sim, local(7));
        let peer = sim.connect(local(7));
        sim.send(peer, b"x");
        sim.run(ms(60_000));
        assert_ne!(sim.saw_refused(peer), sim.is_connected(peer));
        assert_eq!(
            sim.received(peer).len(),
            usize::from(sim.is_connected(peer))
        );
        refused.set(refused.get() + u32::from(sim.saw_refused(peer)));
    });
    assert!(
        crate::is_replay() || (250..350).contains(&refused.get()),
        "{}",
        refused.get()
    );
}

#[test]
fn l4_what_arrived_before_a_reset_is_read_before_it() {
    check(0..1000, |sim| {
        let ear = ears(sim, Start::Listen(local(7)), ms(500));
        let mut dice = Dice::of(sim);
        let peer = sim.connect(local(7));
        let len = dice.below(500) as usize;
        let sent = dice.bytes(len);
        sim.send(peer, &sent);
        sim.run_for(ms(300));
        assert_eq!(heard(sim, &ear), [], "it is deaf still");
        sim.reset(peer);
        sim.run_for(ms(100));
        assert_eq!(heard(sim, &ear), []);
        sim.run(ms(60_000));
        let heard = heard(sim, &ear);
        assert_eq!(
            heard.last(),
            Some(&Heard::Failed(Op::Read, IoErrorKind::Reset))
        );
        assert!(
            heard[..heard.len() - 1]
                .iter()
                .all(|heard| matches!(heard, Heard::Read(_)))
        );
        assert_eq!(
            sim.context(&ear, |notes| notes.bytes.clone()).unwrap(),
            sent
        );
    });
}

#[test]
fn a_reset_at_any_time_leaves_a_prefix_and_is_heard_once() {
    check(0..1000, |sim| {
        let ear = ears(sim, Start::Listen(local(7)), ms(0));
        let mut dice = Dice::of(sim);
        let peer = sim.connect(local(7));
        let len = 1 + dice.below(20_000) as usize;
        let sent = dice.bytes(len);
        sim.send(peer, &sent);
        sim.run_for(std::time::Duration::from_micros(dice.below(20_000)));
        sim.reset(peer);
        sim.run(ms(60_000));
        let heard = heard(sim, &ear);
        let read = sim.context(&ear, |notes| notes.bytes.clone()).unwrap();
        assert_eq!(read, sent[..read.len()]);
        let failures = heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Failed(..)))
            .count();
        // A connect that was taken back before it arrived is heard by nobody.
        let was_accepted = !heard.is_empty();
        assert_eq!(failures, usize::from(was_accepted), "{heard:?}");
        assert!(!heard.contains(&Heard::Eof) && !sim.is_open(peer));
    });
}

#[test]
fn closing_with_unread_input_resets_the_other_side() {
    check(0..300, |sim| {
        // Deaf for ever: what arrives is never read.
        let ear = ears(sim, Start::Listen(local(7)), std::time::Duration::MAX);
        let peer = sim.connect(local(7));
        sim.send(peer, b"nobody reads this");
        sim.run_for(ms(100));
        assert!(sim.is_open(peer));
        sim.close_loop(&ear);
        sim.run(ms(1000));
        assert!(sim.saw_reset(peer) && !sim.saw_eof(peer));
        assert_eq!(sim.open_ends(), 1, "only the peer's");
    });
}

#[test]
fn writing_to_who_has_closed_fails_after_the_eof() {
    check(0..300, |sim| {
        let listener = sim.listen_peer(local(7)).unwrap();
        let notes = Notes::default();
        let loop_ = sim.add::<Ear>(Config::default(), |_| Ok(notes)).unwrap();
        let start = Start::Connect(local(7), b"hello".to_vec());
        let ear = sim.spawn::<Ear, Ear>(&loop_, start).unwrap();
        sim.run_for(ms(100));
        let peer = sim.accept(listener).unwrap();
        assert_eq!(*sim.received(peer), *b"hello");
        sim.close(peer);
        sim.run_for(ms(100));
        assert_eq!(heard(sim, &loop_).last(), Some(&Heard::Eof));
        // The first write finds nobody and is answered with a reset; a later one hears of it.
        for _ in 0..3 {
            // After the failure the machine's own write is refused, and that ends it.
            let _ = ear.send(());
            sim.run_for(ms(100));
        }
        let failed = Heard::Failed(Op::Write, IoErrorKind::BrokenPipe);
        assert_eq!(
            heard(sim, &loop_)
                .iter()
                .filter(|heard| **heard == failed)
                .count(),
            1
        );
    });
}

#[test]
fn a_network_that_breaks_connections_is_heard_on_both_sides() {
    let config = SimConfig {
        break_percent: 100,
        ..SimConfig::default()
    };
    check_with(0..300, &config, |sim| {
        let listener = sim.listen_peer(local(7)).unwrap();
        let ear = ears(sim, Start::Connect(local(7), Vec::new()), ms(0));
        sim.run_for(ms(1000));
        let peer = sim.accept(listener).unwrap();
        sim.run_for(ms(1000));
        let reset = Heard::Failed(Op::Read, IoErrorKind::Reset);
        assert_eq!(heard(sim, &ear), [Heard::Connected, reset]);
        assert!(sim.saw_reset(peer));
    });
}

#[test]
fn l6_connections_above_the_limit_wait_and_are_served() {
    check(0..200, |sim| {
        let config = Config {
            sockets_max: 3,
            ..Config::default()
        };
        let server = sim.add::<crate::echo::Echo>(config, |_| Ok(())).unwrap();
        sim.spawn::<_, crate::echo::Echo>(&server, Err(local(7)))
            .unwrap();
        all_are_served(sim, 12, 4);
        assert!(sim.stats(&server).accepts_paused > 0);
    });
}

#[test]
fn u15_out_of_descriptors_connections_wait_and_are_served() {
    let config = SimConfig {
        descriptors_max: 4,
        ..SimConfig::default()
    };
    check_with(0..200, &config, |sim| {
        let server = serve(sim, local(7));
        all_are_served(sim, 12, 4);
        assert!(sim.stats(&server).accepts_paused > 0);
        let ear = ears(sim, Start::Connect(local(7), Vec::new()), ms(0));
        sim.run_for(ms(1000));
        assert_eq!(heard(sim, &ear), [Heard::Connected]);
    });
}

/// So many peers want an echo at a time, with so many descriptors at most in use.
fn all_are_served(sim: &mut Sim, peers: usize, descriptors_max: usize) {
    sim.run_for(ms(1));
    let peers: Vec<_> = (0..peers).map(|_| sim.connect(local(7))).collect();
    for peer in &peers {
        sim.send(*peer, b"hello");
    }
    // Who is served keeps its place for a while.
    sim.run_for(ms(50));
    peers.iter().for_each(|peer| sim.shutdown(*peer));
    let ended = sim.run_until(ms(60_000), |sim| {
        assert!(sim.descriptors() <= descriptors_max);
        false
    });
    assert_eq!(ended, Ended::Idle);
    for peer in peers {
        assert_eq!(*sim.received(peer), *b"hello");
        assert!(sim.saw_eof(peer));
    }
}

#[test]
fn without_a_descriptor_connecting_fails_as_an_event_and_listening_at_the_call() {
    let config = SimConfig {
        descriptors_max: 0,
        ..SimConfig::default()
    };
    check_with(0..20, &config, |sim| {
        let ear = ears(sim, Start::Connect(local(7), Vec::new()), ms(0));
        sim.run(ms(100));
        assert_eq!(
            heard(sim, &ear),
            [Heard::Failed(Op::Connect, IoErrorKind::FdLimit)]
        );
        let listening = ears(sim, Start::Listen(local(7)), ms(0));
        assert!(sim.is_over(&listening), "its only machine failed in create");
    });
}

#[test]
fn a_full_backlog_delays_connects_and_a_closed_listener_resets_them() {
    check(0..50, |sim| {
        let config = Config {
            sockets_max: 0,
            ..Config::default()
        };
        let notes = Notes::default();
        let loop_ = sim.add::<Ear>(config, |_| Ok(notes)).unwrap();
        sim.spawn::<Ear, Ear>(&loop_, Start::Listen(local(7)))
            .unwrap();
        sim.run_for(ms(1));
        let peers: Vec<_> = (0..1030).map(|_| sim.connect(local(7))).collect();
        sim.run_for(ms(500));
        let connected = peers.iter().filter(|peer| sim.is_connected(**peer)).count();
        assert_eq!(connected, 1024, "the backlog's default");
        sim.close_loop(&loop_);
        sim.run_for(ms(5000));
        assert_eq!(
            peers.iter().filter(|peer| sim.saw_reset(**peer)).count(),
            1024
        );
        assert_eq!(
            peers.iter().filter(|peer| sim.saw_refused(**peer)).count(),
            6
        );
    });
}

#[test]
fn fins_that_cross_are_no_reset() {
    check(0..300, |sim| {
        let ear = ears(sim, Start::Listen(local(7)), ms(0));
        let mut dice = Dice::of(sim);
        let peer = sim.connect(local(7));
        sim.run_for(ms(50));
        sim.shutdown(peer);
        sim.run_for(std::time::Duration::from_micros(dice.below(3000)));
        sim.close_loop(&ear);
        assert_eq!(sim.run(ms(1000)), Ended::Over);
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
    });
}
