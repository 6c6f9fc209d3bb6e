//! The simulator itself: a seed determines everything, and a failure names its seed.

use crate::echo::Echo;
use crate::{Dice, local, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Sim, SimConfig, check};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Calls the echo server again and again, by chance and by clock, and gives up by chance.
struct Client {
    socket: Option<Socket>,
    rounds: u32,
}

impl Machine for Client {
    type Context = u64;
    type Message = u64;
    type Seed = u32;

    fn create(rounds: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let pause = Duration::from_micros(scope.random() % 5000);
        Ok(Response::of(Client {
            socket: None,
            rounds,
        })
        .after(pause))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match event {
            Io::Read(bytes) => *scope.ctx += bytes.len() as u64,
            Io::Failed(_) | Io::Eof => {
                return Ok(Response::of(Client {
                    socket: None,
                    ..self
                })
                .after(ms(1)));
            }
            _ => {}
        }
        Ok(Response::of(self))
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if self.rounds == 0 {
            return Ok(Response::done());
        }
        self.rounds -= 1;
        let dice = scope.random();
        let pause = Duration::from_micros(dice % 20_000);
        match self.socket.take() {
            None => self.socket = Some(scope.connect(local(7))?),
            Some(socket) if dice.is_multiple_of(5) => scope.abort(socket),
            Some(socket) if dice % 5 == 1 => scope.shutdown_write(&socket)?,
            Some(socket) => {
                let bytes = vec![dice as u8; dice as usize % 5000];
                // Refused after a half-close; that is as good as any other event.
                let _ = scope.write(&socket, &bytes);
                self.socket = Some(socket);
            }
        }
        let notifier = scope.notifier();
        scope.work(move || dice, |n| n)?;
        notifier.send(1)?;
        Ok(Response::of(self).after(pause))
    }

    fn wakeup(self, n: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        *scope.ctx = scope.ctx.wrapping_mul(31).wrapping_add(n);
        Ok(Response::of(self))
    }
}

/// Everything at once: two loops, faults, peers, work, messages.
fn scenario(seed: u64) -> (String, u64, u64) {
    let config = SimConfig {
        trace_lines_max: usize::MAX,
        refuse_percent: 10,
        break_percent: 10,
        ..SimConfig::default()
    };
    let mut sim = Sim::with_config(seed, config);
    let server = sim.add::<Echo>(Config::default(), |_| Ok(())).unwrap();
    sim.spawn::<Echo, Echo>(&server, Err(local(7))).unwrap();
    let clients = sim.add::<Client>(Config::default(), |_| Ok(0)).unwrap();
    for _ in 0..5 {
        sim.spawn::<Client, Client>(&clients, 20).unwrap();
    }
    let mut dice = Dice::of(&sim);
    for _ in 0..5 {
        let peer = sim.connect(local(7));
        sim.send(peer, &dice.bytes(2000));
        sim.run_for(ms(dice.below(30)));
        sim.shutdown(peer);
    }
    sim.run(ms(60_000));
    let sum = sim.context(&clients, |sum| *sum).unwrap();
    (sim.trace(), sim.trace_hash(), sum)
}

#[test]
fn r10_the_same_seed_makes_the_same_trace_byte_for_byte_and_another_seed_another() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (trace, hash, sum) = scenario(seed);
        let (again, hash_again, sum_again) = scenario(seed);
        assert_eq!(trace, again, "seed {seed}");
        assert_eq!((hash, sum), (hash_again, sum_again), "seed {seed}");
        assert!(
            trace.lines().count() > 200,
            "the scenario is rich: {}",
            trace.lines().count()
        );
        assert!(seen.insert(hash), "seed {seed} made the trace of another");
    }
}

#[test]
fn a_trace_reads_well_and_keeps_its_tail() {
    let config = SimConfig {
        trace_lines_max: 3,
        ..SimConfig::default()
    };
    let mut sim = Sim::with_config(1, config);
    for n in 0..10 {
        sim.note(format!("line {n}"));
    }
    assert_eq!(sim.trace().lines().count(), 3);
    assert!(
        sim.trace_tail(1).ends_with("world note line 9\n"),
        "{}",
        sim.trace_tail(1)
    );
    assert_eq!(sim.trace_len(), 10);
}

#[test]
fn check_runs_every_seed_and_stops_at_the_first_that_fails() {
    if crate::is_replay() {
        return;
    }
    let ran = RefCell::new(Vec::new());
    let failed = catch_unwind(AssertUnwindSafe(|| {
        check(10..20, |sim| {
            ran.borrow_mut().push(sim.seed());
            assert!(sim.seed() < 13, "on purpose");
        });
    }));
    assert!(failed.is_err());
    assert_eq!(*ran.borrow(), [10, 11, 12, 13]);
}

#[test]
fn set_up_that_fails_is_told_and_leaves_nothing_behind() {
    let mut sim = Sim::new(1);
    let mut promised = None;
    let refused = sim.add::<Client>(Config::default(), |setup| {
        promised = setup.add::<Client>(1).ok();
        Err(Error::msg("no"))
    });
    assert_eq!(
        refused.err().map(|error| error.to_string()).as_deref(),
        Some("no")
    );
    assert!(!promised.unwrap().is_live());
    assert_eq!(sim.run(ms(10)), rotor_fsm::sim::Ended::Idle);
}

#[test]
fn an_address_in_use_is_refused_to_peers_and_machines_alike() {
    let mut sim = Sim::new(1);
    let first = sim.listen_peer(local(7)).unwrap();
    assert_eq!(
        sim.listen_peer(local(7)).unwrap_err().kind(),
        rotor_fsm::IoErrorKind::AddrInUse
    );
    assert_eq!(sim.listening_at(first), Some(local(7)));
    let server = sim.add::<Echo>(Config::default(), |_| Ok(())).unwrap();
    sim.spawn::<Echo, Echo>(&server, Err(local(7))).unwrap();
    sim.run(ms(10));
    assert!(sim.is_over(&server), "its only machine failed to listen");
    sim.close_listener(first);
    let fresh = sim.listen_peer(local(0)).unwrap();
    assert!(matches!(sim.listening_at(fresh), Some(Addr::Tcp(at)) if at.port() != 0));
}
