//! Waiting for items on a thread that runs no loop.

use crate::rpc::{CallError, wait};

/// Waits for the future.
///
/// # Errors
/// [`CallError::OnLoopThread`] on a thread that runs a loop, whose machines would all stop; the future is not polled.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, CallError> {
    wait::block_on(future, None)
}
