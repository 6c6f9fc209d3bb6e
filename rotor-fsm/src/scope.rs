//! `Scope`: all that a handler may do besides returning its next state.
//!
//! A machine opens no socket, reads no clock and draws no random number by itself (rule R10); it asks here, and the
//! driver below is libuv or the simulator. Effects take place when the dispatch ends: output leaves, dropped handles
//! close, and spawned machines are created after the handler has returned.

mod handing;
mod parts;
mod spawned;

pub use self::parts::{Output, Own, Parts};
pub use self::spawned::Spawned;

use crate::driver::SocketOption;
use crate::effects::Effects;
use crate::error::{Full, IoError, Result};
use crate::host::{Host, PartHost};
use crate::io::{Incoming, Listener, SignalWatch, Socket};
use crate::machine::{Hosts, Machine};
use crate::notifier::Notifier;
use crate::work::Tell;
use crate::{Addr, MachineId, Response, Time, Waker};
use std::time::Duration;
use uv_sys_wrap::ListenOptions;

/// What a handler of a machine of type `M` acts through.
pub struct Scope<'a, M: Machine> {
    /// What all machines of this loop share. A field, so that it can be borrowed beside the rest.
    pub ctx: &'a mut M::Context,
    pub(crate) effects: &'a mut Effects,
    pub(crate) host: &'a dyn Host<M>,
    pub(crate) id: MachineId,
}

/// Time and chance.
impl<M: Machine> Scope<'_, M> {
    /// The time, read at most once a turn of the loop.
    pub fn now(&mut self) -> Time {
        self.effects.now()
    }

    /// The time read afresh, which then is this turn's: for spans that begin in the middle of a long handler.
    pub fn fresh_now(&mut self) -> Time {
        self.effects.fresh_now()
    }

    /// 64 random bits; in the simulator they follow from the seed.
    pub fn random(&mut self) -> u64 {
        self.effects.driver.random()
    }
}

/// Machines.
impl<M: Machine> Scope<'_, M> {
    /// This machine's id.
    pub fn id(&self) -> MachineId {
        self.id
    }

    /// Makes a machine of the same type. Its `create` runs after this handler, first in first out.
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the machine table is full or the loop is shutting down.
    pub fn spawn(&mut self, seed: M::Seed) -> Result<Spawned<M>, Full<M::Seed>> {
        self.own().spawn(seed)
    }

    /// Sends messages to this machine. Allocates only for parts of composed machines.
    pub fn notifier(&self) -> Notifier<M::Message> {
        self.own().notifier()
    }

    /// Wakes this machine from any thread, without a message. Each call makes a waker of its own, which allocates; keep
    /// it, and clone it.
    pub fn waker(&self) -> Waker {
        self.own().waker()
    }

    /// Sends messages to a machine that was spawned here.
    pub fn notifier_of(&self, spawned: Spawned<M>) -> Notifier<M::Message> {
        Notifier::new(spawned.id(), self.host.post())
    }

    /// Wakes a machine that was spawned here; else as [`waker`](Self::waker).
    pub fn waker_of(&self, spawned: Spawned<M>) -> Waker {
        Waker::new(spawned.id(), self.host.bells())
    }

    /// Asks a machine to finish, as a shutdown of the loop would, without shutting it down: its
    /// [`finish`](Machine::finish) is called in a later turn. An id that is stale changes nothing.
    ///
    /// # Errors
    /// [`Full`] if as many machines wait to be asked as the loop may have.
    pub fn ask_to_finish(&mut self, id: MachineId) -> Result<(), Full<MachineId>> {
        self.effects.ask_to_finish(id)
    }

    /// Shuts the loop down when this handler has returned, as [`LoopHandle::shutdown`](crate::LoopHandle::shutdown).
    pub fn shutdown(&mut self, grace: Duration) {
        self.host.shutdown(grace);
    }

    /// Runs `job` on libuv's thread pool, then `then` on this thread with its result; what `then` returns arrives as
    /// this machine's message. A job that has not started when the machine ends is cancelled; if it panics, the
    /// machine ends with `WorkPanicked`. Allocates.
    ///
    /// # Errors
    /// A limit error if too many jobs are out.
    pub fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) -> M::Message + 'static,
    ) -> Result<(), IoError> {
        self.start_work(job, |value| Tell::Message(then(value)))
    }

    /// The same for who keeps the result by `then` itself: [`Io::Worked`](crate::Io::Worked) follows it.
    ///
    /// # Errors
    /// As [`work`](Self::work).
    pub fn work_io<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) + 'static,
    ) -> Result<(), IoError> {
        self.start_work(job, |value| {
            then(value);
            Tell::Event
        })
    }

    fn start_work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) -> Tell<M::Message> + 'static,
    ) -> Result<(), IoError> {
        Own {
            host: self.host,
            id: self.id,
        }
        .work_on(self.effects, job, then)
    }

    fn own(&self) -> Own<'_, M> {
        Own {
            host: self.host,
            id: self.id,
        }
    }

    /// Runs a part's handler with a scope of the part's type; what [`compose!`](crate::compose) is made of.
    #[inline]
    pub fn part<P>(
        &mut self,
        f: impl FnOnce(&mut Scope<'_, P>) -> Result<Response<P>>,
    ) -> Result<Response<P>>
    where
        P: Machine<Context = M::Context>,
        M: Hosts<P>,
    {
        let host = PartHost::<M, P>::new(self.host);
        f(&mut Scope {
            ctx: self.ctx,
            effects: self.effects,
            host: &host,
            id: self.id,
        })
    }

    /// Takes the scope apart around one socket.
    #[inline]
    pub fn parts(&mut self, socket: &Socket) -> Parts<'_, M> {
        Parts {
            ctx: self.ctx,
            out: Output {
                effects: self.effects,
                id: socket.id(),
            },
            own: Own {
                host: self.host,
                id: self.id,
            },
        }
    }
}

/// Opening things.
impl<M: Machine> Scope<'_, M> {
    /// Listens at `at` (a socket address or the path of a Unix socket); connections arrive as
    /// [`Io::Incoming`](crate::Io::Incoming).
    ///
    /// # Errors
    /// An address that is taken, not this machine's, or not permitted; reported as a failure to bind.
    pub fn listen(&mut self, at: impl Into<Addr>) -> Result<Listener, IoError> {
        self.listen_with(at, &ListenOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with(
        &mut self,
        at: impl Into<Addr>,
        options: &ListenOptions,
    ) -> Result<Listener, IoError> {
        self.effects.listen(&at.into(), options, self.id)
    }

    /// Binds an accepted connection to this machine and begins to read from it.
    ///
    /// # Errors
    /// `Closed` if the connection is gone already.
    #[inline]
    pub fn open(&mut self, incoming: Incoming) -> Result<Socket, IoError> {
        self.effects.open(incoming, self.id)
    }

    /// Begins to connect; [`Io::Connected`](crate::Io::Connected) or [`Io::Failed`](crate::Io::Failed) follows. What is
    /// written meanwhile is sent when the connection stands. There is no timeout but the kernel's: set a deadline.
    ///
    /// # Errors
    /// A limit error if too many streams are open.
    pub fn connect(&mut self, to: impl Into<Addr>) -> Result<Socket, IoError> {
        self.effects.connect(&to.into(), self.id)
    }

    /// Standard input as a stream that is only read: a terminal, a pipe, a socket or a file.
    ///
    /// # Errors
    /// If there is no standard input.
    pub fn stdin(&mut self) -> Result<Socket, IoError> {
        self.effects.stdin(self.id)
    }

    /// Watches a signal; it arrives as [`Io::Signal`](crate::Io::Signal).
    ///
    /// # Errors
    /// `Invalid` for a number that is not a signal or cannot be watched.
    pub fn signal(&mut self, signum: i32) -> Result<SignalWatch, IoError> {
        self.effects.signal(signum, self.id)
    }
}

/// Streams.
impl<M: Machine> Scope<'_, M> {
    /// Takes all of `bytes` as output, or none. They leave when the dispatch ends, in one write with all others.
    ///
    /// # Errors
    /// `Limit` if more than the loop's `output_bytes_max` would wait, `ShutDown` after
    /// [`shutdown_write`](Self::shutdown_write), `Closed` once the stream or its output is over.
    #[inline]
    pub fn write(&mut self, socket: &Socket, bytes: &[u8]) -> Result<(), IoError> {
        self.effects.outputs.push(socket.id(), bytes)
    }

    /// Bytes written but not yet handed to the kernel. If this is not 0, an [`Io::Flushed`](crate::Io::Flushed)
    /// follows, so that who waits for room never waits in vain.
    pub fn queued(&mut self, socket: &Socket) -> usize {
        self.effects.queued(socket.id())
    }

    /// Owes this machine an [`Io::Again`](crate::Io::Again) on the stream, next turn: the way to stop after a fair
    /// share of work without sleeping on the rest. Ask once at a time.
    pub fn again(&mut self, socket: &Socket) {
        self.effects.again(socket.id());
    }

    /// Owes this machine an [`Io::Again`](crate::Io::Again) without a handle, next turn: the same where the work
    /// concerns no stream. Ask once at a time.
    pub fn another_turn(&mut self) {
        self.effects.another_turn(self.id);
    }

    /// Gives up a stream that another machine shall [`open`](Self::open): it goes into that one's seed. Output that
    /// waits goes on leaving, and reading stops meanwhile.
    ///
    /// # Errors
    /// `Closed` if the stream is gone.
    pub fn hand_over(&mut self, socket: Socket) -> Result<Incoming, IoError> {
        self.effects.hand_over(socket)
    }

    /// Takes no connections from a listener for now; they wait in the kernel's queue.
    pub fn pause_listener(&mut self, listener: &Listener) {
        self.effects.pause_listener(listener.id());
    }

    /// Takes connections again.
    pub fn resume_listener(&mut self, listener: &Listener) {
        self.effects.resume_listener(listener.id());
    }

    /// Stops reading: the peer is slowed down by TCP's own flow control. An end or a reset is not noticed meanwhile.
    pub fn pause(&mut self, socket: &Socket) {
        // A stream that is gone reads nothing anyway.
        let _ = self.effects.driver.set_reading(socket.id(), false);
    }

    /// Reads again.
    pub fn resume(&mut self, socket: &Socket) {
        let _ = self.effects.driver.set_reading(socket.id(), true);
    }

    /// Closes the sending side once all output has left; [`Io::ShutDown`](crate::Io::ShutDown) follows.
    ///
    /// # Errors
    /// `Closed` if the stream is gone.
    pub fn shutdown_write(&mut self, socket: &Socket) -> Result<(), IoError> {
        self.effects.shutdown_write(socket.id())
    }

    /// Closes at once with a reset; output that has not left is discarded.
    pub fn abort(&mut self, socket: Socket) {
        self.effects.abort(socket);
    }

    /// Sends small packets at once (`TCP_NODELAY`). Nothing to do on a Unix socket.
    ///
    /// # Errors
    /// If the stream is gone or the system refuses.
    pub fn set_nodelay(&mut self, socket: &Socket, on: bool) -> Result<(), IoError> {
        self.effects
            .driver
            .set_option(socket.id(), SocketOption::NoDelay(on))
    }

    /// Probes an idle TCP connection after this long (whole seconds), or never.
    ///
    /// # Errors
    /// If the stream is gone or the system refuses.
    pub fn set_keepalive(
        &mut self,
        socket: &Socket,
        after: Option<Duration>,
    ) -> Result<(), IoError> {
        self.effects
            .driver
            .set_option(socket.id(), SocketOption::KeepAlive(after))
    }

    /// The kernel's buffer for sending, in bytes.
    ///
    /// # Errors
    /// If the stream is gone or the system refuses.
    pub fn set_send_buffer(&mut self, socket: &Socket, bytes: usize) -> Result<(), IoError> {
        self.effects
            .driver
            .set_option(socket.id(), SocketOption::SendBuffer(bytes))
    }

    /// The kernel's buffer for receiving, in bytes.
    ///
    /// # Errors
    /// If the stream is gone or the system refuses.
    pub fn set_receive_buffer(&mut self, socket: &Socket, bytes: usize) -> Result<(), IoError> {
        self.effects
            .driver
            .set_option(socket.id(), SocketOption::ReceiveBuffer(bytes))
    }

    /// Where a listener listens: tells the port that `:0` became.
    ///
    /// # Errors
    /// `Closed` if it is gone.
    pub fn listening_at(&self, listener: &Listener) -> Result<Addr, IoError> {
        self.effects.driver.local_addr(listener.id())
    }

    /// This side's address of a connection.
    ///
    /// # Errors
    /// If the stream is gone or not connected.
    pub fn local_addr(&self, socket: &Socket) -> Result<Addr, IoError> {
        self.effects.driver.local_addr(socket.id())
    }

    /// The other side's address of a connection.
    ///
    /// # Errors
    /// If the stream is gone or not connected.
    pub fn peer_addr(&self, socket: &Socket) -> Result<Addr, IoError> {
        self.effects.driver.peer_addr(socket.id())
    }
}
