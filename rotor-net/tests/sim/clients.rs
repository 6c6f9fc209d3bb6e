//! Clients: connecting, what is said when that fails, and one connection that changes its protocol.

use crate::{Dice, local, ms};
use rotor_fsm::sim::{Ended, SimConfig, check, check_with};
use rotor_fsm::{IoErrorKind, Loop};
use rotor_net::prelude::*;

/// Sends what it is told to, and ends when it has the answer to `end`.
struct Caller;

#[derive(Default)]
struct Calls {
    created: usize,
    failures: Vec<(u32, ConnectError)>,
    answers: Vec<u8>,
}

impl Protocol for Caller {
    type Context = Calls;
    type Message = u8;
    type Seed = u32;

    fn create(_: u32, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.created += 1;
        assert_eq!(conn.peer()?, local(9));
        Ok(Intent::of(Caller))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.answers.extend_from_slice(&data);
        Ok(Intent::of(self))
    }

    fn wakeup(self, byte: u8, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&[byte])?;
        Ok(if byte == b'.' {
            Intent::done()
        } else {
            Intent::of(self)
        })
    }

    fn unreachable(seed: u32, error: ConnectError, calls: &mut Calls) -> Result<()> {
        calls.failures.push((seed, error));
        Ok(())
    }
}

#[test]
fn messages_wait_until_the_connection_stands() {
    check(0..500, |sim| {
        let mut dice = Dice::of(sim);
        let listener = sim.listen_peer(local(9)).unwrap();
        let streams = Streams::new(Limits::default());
        let client = sim
            .add::<Stream<Caller>>(Config::default(), |_| Ok(Calls::default()))
            .unwrap();
        let seed = streams.connect(local(9), ms(1000), 1);
        let caller = sim
            .spawn::<Stream<Caller>, Stream<Caller>>(&client, seed)
            .unwrap();
        let text = [&dice.text_below(60)[..], b"."].concat();
        for &byte in &text {
            caller.send(byte).unwrap();
            if dice.below(8) == 0 {
                sim.run_for(std::time::Duration::from_micros(dice.below(1000)));
            }
        }
        sim.run_for(ms(100));
        let peer = sim.accept(listener).expect("connected");
        assert_eq!(&*sim.received(peer), text);
        assert!(sim.saw_eof(peer));
        sim.close(peer);
        assert_eq!(sim.run(ms(100)), Ended::Over);
        assert_eq!(
            (sim.context(&client, |calls| calls.created), streams.open()),
            (Some(1), 0)
        );
    });
}

#[test]
fn a_connection_that_cannot_be_made_is_told_by_name() {
    let mut config = SimConfig::default();
    config.refuse_percent = 50;
    config.delay = (ms(1), ms(40));
    check_with(0..500, &config, |sim| {
        sim.listen_peer(local(9)).unwrap();
        let streams = Streams::new(Limits {
            connections: 3,
            ..Limits::default()
        });
        let client = sim
            .add::<Stream<Caller>>(Config::default(), |_| Ok(Calls::default()))
            .unwrap();
        for seed in 0..4 {
            let seed = streams.connect(local(9), ms(20), seed);
            sim.spawn::<Stream<Caller>, Stream<Caller>>(&client, seed)
                .unwrap();
        }
        sim.run_for(ms(200));
        let (created, failures) = sim
            .context(&client, |calls| {
                (calls.created, std::mem::take(&mut calls.failures))
            })
            .unwrap();
        assert_eq!(created + failures.len(), 4);
        assert_eq!(created, streams.open());
        for (seed, error) in failures {
            assert_eq!(error.to, local(9));
            match error.error.kind() {
                IoErrorKind::Refused | IoErrorKind::TimedOut => assert!(seed < 3),
                kind => assert_eq!((kind, seed), (IoErrorKind::Limit, 3), "{error}"),
            }
        }
    });
}

/// Takes one line, then hands the connection to another protocol.
struct Front;

/// Answers every three bytes with their reverse.
struct Back;

struct Both {
    backs: Spawner<Stream<Back>>,
}

impl Protocol for Front {
    type Context = Both;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(b"front\n")?;
        Ok(Intent::of(Front).line(100))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&line)?;
        Ok(Intent::switch_to(&conn.ctx.backs, line.len()))
    }
}

impl Protocol for Back {
    type Context = Both;
    type Message = Never;
    type Seed = usize;

    fn create(length: usize, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        writeln!(conn.out, "\nback {length}")?;
        Ok(Intent::of(Back).read(Until::Bytes(3)))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&[data[2], data[1], data[0]])?;
        Ok(Intent::of(self))
    }

    fn eof(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let rest = conn.rest().to_vec();
        conn.out.write(&rest)?;
        Ok(Intent::done())
    }
}

rotor_fsm::compose! { enum Host(Both) { Accept(Accept<Front>), Front(Stream<Front>), Back(Stream<Back>) } }

fn host(streams: &Streams) -> impl FnOnce(&rotor_fsm::Setup<'_, Host>) -> Result<Both> {
    move |setup| {
        let seed = rotor_net::AcceptSeed::new(local(7), streams, &setup.spawner(), |_| ());
        setup.add::<Accept<Front>>(seed)?;
        Ok(Both {
            backs: setup.spawner(),
        })
    }
}

#[test]
fn a_connection_changes_its_protocol_and_nothing_is_lost() {
    check(0..1000, |sim| {
        let mut dice = Dice::of(sim);
        let limits = Limits {
            calls_per_dispatch: 2,
            output_high_bytes: 100,
            output_low_bytes: 50,
            ..Limits::default()
        };
        let streams = Streams::new(limits);
        let made = sim.add::<Host>(Config::default(), host(&streams));
        let _server = made.unwrap();
        sim.run_for(ms(1));
        let peer = sim.connect(local(7));
        let line = dice.text_below(100);
        let body = dice.text_below(1000);
        sim.send(peer, &[&line[..], b"\r\n", &body].concat());
        sim.shutdown(peer);
        assert_eq!(sim.run(ms(60_000)), Ended::Idle);
        let reversed: Vec<u8> = body
            .chunks(3)
            .flat_map(|c| {
                if c.len() == 3 {
                    vec![c[2], c[1], c[0]]
                } else {
                    c.to_vec()
                }
            })
            .collect();
        let told = format!("\nback {}\n", line.len()).into_bytes();
        let expected = [b"front\n", &line[..], &told, &reversed].concat();
        assert_eq!(
            String::from_utf8_lossy(&sim.received(peer)),
            String::from_utf8_lossy(&expected)
        );
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
        assert_eq!(streams.open(), 0);
    });
}

#[test]
fn a_switch_without_room_ends_the_connection_but_not_its_output() {
    check(0..100, |sim| {
        let streams = Streams::new(Limits::default());
        let mut config = Config::default();
        // The listener and one connection; for a moment a switch needs a place more.
        config.machines_max = 2;
        let _server = sim.add::<Host>(config, host(&streams)).unwrap();
        sim.run_for(ms(1));
        let peer = sim.connect(local(7));
        sim.send(peer, b"line\nmore that nobody reads");
        let ended = |sim: &mut rotor_fsm::sim::Sim| sim.saw_eof(peer);
        assert_eq!(sim.run_until(ms(1000), ended), Ended::Met);
        assert_eq!(&*sim.received(peer), b"front\nline");
        sim.close(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        assert_eq!(streams.open(), 0);
    });
}

/// The same on real sockets: nobody listens there.
#[test]
fn a_refused_connection_is_told_on_libuv_too() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let streams = Streams::new(Limits::default());
    let mut main_loop =
        Loop::<Stream<Caller>>::new(Config::default(), |_| Ok(Calls::default())).unwrap();
    main_loop
        .spawn::<Stream<Caller>>(streams.connect(free, ms(10_000), 5))
        .unwrap();
    main_loop.run().unwrap();
    let calls = main_loop.context().unwrap();
    assert_eq!((calls.created, calls.failures.len()), (0, 1));
    let (seed, error) = &calls.failures[0];
    assert_eq!(
        (*seed, error.error.kind(), &error.to),
        (5, IoErrorKind::Refused, &free.into())
    );
    assert!(
        error.to_string().starts_with(&format!("{free}: connect: ")),
        "{error}"
    );
}
