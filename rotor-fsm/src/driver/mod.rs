//! The seam between machines and the world (rule R10): everything a machine does to its environment goes through
//! this trait, and everything that happens to it arrives as an [`Event`](uv_sys_wrap::Event). libuv is one driver,
//! the simulator another; the machines, and all of this crate above the trait, are the same code on both.
//!
//! Failures of the environment (refused, unreachable, no descriptors) arrive as events; a call fails only for misuse,
//! for a limit, or where there is no handle yet on which an event could arrive (listening).

pub(crate) mod uv;

use crate::error::IoError;
use crate::work::Job;
use crate::{Addr, Detached, Time};
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::time::Duration;
use uv_sys_wrap::{HandleId, ListenOptions, ListenSocket, Token, WorkId};

pub(crate) type IoResult<T> = std::result::Result<T, IoError>;

/// A change to an open socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketOption {
    NoDelay(bool),
    KeepAlive(Option<Duration>),
    SendBuffer(usize),
    ReceiveBuffer(usize),
}

/// What a loop asks of its environment.
pub(crate) trait Driver {
    /// The clock, read now.
    fn now(&mut self) -> Time;
    /// Random bits: the environment's, or the simulation's seed's.
    fn random(&mut self) -> u64;

    fn listen(&mut self, at: &Addr, options: &ListenOptions, token: Token) -> IoResult<HandleId>;
    /// Takes one waiting connection; `None` if none waits.
    fn accept(&mut self, listener: HandleId, token: Token) -> IoResult<Option<HandleId>>;
    /// Watches a socket that listens already.
    fn listen_on(&mut self, socket: ListenSocket, token: Token) -> IoResult<HandleId>;
    /// Takes one waiting connection, for whatever loop; `None` if none waits.
    fn accept_detached(&mut self, listener: HandleId) -> IoResult<Option<Detached>>;
    /// Makes a connection that was accepted elsewhere a stream of this loop.
    fn adopt(&mut self, fd: OwnedFd, is_unix: bool, token: Token) -> IoResult<HandleId>;
    fn leave_file(&mut self, listener: HandleId) -> IoResult<()>;
    /// Watches a listener for connections, or leaves them in the kernel's queue.
    fn set_listening(&mut self, listener: HandleId, on: bool) -> IoResult<()>;
    /// Starts to connect: `Connected` or `Failed` follows. A failure known at once comes beside the handle, because it
    /// is an event to the machine like any other.
    fn connect(&mut self, to: &Addr, token: Token) -> IoResult<(HandleId, Option<IoError>)>;

    /// Whose events these are. `None` once the handle is closed.
    fn token(&self, id: HandleId) -> Option<Token>;
    fn set_token(&mut self, id: HandleId, token: Token) -> IoResult<()>;
    /// Closes; idempotent. Events not yet delivered are discarded.
    fn close(&mut self, id: HandleId);
    /// Closes with a reset, so that the peer learns that its data was not read.
    fn reset(&mut self, id: HandleId);

    fn set_reading(&mut self, id: HandleId, on: bool) -> IoResult<()>;
    /// Writes what goes at once; 0 if none does.
    fn try_write(&mut self, id: HandleId, bytes: &[u8]) -> IoResult<usize>;
    /// Queues `bytes[start..]`; `Written` brings the buffer back. A refusal gives it back at once.
    fn write(
        &mut self,
        id: HandleId,
        bytes: Vec<u8>,
        start: usize,
    ) -> Result<(), (IoError, Vec<u8>)>;
    /// Sends FIN after what is queued; `ShutDown` follows.
    fn shutdown(&mut self, id: HandleId) -> IoResult<()>;
    fn set_option(&mut self, id: HandleId, option: SocketOption) -> IoResult<()>;
    fn local_addr(&self, id: HandleId) -> IoResult<Addr>;
    fn peer_addr(&self, id: HandleId) -> IoResult<Addr>;

    fn signal(&mut self, signum: i32, token: Token) -> IoResult<HandleId>;
    fn stdin(&mut self, token: Token) -> IoResult<HandleId>;
    fn work(&mut self, job: Job) -> IoResult<WorkId>;
    fn cancel_work(&mut self, work: WorkId);

    /// When to raise the alarm; `None` for not at all.
    fn set_alarm(&mut self, at: Option<Time>);
    /// Whether the loop must not sleep in its next poll.
    fn set_busy(&mut self, on: bool);
    /// Makes `run` return after this turn.
    fn stop(&mut self);
}

/// The driver of a loop. A loop on libuv reaches the one call that every message needs without a detour; everything
/// else goes by the trait.
pub(crate) enum AnyDriver {
    Uv(uv::UvDriver),
    Other(Box<dyn Driver>),
}

impl AnyDriver {
    /// [`Driver::try_write`].
    #[inline(always)]
    pub fn try_write(&mut self, id: HandleId, bytes: &[u8]) -> IoResult<usize> {
        match self {
            Self::Uv(driver) => driver.try_write(id, bytes),
            Self::Other(driver) => driver.try_write(id, bytes),
        }
    }
}

impl Deref for AnyDriver {
    type Target = dyn Driver;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Uv(driver) => driver,
            Self::Other(driver) => &**driver,
        }
    }
}

impl DerefMut for AnyDriver {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Uv(driver) => driver,
            Self::Other(driver) => &mut **driver,
        }
    }
}
