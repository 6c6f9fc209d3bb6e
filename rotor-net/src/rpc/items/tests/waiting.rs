//! Waiting for items and for credit: threads, fibers, machines.

use super::super::super::error::CallError;
use super::super::super::frame::Kind;
use super::super::{Inflow, Outflow, SendItemError, Side};
use super::testing::*;
use crate::fiber;
use crate::rpc::wait::block_on;
use rotor_fsm::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// What a test may take that waits for something.
const BOUND: Duration = Duration::from_secs(60);

/// Runs a test that waits; if it waits too long, it has failed.
fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let testing = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match is_done.recv_timeout(BOUND) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("waited for too long"),
        _ => testing.join().unwrap(),
    }
}

/// Carries frames between two tapes' flows until the end has passed.
fn carry(there: &Tape, back: &Tape, inflow: &Inflow, outflow: &Outflow) {
    loop {
        if let Some((header, body)) = there.next() {
            match header.kind {
                Kind::Item => inflow.push(&body).unwrap(),
                _ => return inflow.end(Ok(())),
            }
        }
        back.credits()
            .into_iter()
            .for_each(|bytes| outflow.credit(bytes));
        thread::yield_now();
    }
}

/// A window of two items or so, so that both sides wait all the time.
#[test]
fn threads_wait_for_each_other() {
    bounded(|| {
        const ITEMS: u32 = 2000;
        let (there, back) = (Tape::new(), Tape::new());
        let (outflow, mut sender) = sender(Side::Server);
        let (inflow, mut receiver) = receiver(50, Side::Server);
        open_in(&inflow, &back);
        let sending = thread::spawn(move || {
            for n in 0..ITEMS {
                sender.send_blocking(n.to_le_bytes().to_vec()).unwrap();
            }
            sender.end().unwrap();
        });
        let receiving = thread::spawn(move || {
            let items = std::iter::from_fn(|| receiver.next_blocking());
            let got: Result<Vec<_>, _> = items.collect();
            let want: Vec<_> = (0..ITEMS).map(|n| n.to_le_bytes().to_vec()).collect();
            assert_eq!(got.unwrap(), want);
        });
        open_out(&outflow, &there, 50);
        carry(&there, &back, &inflow, &outflow);
        sending.join().unwrap();
        receiving.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_is_told_of_the_end() {
    bounded(|| {
        let (outflow, mut sender) = sender(Side::Server);
        let (inflow, mut receiver) = receiver(50, Side::Server);
        let ending = thread::spawn(move || {
            outflow.close(CallError::TimedOut);
            inflow.end(Err(CallError::TimedOut));
        });
        let ended = SendItemError::Ended(CallError::TimedOut);
        assert_eq!(sender.send_blocking(vec![1]), Err(ended));
        assert_eq!(receiver.next_blocking(), Some(Err(CallError::TimedOut)));
        assert_eq!(receiver.next_blocking(), None);
        ending.join().unwrap();
    });
}

/// Somebody else's unpark is not what was waited for.
#[test]
fn a_thread_polls_again_only_when_woken() {
    bounded(|| {
        let done = Arc::new(AtomicBool::new(false));
        let mut polls = 0;
        let (me, set) = (thread::current(), done.clone());
        let others = thread::spawn(move || {
            for _ in 0..20 {
                me.unpark();
                thread::yield_now();
            }
            set.store(true, Ordering::Release);
        });
        let mut helper = None;
        let until_done = std::future::poll_fn(|cx| {
            polls += 1;
            if done.load(Ordering::Acquire) {
                return Poll::Ready(polls);
            }
            let (waker, done) = (cx.waker().clone(), done.clone());
            helper = Some(thread::spawn(move || {
                while !done.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                waker.wake();
            }));
            Poll::Pending
        });
        let polled = block_on(until_done, None);
        assert!((1..=2).contains(&polled.unwrap()));
        others.join().unwrap();
        if let Some(helper) = helper {
            helper.join().unwrap();
        }
    });
}

#[test]
fn a_loops_thread_does_not_wait() {
    bounded(|| {
        fiber::run((), "fiber", |_| {
            let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
            let (inflow, mut receiver) = receiver(50, Side::Server);
            open_out(&outflow, &line, 50);
            open_in(&inflow, &line);
            inflow.push(&encoded(&[1])).unwrap();
            // Not even where it need not: one hears of the misuse at once, rather than under load.
            let refused = SendItemError::Refused(CallError::OnLoopThread);
            assert_eq!(sender.send_blocking(vec![1]), Err(refused));
            let refused = Some(Err(CallError::OnLoopThread));
            assert_eq!(receiver.next_blocking(), refused);
            assert_eq!(receiver.try_next(), Poll::Ready(Some(Ok(vec![1]))));
            sender.send(vec![1]).unwrap();
            sender.end()?;
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn fibers_wait_for_each_other() {
    bounded(|| {
        let (there, back) = (Tape::new(), Tape::new());
        let (outflow, mut sender) = sender(Side::Server);
        let (inflow, mut receiver) = receiver(50, Side::Server);
        open_in(&inflow, &back);
        let carrying = thread::spawn(move || {
            open_out(&outflow, &there, 50);
            carry(&there, &back, &inflow, &outflow);
        });
        fiber::run((), "receiver", move |cx| {
            let body = move |cx: &fiber::Cx<()>| {
                for n in 0..100 {
                    sender.send_in(cx, vec![n])?;
                }
                Ok(sender.end()?)
            };
            cx.spawn(cx.stacks().fiber("sender", body)?)?;
            for n in 0..100 {
                assert_eq!(receiver.next_in(cx), Some(Ok(vec![n])));
            }
            assert_eq!(receiver.next_in(cx), None);
            Ok(())
        })
        .unwrap();
        carrying.join().unwrap();
    });
}

#[test]
fn a_fiber_that_stops_waiting_leaves_the_streams_as_they_were() {
    bounded(|| {
        fiber::run((), "fiber", |cx| {
            let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
            let (inflow, mut receiver) = receiver(50, Side::Server);
            let soon = cx.within(Duration::from_millis(1));
            let no_credit = SendItemError::NoCredit(vec![1]);
            assert_eq!(sender.send_in(&soon, vec![1]), Err(no_credit));
            let timed_out = Some(Err(CallError::TimedOut));
            assert_eq!(receiver.next_in(&soon), timed_out);
            cx.with_context(|_| {
                let misused = receiver.next_in(cx);
                assert!(matches!(misused, Some(Err(CallError::Misuse(_)))));
            })?;
            cx.cancel(cx.id()?)?;
            let cancelled = Some(Err(CallError::Cancelled));
            assert_eq!(receiver.next_in(cx), cancelled);
            let refused = SendItemError::Refused(CallError::Cancelled);
            assert_eq!(sender.send_in(cx, vec![1]), Err(refused));

            open_out(&outflow, &line, 50);
            open_in(&inflow, &line);
            inflow.push(&encoded(&[1])).unwrap();
            assert_eq!(receiver.next_in(cx), Some(Ok(vec![1])));
            sender.send_in(cx, vec![1])?;
            sender.end()?;
            Ok(())
        })
        .unwrap();
    });
}

/// Receives on its loop what another thread pushes.
struct Listener(super::super::ItemReceiver<Vec<u8>>, Vec<u8>);

impl Machine for Listener {
    type Context = Vec<u8>;
    type Message = Never;
    type Seed = super::super::ItemReceiver<Vec<u8>>;

    fn create(mut items: Self::Seed, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        items.wake_when_ready(scope.waker());
        Ok(Response::of(Self(items, Vec::new())).after(BOUND))
    }

    fn io(mut self, io: Io<'_>, _: HandleId, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        assert!(matches!(io, Io::Woken));
        loop {
            match self.0.try_next() {
                Poll::Ready(Some(item)) => self.1.extend(item?),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    self.0.wake_when_ready(scope.waker());
                    return Ok(Response::of(self));
                }
            }
        }
        assert_eq!(&self.1, scope.ctx);
        Ok(Response::done())
    }
}

#[test]
fn a_machine_is_woken_for_its_items() {
    bounded(|| {
        let (inflow, receiver) = receiver(1 << 20, Side::Server);
        open_in(&inflow, &Tape::new());
        let pushing = thread::spawn(move || {
            for n in 0..100 {
                inflow.push(&encoded(&[n])).unwrap();
                if n % 10 == 0 {
                    thread::yield_now();
                }
            }
            inflow.end(Ok(()));
        });
        rotor_fsm::run::<Listener>((0..100).collect(), receiver).unwrap();
        pushing.join().unwrap();
    });
}
