//! Messages from other threads into a busy loop: how many a second, from one sender and from four.
//!
//! Every contestant moves the same `u64`s from its senders to one receiving thread that adds them
//! up, through a queue with the same number of places. The clock starts when all senders are let
//! go and stops when the last message was received. "Busy" means that the receiver has messages to
//! work on almost all the time, which is when a channel's own cost shows: to wake a sleeping thread
//! costs the kernel's 25 µs, whichever channel asks for it.
//!
//! The yardstick is tokio's bounded `mpsc` with `blocking_send`, which is how a thread sends into a
//! runtime. The others are there to see what it could do otherwise: a sender that yields and tries
//! again when the queue is full (as ours do, since a notifier never waits), and a queue without bound.

use rotor_bench::args::Args;
use rotor_bench::rate::{Contestant, compare};
use rotor_fsm::prelude::*;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Bounds of what the command line may ask for.
const MESSAGES_MAX: u64 = 1 << 32;

fn main() {
    let mut args = Args::from_env();
    let rounds = args.option("--rounds").unwrap_or(7);
    let count = args
        .option("--messages")
        .unwrap_or(2_000_000)
        .clamp(1, MESSAGES_MAX);
    let places = args.option("--places").unwrap_or(65_536).max(1);
    args.finish();

    for senders in [1, 4] {
        let job = Job { senders, places };
        let mut contestants: Vec<Box<dyn Contestant>> = vec![
            Box::new(Machines(job)),
            Box::new(Bounded(job)),
            Box::new(Retrying(job)),
            Box::new(Unbounded(job)),
        ];
        let nanos = compare(&mut contestants, rounds, count);
        for (contestant, nanos) in contestants.iter().zip(&nanos) {
            let name = contestant.name();
            println!(
                "senders {senders} {name} {:.2} million/s {nanos:.1} ns",
                1_000.0 / nanos
            );
        }
    }
}

/// What all contestants of one comparison have in common.
#[derive(Clone, Copy)]
struct Job {
    senders: u64,
    places: usize,
}

impl Job {
    /// Lets all senders go at once. Each calls `send` with 1, 2, … up to its share of `count`.
    /// `receive` runs on a thread of its own, calls the function it is given when it can take
    /// messages, and answers their sum and when it had the last.
    fn run(
        self,
        count: u64,
        send: impl Fn(u64) + Sync,
        receive: impl FnOnce(&dyn Fn()) -> (u64, Instant) + Send,
    ) -> Duration {
        let start = Barrier::new(self.senders as usize + 2);
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                receive(&|| {
                    start.wait();
                })
            });
            for sender in 0..self.senders {
                let (start, send) = (&start, &send);
                scope.spawn(move || {
                    start.wait();
                    (1..=self.share(sender, count)).for_each(send);
                });
            }
            start.wait();
            let started = Instant::now();
            let (sum, end) = receiver.join().expect("the receiver does not panic");
            assert_eq!(sum, self.expected_sum(count), "every message once");
            end.duration_since(started)
        })
    }

    fn share(self, sender: u64, count: u64) -> u64 {
        count / self.senders + u64::from(sender < count % self.senders)
    }

    fn expected_sum(self, count: u64) -> u64 {
        (0..self.senders)
            .map(|sender| self.share(sender, count))
            .map(|share| share * (share + 1) / 2)
            .sum()
    }
}

/// Ours: notifiers of one machine on a loop.
struct Machines(Job);

/// Adds up the messages it gets, and says so when it has them all.
struct Adder {
    sum: u64,
    left: u64,
    done: mpsc::Sender<(u64, Instant)>,
}

impl Machine for Adder {
    type Context = ();
    type Message = u64;
    type Seed = (u64, mpsc::Sender<(u64, Instant)>);

    fn create((left, done): Self::Seed, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Adder { sum: 0, left, done }))
    }

    fn wakeup(mut self, number: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.sum += number;
        self.left -= 1;
        if self.left > 0 {
            return Ok(Response::of(self));
        }
        let _ = self.done.send((self.sum, Instant::now()));
        Ok(Response::done())
    }
}

impl Contestant for Machines {
    fn name(&self) -> &str {
        "rotor"
    }

    fn run(&mut self, count: u64) -> Duration {
        let config = Config {
            inbox_messages_max: self.0.places,
            ..Config::default()
        };
        let main_loop =
            LoopThread::<Adder>::spawn(config, |_| Ok(())).expect("a loop needs a few descriptors");
        let (done, all) = mpsc::channel();
        let adder = main_loop
            .spawn::<Adder>((count, done))
            .wait()
            .expect("the loop is empty");
        self.0.run(
            count,
            |number| {
                while adder.send(number).is_err() {
                    thread::yield_now();
                }
            },
            move |ready| {
                ready();
                all.recv().expect("the machine ends by answering")
            },
        )
    }
}

/// tokio's bounded channel; a sender that finds it full sleeps.
struct Bounded(Job);

impl Contestant for Bounded {
    fn name(&self) -> &str {
        "tokio"
    }

    fn run(&mut self, count: u64) -> Duration {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(self.0.places);
        self.0.run(
            count,
            |number| {
                sender
                    .blocking_send(number)
                    .expect("the receiver is there to the end")
            },
            |ready| add_up(count, ready, async || receiver.recv().await),
        )
    }
}

/// The same channel; a sender that finds it full yields and tries again.
struct Retrying(Job);

impl Contestant for Retrying {
    fn name(&self) -> &str {
        "tokio-retrying"
    }

    fn run(&mut self, count: u64) -> Duration {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(self.0.places);
        self.0.run(
            count,
            |number| {
                while sender.try_send(number).is_err() {
                    thread::yield_now();
                }
            },
            |ready| add_up(count, ready, async || receiver.recv().await),
        )
    }
}

/// tokio's channel without a bound, whose memory may grow to all the messages.
struct Unbounded(Job);

impl Contestant for Unbounded {
    fn name(&self) -> &str {
        "tokio-unbounded"
    }

    fn run(&mut self, count: u64) -> Duration {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        self.0.run(
            count,
            |number| {
                sender
                    .send(number)
                    .expect("the receiver is there to the end")
            },
            |ready| add_up(count, ready, async || receiver.recv().await),
        )
    }
}

/// Receives `count` numbers as the only task of a current_thread runtime, with its I/O driver on,
/// as a program that also serves sockets has it.
fn add_up(
    count: u64,
    ready: &dyn Fn(),
    mut receive: impl AsyncFnMut() -> Option<u64>,
) -> (u64, Instant) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime needs a few descriptors");
    runtime.block_on(async {
        ready();
        let mut sum = 0;
        for _ in 0..count {
            sum += receive().await.expect("the senders are there to the end");
        }
        (sum, Instant::now())
    })
}
