//! Futures in fibers: `Cx::block_on` polls one on the fiber's own stack, and suspends the fiber while it is pending.
//!
//! The waker that futures get is the machine's own ([`rotor_fsm::Waker`]): using it, from whatever thread, is an event,
//! and the event resumes the fiber. All futures of a fiber share it, so each may be polled for another's wake, which is
//! harmless. The other way round nothing may be lost: a wake that comes while a future is being polled, because its
//! `poll` waits for something in the fiber's own way, has it polled once more.

use super::Cx;
use super::error::FiberError;
use super::state::Wait;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// Waits for a future: polls it here, on the fiber's stack, and again whenever it has woken the fiber. The loop goes
    /// on with others meanwhile. The first call of a fiber allocates its waker, later ones nothing.
    ///
    /// Good for futures that need no executor of a certain kind: channels, locks, whatever another thread completes. One
    /// that needs tokio's reactor or timer panics or fails here as it does outside of tokio; await it in a runtime on
    /// another thread, and the answer here. It need not be `Send`, lives on the fiber's stack, and its `poll` must not
    /// block.
    ///
    /// A future that is ready at once is had without waiting, so also where the fiber was asked to finish, inside of
    /// [`with_context`](Self::with_context), and when the deadline has passed. If the call is over before the future
    /// is, the future is dropped.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, and the misuses.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, FiberError> {
        let core = self.core();
        let mut future = pin!(future);
        // Without a waker the fiber cannot wait either, so nobody will miss it.
        let waker = self.task_waker().unwrap_or(Waker::noop());
        let mut context = Context::from_waker(waker);
        loop {
            let wakes = core.wakes.get();
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            if wakes == core.wakes.get() {
                core.wait_for(Wait::Woken, self.until)?;
            }
        }
    }

    fn task_waker(&self) -> Result<&Waker, FiberError> {
        let place = &self.core().waker;
        match place.get() {
            Some(waker) => Ok(waker),
            None => {
                let waker = self.scope(|scope| scope.waker())?;
                Ok(place.get_or_init(|| waker.into()))
            }
        }
    }
}
