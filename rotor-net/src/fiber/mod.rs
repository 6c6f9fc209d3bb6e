//! Fibers: machines whose state is a stack.
//!
//! A protocol that is a long conversation reads best as one: read this, write that, wait, read again. A [`Fiber`] is a
//! machine made from a closure that does so. What looks blocking in it ([`Cx::read`], [`Cx::recv`], [`Cx::sleep`] …)
//! suspends the closure, stack and all, and the loop goes on with other machines until what it waits for is there.
//! Towards its loop it is a machine like any other: it is spawned from a seed, has an id, takes messages, can be a part
//! of a [composition](rotor_fsm::compose), ends with a result, and runs in the [simulator](rotor_fsm::sim).
//!
//! ```
//! use rotor_fsm::prelude::*;
//! use rotor_net::fiber::{self, Cx, FiberStream};
//! use std::time::Duration;
//!
//! fn echo(cx: &Cx<()>, incoming: Incoming) -> Result<()> {
//!     let mut stream: FiberStream = cx.open(incoming)?;
//!     let mut line = Vec::new();
//!     while cx.within(Duration::from_secs(60)).read_until(&mut stream, b"\n", 1000, &mut line)? {
//!         line.push(b'\n');
//!         cx.write_all(&mut stream, &line)?;
//!     }
//!     Ok(())
//! }
//!
//! fiber::run((), "listener", |cx| {
//!     let mut listener = cx.listen("127.0.0.1:0".parse::<Addr>()?)?;
//! #   let at = cx.listening_at(&listener)?;
//! #   cx.spawn(cx.stacks().fiber("client", move |cx| {
//! #       let mut stream = cx.connect(at)?;
//! #       cx.write_all(&mut stream, b"hello\n")?;
//! #       let mut line = Vec::new();
//! #       assert!(cx.read_until(&mut stream, b"\n", 10, &mut line)? && line == b"hello");
//! #       drop(stream);
//! #       cx.shutdown(Duration::from_secs(1))?;
//! #       Ok(())
//! #   })?)?;
//!     loop {
//!         let incoming = cx.accept(&mut listener)?;
//!         cx.spawn(cx.stacks().fiber("echo", move |cx| echo(cx, incoming))?)?;
//!     }
//! })?;
//! # Ok::<(), rotor_fsm::Error>(())
//! ```
//!
//! # What it costs
//!
//! A [stack](Stacks) of its own, of which only touched pages take memory: one or two of 4 KiB. A switch is a few
//! nanoseconds. In the steady state nothing is allocated, neither by calls nor by making and ending fibers. An enum
//! machine that is parked takes a hundred bytes: where a state is small and waits long, write an enum.
//!
//! # What must not be done in a fiber
//!
//! - **Block.** No `std::thread::sleep`, no file or DNS access, no waiting for another thread: the whole loop would
//!   wait. [`Cx::work`] takes such things to the thread pool.
//! - **Hold a lock or a borrow while waiting**: a guard of a `std::sync::Mutex` or `RwLock`, a `RefMut`. Others run
//!   meanwhile, on the same thread, and would find it taken: a deadlock or a panic. (The loop's context cannot be
//!   held so: [`Cx::with_context`] gives it to a closure, in which nothing can be waited for.)
//! - **Recurse deeply**, or put large arrays on the stack: it has [`stack_bytes`](StackConfig::stack_bytes) and does not
//!   grow. An overflow aborts the process, and says which fiber it was. C code that skips over a page with its
//!   locals, as Rust code never does, could skip the guard.
//! - **Rely on thread-local state across a wait**: all fibers of a loop share their thread's variables. What a library
//!   keeps there between two of its calls (a current span, a thread's own random numbers' place) others see and change.
//! - **Swallow what [`catch_unwind`](std::panic::catch_unwind) catches** of a fiber that is ended from outside: it is
//!   the unwinding of its stack. Code that goes on finds that every call answers [`FiberError::Unwinding`]; a loop
//!   that ignores that never ends.
//! - **Use `stacker`** or other crates that ask how much stack is left: they know only the thread's own, and misread a
//!   fiber's.
//!
//! # Being asked to finish
//!
//! When the loop shuts down, or another machine asks for it ([`Cx::cancel`],
//! [`Scope::ask_to_finish`](rotor_fsm::Scope::ask_to_finish)), calls that wait for something to come (`read` with nothing
//! there, `recv`, `accept`, `connect`, `sleep`, `yield_now`, `work`, `block_on`) answer [`FiberError::Cancelled`], now and from then on.
//! Writing and flushing go on. So a body full of `?` ends soon, its destructors run, and what it wrote still leaves; to
//! end with `Cancelled` then counts as having ended well. One that wants to say goodbye calls [`Cx::carry_on`], waits
//! again, and ends by itself before the shutdown's deadline. What is left then is unwound.
//!
//! # How it is made
//!
//! ```text
//! Io::Read → Fiber::io: is this what it waits for? ── lend scope and bytes ── switch ─→ read(…) returns in the body
//!            deadline, Response  ←── take both back ──────────────────────── switch ←─ the next call that must wait
//! ```
//!
//! `machine` has that flow, `state` what both sides know, `lend` how a scope gets to the body without being kept, `seat`
//! where all of this lives, `stacks` and `overflow` the memory. Calls are in `cx`, `net`, `wire` and `future`.

mod config;
mod cx;
mod error;
mod future;
mod lend;
mod linger;
mod listener;
mod machine;
mod mailbox;
mod net;
mod ops;
mod overflow;
mod seat;
mod stacks;
mod state;
mod stream;
mod wire;

pub use config::{FiberLimits, Guards, StackConfig};
pub use cx::Cx;
pub use error::{FiberError, NoStack};
pub use listener::FiberListener;
pub use machine::{Fiber, FiberSeed};
pub use stacks::{StackStats, Stacks};
pub use stream::FiberStream;

use ops::Ops;
#[cfg(feature = "rpc")]
pub(crate) use overflow::stack_left;
use rotor_fsm::{Never, Result};

/// Runs one fiber, and those it spawns, on this thread until all have ended, or SIGTERM or SIGINT has shut them down.
/// As [`rotor_fsm::run`].
///
/// # Errors
/// If the loop or the pool of stacks cannot be made, or the first fiber fails: then the others are closed.
///
/// # Panics
/// If the first fiber panics.
pub fn run<C: 'static>(
    context: C,
    name: &'static str,
    body: impl FnOnce(&Cx<'_, C>) -> Result<()> + 'static,
) -> Result<()> {
    let stacks = Stacks::new(StackConfig::default())?;
    rotor_fsm::run::<Fiber<C, Never>>(context, stacks.fiber(name, body)?)
}
