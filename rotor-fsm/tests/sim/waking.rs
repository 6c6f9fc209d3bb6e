//! Wakes between loops in one thread: nothing that was written before one is missed, and the trace tells of them.

use crate::{Dice, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, Sim, check};
use rotor_fsm::{Stats, Waker};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// A number that grows, and whoever is to hear of it.
#[derive(Clone, Default)]
struct Board {
    number: Rc<Cell<u64>>,
    reader: Rc<RefCell<Option<Waker>>>,
}

/// Counts up on the board in bursts and wakes the reader for each number.
struct Writer(Board, u64);

impl Machine for Writer {
    type Context = ();
    type Message = Never;
    type Seed = (Board, u64);

    fn create((board, last): Self::Seed, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Writer(board, last)).after(Duration::ZERO))
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        for _ in 0..1 + scope.random() % 5 {
            if self.0.number.get() == self.1 {
                return Ok(Response::done());
            }
            self.0.number.set(self.0.number.get() + 1);
            if let Some(reader) = &*self.0.reader.borrow() {
                reader.wake();
            }
        }
        let pause = Duration::from_micros(scope.random() % 100);
        Ok(Response::of(self).after(pause))
    }
}

/// Reads the board when it is woken, until the last number.
struct Reader(Board, u64);

impl Machine for Reader {
    type Context = Vec<u64>;
    type Message = Never;
    type Seed = (Board, u64);

    fn create((board, last): Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        board.reader.replace(Some(scope.waker()));
        // It may have begun already.
        scope.waker().wake();
        Ok(Response::of(Reader(board, last)))
    }

    fn io(
        self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        assert!(matches!(event, Io::Woken) && on == HandleId::NONE);
        let number = self.0.number.get();
        scope.ctx.push(number);
        if number == self.1 {
            Ok(Response::done())
        } else {
            Ok(Response::of(self))
        }
    }
}

/// What was read, and what the reader's loop says.
fn run(sim: &mut Sim, last: u64) -> (Vec<u64>, Stats, u64) {
    let board = Board::default();
    let theirs = sim.add::<Writer>(Config::default(), |_| Ok(())).unwrap();
    let ours = sim
        .add::<Reader>(Config::default(), |_| Ok(Vec::new()))
        .unwrap();
    sim.spawn::<Writer, Writer>(&theirs, (board.clone(), last))
        .unwrap();
    sim.spawn::<Reader, Reader>(&ours, (board, last)).unwrap();
    assert_eq!(sim.run(ms(60_000)), Ended::Over);
    let read = sim.context(&ours, std::mem::take).unwrap();
    (read, sim.stats(&ours), ours.handle().messages().wakes)
}

#[test]
fn r4_a_reader_that_is_woken_misses_nothing() {
    check(0..500, |sim| {
        let last = 1 + Dice::of(sim).below(200);
        let (read, stats, wakes) = run(sim, last);
        assert_eq!(read.last(), Some(&last));
        assert!(read.is_sorted() && read.len() as u64 <= last + 1);
        assert_eq!(stats.woken, read.len() as u64);
        assert!(wakes <= stats.woken, "at most one eventfd write an event");
    });
}

#[test]
fn wakes_are_in_the_trace_and_the_same_seed_wakes_alike() {
    for seed in 0..20 {
        let mut sims = [Sim::new(seed), Sim::new(seed)];
        let [a, b] = sims.each_mut().map(|sim| run(sim, 50));
        assert_eq!(a, b);
        let [a, b] = sims.each_ref().map(Sim::trace);
        assert_eq!(a, b);
        assert_eq!(sims[0].trace_hash(), sims[1].trace_hash());
        let told = a
            .lines()
            .filter(|line| line.contains("loop1 woken "))
            .count();
        assert!(told > 0, "{a}");
    }
}
