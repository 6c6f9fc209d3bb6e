//! A switch there and back: a bare coroutine's, and a fiber's by way of its machine.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use rotor_bench::rate::Contestant;
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
use std::time::{Duration, Instant};

/// A coroutine that is switched to and back.
pub struct Bare;

impl Contestant for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn run(&mut self, count: u64) -> Duration {
        let stack = DefaultStack::new(64 << 10).expect("there is memory");
        let mut coroutine = Coroutine::<u64, (), (), _>::with_stack(stack, |yielder, mut n| {
            while n > 0 {
                n = yielder.suspend(());
            }
        });
        let start = Instant::now();
        for n in (1..=count).rev() {
            let outcome = coroutine.resume(n);
            assert!(matches!(outcome, CoroutineResult::Yield(())));
        }
        let took = start.elapsed();
        coroutine.resume(0);
        took
    }
}

/// Messages that a machine sends to another of its loop, which does nothing but receive them. What a fiber takes more
/// for each than an enum machine is what suspending and resuming it costs.
#[derive(Clone, Copy)]
pub enum Told {
    Machine,
    Fiber,
}

/// Receives so many messages.
struct Listener(u64);

impl Machine for Listener {
    type Context = ();
    type Message = u64;
    type Seed = u64;

    fn create(left: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Listener(left)))
    }

    fn wakeup(self, _: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if self.0 == 1 {
            scope.shutdown(Duration::ZERO);
            return Ok(Response::done());
        }
        Ok(Response::of(Listener(self.0 - 1)))
    }
}

/// Sends so many, as many a turn as the loop delivers in one.
struct Sender {
    to: Notifier<u64>,
    left: u64,
}

impl Machine for Sender {
    type Context = ();
    type Message = ();
    type Seed = (Notifier<u64>, u64);

    fn create((to, left): Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Sender { to, left }.send(scope)
    }

    fn wakeup(self, _: (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.send(scope)
    }
}

impl Sender {
    fn send(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        for _ in 0..self.left.min(4000) {
            self.to.send(self.left)?;
            self.left -= 1;
        }
        if self.left > 0 {
            scope.notifier().send(())?;
        }
        Ok(Response::of(self))
    }
}

type Listening = Fiber<(), u64>;
rotor_fsm::compose! { enum Talk(()) { Sender(Sender), Listener(Listener), Fiber(Listening) } }

impl Contestant for Told {
    fn name(&self) -> &str {
        match self {
            Self::Machine => "machine",
            Self::Fiber => "fiber",
        }
    }

    fn run(&mut self, count: u64) -> Duration {
        let mut talk = Loop::<Talk>::new(Config::default(), |_| Ok(())).expect("a loop");
        let stacks = Stacks::new(StackConfig::default()).expect("a pool");
        let to = match self {
            Self::Machine => talk.spawn::<Listener>(count).expect("there is room"),
            Self::Fiber => {
                let seed = stacks.fiber("listener", move |cx: &Cx<(), u64>| {
                    for _ in 0..count {
                        cx.recv()?;
                    }
                    Ok(cx.shutdown(Duration::ZERO)?)
                });
                let seed = seed.expect("there is a stack");
                talk.spawn::<Listening>(seed).expect("there is room")
            }
        };
        talk.spawn::<Sender>((to, count)).expect("there is room");
        let start = Instant::now();
        talk.run().expect("it ends well");
        start.elapsed()
    }
}
