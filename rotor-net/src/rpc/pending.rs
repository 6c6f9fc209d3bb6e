//! `Pending`: a call that is yet to be made, and then its answer, for every kind of program: [`then`](Pending::then) for
//! machines, [`join`](Pending::join) for fibers, [`wait`](Pending::wait) for threads, `await` for async code.

use super::CallError;
use super::client::{ClientCall, Promised};
#[cfg(feature = "fiber")]
use super::items;
use super::wait;
#[cfg(feature = "fiber")]
use crate::fiber::Cx;
use crate::{Conn, Protocol};
use rotor_fsm::{Machine, Notifier, Scope};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A call whose reply is a `T`. Nothing happens before it is waited for, or [started](Self::start); dropping it after
/// that gives the call up, and tells the server.
#[must_use = "the call is not made before this is waited for or started"]
pub struct Pending<T: Send + 'static> {
    /// Empty once the answer was had, or somebody else has it.
    call: Option<Arc<dyn Promised<T>>>,
}

/// Before it begins.
impl<T: Send + 'static> Pending<T> {
    pub(crate) fn new(call: Arc<dyn Promised<T>>) -> Self {
        Self { call: Some(call) }
    }

    /// Ends the call with [`CallError::TimedOut`] if it takes longer than this from when it begins. The server is told,
    /// and stops too. Of no effect once it has begun.
    pub fn within(self, duration: Duration) -> Self {
        if let Some(call) = &self.call
            && !call.core().is_begun()
        {
            call.core().set_within(duration);
        }
        self
    }

    /// Sends this along with the call, such as a trace id: `scope.meta()` in the server's handler. The server says how
    /// much it takes; with more the call fails. Of no effect once the call has begun.
    pub fn with_meta(self, meta: &[u8]) -> Self {
        if let Some(call) = &self.call
            && !call.core().is_begun()
        {
            call.set_meta(meta);
        }
        self
    }
}

/// Making it.
impl<T: Send + 'static> Pending<T> {
    /// Makes the call now; its answer is had later. If it is refused, that is its answer.
    pub fn start(self) -> Self {
        self.begin();
        self
    }

    /// For machines: the answer arrives as a message of this machine's own (`Msg::Got` is such a function), in order of
    /// completion. Its place in the inbox is reserved first, so it is never lost. Allocates once more.
    ///
    /// # Errors
    /// [`CallError::Unheard`] if there is no place for the answer, or the call is refused: it was not made then, and no
    /// message comes.
    pub fn then<H: Hears>(
        mut self,
        hearer: &H,
        f: impl FnOnce(Result<T, CallError>) -> H::Message + Send + 'static,
    ) -> Result<Call, CallError> {
        let Ok(permit) = hearer.notifier().reserve() else {
            self.give_up();
            return Err(CallError::Unheard);
        };
        self.done(move |result| permit.send(f(result)))
    }

    /// Gives the answer to this function: on the connection's thread, where it must not block, or here if the call was
    /// [started](Self::start) before and the answer is there already.
    ///
    /// # Errors
    /// If the call is refused: it was not made then, and the function is not called.
    pub fn done(
        mut self,
        f: impl FnOnce(Result<T, CallError>) + Send + 'static,
    ) -> Result<Call, CallError> {
        let Some(call) = self.call.take() else {
            return Err(HAD);
        };
        call.promise().hook(Box::new(f));
        let call: Arc<dyn ClientCall> = call;
        match call.begin() {
            Ok(()) => Ok(Call(Some(call))),
            Err(error) => {
                call.forget();
                // Who sends its items hears of it.
                call.fail(error.clone());
                Err(error)
            }
        }
    }

    /// For fibers, at the end of a chain: [`cx.call(self)`](crate::fiber::Cx::call).
    ///
    /// # Errors
    /// Those of `call`.
    #[cfg(feature = "fiber")]
    pub fn join<C: 'static, M: Send + 'static>(self, cx: &Cx<'_, C, M>) -> Result<T, CallError> {
        cx.call(self)
    }

    /// For threads: makes the call and waits for the answer, no longer than [`within`](Self::within) says, whatever
    /// becomes of the connection's thread meanwhile.
    ///
    /// # Errors
    /// The call's; [`CallError::OnLoopThread`] on a thread that runs a loop, whose machines would all stop: the call is
    /// not made then, or given up.
    pub fn wait(self) -> Result<T, CallError> {
        let within = self.call.as_ref().and_then(|call| call.core().within());
        wait::block_on(self, within).unwrap_or_else(Err)
    }

    /// The call is not made, or the server is told that it is given up.
    fn give_up(&mut self) {
        if let Some(call) = self.call.take() {
            let call: Arc<dyn ClientCall> = call;
            call.cancel();
        }
    }

    /// Makes the call, if that has not been done.
    fn begin(&self) {
        if let Some(call) = &self.call
            && !call.core().is_begun()
        {
            let call: Arc<dyn ClientCall> = call.clone();
            if let Err(error) = call.begin() {
                call.fail(error);
            }
        }
    }
}

/// What a call answers that was had before.
const HAD: CallError = CallError::Misuse("one use of an answer");

#[cfg(feature = "fiber")]
impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// Makes a call and waits for the answer, while the loop goes on with others: `cx.call(files.get(path))?`.
    ///
    /// # Errors
    /// The call's; [`CallError::TimedOut`] if the deadline of this `Cx` passes first, [`CallError::Cancelled`] if the
    /// fiber is asked to finish: then the call is given up.
    pub fn call<T: Send + 'static>(&self, pending: Pending<T>) -> Result<T, CallError> {
        self.block_on(pending)
            .unwrap_or_else(|error| Err(items::refusal(error)))
    }
}

impl<T: Send + 'static> Future for Pending<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begin();
        let Some(call) = &self.call else {
            return Poll::Ready(Err(HAD));
        };
        let answer = call.promise().poll(cx.waker());
        answer.map(|answer| {
            self.call = None;
            answer.unwrap_or(Err(HAD))
        })
    }
}

impl<T: Send + 'static> Drop for Pending<T> {
    fn drop(&mut self) {
        let is_begun = |call: &Arc<dyn Promised<T>>| call.core().is_begun();
        if self.call.as_ref().is_some_and(is_begun) {
            self.give_up();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_begun = self
            .call
            .as_ref()
            .is_some_and(|call| call.core().is_begun());
        write!(
            f,
            "Pending({})",
            if is_begun { "begun" } else { "not begun" }
        )
    }
}

/// A call that was made, and whose answer goes elsewhere. Dropping it gives the call up: nobody hears of it any more,
/// and the server is told.
#[must_use = "dropping this cancels the call; `detach` lets it run"]
pub struct Call(Option<Arc<dyn ClientCall>>);

impl Call {
    /// Lets the call run.
    pub fn detach(mut self) {
        self.0 = None;
    }

    /// Whether it was answered, or has failed.
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_none_or(|call| call.core().is_over())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.cancel();
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_over() { "Call(over)" } else { "Call" })
    }
}

/// Who can hear of an answer by a message: a machine, by its scope, a protocol, by its connection, or whoever a notifier
/// is of.
pub trait Hears {
    /// Its messages.
    type Message: Send + 'static;

    /// What they are sent with.
    fn notifier(&self) -> Notifier<Self::Message>;
}

impl<M: Machine> Hears for Scope<'_, M> {
    type Message = M::Message;

    fn notifier(&self) -> Notifier<M::Message> {
        Scope::notifier(self)
    }
}

impl<P: Protocol> Hears for Conn<'_, P> {
    type Message = P::Message;

    fn notifier(&self) -> Notifier<P::Message> {
        Conn::notifier(self)
    }
}

impl<T: Send + 'static> Hears for Notifier<T> {
    type Message = T;

    fn notifier(&self) -> Notifier<T> {
        self.clone()
    }
}
