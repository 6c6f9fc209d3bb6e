//! `Cx`, continued: connections.

use super::error::FiberError;
use super::listener::Door;
use super::state::Wait;
use super::wire::{CONNECTING, READING, Wire};
use super::{Cx, Fiber, FiberListener, FiberStream};
use rotor_fsm::{Addr, Incoming, IoError, IoErrorKind, ListenOptions, Op, Scope, Socket};
use std::rc::Rc;
use std::time::Duration;

/// Making connections.
impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// Takes over an accepted connection, and reads from it from now on. Small packets are sent at once.
    ///
    /// # Errors
    /// `Io` with `Closed` if the connection is gone already, and the misuses.
    pub fn open(&self, incoming: Incoming) -> Result<FiberStream, FiberError> {
        let socket = self.scope(|scope| scope.open(incoming))??;
        Ok(self.stream(socket, READING))
    }

    /// Connects to `to` (an address, or the path of a Unix socket). There is no timeout but the kernel's, which is
    /// minutes: use [`within`](Self::within).
    ///
    /// # Errors
    /// `Io` if it is refused, unreachable, or a limit is reached; `TimedOut`, `Cancelled`, and the misuses.
    pub fn connect(&self, to: impl Into<Addr>) -> Result<FiberStream, FiberError> {
        if self.is_cancelled() {
            return Err(FiberError::Cancelled);
        }
        let to = to.into();
        let socket = self.scope(|scope| scope.connect(to))??;
        let stream = self.stream(socket, CONNECTING | READING);
        let wire = &stream.wire;
        loop {
            if let Some(error) = wire.input_error.get().or(wire.output_error.get()) {
                return Err(error.into());
            }
            if !wire.is(CONNECTING) {
                self.send_at_once(wire)?;
                return Ok(stream);
            }
            self.core()
                .wait_for(Wait::Connection(wire.id()), self.until)?;
        }
    }

    /// Listens at `at` (a socket address, or the path of a Unix socket).
    ///
    /// # Errors
    /// `Io` if the address is taken, not this machine's, or not permitted; and the misuses.
    pub fn listen(&self, at: impl Into<Addr>) -> Result<FiberListener, FiberError> {
        self.listen_with(at, &ListenOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with(
        &self,
        at: impl Into<Addr>,
        options: &ListenOptions,
    ) -> Result<FiberListener, FiberError> {
        let listener = self.scope(|scope| scope.listen_with(at, options))??;
        let core = self.core();
        let door = Rc::new(Door::new(core.key, listener));
        core.add_door(&door);
        Ok(FiberListener { door })
    }

    /// Waits for a connection: to be [opened](Self::open) here, or moved into the closure of a fiber of its own.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, and the misuses.
    pub fn accept(&self, listener: &mut FiberListener) -> Result<Incoming, FiberError> {
        let (core, door) = (self.core(), &listener.door);
        if door.owner != core.key {
            return Err(FiberError::OtherFiber);
        }
        loop {
            let waiting = door.waiting.borrow_mut().pop_front();
            if let Some(incoming) = waiting {
                return Ok(incoming);
            }
            if door.is_paused.get() {
                self.scope(|scope| {
                    if let Some(listener) = &*door.listener.borrow() {
                        scope.resume_listener(listener);
                    }
                })?;
                door.is_paused.set(false);
            }
            core.wait_for(Wait::Caller(door.id), self.until)?;
        }
    }

    /// Where a listener listens: tells the port that `:0` became.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn listening_at(&self, listener: &FiberListener) -> Result<Addr, FiberError> {
        let listener = listener.door.listener.borrow();
        match &*listener {
            Some(listener) => Ok(self.scope(|scope| scope.listening_at(listener))??),
            None => Err(IoError::new(Op::Address, IoErrorKind::Closed).into()),
        }
    }

    fn stream(&self, socket: Socket, flags: u16) -> FiberStream {
        let core = self.core();
        let wire = core.stacks.wire();
        wire.begin(core.key, socket, flags);
        let mut wires = core.wires.borrow_mut();
        // Those that were dropped by others, or given away.
        wires.retain(|wire| !wire.is_closed());
        wires.push(wire.clone());
        drop(wires);
        // A connection that is gone refuses, and tells so by its events.
        if flags & CONNECTING == 0 {
            let _ = self.send_at_once(&wire);
        }
        FiberStream { wire }
    }

    /// One write a dispatch needs no help from the kernel's delay; a pipelining peer would wait for it.
    fn send_at_once(&self, wire: &Wire) -> Result<(), FiberError> {
        self.scope(|scope| wire.with(|socket| scope.set_nodelay(socket, true)))?;
        Ok(())
    }
}

/// Reading.
impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// Waits for at least one byte. 0 means that the peer sends no more, or that `buf` has no room.
    ///
    /// What was read before the connection broke is read before that is told. A fiber that was asked to finish still
    /// gets what is there, but waits for no more.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, `Io` if the connection broke, and the misuses.
    #[inline]
    pub fn read(&self, stream: &mut FiberStream, buf: &mut [u8]) -> Result<usize, FiberError> {
        self.check(stream)?;
        self.core().read(&stream.wire, buf, self.until)
    }

    /// Waits until all of `buf` is filled. If this fails, what had come is lost.
    ///
    /// # Errors
    /// [`FiberError::Eof`] if the peer ends before, and those of [`read`](Self::read).
    pub fn read_exact(&self, stream: &mut FiberStream, buf: &mut [u8]) -> Result<(), FiberError> {
        self.check(stream)?;
        self.core().read_exact(&stream.wire, buf, self.until)
    }

    /// Waits for what is before this delimiter, at most `bytes_max` bytes, and puts it into `line`, whose old content
    /// is dropped; the delimiter is consumed. `false` means that the peer ended before the first byte of it.
    ///
    /// Takes all or nothing: if this fails, `line` is empty and what has come of it is there for the next read. The
    /// search never looks at a byte twice.
    ///
    /// # Errors
    /// [`FiberError::TooLong`], [`FiberError::Eof`] if the peer ends in the middle, and those of
    /// [`read`](Self::read).
    pub fn read_until(
        &self,
        stream: &mut FiberStream,
        delimiter: &[u8],
        bytes_max: usize,
        line: &mut Vec<u8>,
    ) -> Result<bool, FiberError> {
        self.check(stream)?;
        self.core()
            .read_until(&stream.wire, delimiter, bytes_max, line, self.until)
    }
}

/// Writing, and the rest.
impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// Takes all of `bytes` as output. It leaves when the fiber waits next, in one write with what else was written.
    /// Waits only while more than [`output_high_bytes`](super::FiberLimits::output_high_bytes) would wait; goes on
    /// when the fiber was asked to finish.
    ///
    /// # Errors
    /// `TimedOut` (a part was written then), `Io` if the connection broke or its output was ended, and the misuses.
    #[inline]
    pub fn write_all(&self, stream: &mut FiberStream, bytes: &[u8]) -> Result<(), FiberError> {
        self.check(stream)?;
        self.core().write_all(&stream.wire, bytes, self.until)
    }

    /// Waits until all output was handed to the kernel. Goes on when the fiber was asked to finish.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    pub fn flush(&self, stream: &mut FiberStream) -> Result<(), FiberError> {
        self.check(stream)?;
        self.core().wait_for_output(&stream.wire, 0, self.until)
    }

    /// Ends the output: the peer sees it after all that was written. Does not wait.
    ///
    /// # Errors
    /// `Io` if the stream is closed, and the misuses.
    pub fn shutdown_write(&self, stream: &mut FiberStream) -> Result<(), FiberError> {
        self.check(stream)?;
        self.core().shutdown_write(&stream.wire)
    }

    /// Closes at once with a reset. Output that has not left is discarded.
    ///
    /// # Errors
    /// The misuses.
    pub fn abort(&self, stream: FiberStream) -> Result<(), FiberError> {
        self.check(&stream)?;
        self.scope(|scope| {
            if let Some(socket) = stream.wire.take_socket() {
                scope.abort(socket);
            }
        })
    }

    /// Gives a connection away, to be [opened](Self::open) by another fiber or machine of this loop. Output that waits
    /// goes on leaving.
    ///
    /// # Errors
    /// `Io` with `Busy` if there is input that was not read: it would be lost. `Io` with `Closed` if the connection is
    /// gone, and the misuses.
    pub fn hand_over(&self, stream: FiberStream) -> Result<Incoming, FiberError> {
        self.check(&stream)?;
        let wire = &stream.wire;
        if wire.has_input() || self.core().has_fresh(wire) {
            return Err(IoError::new(Op::Open, IoErrorKind::Busy).into());
        }
        let incoming =
            self.scope(|scope| wire.take_socket().map(|socket| scope.hand_over(socket)))?;
        match incoming {
            Some(incoming) => Ok(incoming?),
            None => Err(IoError::new(Op::Open, IoErrorKind::Closed).into()),
        }
    }

    /// Sends small packets at once (`TCP_NODELAY`), as is usual here, or gathers them.
    ///
    /// # Errors
    /// `Io` if the stream is gone or the system refuses, and the misuses.
    pub fn set_nodelay(&self, stream: &FiberStream, on: bool) -> Result<(), FiberError> {
        self.option(stream, |scope, socket| scope.set_nodelay(socket, on))
    }

    /// Probes an idle connection after this long (whole seconds), or never.
    ///
    /// # Errors
    /// As [`set_nodelay`](Self::set_nodelay).
    pub fn set_keepalive(
        &self,
        stream: &FiberStream,
        after: Option<Duration>,
    ) -> Result<(), FiberError> {
        self.option(stream, |scope, socket| scope.set_keepalive(socket, after))
    }

    /// The other side's address.
    ///
    /// # Errors
    /// `Io` if the stream is gone or not connected, and the misuses.
    pub fn peer_addr(&self, stream: &FiberStream) -> Result<Addr, FiberError> {
        self.option(stream, |scope, socket| scope.peer_addr(socket))
    }

    /// This side's address.
    ///
    /// # Errors
    /// As [`peer_addr`](Self::peer_addr).
    pub fn local_addr(&self, stream: &FiberStream) -> Result<Addr, FiberError> {
        self.option(stream, |scope, socket| scope.local_addr(socket))
    }

    fn option<T>(
        &self,
        stream: &FiberStream,
        f: impl FnOnce(&mut Scope<'_, Fiber<C, M>>, &Socket) -> Result<T, IoError>,
    ) -> Result<T, FiberError> {
        self.check(stream)?;
        match self.scope(|scope| stream.wire.with(|socket| f(scope, socket)))? {
            Some(result) => Ok(result?),
            None => Err(IoError::new(Op::Option, IoErrorKind::Closed).into()),
        }
    }

    /// Only a fiber's own streams.
    #[inline]
    fn check(&self, stream: &FiberStream) -> Result<(), FiberError> {
        if stream.wire.owner() == self.core().key {
            Ok(())
        } else {
            Err(FiberError::OtherFiber)
        }
    }
}
