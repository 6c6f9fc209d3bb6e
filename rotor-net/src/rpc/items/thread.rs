//! Waiting on a thread that runs no loop: a future is polled, and the thread sleeps until it is woken.

use crate::rpc::CallError;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Waits for the future. Allocates once.
///
/// # Errors
/// [`CallError::OnLoopThread`] on a thread that runs a loop, whose machines would all stop; the future is not polled.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, CallError> {
    if rotor_fsm::is_loop_thread() {
        return Err(CallError::OnLoopThread);
    }
    let bell = Arc::new(Bell {
        rung: AtomicBool::new(false),
        thread: thread::current(),
    });
    let waker = Waker::from(bell.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        // Others may unpark the thread, too, for reasons of their own.
        while !bell.rung.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
