//! `ItemSender`: the program's half of a stream of items that leaves.

use super::super::codec::Limits;
use super::super::error::CallError;
use super::super::frame::Kind;
use super::super::wait;
use super::outflow::{Exit, Outflow};
use super::{Side, cost, with_scratch};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Appends an item's bytes, in the version of this position.
pub(crate) type Encode<T> = fn(usize, T, &Limits, &mut Vec<u8>) -> Result<(), CallError>;

/// Sends the items of a call: the handler's of a server stream, the caller's of a client stream. It can be kept and
/// moved to other threads.
///
/// Items leave while there is credit: the peer lets a window of them come before it has consumed some. Each way to wait
/// for more fits a kind of program: [`wake_when_ready`](Self::wake_when_ready) a machine, [`ready`](Self::ready) async
/// code, [`send_in`](Self::send_in) a fiber, [`send_blocking`](Self::send_blocking) a thread without a loop.
///
/// **It must be ended**, by [`end`](Self::end) or [`fail`](Self::fail), so that what was cut off does not look
/// complete. Dropped before that, the handler's fails the call with [`CallError::Unanswered`]
/// ([`CallError::Panicked`] while panicking), and the caller's cancels it.
///
/// A handler that keeps senders until it has something to send should now and then drop those that are
/// [over](Self::is_over): their clients may be gone.
#[must_use = "dropped without `end`, the call fails"]
pub struct ItemSender<T> {
    outflow: Arc<Outflow>,
    /// The way out, once the call was sent.
    exit: Option<Exit>,
    /// What may still be sent. Below zero after an item that cost more than was left.
    credit_bytes: i64,
    encode: Encode<T>,
    limits: Arc<Limits>,
    side: Side,
    is_started: bool,
    has_ended: bool,
}

impl<T> ItemSender<T> {
    pub(crate) fn new(
        outflow: Arc<Outflow>,
        encode: Encode<T>,
        limits: Arc<Limits>,
        side: Side,
    ) -> Self {
        Self {
            outflow,
            exit: None,
            credit_bytes: 0,
            encode,
            limits,
            side,
            is_started: false,
            has_ended: false,
        }
    }

    /// Sends an item, if there is credit. Costs no allocation.
    ///
    /// # Errors
    /// [`SendItemError::NoCredit`] gives it back; [`Ended`](SendItemError::Ended) if the call is over;
    /// [`Refused`](SendItemError::Refused) if the item cannot be encoded or is longer than the peer takes: others can
    /// still be sent.
    pub fn send(&mut self, item: T) -> Result<(), SendItemError<T>> {
        let exit = match (self.check(), &self.exit) {
            (Poll::Ready(Ok(())), Some(exit)) => exit,
            (Poll::Ready(Err(why)), _) => return Err(SendItemError::Ended(why)),
            _ => return Err(SendItemError::NoCredit(item)),
        };
        let sent_bytes = with_scratch(|body| {
            (self.encode)(exit.version, item, &self.limits, body)
                .map_err(SendItemError::Refused)?;
            exit.admits(body).map_err(SendItemError::Refused)?;
            if !exit.push(Kind::Item, body) {
                return Err(SendItemError::Ended(self.outflow.why()));
            }
            Ok(cost(body.len()))
        })?;
        self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(sent_bytes);
        Ok(())
    }

    /// Whether an item can be sent; if not, the task is woken once that may have changed.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let ready = self.check();
        if ready.is_ready() {
            return ready;
        }
        self.outflow.wait(cx.waker().clone());
        self.check()
    }

    /// Waits until an item can be sent, under any executor.
    ///
    /// # Errors
    /// Why the call is over.
    pub fn ready(&mut self) -> Ready<'_, T> {
        Ready(self)
    }

    /// Sends an item on a thread that runs no loop, and waits for credit if there is none. The wait ends with the call:
    /// with its deadline, with its connection, or cancelled.
    ///
    /// # Errors
    /// As [`send`](Self::send), but never `NoCredit`; [`CallError::OnLoopThread`] as `Refused`.
    pub fn send_blocking(&mut self, mut item: T) -> Result<(), SendItemError<T>> {
        loop {
            if rotor_fsm::is_loop_thread() {
                return Err(SendItemError::Refused(CallError::OnLoopThread));
            }
            match self.send(item) {
                Err(SendItemError::NoCredit(back)) => item = back,
                other => return other,
            }
            match wait::block_on(self.ready(), None) {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err(SendItemError::Ended(why)),
                Err(misuse) => return Err(SendItemError::Refused(misuse)),
            }
        }
    }

    /// Wakes this one, once, when an item can be sent or the call is over, or at once if that is so; rather than whoever
    /// was to be woken before. A machine gives [`Scope::waker`](rotor_fsm::Scope::waker). May wake for nothing.
    pub fn wake_when_ready(&mut self, waker: impl Into<Waker>) {
        // Begins the call, if need be, before there is a waiter, whom that might wake for nothing.
        if self.check().is_pending() {
            self.outflow.wait(waker.into());
            if self.check().is_ready() {
                self.outflow.room();
            }
        } else {
            waker.into().wake();
        }
    }

    /// Whether the call is over, so that nothing can be sent any more: cancelled, past its deadline, disconnected.
    pub fn is_over(&self) -> bool {
        self.outflow.is_over()
    }

    /// There are no more items. A call that answers with items is over; otherwise its reply is still to come.
    ///
    /// # Errors
    /// Why the call was over before: the peer may not have all items.
    pub fn end(mut self) -> Result<(), CallError> {
        self.start();
        self.has_ended = true;
        if self.exit.is_none() {
            self.exit = self.outflow.exit_or_end_later()?;
        }
        match &self.exit {
            Some(exit) if !exit.push(Kind::End, &[]) => Err(self.outflow.why()),
            _ => Ok(()),
        }
    }

    /// Fails the call: the handler's with this error, which the client gets after the items; the caller's cancels it.
    pub fn fail(mut self, error: CallError) {
        self.abandon(&error);
    }

    /// Begins the call, if this is the side that does.
    fn start(&mut self) {
        if !std::mem::replace(&mut self.is_started, true)
            && let Err(error) = self.side.start()
        {
            self.outflow.close(error);
        }
    }

    /// Whether there is a way out, which an item may take now.
    #[inline]
    fn check(&mut self) -> Poll<Result<(), CallError>> {
        self.start();
        if self.credit_bytes <= 0 || self.exit.is_none() {
            match self.outflow.look(&mut self.exit) {
                Ok(new_bytes) => {
                    self.credit_bytes = self.credit_bytes.saturating_add_unsigned(new_bytes);
                }
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        match &self.exit {
            Some(exit) if self.credit_bytes > 0 && !exit.line.is_full() => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Ends the call without its items being complete, unless it is over.
    fn abandon(&mut self, error: &CallError) {
        if std::mem::replace(&mut self.has_ended, true) || self.outflow.is_over() {
            return;
        }
        match &self.side {
            Side::Client(call) => call.cancel(),
            Side::Server => {
                if self.exit.is_none() {
                    // Its credit does not matter any more.
                    let _ = self.outflow.look(&mut self.exit);
                }
                if let Some(exit) = &self.exit {
                    exit.fail(error);
                }
            }
        }
    }
}

impl<T> Drop for ItemSender<T> {
    fn drop(&mut self) {
        let error = if std::thread::panicking() {
            CallError::Panicked
        } else {
            CallError::Unanswered
        };
        self.abandon(&error);
    }
}

impl<T> fmt::Debug for ItemSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemSender")
            .field("credit_bytes", &self.credit_bytes)
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

/// Waits until an [`ItemSender`] can send an item.
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Ready<'s, T>(&'s mut ItemSender<T>);

impl<T> Future for Ready<'_, T> {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_ready(cx)
    }
}

/// Why an item was not sent.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub enum SendItemError<T> {
    /// The peer takes no more for now, or the connection has enough to send: the item, for later.
    NoCredit(T),
    /// The call is over, for this reason.
    Ended(CallError),
    /// This item cannot be sent, or not so; others can.
    Refused(CallError),
}

impl<T> fmt::Debug for SendItemError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredit(_) => f.write_str("NoCredit(..)"),
            Self::Ended(why) => f.debug_tuple("Ended").field(why).finish(),
            Self::Refused(why) => f.debug_tuple("Refused").field(why).finish(),
        }
    }
}

impl<T> fmt::Display for SendItemError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredit(_) => f.write_str("the peer takes no more items for now"),
            Self::Ended(why) => write!(f, "no more items can be sent: {why}"),
            Self::Refused(why) => write!(f, "the item was not sent: {why}"),
        }
    }
}

impl<T> std::error::Error for SendItemError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoCredit(_) => None,
            Self::Ended(why) | Self::Refused(why) => Some(why),
        }
    }
}
