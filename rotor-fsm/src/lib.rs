//! State machines driven synchronously by a libuv loop.
//!
//! A program is a set of [`Machine`]s: a state type, often an enum, with one handler per kind of event. One [`Loop`]
//! per thread drives all machines of that thread; other threads talk to a machine through its [`Notifier`].
//!
//! ```text
//! libuv callback → Event → Engine (token → machine) → handler(self, …, scope) → Response
//!                                                        └ scope: write, pause, spawn, notify, work
//! ```
//!
//! ```
//! use rotor_fsm::prelude::*;
//! use std::time::Duration;
//!
//! struct Countdown(u32);
//!
//! impl Machine for Countdown {
//!     type Context = ();
//!     type Message = Never;
//!     type Seed = u32;
//!
//!     fn create(from: u32, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
//!         Ok(Response::of(Countdown(from)).after(Duration::from_millis(1)))
//!     }
//!
//!     fn timeout(self, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
//!         println!("{}", self.0);
//!         match self.0 {
//!             0 => Ok(Response::done()),
//!             n => Ok(Response::of(Countdown(n - 1)).after(Duration::from_millis(1))),
//!         }
//!     }
//! }
//!
//! rotor_fsm::run::<Countdown>((), 3)?;
//! # Ok::<(), rotor_fsm::Error>(())
//! ```
//!
//! A machine that panics ends alone; that needs `panic = "unwind"`, the default.
//!
//! # For people who come from tokio
//!
//! | there | here |
//! |---|---|
//! | `select!` | `match` on (state, event) |
//! | a task | a machine; `tokio::spawn` is [`Scope::spawn`] or a [`Spawner`] |
//! | `mpsc::Sender`, `Sender::reserve` | [`Notifier`], [`Notifier::reserve`] |
//! | `Notify`, `std::task::Waker` | [`Waker`]: [`Scope::waker`] |
//! | `oneshot` | `notifier().map(Msg::Answer)` inside the request |
//! | `broadcast` | [`Group`] |
//! | `sleep`, `timeout` | the machine's one deadline: [`Response::after`] |
//! | several timers | several machines |
//! | `spawn_blocking` | [`Scope::work`] |
//! | `Arc<Mutex<State>>` | `scope.ctx`: one thread, no lock |
//! | `ctrl_c()` | [`run`], or [`Loop::shutdown_on_signals`] |

#![forbid(unsafe_code)]

mod addr;
mod compose;
mod config;
mod control;
mod deadline;
mod detached;
mod dispatch;
mod driver;
mod effects;
mod error;
mod event_loop;
mod generations;
mod group;
mod host;
mod id;
mod inbox;
mod io;
mod machine;
mod notifier;
mod output;
mod response;
mod scope;
pub mod sim;
mod sync;
mod table;
mod thread;
mod time;
mod waker;
mod work;

pub use addr::{Addr, AddrError};
pub use config::{Config, EndHook, Verdict};
pub use control::{LoopHandle, MessageCounts, Spawning};
pub use detached::{Detached, Lease, Lessor};
pub use dispatch::Stats;
pub use error::{
    Error, ErrorKind, Full, IoError, IoErrorKind, Reason, Result, SendError, SpawnError, panic_text,
};
pub use event_loop::{Loop, Setup, run, run_with};
pub use group::{Group, Seat};
pub use id::MachineId;
pub use io::{Incoming, Io, Listener, SignalWatch, Socket};
pub use machine::{Hosts, Machine, Never};
pub use notifier::{Notifier, Permit};
pub use response::Response;
pub use scope::{Output, Own, Parts, Scope, Spawned};
pub use thread::{LoopThread, is_loop_thread};
pub use time::Time;
pub use waker::Waker;

pub use uv_sys_wrap::{
    Chunk, FdLimit, HandleId, HeldBack, ListenOptions, ListenSocket, Op, PoolConfig, ReadBuf,
    available_parallelism, fd_limit, raise_fd_limit,
};

/// What a program of machines needs: `use rotor_fsm::prelude::*`.
pub mod prelude {
    pub use crate::{
        Addr, Config, Error, Group, HandleId, Hosts, Incoming, Io, Listener, Loop, LoopThread,
        Machine, Never, Notifier, Response, Result, Scope, Seat, Socket, Spawner, Time, compose,
        run,
    };
}

pub use host::Spawner;
