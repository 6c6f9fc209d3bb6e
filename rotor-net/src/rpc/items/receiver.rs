//! `ItemReceiver`: the program's half of a stream of items that arrives.

use super::super::codec::Limits;
use super::super::error::CallError;
use super::super::wait;
use super::batch::Batch;
use super::inflow::{Inflow, Taken};
use super::{Side, cost};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Makes an item of bytes, in the version of this position.
pub(crate) type Decode<T> = fn(usize, &[u8], &Limits) -> Result<T, CallError>;

/// The items of a call, one after the other: for the caller those of a server stream, for the handler those that the
/// client sends. It can be kept and moved to other threads.
///
/// Each way to wait fits a kind of program: [`wake_when_ready`](Self::wake_when_ready) and
/// [`try_next`](Self::try_next) a machine, [`next`](Self::next) async code, [`next_in`](Self::next_in) a fiber,
/// [`next_blocking`](Self::next_blocking) a thread without a loop. All give items in order, then perhaps one error, then
/// `None`. `None` without an error before it means that the peer has sent all there was.
///
/// The peer stays a window ahead at most: while nobody asks for items, it waits.
///
/// **The caller's** begins its call with the first use. Dropped before the end, it cancels the call. **The
/// handler's**, dropped, throws away what the client still sends, so that the client can go on to its end.
#[must_use = "the call begins when items are asked for"]
pub struct ItemReceiver<T> {
    inflow: Arc<Inflow>,
    /// What was taken of the inflow, to be decoded.
    batch: Batch,
    version: usize,
    /// Consumed, and not yet told to the inflow.
    consumed_bytes: u64,
    decode: Decode<T>,
    limits: Arc<Limits>,
    side: Side,
    is_started: bool,
    /// `None` is all that comes.
    is_over: bool,
}

impl<T> ItemReceiver<T> {
    pub(crate) fn new(
        inflow: Arc<Inflow>,
        decode: Decode<T>,
        limits: Arc<Limits>,
        side: Side,
    ) -> Self {
        Self {
            inflow,
            batch: Batch::default(),
            version: 0,
            consumed_bytes: 0,
            decode,
            limits,
            side,
            is_started: false,
            is_over: false,
        }
    }

    /// The caller's: the whole call may take this long, from when it begins; then it fails with
    /// [`CallError::TimedOut`]. No effect once it has begun, or on the handler's.
    pub fn within(self, duration: Duration) -> Self {
        if let Side::Client(call) = &self.side {
            call.within(duration);
        }
        self
    }

    /// The caller's: sends this along with the call, such as a trace id. No effect once it has begun, or on the handler's.
    pub fn with_meta(self, meta: &[u8]) -> Self {
        if let Side::Client(call) = &self.side {
            call.with_meta(meta);
        }
        self
    }

    /// The caller's: begins the call, which asking for items would do, too. If it cannot begin, that is the first thing
    /// that comes.
    pub fn start(&mut self) {
        if !std::mem::replace(&mut self.is_started, true)
            && let Err(error) = self.side.start()
        {
            self.inflow.end(Err(error));
        }
    }

    /// The next item, if it is there. An item that cannot be decoded is an error, and the last thing that comes; the
    /// caller's call is cancelled then.
    pub fn try_next(&mut self) -> Poll<Option<Result<T, CallError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.start();
        if self.batch.is_empty() {
            match self.inflow.take(&mut self.batch) {
                Taken::Items(version) => self.version = version,
                Taken::Nothing => return Poll::Pending,
                Taken::End(result) => {
                    self.is_over = true;
                    return Poll::Ready(result.err().map(Err));
                }
            }
        }
        let Some(body) = self.batch.pop() else {
            return Poll::Pending;
        };
        self.consumed_bytes += cost(body.len());
        let item = (self.decode)(self.version, body, &self.limits);
        if item.is_err() {
            self.give_up();
        } else if self.consumed_bytes >= self.inflow.credit_due_bytes() {
            self.inflow
                .consumed(std::mem::take(&mut self.consumed_bytes));
        }
        Poll::Ready(Some(item))
    }

    /// The next item; if it is not there, the task is woken once something comes. As `Stream::poll_next` of the `futures`
    /// crates.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        let next = self.try_next();
        if next.is_ready() {
            return next;
        }
        self.inflow.wait(cx.waker().clone());
        self.try_next()
    }

    /// Waits for the next item, under any executor. Nothing is lost if the future is dropped.
    #[allow(clippy::should_implement_trait)] // An iterator could not wait.
    pub fn next(&mut self) -> Next<'_, T> {
        Next(self)
    }

    /// Waits for the next item on a thread that runs no loop. The wait ends with the call: bound it by
    /// [`within`](Self::within).
    ///
    /// # Errors
    /// Those of the stream; and [`CallError::OnLoopThread`], after which the stream is as before.
    pub fn next_blocking(&mut self) -> Option<Result<T, CallError>> {
        if !rotor_fsm::is_loop_thread()
            && let Poll::Ready(next) = self.try_next()
        {
            return next;
        }
        wait::block_on(self.next(), None).unwrap_or_else(|misuse| Some(Err(misuse)))
    }

    /// Wakes this one, once, when there is something to be had, or at once if there is; rather than whoever was to be
    /// woken before. A machine gives [`Scope::waker`](rotor_fsm::Scope::waker), and then asks by
    /// [`try_next`](Self::try_next) until that is pending. May wake for nothing.
    pub fn wake_when_ready(&mut self, waker: impl Into<Waker>) {
        self.start();
        self.inflow.wait(waker.into());
        if self.is_over || !self.batch.is_empty() || self.inflow.is_ready() {
            self.inflow.wake();
        }
    }

    /// Whether nothing more comes but `None`.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// No more items are wanted.
    fn give_up(&mut self) {
        self.is_over = true;
        let batch = std::mem::take(&mut self.batch);
        let has_ended = self.inflow.desert(batch, self.consumed_bytes);
        if let Side::Client(call) = &self.side
            && !has_ended
        {
            call.cancel();
        }
    }
}

#[cfg(all(test, not(loom)))]
impl<T> ItemReceiver<T> {
    /// What both buffers of the stream hold on to.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.batch.capacity() + self.inflow.buffered_bytes()
    }
}

impl<T> Drop for ItemReceiver<T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.give_up();
        }
    }
}

impl<T> fmt::Debug for ItemReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemReceiver")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

/// Waits for the next item of an [`ItemReceiver`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Next<'r, T>(&'r mut ItemReceiver<T>);

impl<T> Future for Next<'_, T> {
    type Output = Option<Result<T, CallError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(cx)
    }
}
