//! Futures in fibers: `block_on`, whoever completes the future, and whatever happens meanwhile.

use super::*;
use rotor_net::fiber::FiberError;
use std::cell::Cell;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One end of a channel for one value, as any crate has it: nothing but the standard library's wakers.
struct Giver<T>(Arc<Mutex<Slot<T>>>);
struct Taker<T>(Arc<Mutex<Slot<T>>>);

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    polls: usize,
}

fn oneshot<T>() -> (Giver<T>, Taker<T>) {
    let slot = Arc::new(Mutex::new(Slot {
        value: None,
        waker: None,
        polls: 0,
    }));
    (Giver(slot.clone()), Taker(slot))
}

impl<T> Giver<T> {
    fn give(self, value: T) {
        let waker = {
            let mut slot = self.0.lock().unwrap();
            slot.value = Some(value);
            slot.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Wakes for nothing.
    fn tease(&self) {
        let waker = self.0.lock().unwrap().waker.clone();
        waker.into_iter().for_each(Waker::wake);
    }

    fn polls(&self) -> usize {
        self.0.lock().unwrap().polls
    }

    /// The taker is gone.
    fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Future for Taker<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock().unwrap();
        slot.polls += 1;
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[test]
fn what_is_ready_is_had_without_waiting() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("first", move |cx| {
        for n in 0..3 {
            assert_eq!(cx.block_on(ready(n)), Ok(n));
        }
        assert_eq!(cx.block_on(async { ready("a").await.len() }), Ok(1));
        // Also where nothing can be waited for.
        assert_eq!(cx.with_context(|()| cx.block_on(ready(7)))?, Ok(7));
        assert_eq!(cx.within(Duration::ZERO).block_on(ready(8)), Ok(8));
        cx.cancel(cx.id()?)?;
        cx.carry_on();
        noted.note("all of the first");
        Ok(())
    });
    let noted = notes.clone();
    world.spawn("second", move |_| {
        noted.note("the second");
        Ok(())
    });
    world.run(ms(10));
    // It never let the other run.
    assert_eq!(notes.take(), ["all of the first", "the second"]);
}

#[test]
fn another_fiber_completes_it_and_others_run_meanwhile() {
    let mut world = World::new(true);
    let (giver, taker) = oneshot();
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("taker", move |cx| {
        let taken = cx.block_on(taker)?;
        noted.note(format!(
            "taken {taken} at {:?}",
            cx.now()?.since(Time::ZERO) >= ms(20)
        ));
        Ok(())
    });
    let noted = notes.clone();
    world.spawn("giver", move |cx| {
        cx.sleep(ms(20))?;
        noted.note("gives");
        giver.give(5);
        noted.note("goes on");
        Ok(())
    });
    world.run(ms(100));
    assert_eq!(notes.take(), ["gives", "goes on", "taken 5 at true"]);
    assert_eq!(world.ends(), ["done", "done"]);
}

/// The loop sleeps; the thread's wake is all that rouses it.
#[test]
fn another_thread_completes_it() {
    run_for_real((), |cx| {
        for n in 0..100 {
            let (giver, taker) = oneshot();
            let thread = std::thread::spawn(move || {
                if n % 2 == 0 {
                    std::thread::sleep(ms(1));
                }
                giver.give(n);
            });
            assert_eq!(cx.within(PATIENCE).block_on(taker)?, n);
            thread.join().unwrap();
        }
        Ok(())
    });
}

#[test]
fn the_deadline_ends_the_call_and_drops_the_future() {
    let mut world = World::new(true);
    world.spawn("tester", |cx| {
        for _ in 0..3 {
            let (giver, taker) = oneshot::<()>();
            let before = cx.now()?;
            let outcome = cx.within(ms(50)).block_on(taker);
            assert_eq!(outcome, Err(FiberError::TimedOut));
            let took = cx.now()?.since(before);
            assert!(took >= ms(50) && took <= ms(52), "{took:?}");
            assert!(giver.is_alone());
            giver.give(());
            // It is the call that is over, not the fiber; a late wake disturbs nothing.
            let before = cx.now()?;
            cx.sleep(ms(10))?;
            assert!(cx.now()?.since(before) >= ms(10), "woken out of its sleep");
            let (giver, taker) = oneshot();
            giver.give(1);
            assert_eq!(cx.block_on(taker), Ok(1));
        }
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!(world.ends(), ["done"]);
}

/// Spurious wakes only poll again: not sooner, not later, and neither end the call nor move its deadline.
#[test]
fn a_wake_for_nothing_polls_once_more() {
    let mut world = World::new(true);
    let (giver, taker) = oneshot::<u32>();
    let giver = Rc::new(giver);
    world.spawn("taker", |cx| {
        let before = cx.now()?;
        assert_eq!(cx.within(ms(50)).block_on(taker), Err(FiberError::TimedOut));
        let took = cx.now()?.since(before);
        assert!(took >= ms(50) && took <= ms(52), "{took:?}");
        Ok(())
    });
    let teasing = giver.clone();
    world.spawn("teaser", move |cx| {
        for n in 1..=5 {
            cx.sleep(ms(5))?;
            assert_eq!(teasing.polls(), n);
            // Three wakes are one.
            (0..3).for_each(|_| teasing.tease());
            assert_eq!(teasing.polls(), n, "polled within the wake");
        }
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!(world.ends(), ["done", "done"]);
    assert_eq!(giver.polls(), 6);
}

#[test]
fn who_is_cancelled_gets_the_named_error_and_the_future_is_dropped() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    let id = Rc::new(Cell::new(None));
    let told = id.clone();
    world.spawn("waiter", move |cx| {
        told.set(Some(cx.id()?));
        let dropped = NotesDrop(noted.clone(), "the future");
        let never = async move {
            let _dropped = &dropped;
            std::future::pending::<()>().await;
        };
        assert_eq!(cx.block_on(never), Err(FiberError::Cancelled));
        noted.note("cancelled");
        // From then on nothing is waited for, but what is ready is had.
        let (_giver, taker) = oneshot::<()>();
        assert_eq!(cx.block_on(taker), Err(FiberError::Cancelled));
        assert_eq!(cx.block_on(ready(3)), Ok(3));
        assert!(cx.carry_on());
        let (giver, taker) = oneshot();
        cx.spawn(cx.stacks().fiber("giver", move |cx| {
            cx.sleep(ms(5))?;
            giver.give(4);
            Ok(())
        })?)?;
        assert_eq!(cx.block_on(taker), Ok(4));
        Ok(())
    });
    world.run(ms(10));
    world.spawn("other", move |cx| Ok(cx.cancel(id.get().unwrap())?));
    world.run(ms(100));
    assert_eq!(notes.take(), ["dropped the future", "cancelled"]);
    assert_eq!(world.ends(), ["done", "done", "done"]);
}

/// The machine is dropped while its fiber waits: the future goes with the stack, and its wakers are harmless.
#[test]
fn a_fiber_that_is_unwound_drops_its_future() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    let (giver, taker) = oneshot::<u32>();
    world.spawn("waiter", move |cx| {
        let dropped = NotesDrop(noted.clone(), "the future");
        let result = cx.block_on(async {
            let _dropped = dropped;
            taker.await
        });
        noted.note(format!("went on with {result:?}"));
        Ok(())
    });
    world.run(ms(10));
    let on = world.on.clone();
    world.sim.close_loop(&on);
    assert_eq!(notes.take(), ["dropped the future"]);
    assert!(giver.is_alone());
    giver.tease();
    giver.give(1);
    assert_eq!(world.stacks.stats().in_use, 0);
}

/// Waits in a destructor while the stack unwinds.
struct WaitsInDrop<'a>(&'a Plainly<'a>, Notes);

impl Drop for WaitsInDrop<'_> {
    fn drop(&mut self) {
        let (_giver, taker) = oneshot::<()>();
        self.1.note(format!("{:?}", self.0.block_on(taker)));
        self.1.note(format!("{:?}", self.0.block_on(ready(1))));
    }
}

#[test]
fn misuse_is_a_named_error() {
    let mut world = World::new(false);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("tester", move |cx| {
        // First without a waker, then with one.
        for _ in 0..2 {
            let (giver, taker) = oneshot::<()>();
            let outcome = cx.with_context(|()| cx.block_on(taker))?;
            assert_eq!(outcome, Err(FiberError::InContext));
            assert!(giver.is_alone());
            cx.within(ms(5)).block_on(oneshot::<()>().1).unwrap_err();
        }
        let _waits = WaitsInDrop(cx, noted.clone());
        panic!("on purpose");
    });
    world.run(ms(100));
    assert_eq!(notes.take(), ["Err(Unwinding)", "Ok(1)"]);
    assert_eq!(world.ends(), ["panicked: on purpose"]);
    let noted = notes.clone();
    world.spawn("unwound", move |cx| {
        let _waits = WaitsInDrop(cx, noted.clone());
        cx.sleep(ms(5000))?;
        Ok(())
    });
    world.run(ms(10));
    let on = world.on.clone();
    world.sim.close_loop(&on);
    assert_eq!(notes.take(), ["Err(Unwinding)", "Ok(1)"]);
}

/// A future that waits in the fiber's own way inside its `poll`, while its wake comes: it is polled once more.
#[test]
fn a_wake_during_a_poll_that_waits_is_not_lost() {
    let mut world = World::new(true);
    let (giver, mut taker) = oneshot();
    world.spawn("taker", move |cx| {
        let mut slept = false;
        let sleeper = poll_fn(|context| {
            let polled = Pin::new(&mut taker).poll(context);
            if !std::mem::replace(&mut slept, true) {
                assert!(polled.is_pending());
                cx.sleep(ms(50)).unwrap();
                return Poll::Pending;
            }
            polled
        });
        assert_eq!(cx.within(ms(500)).block_on(sleeper), Ok(6));
        Ok(())
    });
    world.spawn("giver", move |cx| {
        cx.sleep(ms(10))?;
        giver.give(6);
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!(world.ends(), ["done", "done"]);
}

/// One inside the other: the inner call must not swallow the outer one's wake.
#[test]
fn a_wake_of_the_outer_future_during_an_inner_call_is_not_lost() {
    let mut world = World::new(true);
    let (outer_giver, mut outer) = oneshot();
    let (inner_giver, inner) = oneshot();
    world.spawn("taker", move |cx| {
        let mut inner = Some(inner);
        let nested = poll_fn(|context| {
            let polled = Pin::new(&mut outer).poll(context);
            if let Some(inner) = inner.take() {
                assert!(polled.is_pending());
                assert_eq!(cx.block_on(inner), Ok(2));
                return Poll::Pending;
            }
            polled
        });
        assert_eq!(cx.within(ms(500)).block_on(nested), Ok(1));
        Ok(())
    });
    world.spawn("giver", move |cx| {
        cx.sleep(ms(10))?;
        outer_giver.give(1);
        cx.sleep(ms(10))?;
        inner_giver.give(2);
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!(world.ends(), ["done", "done"]);
}

/// One that wakes itself has a turn of the loop between its polls: others run, and nothing recurses.
#[test]
fn a_future_that_wakes_itself_does_not_stop_the_loop() {
    let mut world = World::new(true);
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    world.spawn("busy", move |cx| {
        let busy = poll_fn(|context| {
            counted.set(counted.get() + 1);
            context.waker().wake_by_ref();
            match counted.get() {
                1000.. => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        Ok(cx.block_on(busy)?)
    });
    let seen = polls.clone();
    world.spawn("other", move |cx| {
        let mut before = seen.get();
        for _ in 0..100 {
            cx.yield_now()?;
            assert!(seen.get() <= before + 1, "twice in a turn");
            before = seen.get();
        }
        assert!(before >= 99, "{before} polls in 100 turns");
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!((polls.get(), world.ends().len()), (1000, 2));
}

/// Messages that come meanwhile wait, and wakes that come while a message is waited for disturb nothing.
#[test]
fn messages_and_futures_do_not_disturb_each_other() {
    let mut world = World::new(true);
    let (giver, taker) = oneshot();
    let fiber = world.spawn("tester", move |cx| {
        assert_eq!(cx.block_on(taker)?, 3);
        assert_eq!((cx.recv()?, cx.recv()?), (1, 2));
        let (giver, taker) = oneshot::<()>();
        assert!(cx.within(ms(5)).block_on(taker).is_err());
        // The same waker as that of the call that is over.
        let (teaser, teased) = oneshot::<()>();
        assert!(cx.within(ms(5)).block_on(teased).is_err());
        teaser.tease();
        giver.give(());
        assert_eq!(cx.within(ms(50)).recv(), Err(FiberError::TimedOut));
        Ok(())
    });
    fiber.send(1).unwrap();
    world.run(ms(5));
    fiber.send(2).unwrap();
    world.run(ms(5));
    giver.give(3);
    world.run(ms(1000));
    assert_eq!(world.ends(), ["done"]);
}

/// The waker is made once. (That nothing else is allocated is for `allocations` to see.)
#[test]
fn r12_futures_of_a_fiber_share_one_waker() {
    let mut world = World::new(true);
    world.spawn("tester", |cx| {
        let mut first: Option<Waker> = None;
        for _ in 0..10 {
            let waker = cx.block_on(poll_fn(|context| Poll::Ready(context.waker().clone())))?;
            assert!(first.get_or_insert_with(|| waker.clone()).will_wake(&waker));
        }
        Ok(())
    });
    world.run(ms(10));
    assert_eq!(world.ends(), ["done"]);
}
