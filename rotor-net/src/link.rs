//! `Link`: the connection's side of a stream: what is kept of its input, what the protocol waits for, and what is known
//! of the socket.
//!
//! Invariant: `READING` says whether the socket is read, and between dispatches it is so exactly if the protocol
//! wants input, the output is not over its watermark, nothing is left over from the last dispatch, and input is not
//! over.

use crate::conn::Out;
use crate::feed::{Feed, Found, Frame, Held};
use crate::input::Unread;
use crate::intent::{Intent, Reads};
use crate::run::Outcome;
use crate::streams::Ticket;
use crate::switch::Handover;
use crate::until::{Kind, Until, Want};
use crate::{Conn, Failure, Input, Protocol, Stream};
use rotor_fsm::{Io, Machine, Op, Parts, Result, Scope, Socket};
use std::cell::Cell;

/// The connection's side of a stream: everything but the protocol.
pub(crate) struct Link {
    pub socket: Socket,
    pub ticket: Ticket,
    held: Option<Box<Held>>,
    want: Want,
    /// Tell the protocol when less output than this waits. 0: it does not care.
    flush_below: u32,
    pub flags: u16,
    /// Why input ended, if the peer did not end it. Boxed, for it is rare.
    end: Option<Box<Failure>>,
}

/// The socket is being read.
pub(crate) const READING: u16 = 1;
/// The protocol does not want input now.
const PAUSED: u16 = 2;
/// Too much output waits: no input until it is less.
const OVER: u16 = 4;
/// The protocol has seen what is kept, and waits for more.
pub(crate) const STALLED: u16 = 8;
/// Asked to go on in a later turn.
const AGAIN: u16 = 16;
/// No more input will arrive, or none that can be delivered.
const INPUT_OVER: u16 = 32;
/// The protocol has heard of the end of input.
const TOLD: u16 = 64;
/// The protocol has heard of a failure, perhaps after it had heard of the end of input.
const TOLD_FAILURE: u16 = 2048;
/// A write failed: output goes nowhere.
pub(crate) const OUTPUT_FAILED: u16 = 128;
/// Output was ended; FIN follows it.
pub(crate) const OUTPUT_ENDED: u16 = 256;
/// FIN is on its way, after all output.
pub(crate) const FIN_SENT: u16 = 512;
/// The peer's FIN was read: nothing unread is left in the kernel.
pub(crate) const EOF: u16 = 1024;

/// Facts that stay true when the protocol is switched.
pub(crate) const FACTS: u16 = INPUT_OVER | OUTPUT_FAILED | OUTPUT_ENDED | FIN_SENT | EOF;

/// What `run` does next.
pub(crate) enum Step {
    Frame(Frame),
    Flushed,
    End,
    Wait,
}

impl Link {
    pub fn new(socket: Socket, ticket: Ticket) -> Self {
        Self {
            socket,
            ticket,
            held: None,
            want: Until::Any.into(),
            flush_below: 0,
            flags: READING,
            end: None,
        }
    }

    /// A connection that another protocol gave up.
    pub fn take_over<M: Machine>(handover: Handover, scope: &mut Scope<'_, M>) -> Result<Self> {
        let socket = scope.open(handover.incoming)?;
        let mut link = Self::new(socket, handover.ticket);
        link.flags |= handover.facts;
        link.held = handover.held;
        Ok(link)
    }

    /// What was kept, and what has just arrived.
    #[inline]
    pub fn feed<'a>(&mut self, fresh: &'a [u8]) -> Feed<'a> {
        Feed::new(self.held.take(), fresh)
    }

    #[inline]
    fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    #[inline]
    pub fn conn<'a, P: Protocol>(
        &'a self,
        scope: &'a mut Scope<'_, Stream<P>>,
        rest: &'a [u8],
    ) -> Conn<'a, P> {
        let limits = self.ticket.streams().limits();
        let bytes_max = limits.output_bytes_max;
        let Parts { ctx, out, own } = scope.parts(&self.socket);
        Conn {
            ctx,
            out: Out {
                output: out,
                bytes_max,
            },
            own,
            rest,
            limits,
        }
    }

    /// A handler that is called by something else than the socket, and all that follows from it.
    #[inline]
    pub fn call<P: Protocol>(
        mut self,
        scope: &mut Scope<'_, Stream<P>>,
        handler: impl FnOnce(&mut Conn<'_, P>) -> Result<Intent<P>>,
    ) -> Outcome<P> {
        let feed = self.feed(&[]);
        let first = handler(&mut self.conn(scope, &[]));
        Stream::run(self, first, feed, scope)
    }

    /// An event other than `Read`.
    pub fn note(&mut self, event: &Io<'_>) {
        match event {
            Io::Eof => self.flags |= INPUT_OVER | EOF,
            Io::Again => self.flags &= !AGAIN,
            Io::ShutDown => self.flags |= FIN_SENT,
            Io::Failed(error) if matches!(error.op(), Op::Write | Op::Shutdown) => {
                self.flags |= OUTPUT_FAILED;
                self.end
                    .get_or_insert_with(|| Box::new(Failure::Write(*error)));
            }
            Io::Failed(error) => {
                // A failed write is why reading ends, and was first.
                self.flags |= INPUT_OVER | OUTPUT_FAILED;
                self.end
                    .get_or_insert_with(|| Box::new(Failure::Read(*error)));
            }
            // `Flushed` is only a reason to look.
            _ => {}
        }
    }

    /// Takes over what an intent names.
    #[inline]
    pub fn apply<P: Protocol>(
        &mut self,
        intent: &Intent<P>,
        feed: &mut Feed<'_>,
        scope: &mut Scope<'_, Stream<P>>,
    ) {
        if let Some(want) = intent.read {
            if want != self.want {
                self.want = want;
                feed.rescan();
            }
            if want.kind != Kind::Any {
                self.flags &= !STALLED;
            }
        }
        if intent.reads != Reads::Keep {
            self.set(PAUSED, intent.reads == Reads::Off);
        }
        if let Some(bytes) = intent.flushed_below {
            self.flush_below = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
        if intent.ends_output && !self.is(OUTPUT_ENDED) {
            self.end_output(scope);
        }
    }

    pub fn end_output<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        self.flags |= OUTPUT_ENDED;
        if scope.shutdown_write(&self.socket).is_err() {
            self.flags |= OUTPUT_FAILED;
        }
    }

    /// What can be done now.
    #[inline]
    pub fn next_step<M: Machine>(&mut self, feed: &mut Feed<'_>, scope: &mut Scope<'_, M>) -> Step {
        if self.is(OUTPUT_FAILED) {
            // Nobody waits for output that goes nowhere.
            self.flags &= !OVER;
            let is_news = self.is(TOLD) && self.end.is_some() && !self.is(TOLD_FAILURE);
            if is_news || (self.is(PAUSED) && !self.is(TOLD)) {
                return Step::End;
            }
        } else {
            let queued = scope.parts(&self.socket).out.peek_queued();
            self.weigh(queued);
            if queued < self.flush_below as usize {
                self.flush_below = 0;
                return Step::Flushed;
            }
        }
        if self.is(PAUSED | OVER | TOLD | AGAIN) {
            return Step::Wait;
        }
        if !self.is(STALLED) {
            let bytes_max = self.ticket.streams().limits().input_bytes_max;
            match feed.find(&self.want, bytes_max) {
                Found::Frame(frame) => return Step::Frame(frame),
                Found::TooLong(bytes_max) => self.too_long(bytes_max),
                Found::Partial => {}
            }
        }
        if self.is(INPUT_OVER) {
            Step::End
        } else {
            Step::Wait
        }
    }

    /// High and low watermark (L1).
    #[inline]
    fn weigh(&mut self, queued: usize) {
        let is_over = self
            .ticket
            .streams()
            .limits()
            .is_over(queued, self.is(OVER));
        self.set(OVER, is_over);
    }

    fn too_long(&mut self, bytes_max: u32) {
        self.flags |= INPUT_OVER;
        self.end = Some(Box::new(Failure::TooLong { bytes_max }));
    }

    /// Calls `received` with a frame, and takes back what it leaves unread.
    #[inline]
    pub fn present<P: Protocol>(
        &mut self,
        protocol: P,
        frame: Frame,
        feed: &mut Feed<'_>,
        scope: &mut Scope<'_, Stream<P>>,
    ) -> Result<Intent<P>> {
        let unread = Cell::new(Unread::default());
        let data = &feed.front(frame.whole)[..frame.data];
        let input = Input {
            data,
            unread: &unread,
        };
        let answer = protocol.received(input, &mut self.conn(scope, &[]));
        let back = unread.get();
        if back.bytes == 0 && frame.whole > 0 {
            feed.consume(frame.whole, self.ticket.streams());
        } else if back.later {
            feed.consume(frame.data - back.bytes, self.ticket.streams());
            feed.rescan();
            self.go_on_later(scope);
        } else {
            self.take_back(frame, back.bytes, feed);
        }
        answer
    }

    /// Part of a frame was not consumed. It is presented again when more arrives, or has: otherwise a protocol that
    /// waits for more would be called with the same bytes for ever.
    #[cold]
    fn take_back(&mut self, frame: Frame, back: usize, feed: &mut Feed<'_>) {
        let consumed = frame.data - back;
        let has_more = feed.len() > frame.whole;
        feed.consume(consumed, self.ticket.streams());
        feed.rescan();
        self.set(STALLED, consumed == 0 || !has_more);
        let bytes_max = self.ticket.streams().limits().input_bytes_max;
        if self.is(STALLED) && back > bytes_max {
            self.too_long(bytes_max as u32);
        }
    }

    /// Tells the protocol that input is over.
    #[cold]
    pub fn tell_end<P: Protocol>(
        &mut self,
        protocol: P,
        feed: &mut Feed<'_>,
        scope: &mut Scope<'_, Stream<P>>,
    ) -> Result<Intent<P>> {
        self.flags |= TOLD | INPUT_OVER;
        self.set(TOLD_FAILURE, self.end.is_some());
        let rest = feed.front(feed.len());
        let mut conn = self.conn(scope, rest);
        let answer = match &self.end {
            Some(failure) => protocol.failed(**failure, &mut conn),
            None => protocol.eof(&mut conn),
        };
        feed.clear(self.ticket.streams());
        answer
    }

    /// The share of this dispatch is used up.
    #[cold]
    pub fn go_on_later<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        if !self.is(AGAIN) {
            self.flags |= AGAIN;
            scope.again(&self.socket);
        }
    }

    /// Nothing more to do in this dispatch: keeps what is left, and reads or not from here on.
    #[inline]
    pub fn rest<M: Machine>(&mut self, feed: Feed<'_>, scope: &mut Scope<'_, M>) {
        if !feed.is_empty() {
            self.held = feed.into_held(self.ticket.streams());
        }
        if self.flush_below > 0 || self.is(OVER) {
            // Asking has it told when the queue is empty or a queued write ends.
            scope.queued(&self.socket);
        }
        let wanted = !self.is(PAUSED | OVER | AGAIN | INPUT_OVER);
        if wanted != self.is(READING) {
            self.read(wanted, scope);
        }
    }

    /// Reads, or does not.
    #[cold]
    pub fn read<M: Machine>(&mut self, on: bool, scope: &mut Scope<'_, M>) {
        self.set(READING, on);
        if on {
            scope.resume(&self.socket);
        } else {
            scope.pause(&self.socket);
        }
    }
}
