//! Waiting for a call on a thread that runs no loop. A thread has one waker for all its waits, so waiting allocates
//! nothing.

use crate::rpc::CallError;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Waits for a call, this long at most.
///
/// # Errors
/// The call's; `TimedOut`, and then the call is dropped; `OnLoopThread`, and then it was not polled.
pub(crate) fn wait<T>(
    call: impl Future<Output = Result<T, CallError>>,
    within: Option<Duration>,
) -> Result<T, CallError> {
    if rotor_fsm::is_loop_thread() {
        return Err(CallError::OnLoopThread);
    }
    let until = within.and_then(|within| Instant::now().checked_add(within));
    let bell = Bell::of_this_thread();
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    let mut call = pin!(call);
    loop {
        if let Poll::Ready(result) = call.as_mut().poll(&mut context) {
            return result;
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
