//! A thin, safe wrapper over libuv handles: one sink for all events, handles closed by dropping them.
//!
//! Thin: one method, one libuv call (where a rule needs a second one, the method says so). Safe: no
//! sequence of safe calls aborts, leaks a descriptor or touches freed memory. Events of all handles of
//! a loop reach one [`Sink`], called synchronously on the loop's thread; no closure is boxed per handle
//! and, after warm-up, nothing is allocated per event, per read, per small write or per connection.
//!
//! ```
//! use uv_sys_wrap::{Event, HandleId, Loop, LoopConfig, RunMode, Sink, Timer, Token, Uv};
//!
//! struct Once(Timer);
//! impl Sink for Once {
//!     fn event(&mut self, token: Token, _: HandleId, event: Event<'_>) {
//!         assert!(matches!(event, Event::Timer) && token == Token(7));
//!     }
//! }
//!
//! fn main() -> uv_sys_wrap::Result<()> {
//!     let start = |uv: &Uv| -> uv_sys_wrap::Result<Once> {
//!         let timer = Timer::new(uv, Token(7))?;
//!         timer.start(1, 0)?;
//!         Ok(Once(timer))
//!     };
//!     let mut uv_loop = Loop::try_new(LoopConfig::default(), start)?;
//!     uv_loop.run(RunMode::Default)?;
//!     uv_loop.close().map(drop)
//! }
//! ```
//!
//! # Where things are
//!
//! [`Loop`] owns a libuv loop, [`Guest`] lives on somebody else's. Both hand out a [`Uv`], the factory
//! for handles, which also operates on handles by their [`HandleId`]. A typed handle ([`Tcp`], [`Pipe`],
//! [`Timer`], …) or a plain [`Handle`] closes its libuv handle when dropped: the drop only notes the id
//! on the loop's [`CloseList`], which is applied when the current event ends. From the drop on, events
//! of that handle are discarded; operations on a closed handle answer an error of kind
//! [`Kind::Closed`].
//!
//! Windows is not supported: libuv pins a read buffer under every idle connection there.

#[cfg(windows)]
compile_error!(
    "uv-sys-wrap does not support Windows: libuv pins read buffers under idle connections there"
);

mod acceptor;
mod addr;
mod arena;
mod error;
mod event;
mod fd_limit;
mod guest;
mod handle;
mod listen_fd;
mod parallelism;
mod phase;
mod pipe;
mod pool;
mod request;
mod signal;
mod slot;
mod state;
mod stdin;
mod stream;
mod tcp;
mod timer;
mod trampoline;
mod tty;
mod uv;
mod uv_loop;
mod wake;
mod work;
mod write;

pub use acceptor::{Acceptor, AcceptorRef, ListenOptions};
pub use addr::UnixName;
pub use error::{Error, Kind, Op, Result};
pub use event::{Event, HandleId, Sink, Token};
pub use fd_limit::{FdLimit, HeldBack, fd_limit, raise_fd_limit};
pub use guest::Guest;
pub use handle::{CloseList, Handle};
pub use listen_fd::ListenSocket;
pub use parallelism::available_parallelism;
pub use phase::{Check, Idle, Prepare};
pub use pipe::Pipe;
pub use pool::{Chunk, Pool, PoolConfig, PoolError, PoolStats, ReadBuf, blocks_orphaned};
pub use signal::Signal;
pub use stdin::stdin;
pub use stream::{Stream, StreamRef};
pub use tcp::{BindOptions, Tcp};
pub use timer::Timer;
pub use tty::Tty;
pub use uv::{Stats, Uv};
pub use uv_loop::{Loop, LoopConfig, RunMode};
pub use wake::{Closed, Wake, Waker};
pub use work::{Payload, WorkId};
pub use write::{WriteBuf, WriteBufs, WriteBufsIter, WriteError};
