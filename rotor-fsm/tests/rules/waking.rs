//! R4, R2 and R16 for wakes: events without a message, coalesced, in a lane of their own.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{SendError, Verdict, Waker};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};

const fn shared<T: Send + Sync + Clone>() {}
const _: () = shared::<Waker>();

/// Notes its name whenever it is woken; ends when it has been so many times.
fn woken(name: &'static str, times: u32) -> Script<Vec<String>, u32> {
    let mut left = times;
    act(move |on, scope: &mut NotingScope<'_>| match on {
        On::Io(Io::Woken, handle) => {
            assert_eq!(handle, HandleId::NONE);
            scope.ctx.push(name.into());
            left -= 1;
            if left == 0 { done() } else { stay() }
        }
        On::Create => stay(),
        other => panic!("{other:?}"),
    })
}

/// Wakes before the event are one; one during it is another, in a later turn, and not inside the first.
#[test]
fn r4_wakes_are_one_event_and_a_wake_meanwhile_another() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let (mut waker, mut depth, mut events) = (None, 0, 0);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            assert_eq!(depth, 0, "told inside a handler");
            depth += 1;
            let waker: &Waker = waker.get_or_insert_with(|| scope.waker());
            assert_eq!(waker.id(), scope.id());
            if let On::Io(io, handle) = &on {
                assert!(matches!(io, Io::Woken) && *handle == HandleId::NONE);
                events += 1;
                scope.ctx.push(format!("event {events}"));
            }
            if events < 2 {
                for _ in 0..5 {
                    waker.wake();
                    waker.clone().wake();
                }
            }
            depth -= 1;
            match on {
                On::Timeout => done(),
                _ => after(ms(5)),
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["event 1", "event 2"]);
    assert_eq!(main_loop.stats().woken, 2);
    let counts = main_loop.handle().messages();
    assert_eq!((counts.delivered, counts.wakes), (0, 0));
}

/// A waker is what is coalesced, not its machine: who has two of them knows why.
#[test]
fn r4_each_waker_makes_an_event_of_its_own() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut wakers = Vec::new();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                wakers.extend([scope.waker(), scope.waker()]);
                wakers.iter().chain(&wakers).for_each(Waker::wake);
                after(ms(5))
            }
            On::Io(Io::Woken, _) => {
                scope.ctx.push("woken".into());
                stay()
            }
            _ => done(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["woken"; 2]);
}

/// A machine without an `io` handler.
struct Deaf;

impl Machine for Deaf {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create((): (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.waker().wake();
        Ok(Response::of(Deaf))
    }
}

#[test]
fn a_machine_that_does_not_expect_to_be_woken_ends_with_a_named_error() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = Loop::<Deaf>::new(config, |_| Ok(())).unwrap();
    main_loop.spawn::<Deaf>(()).unwrap();
    main_loop.run().unwrap();
    let expected = "failed: an I/O event came, but this machine has no `io` handler";
    assert_eq!(reasons(&ends), [expected]);
}

/// As a message would: `create` runs first, of that seed and of those before it, even if one of them panics.
#[test]
fn r3_a_wake_that_reaches_a_seed_has_it_created_first() {
    let _dog = watchdog();
    let config = Config {
        creates_per_turn: 1,
        ..Config::default()
    };
    let mut main_loop = noting_on(config);
    main_loop
        .spawn::<Noting>(act(move |_, scope: &mut NotingScope<'_>| {
            let newborn = |name: &'static str| {
                let mut script = woken(name, 1);
                act(move |on, scope: &mut NotingScope<'_>| {
                    if let On::Create = on {
                        scope.ctx.push(format!("create {name}"));
                        assert_ne!(name, "panics");
                    }
                    script(on, scope)
                })
            };
            let [a, _, b] = ["a", "panics", "b"].map(|name| scope.spawn(newborn(name)));
            scope.waker_of(b?).wake();
            scope.waker_of(a?).wake();
            done()
        }))
        .unwrap();
    main_loop.run().unwrap();
    let expected = ["create a", "create panics", "create b", "b", "a"];
    assert_eq!(notes(&mut main_loop), expected);
    assert_eq!((main_loop.stats().panics, main_loop.stats().woken), (1, 2));
}

/// The machine that has the slot now is another one.
#[test]
fn r2_a_wake_of_a_machine_that_has_ended_reaches_nobody() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let kept = wakers.clone();
    let mut index = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let kept = kept.clone();
                // One is used before the end, and waits in the lane meanwhile, one after.
                let brief = act(move |_, scope: &mut NotingScope<'_>| {
                    let (early, late) = (scope.waker(), scope.waker());
                    early.wake();
                    kept.borrow_mut().extend([early, late]);
                    done()
                });
                index = Some(scope.spawn(brief)?.id().index());
                after(ms(5))
            }
            _ => {
                let successor = act(|on, _: &mut NotingScope<'_>| match on {
                    On::Create => after(ms(5)),
                    On::Timeout => done(),
                    other => panic!("{other:?}"),
                });
                let spawned = scope.spawn(successor)?;
                assert_eq!(Some(spawned.id().index()), index);
                kept.borrow().iter().for_each(Waker::wake);
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!((main_loop.stats().panics, main_loop.stats().woken), (0, 0));
    drop(main_loop);
    wakers.borrow().iter().for_each(Waker::wake);
}

#[test]
fn r4_a_full_inbox_does_not_block_wakes() {
    let _dog = watchdog();
    let config = Config {
        inbox_messages_max: 2,
        ..Config::default()
    };
    let mut main_loop = noting(config);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let me = scope.notifier();
                me.send(1)?;
                me.send(2)?;
                assert_eq!(me.send(3), Err(SendError::Full(3)));
                scope.waker().wake();
                after(ms(5))
            }
            On::Io(Io::Woken, _) => {
                scope.ctx.push("woken".into());
                stay()
            }
            On::Message(n) => {
                scope.ctx.push(n.to_string());
                stay()
            }
            _ => done(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    let mut noted = notes(&mut main_loop);
    noted.sort();
    assert_eq!(noted, ["1", "2", "woken"]);
}

/// Machines that wake themselves for ever: a turn tells a bounded number of them, in their order, the rest goes on in
/// the next one, and no system call is made for it.
#[test]
fn r16_a_storm_of_wakes_is_bounded_by_turn_and_fair() {
    let _dog = watchdog();
    const PER_TURN: usize = 10;
    let config = Config {
        messages_per_turn: PER_TURN,
        ..Config::default()
    };
    let mut main_loop = noting(config);
    for name in 0..35 {
        let mut waker = None;
        main_loop
            .spawn::<Noting>(act(move |_, scope: &mut NotingScope<'_>| {
                let waker: &Waker = waker.get_or_insert_with(|| scope.waker());
                waker.wake();
                scope.ctx.push(format!("{name}"));
                stay()
            }))
            .unwrap();
    }
    let mut turns = 0;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            match on {
                // All others were created in the same turn; and once more at the end.
                On::Create => scope.ctx.clear(),
                On::Finish => return done(),
                _ => scope.ctx.push("turn".into()),
            }
            turns += 1;
            if turns > 70 {
                scope.shutdown(ms(0));
                return stay();
            }
            scope.another_turn();
            stay()
        }))
        .unwrap();
    main_loop.run().unwrap();
    let noted = notes(&mut main_loop);
    let turns: Vec<&[String]> = noted.split(|note| note == "turn").skip(1).collect();
    // What one swap took is told before the next: 10, 10, 10 and 5.
    let told: Vec<usize> = turns[1..69].iter().map(|turn| turn.len()).collect();
    assert!(told.iter().all(|n| (1..=PER_TURN).contains(n)), "{told:?}");
    assert!(told.iter().filter(|n| **n == PER_TURN).count() >= 50);
    // Each as often as any other, in their order.
    let names = turns[1..69].concat();
    let begin: usize = names[0].parse().unwrap();
    for (name, expected) in names.iter().zip((0..35).cycle().skip(begin)) {
        assert_eq!(*name, expected.to_string());
    }
    assert_eq!(main_loop.handle().messages().wakes, 0);
}

/// From another thread: whatever was written before a wake is seen, nothing is missed, and wakes cost few events and
/// fewer system calls.
#[test]
fn r4_a_thread_wakes_a_machine_that_misses_nothing() {
    let _dog = watchdog();
    let total = sized(200_000, 2_000) as u64;
    let written = Arc::new(AtomicU64::new(0));
    let (hand, handed) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let looks = written.clone();
    let thread = LoopThread::<Noting>::spawn(Config::default(), move |setup| {
        let mut events = 0u64;
        setup.add::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            match on {
                On::Create => hand.send(scope.waker())?,
                On::Io(Io::Woken, _) => {
                    events += 1;
                    if looks.load(Ordering::Relaxed) == 4 * total {
                        tell.send(events)?;
                        return done();
                    }
                }
                other => panic!("{other:?}"),
            }
            stay()
        }))?;
        Ok(Vec::new())
    })
    .unwrap();
    let waker = handed.recv_timeout(patience()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (waker, written) = (waker.clone(), written.clone());
            std::thread::spawn(move || {
                for n in 0..total {
                    written.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                    if n % 1000 == 0 {
                        // The loop goes to sleep now and then.
                        std::thread::sleep(ms(1));
                    }
                }
            })
        })
        .collect();
    let events = told.recv_timeout(patience()).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    let counts = thread.messages();
    thread.join().unwrap();
    assert!((1..=4 * total).contains(&events), "{events} events");
    assert!(counts.wakes <= events, "{counts:?} for {events} events");
    // Nobody is there any more.
    waker.wake();
}

compose! { enum Two(Vec<String>) { Noting(Noting), Other(Other) } }

/// The other part of a composition, which wakes itself.
struct Other;

impl Machine for Other {
    type Context = Vec<String>;
    type Message = Never;
    type Seed = ();

    fn create((): (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.waker().wake();
        Ok(Response::of(Other))
    }

    fn io(
        self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        assert!(matches!(event, Io::Woken) && on == HandleId::NONE);
        scope.ctx.push("other".into());
        Ok(Response::done())
    }
}

#[test]
fn r9_parts_of_a_composition_are_woken_each_by_its_own() {
    let _dog = watchdog();
    let mut main_loop = Loop::<Two>::new(Config::default(), |_| Ok(Vec::new())).unwrap();
    main_loop.spawn::<Other>(()).unwrap();
    main_loop
        .spawn::<Noting>({
            let mut script = woken("noting", 1);
            act(move |on, scope: &mut NotingScope<'_>| {
                if let On::Create = on {
                    scope.waker().wake();
                }
                script(on, scope)
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(*main_loop.context().unwrap(), ["other", "noting"]);
    assert_eq!(main_loop.stats().panics, 0);
}

/// A shutdown goes on telling of wakes, until its deadline.
#[test]
fn r7_wakes_arrive_while_the_loop_shuts_down() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.shutdown(patience());
                stay()
            }
            On::Finish => {
                scope.waker().wake();
                stay()
            }
            On::Io(Io::Woken, _) => {
                scope.ctx.push("woken".into());
                done()
            }
            other => panic!("{other:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["woken"]);
}

/// One that panics takes its own wake with it; those behind it are told in the next turn.
#[test]
fn r6_a_panic_in_an_event_does_not_lose_the_wakes_behind_it() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = noting_on(config);
    for name in ["a", "panics", "b"] {
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    scope.waker().wake();
                    stay()
                }
                _ => {
                    assert_ne!(name, "panics");
                    scope.ctx.push(name.into());
                    done()
                }
            }))
            .unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["a", "b"]);
    assert_eq!(reasons(&ends).len(), 3);
    assert_eq!(main_loop.stats().panics, 1);
}

/// What a stopped run has taken and not told is told by the next one; what no run tells goes with the loop.
#[test]
fn r6_wakes_outlive_a_run_that_was_stopped_but_not_the_loop() {
    let _dog = watchdog();
    let config = Config {
        on_end: Some(Box::new(|_, reason| match reason {
            rotor_fsm::Reason::Failed(_) => Verdict::Stop,
            _ => Verdict::Continue,
        })),
        ..Config::default()
    };
    let mut main_loop = noting_on(config);
    for name in ["a", "fails", "b", "fails", "c"] {
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    scope.waker().wake();
                    stay()
                }
                _ if name == "fails" => Err(Error::msg("fails")),
                _ => {
                    scope.ctx.push(name.into());
                    done()
                }
            }))
            .unwrap();
    }
    assert!(main_loop.run().is_err());
    assert_eq!(notes(&mut main_loop), ["a"]);
    assert!(main_loop.run().is_err());
    assert_eq!(notes(&mut main_loop), ["b"]);
    drop(main_loop);
}

/// The standard library's wakers are the same thing.
#[test]
fn a_machine_polls_a_future_that_another_thread_completes() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let polls = Arc::new(AtomicU32::new(0));
    let count = polls.clone();
    let mut state = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            if let On::Create = on {
                let future: Pin<Box<dyn Future<Output = u32>>> = Box::pin(Promise::start(7));
                state = Some((std::task::Waker::from(scope.waker()), future));
            }
            let (waker, future) = state.as_mut().unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            match future.as_mut().poll(&mut Context::from_waker(waker)) {
                Poll::Ready(n) => {
                    scope.ctx.push(n.to_string());
                    done()
                }
                Poll::Pending => stay(),
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["7"]);
    assert!((1..=2).contains(&polls.load(Ordering::Relaxed)));
}

/// A number that a thread gives a little later.
struct Promise(Arc<Mutex<(Option<u32>, Option<std::task::Waker>)>>);

impl Promise {
    fn start(n: u32) -> Self {
        let place = Arc::new(Mutex::new((None, None::<std::task::Waker>)));
        let giver = place.clone();
        std::thread::spawn(move || {
            std::thread::sleep(ms(5));
            let waker = {
                let mut place = giver.lock().unwrap();
                place.0 = Some(n);
                place.1.take()
            };
            waker.into_iter().for_each(std::task::Waker::wake);
        });
        Self(place)
    }
}

impl Future for Promise {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        let mut place = self.0.lock().unwrap();
        place.1 = Some(context.waker().clone());
        place.0.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Nothing of a wake can go wrong for who wakes, whatever its machine does.
#[test]
fn waking_never_panics() {
    let _dog = watchdog();
    let (hand, handed) = mpsc::channel();
    let mut main_loop = noting_on(Config::default());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            if let On::Create = on {
                hand.send(scope.waker())?;
                return stay();
            }
            panic!("in its handler");
        }))
        .unwrap();
    let waking = std::thread::spawn(move || {
        let waker = handed.recv_timeout(patience()).unwrap();
        for _ in 0..100 {
            catch_unwind(AssertUnwindSafe(|| waker.wake())).unwrap();
        }
    });
    main_loop.run().unwrap();
    waking.join().unwrap();
    assert_eq!(main_loop.stats().panics, 1);
}
