//! Whole lives: made, begun, parked until the loop's next turn, ended.

use rotor_bench::rate::Contestant;
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Fiber, StackConfig, Stacks};
use std::time::{Duration, Instant};

/// Machines that do nothing but begin, are parked until the loop's next turn, and end.
#[derive(Clone, Copy)]
pub enum Born {
    Machine,
    Fiber,
}

/// Makes so many of its own type, some at a time.
enum Parent {
    Parent(u64),
    Child,
}

/// Few enough to stay in the caches.
const BATCH: u64 = 100;

impl Machine for Parent {
    type Context = ();
    type Message = ();
    type Seed = u64;

    fn create(count: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if count == 0 {
            scope.another_turn();
            return Ok(Response::of(Parent::Child));
        }
        Parent::Parent(count).bear(scope)
    }

    fn io(self, _: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self {
            Parent::Child => Ok(Response::done()),
            parent => parent.bear(scope),
        }
    }
}

impl Parent {
    fn bear(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let Parent::Parent(left) = self else {
            return Ok(Response::done());
        };
        for _ in 0..left.min(BATCH) {
            scope.spawn(0)?;
        }
        scope.another_turn();
        Ok(match left.saturating_sub(BATCH) {
            0 => Response::done(),
            left => Response::of(Parent::Parent(left)),
        })
    }
}

impl Contestant for Born {
    fn name(&self) -> &str {
        match self {
            Self::Machine => "machine",
            Self::Fiber => "fiber",
        }
    }

    fn run(&mut self, count: u64) -> Duration {
        match self {
            Self::Machine => {
                let mut lives = Loop::<Parent>::new(Config::default(), |_| Ok(())).expect("a loop");
                lives.spawn::<Parent>(count).expect("there is room");
                timed(&mut lives)
            }
            Self::Fiber => {
                let stacks = Stacks::new(StackConfig::default()).expect("a pool");
                let mut lives =
                    Loop::<Fiber<()>>::new(Config::default(), |_| Ok(())).expect("a loop");
                let seed = stacks.fiber("parent", move |cx| {
                    let mut left = count;
                    while left > 0 {
                        for _ in 0..left.min(BATCH) {
                            let child = cx.stacks().fiber("child", |cx| Ok(cx.yield_now()?))?;
                            cx.spawn(child)?;
                        }
                        left = left.saturating_sub(BATCH);
                        cx.yield_now()?;
                    }
                    Ok(())
                });
                let seed = seed.expect("there is a stack");
                lives.spawn::<Fiber<()>>(seed).expect("there is room");
                timed(&mut lives)
            }
        }
    }
}

fn timed<R: Machine>(lives: &mut Loop<R>) -> Duration {
    let start = Instant::now();
    lives.run().expect("it ends well");
    start.elapsed()
}
