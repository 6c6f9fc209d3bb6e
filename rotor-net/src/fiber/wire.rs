//! `Wire`: a stream's state, shared by the fiber that uses it and the machine that hears of its events; and how a fiber
//! reads and writes.
//!
//! What arrives while the fiber waits for it goes from libuv's buffer to where the fiber wants it. What it does not
//! take, and what arrives while it does something else, is kept, and reading pauses when that is too much; so memory
//! is bounded in both directions, and an idle stream keeps nothing.

use super::error::FiberError;
use super::state::{Core, Wait};
use crate::feed::{Feed, Held};
use rotor_fsm::{HandleId, IoError, IoErrorKind, Op, Socket, Time};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// The state of one stream. Recycled.
pub(super) struct Wire {
    owner: Cell<u64>,
    id: Cell<HandleId>,
    /// Empty once it is closed.
    socket: RefCell<Option<Socket>>,
    /// Input that was not taken yet.
    held: Cell<Option<Box<Held>>>,
    flags: Cell<u16>,
    /// Why input or output is over, if it failed.
    pub input_error: Cell<Option<IoError>>,
    pub output_error: Cell<Option<IoError>>,
    pub read_timeout: Cell<Option<Duration>>,
    pub write_timeout: Cell<Option<Duration>>,
    pub linger_until: Cell<Time>,
    pub discarded_bytes: Cell<usize>,
}

/// The socket is being read.
pub(super) const READING: u16 = 1;
/// The connection is being made.
pub(super) const CONNECTING: u16 = 2;
/// The peer's FIN was read.
pub(super) const EOF: u16 = 4;
/// The end of output was asked for.
pub(super) const ENDED: u16 = 8;
/// Our FIN is on its way, after all output.
pub(super) const FIN_SENT: u16 = 16;
/// The fiber has dropped it.
pub(super) const DROPPED: u16 = 32;
/// The fiber has dropped it, and what it wrote is still leaving.
pub(super) const LINGERING: u16 = 64;

impl Default for Wire {
    fn default() -> Self {
        Self {
            owner: Cell::new(0),
            id: Cell::new(HandleId::NONE),
            socket: RefCell::new(None),
            held: Cell::new(None),
            flags: Cell::new(0),
            input_error: Cell::new(None),
            output_error: Cell::new(None),
            read_timeout: Cell::new(None),
            write_timeout: Cell::new(None),
            linger_until: Cell::new(Time::NEVER),
            discarded_bytes: Cell::new(0),
        }
    }
}

impl Wire {
    /// Becomes the state of this stream, of the fiber of this key.
    pub fn begin(&self, owner: u64, socket: Socket, flags: u16) {
        self.owner.set(owner);
        self.id.set(socket.id());
        self.socket.replace(Some(socket));
        self.flags.set(flags);
    }

    /// As new again. What it still kept is handed out.
    pub fn reset(&mut self) -> Option<Box<Held>> {
        std::mem::take(self).held.into_inner()
    }

    #[inline]
    pub fn id(&self) -> HandleId {
        self.id.get()
    }

    /// The fiber to which it belongs.
    #[inline]
    pub fn owner(&self) -> u64 {
        self.owner.get()
    }

    #[inline]
    pub fn is(&self, flags: u16) -> bool {
        self.flags.get() & flags != 0
    }

    #[inline]
    pub fn set(&self, flag: u16, on: bool) {
        let flags = self.flags.get();
        self.flags
            .set(if on { flags | flag } else { flags & !flag });
    }

    /// Closes the socket: at once, but for output that the kernel takes at the end of the dispatch.
    pub fn close(&self) {
        drop(self.socket.take());
    }

    pub fn take_socket(&self) -> Option<Socket> {
        self.socket.take()
    }

    pub fn is_closed(&self) -> bool {
        self.socket.borrow().is_none()
    }

    /// Calls `f` with the socket, unless it is closed.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&Socket) -> R) -> Option<R> {
        self.socket.borrow().as_ref().map(f)
    }

    pub fn take_held(&self) -> Option<Box<Held>> {
        self.held.take()
    }

    /// Keeps what the fiber did not take. Answers how much is kept.
    #[cold]
    pub fn keep(&self, core: &Core, fresh: &[u8]) -> usize {
        let feed = Feed::new(self.held.take(), fresh);
        let kept = feed.len();
        self.held.set(feed.into_held(&core.stacks));
        kept
    }

    /// Some input waits to be taken.
    pub fn has_input(&self) -> bool {
        let held = self.held.take();
        let has = held.is_some();
        self.held.set(held);
        has
    }
}

/// Reading.
impl Core {
    /// Reads at least one byte, unless there is no room or no more will come: then none.
    #[inline]
    pub fn read(&self, wire: &Wire, buf: &mut [u8], until: Time) -> Result<usize, FiberError> {
        loop {
            let taken = self.take_input(wire, buf);
            if taken > 0 || buf.is_empty() {
                return Ok(taken);
            }
            if self.is_input_over(wire)? {
                return Ok(0);
            }
            self.wait_for_input(wire, until)?;
        }
    }

    /// Fills all of `buf`.
    pub fn read_exact(&self, wire: &Wire, buf: &mut [u8], until: Time) -> Result<(), FiberError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(wire, &mut buf[filled..], until)? {
                0 => return Err(FiberError::Eof),
                more => filled += more,
            }
        }
        Ok(())
    }

    /// Reads what is before the delimiter into `line`; false at a clean end. Takes all or nothing: what has come of a
    /// line when this fails is there for the next to read.
    pub fn read_until(
        &self,
        wire: &Wire,
        delimiter: &[u8],
        bytes_max: usize,
        line: &mut Vec<u8>,
        until: Time,
    ) -> Result<bool, FiberError> {
        line.clear();
        if delimiter.is_empty() {
            return Ok(true);
        }
        let window = bytes_max.saturating_add(delimiter.len());
        let mut is_first = true;
        loop {
            let mut found = None;
            let kept = self.look(wire, |feed, core| {
                if std::mem::take(&mut is_first) {
                    // What was searched before may have been searched for something else.
                    feed.rescan();
                }
                found = feed.find_end(delimiter, window);
                if let Some(whole) = found {
                    line.extend_from_slice(&feed.front(whole)[..whole - delimiter.len()]);
                    feed.consume(whole, &core.stacks);
                }
                feed.len()
            });
            if found.is_some() {
                return Ok(true);
            }
            if kept >= window {
                return Err(FiberError::TooLong { bytes_max });
            }
            if self.is_input_over(wire)? {
                return if kept == 0 {
                    Ok(false)
                } else {
                    Err(FiberError::Eof)
                };
            }
            self.wait_for_input(wire, until)?;
        }
    }

    /// Copies what there is.
    #[inline]
    fn take_input(&self, wire: &Wire, buf: &mut [u8]) -> usize {
        let Some(held) = wire.held.take() else {
            if self.fresh_on.get() != wire.id() {
                return 0;
            }
            return self.loan.fresh(|fresh| {
                let n = fresh.len().min(buf.len());
                buf[..n].copy_from_slice(&fresh[..n]);
                n
            });
        };
        let mut feed = Feed::new(Some(held), &[]);
        let n = feed.len().min(buf.len());
        buf[..n].copy_from_slice(&feed.front(n)[..n]);
        feed.consume(n, &self.stacks);
        wire.held.set(feed.into_held(&self.stacks));
        n
    }

    /// Shows all input to `look`. What is left of what was just read stays where it is, unless something before it
    /// is kept or it was searched in vain.
    fn look(&self, wire: &Wire, look: impl FnOnce(&mut Feed<'_>, &Core) -> usize) -> usize {
        let mut seen = 0;
        let inspect = |fresh: &[u8]| {
            let mut feed = Feed::new(wire.held.take(), fresh);
            seen = look(&mut feed, self);
            let (held, rest) = feed.into_parts(&self.stacks);
            wire.held.set(held);
            fresh.len() - rest
        };
        if self.fresh_on.get() == wire.id() {
            self.loan.fresh(inspect);
        } else {
            inspect(&[]);
        }
        seen
    }

    /// Whether something was just read on this stream and not taken.
    pub fn has_fresh(&self, wire: &Wire) -> bool {
        let mut has = false;
        if self.fresh_on.get() == wire.id() {
            self.loan.fresh(|fresh| {
                has = !fresh.is_empty();
                0
            });
        }
        has
    }

    fn is_input_over(&self, wire: &Wire) -> Result<bool, FiberError> {
        if let Some(error) = wire.input_error.get() {
            return Err(error.into());
        }
        if wire.is_closed() {
            return Err(IoError::new(Op::Read, IoErrorKind::Closed).into());
        }
        Ok(wire.is(EOF))
    }

    #[inline]
    fn wait_for_input(&self, wire: &Wire, until: Time) -> Result<(), FiberError> {
        if !wire.is(READING) {
            self.ops(|ops| wire.with(|socket| ops.set_reading(socket, true)))?;
            wire.set(READING, true);
        }
        self.wait_for(Wait::Input(wire.id()), until)
    }
}

/// Writing.
impl Core {
    /// Takes all of `bytes` as output, waiting while too much waits to leave.
    #[inline]
    pub fn write_all(&self, wire: &Wire, bytes: &[u8], until: Time) -> Result<(), FiberError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.write(wire, rest, until)?;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Takes as much of `bytes` as may wait, at least one if there are any.
    #[inline]
    pub fn write(&self, wire: &Wire, bytes: &[u8], until: Time) -> Result<usize, FiberError> {
        let limits = self.stacks.limits();
        loop {
            if let Some(error) = wire.output_error.get() {
                return Err(error.into());
            }
            let taken = self.ops(|ops| {
                wire.with(|socket| {
                    let queued = ops.peek_queued(socket);
                    let room = limits.output_high_bytes.saturating_sub(queued);
                    let n = bytes.len().min(room);
                    if n == 0 && !bytes.is_empty() {
                        return Ok(None);
                    }
                    ops.write(socket, &bytes[..n]).map(|()| Some(n))
                })
            })?;
            match taken {
                Some(Ok(Some(n))) => return Ok(n),
                Some(Ok(None)) => self.wait_for_output(wire, limits.output_low_bytes, until)?,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(IoError::new(Op::Write, IoErrorKind::Closed).into()),
            }
        }
    }

    /// Waits until at most so much output waits. Goes on when the fiber was asked to finish.
    pub fn wait_for_output(
        &self,
        wire: &Wire,
        bytes_max: usize,
        until: Time,
    ) -> Result<(), FiberError> {
        loop {
            if let Some(error) = wire.output_error.get() {
                return Err(error.into());
            }
            // Asking for the queue's length has the machine told when it is empty, or a part of it has left.
            let queued = self.ops(|ops| wire.with(|socket| ops.queued(socket)))?;
            match queued {
                None => return Err(IoError::new(Op::Write, IoErrorKind::Closed).into()),
                Some(queued) if queued <= bytes_max => return Ok(()),
                Some(_) => self.suspend(Wait::Output(wire.id()), until)?,
            }
        }
    }

    /// No more output after what waits, then FIN.
    pub fn shutdown_write(&self, wire: &Wire) -> Result<(), FiberError> {
        let asked = self.ops(|ops| wire.with(|socket| ops.shutdown_write(socket)))?;
        match asked {
            Some(asked) => asked?,
            None => return Err(IoError::new(Op::Shutdown, IoErrorKind::Closed).into()),
        }
        wire.set(ENDED, true);
        Ok(())
    }
}
