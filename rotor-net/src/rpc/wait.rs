//! Waiting on a thread that runs no loop: a future is polled, and the thread sleeps until it is woken.
//!
//! A thread has one waker for all its waits, so waiting allocates nothing. They do not nest: what is polled here polls
//! nothing of the user's.

use super::CallError;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Waits for a future, this long at most.
///
/// # Errors
/// `TimedOut`; `OnLoopThread` on a thread that runs a loop, whose machines would all stop, and then it was not polled.
pub(super) fn block_on<F: Future>(
    future: F,
    within: Option<Duration>,
) -> Result<F::Output, CallError> {
    if rotor_fsm::is_loop_thread() {
        return Err(CallError::OnLoopThread);
    }
    let until = within.and_then(|within| Instant::now().checked_add(within));
    let bell = Bell::of_this_thread();
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if !bell.wait(until) {
            return Err(CallError::TimedOut);
        }
    }
}

struct Bell {
    is_rung: AtomicBool,
    thread: Thread,
}

thread_local! {
    static BELL: Arc<Bell> = Bell::new();
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            is_rung: AtomicBool::new(false),
            thread: thread::current(),
        })
    }

    fn of_this_thread() -> Arc<Self> {
        // While a thread ends it has none any more.
        BELL.try_with(Arc::clone).unwrap_or_else(|_| Self::new())
    }

    /// Sleeps until it is rung. False if it was not, in time.
    fn wait(&self, until: Option<Instant>) -> bool {
        while !self.is_rung.swap(false, Ordering::Acquire) {
            // Others may unpark the thread, too, for reasons of their own.
            match until {
                None => thread::park(),
                Some(until) => match until.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return false,
                },
            }
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
