//! Fibers: on the simulator where time and order matter, on real loops and sockets where the system does.

mod allocations;
mod connecting;
#[path = "../common/counting.rs"]
mod counting;
mod echo;
mod futures;
mod life;
mod many;
mod messages;
mod overflow;
mod owners;
mod stacks;
mod streams;
mod waits;

use rotor_fsm::sim::{Sim, SimConfig, SimLoop};
use rotor_fsm::{Reason, Verdict};
use rotor_net::fiber::{Cx, Fiber, FiberStream, StackConfig, Stacks};
use rotor_net::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No wait of a test is longer; none that succeeds is nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn local(port: u16) -> Addr {
    Addr::Tcp(([127, 0, 0, 1], port).into())
}

/// The fibers of most tests: no context, numbers as messages.
type Plain = Fiber<(), u32>;
type Plainly<'a> = Cx<'a, (), u32>;

/// Why machines ended, in order.
type Ends = Arc<Mutex<Vec<String>>>;

/// A loop that notes how machines end. If it is strict, it stops when one fails or panics, so that a failed assertion
/// in a fiber fails its test.
fn noting(is_strict: bool) -> (Config, Ends) {
    let ends = Ends::default();
    let noted = ends.clone();
    let config = Config {
        on_end: Some(Box::new(move |_, reason| {
            noted.lock().unwrap().push(reason.to_string());
            match reason {
                Reason::Failed(_) | Reason::Panicked(_) if is_strict => Verdict::Stop,
                _ => Verdict::Continue,
            }
        })),
        ..Config::default()
    };
    (config, ends)
}

/// A simulation with one loop of plain fibers.
struct World {
    sim: Sim,
    on: SimLoop<Plain>,
    stacks: Stacks,
    ends: Ends,
}

impl World {
    fn new(is_strict: bool) -> Self {
        Self::with(is_strict, StackConfig::default(), SimConfig::default())
    }

    fn with(is_strict: bool, stacks: StackConfig, nature: SimConfig) -> Self {
        let mut sim = Sim::with_config(1, nature);
        let (config, ends) = noting(is_strict);
        let on = sim.add::<Plain>(config, |_| Ok(())).unwrap();
        let stacks = Stacks::new(stacks).unwrap();
        Self {
            sim,
            on,
            stacks,
            ends,
        }
    }

    fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&Plainly) -> Result<()> + 'static,
    ) -> Notifier<u32> {
        let seed = self.stacks.fiber(name, body).unwrap();
        self.sim.spawn::<Plain, Plain>(&self.on, seed).unwrap()
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        self.sim.run_for(time);
        // An assertion that failed in a fiber.
        if let Some(Err(error)) = self.sim.take_result(&self.on) {
            panic!("{error}");
        }
    }

    fn ends(&self) -> Vec<String> {
        self.ends.lock().unwrap().clone()
    }

    fn machines(&self) -> usize {
        self.sim.stats(&self.on).machines
    }
}

/// Notes of what happened, from fibers and from the test.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<String>>>);

impl Notes {
    fn note(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Notes when it is dropped.
struct NotesDrop(Notes, &'static str);

impl Drop for NotesDrop {
    fn drop(&mut self) {
        self.0.note(format!("dropped {}", self.1));
    }
}

/// Accepts connections at a port of the simulation and neither reads nor writes, until it is sent a number: then it
/// reads everything to its end.
fn silent(cx: &Plainly, port: u16) -> Result<()> {
    let mut listener = cx.listen(local(port))?;
    let mut streams: Vec<FiberStream> = Vec::new();
    while cx.try_recv().is_none() {
        match cx.within(ms(100)).accept(&mut listener) {
            Ok(incoming) => streams.push(cx.open(incoming)?),
            Err(rotor_net::fiber::FiberError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for stream in &mut streams {
        while cx.read(stream, &mut [0; 5000])? > 0 {}
    }
    Ok(())
}

/// Ends the process if a test hangs.
struct Watchdog(#[allow(dead_code)] mpsc::Sender<()>);

fn watchdog() -> Watchdog {
    let (alive, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a test hangs");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// Runs one fiber, and those it spawns, on a real loop to their end; a failure or panic of any fails the test.
fn run_for_real<C: 'static>(context: C, body: impl FnOnce(&Cx<C, u32>) -> Result<()> + 'static) {
    let _dog = watchdog();
    let (config, _) = noting(true);
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let mut main_loop = Loop::<Fiber<C, u32>>::new(config, |_| Ok(context)).unwrap();
    let seed = stacks.fiber("main", body).unwrap();
    main_loop.spawn::<Fiber<C, u32>>(seed).unwrap();
    main_loop.run().unwrap();
    drop(main_loop);
    assert_eq!(stacks.stats().in_use, 0);
}

/// An address of this machine with a port that the system picks.
fn any_port() -> Addr {
    local(0)
}
