//! Items in a fiber: what waits suspends it.

use super::{ItemReceiver, ItemSender, SendItemError};
use crate::fiber::{Cx, FiberError};
use crate::rpc::CallError;

impl<T> ItemSender<T> {
    /// Sends an item, and suspends the fiber while there is no credit.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`NoCredit`](SendItemError::NoCredit) if none came before the deadline of this `Cx`;
    /// [`Refused`](SendItemError::Refused) with [`CallError::Cancelled`] if the fiber was asked to finish, and with
    /// [`CallError::Misuse`] where it cannot wait.
    pub fn send_in<C: 'static, M: Send + 'static>(
        &mut self,
        cx: &Cx<'_, C, M>,
        mut item: T,
    ) -> Result<(), SendItemError<T>> {
        loop {
            match self.send(item) {
                Err(SendItemError::NoCredit(back)) => item = back,
                other => return other,
            }
            match cx.block_on(self.ready()) {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err(SendItemError::Ended(why)),
                Err(FiberError::TimedOut) => return Err(SendItemError::NoCredit(item)),
                Err(error) => return Err(SendItemError::Refused(refusal(error))),
            }
        }
    }
}

impl<T> ItemReceiver<T> {
    /// Waits for the next item, which suspends the fiber.
    ///
    /// # Errors
    /// Those of the stream. And these, after which the stream is as before: [`CallError::TimedOut`] if nothing came before
    /// the deadline of this `Cx`, [`CallError::Cancelled`] if the fiber was asked to finish, [`CallError::Misuse`]
    /// where it cannot wait.
    pub fn next_in<C: 'static, M: Send + 'static>(
        &mut self,
        cx: &Cx<'_, C, M>,
    ) -> Option<Result<T, CallError>> {
        cx.block_on(self.next())
            .unwrap_or_else(|error| Some(Err(refusal(error))))
    }
}

/// What a caller in a fiber gets where the fiber could not wait.
pub(crate) fn refusal(error: FiberError) -> CallError {
    match error {
        FiberError::TimedOut => CallError::TimedOut,
        FiberError::Cancelled => CallError::Cancelled,
        FiberError::InContext => CallError::Misuse("a wait outside of `with_context`"),
        _ => CallError::Misuse("a wait in a fiber that can wait"),
    }
}
