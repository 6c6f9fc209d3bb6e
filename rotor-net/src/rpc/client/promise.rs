//! `Promise`: where the answer of a call is put, once, by the connection's thread, and had by whoever waits for it.
//!
//! Invariants: an answer is given to exactly one of them, the one who polls or the function that was set, or dropped
//! where nobody wants it any more; whoever waits when the answer is put is woken. Nothing of anyone else's runs under
//! the lock: no waker, no function, no drop.

use crate::rpc::CallError;
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};

/// What becomes of an answer that nobody polls for.
pub(crate) type Hook<T> = Box<dyn FnOnce(Result<T, CallError>) + Send>;

/// The answer of a call, to come.
pub(crate) struct Promise<T>(Mutex<State<T>>);

enum State<T> {
    /// It has not come.
    Open(Listener<T>),
    /// It has, and waits.
    Kept(Result<T, CallError>),
    /// It was had, or is not wanted.
    Over,
}

enum Listener<T> {
    Nobody,
    Waker(Waker),
    Hook(Hook<T>),
}

impl<T> Promise<T> {
    pub fn new() -> Self {
        Self(Mutex::new(State::Open(Listener::Nobody)))
    }

    /// Puts the answer. Only the first counts.
    pub fn settle(&self, result: Result<T, CallError>) {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Open(Listener::Hook(hook)) => {
                drop(state);
                hook(result);
            }
            State::Open(listener) => {
                *state = State::Kept(result);
                drop(state);
                if let Listener::Waker(waker) = listener {
                    waker.wake();
                }
            }
            before => {
                *state = before;
                drop(state);
            }
        }
    }

    /// The answer, if it is there; otherwise this waker is woken when it is, and no other. `None` if it was had before.
    pub fn poll(&self, waker: &Waker) -> Poll<Option<Result<T, CallError>>> {
        if let Some(ready) = self.try_take(|listener| match listener {
            Listener::Waker(before) => before.will_wake(waker),
            _ => false,
        }) {
            return ready;
        }
        let mut new = Listener::Waker(waker.clone());
        // What was there before is dropped after the lock is given back.
        let ready = self.try_take(|listener| {
            std::mem::swap(listener, &mut new);
            true
        });
        drop(new);
        ready.unwrap_or(Poll::Pending)
    }

    /// `None` if it is not there and `is_heard` says that the listener will not do.
    fn try_take(
        &self,
        is_heard: impl FnOnce(&mut Listener<T>) -> bool,
    ) -> Option<Poll<Option<Result<T, CallError>>>> {
        let mut state = self.lock();
        match &mut *state {
            State::Open(listener) => is_heard(listener).then_some(Poll::Pending),
            _ => match std::mem::replace(&mut *state, State::Over) {
                State::Kept(result) => Some(Poll::Ready(Some(result))),
                _ => Some(Poll::Ready(None)),
            },
        }
    }

    /// Gives the answer to this function, on the thread that puts it, or here if it is there already.
    pub fn hook(&self, hook: Hook<T>) {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Kept(result) => {
                drop(state);
                hook(result);
            }
            State::Open(before) => {
                *state = State::Open(Listener::Hook(hook));
                drop(state);
                drop(before);
            }
            State::Over => {
                drop(state);
                drop(hook);
            }
        }
    }

    /// The answer is not wanted any more.
    pub fn give_up(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Over);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No user code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_first_answer_counts_and_is_had_once() {
        let promise = Promise::new();
        promise.settle(Ok(1));
        promise.settle(Ok(2));
        let waker = Waker::noop();
        assert_eq!(promise.poll(waker), Poll::Ready(Some(Ok(1))));
        assert_eq!(promise.poll(waker), Poll::Ready(None));
        promise.settle(Ok(3));
        assert_eq!(promise.poll(waker), Poll::Ready(None));
    }

    #[test]
    fn who_polled_last_is_woken_once() {
        let promise = Promise::<u32>::new();
        let (first, last) = (Arc::<Counting>::default(), Arc::<Counting>::default());
        for counting in [&first, &last, &last] {
            assert_eq!(promise.poll(&counting.clone().into()), Poll::Pending);
        }
        promise.settle(Err(CallError::Unknown));
        promise.settle(Ok(1));
        let woken = |counting: &Counting| counting.0.load(Ordering::SeqCst);
        assert_eq!((woken(&first), woken(&last)), (0, 1));
    }

    #[test]
    fn a_function_gets_the_answer_whether_it_came_before_or_after() {
        for is_early in [false, true] {
            let promise = Promise::new();
            let got = Arc::new(AtomicUsize::new(0));
            let place = got.clone();
            if is_early {
                promise.settle(Ok(7));
            }
            promise.hook(Box::new(move |result| {
                place.fetch_add(result.unwrap(), Ordering::SeqCst);
            }));
            promise.settle(Ok(7));
            assert_eq!(got.load(Ordering::SeqCst), 7);
        }
    }

    #[test]
    fn what_is_not_wanted_is_dropped() {
        let held = Arc::new(());
        let promise = Promise::new();
        promise.settle(Ok(held.clone()));
        promise.give_up();
        assert_eq!(Arc::strong_count(&held), 1);
        let promise = Promise::new();
        let in_hook = held.clone();
        promise.hook(Box::new(move |_| drop(in_hook)));
        promise.give_up();
        assert_eq!(Arc::strong_count(&held), 1);
        promise.settle(Ok(held.clone()));
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;
    use std::task::Wake;

    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn loom_an_answer_is_seen_or_wakes_who_polled() {
        loom::model(|| {
            let promise = loom::sync::Arc::new(Promise::<u32>::new());
            let settler = promise.clone();
            let counting = Arc::new(Counting(AtomicUsize::new(0)));
            let waker = Waker::from(counting.clone());
            let thread = loom::thread::spawn(move || settler.settle(Ok(7)));
            let polled = promise.poll(&waker);
            thread.join().unwrap();
            let woken = counting.0.load(Ordering::SeqCst);
            match polled {
                Poll::Ready(answer) => assert_eq!((answer, woken), (Some(Ok(7)), 0)),
                Poll::Pending => {
                    assert_eq!(woken, 1);
                    assert_eq!(promise.poll(&waker), Poll::Ready(Some(Ok(7))));
                }
            }
        });
    }

    #[test]
    fn loom_an_answer_goes_to_a_function_or_nowhere_and_only_the_first_does() {
        loom::model(|| {
            let promise = loom::sync::Arc::new(Promise::<u32>::new());
            let got = loom::sync::Arc::new(AtomicUsize::new(0));
            let place = got.clone();
            promise.hook(Box::new(move |result| {
                place.fetch_add(result.unwrap_or(100) as usize, Ordering::SeqCst);
            }));
            let settler = promise.clone();
            let thread = loom::thread::spawn(move || settler.settle(Ok(1)));
            let other = promise.clone();
            let failing = loom::thread::spawn(move || other.settle(Err(CallError::TimedOut)));
            promise.give_up();
            let at_most = got.load(Ordering::SeqCst);
            thread.join().unwrap();
            failing.join().unwrap();
            let got = got.load(Ordering::SeqCst);
            assert!([0, 1, 100].contains(&got) && [0, got].contains(&at_most));
        });
    }
}
