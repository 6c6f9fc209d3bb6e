//! How fibers begin and end, and what they must not do.

use super::*;
use rotor_net::fiber::{FiberError, NoStack};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_panic_ends_only_that_fiber_and_its_destructors_run() {
    let mut world = World::new(false);
    let notes = Notes::default();
    let (noted, others) = (notes.clone(), notes.clone());
    world.spawn("other", move |cx| {
        cx.sleep(ms(100))?;
        others.note("the other one slept well");
        Ok(())
    });
    world.spawn("bad", move |cx| {
        let _guard = NotesDrop(noted, "guard");
        cx.sleep(ms(10))?;
        panic!("on purpose");
    });
    world.run(ms(1000));
    assert_eq!(notes.take(), ["dropped guard", "the other one slept well"]);
    assert_eq!(world.ends(), ["panicked: on purpose", "done"]);
    assert_eq!(world.stacks.stats().in_use, 0);
}

#[test]
fn a_body_that_returns_an_error_ends_its_machine_with_it() {
    let mut world = World::new(false);
    world.spawn("failing", |cx| {
        cx.yield_now()?;
        Err(Error::msg("no such door"))
    });
    world.spawn("parsing", |_| {
        "x".parse::<u32>()?;
        Ok(())
    });
    // To say `Cancelled` without having been asked to finish is an error like others.
    world.spawn("lying", |_| Err(FiberError::Cancelled.into()));
    world.run(ms(10));
    let mut ends = world.ends();
    ends.sort();
    assert_eq!(
        ends,
        [
            "failed: invalid digit found in string",
            "failed: no such door",
            "failed: the fiber was asked to finish",
        ]
    );
}

#[test]
fn a_loop_dropped_with_suspended_fibers_unwinds_them_in_every_call() {
    let notes = Notes::default();
    // Nothing of what they wait for comes soon.
    let nature = SimConfig {
        delay: (ms(200), ms(300)),
        work: (ms(200), ms(300)),
        ..SimConfig::default()
    };
    let mut world = World::with(true, StackConfig::default(), nature);
    let calls: [fn(&Plainly) -> Result<()>; 5] = [
        |cx| Ok(cx.sleep(ms(10_000))?),
        |cx| Ok(cx.recv().map(drop)?),
        |cx| Ok(cx.connect(local(1)).map(drop)?),
        |cx| {
            let mut listener = cx.listen(local(8))?;
            Ok(cx.accept(&mut listener).map(drop)?)
        },
        |cx| Ok(cx.work(std::thread::yield_now)?),
    ];
    let count = calls.len();
    for call in calls {
        let noted = notes.clone();
        world.spawn("suspended", move |cx| {
            let _guard = NotesDrop(noted, "guard");
            call(cx)
        });
    }
    world.run(ms(10));
    assert_eq!(world.machines(), count);
    assert_eq!(notes.take(), Vec::<String>::new());
    drop((world.sim, world.on));
    assert_eq!(notes.take(), vec!["dropped guard"; count]);
    assert_eq!(world.stacks.stats().in_use, 0);
}

/// On a real loop, which is stopped by the failure of one of them.
#[test]
fn a_real_loop_dropped_with_suspended_fibers_unwinds_them() {
    let _dog = watchdog();
    let notes = Notes::default();
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let (config, _) = noting(true);
    let mut main_loop = Loop::<Plain>::new(config, |_| Ok(())).unwrap();
    for _ in 0..3 {
        let noted = notes.clone();
        let seed = stacks.fiber("suspended", move |cx: &Plainly| {
            let _guard = NotesDrop(noted, "guard");
            Ok(cx.recv().map(drop)?)
        });
        main_loop.spawn::<Plain>(seed.unwrap()).unwrap();
    }
    let failing = stacks.fiber("failing", |cx: &Plainly| {
        cx.sleep(ms(1))?;
        Err(Error::msg("on purpose"))
    });
    main_loop.spawn::<Plain>(failing.unwrap()).unwrap();
    assert!(main_loop.run().is_err());
    assert_eq!(notes.take(), Vec::<String>::new());
    // One that has not begun only has its closure dropped.
    let guard = NotesDrop(notes.clone(), "closure");
    let unborn = stacks.fiber("unborn", move |_: &Plainly| {
        drop(guard);
        Ok(())
    });
    main_loop.spawn::<Plain>(unborn.unwrap()).unwrap();
    drop(main_loop);
    let mut notes = notes.take();
    notes.sort();
    let guards = ["dropped guard"; 3].into_iter();
    let expected: Vec<_> = ["dropped closure"].into_iter().chain(guards).collect();
    assert_eq!(notes, expected);
    assert_eq!(stacks.stats().in_use, 0);
}

/// The loop is dropped by the panic of its caller.
#[test]
fn fibers_are_unwound_while_their_thread_panics() {
    let notes = Notes::default();
    let noted = notes.clone();
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let mut world = World::new(true);
        world.spawn("suspended", move |cx| {
            let _outer = NotesDrop(noted.clone(), "outer");
            let _inner = NotesDrop(noted, "inner");
            Ok(cx.recv().map(drop)?)
        });
        world.run(ms(1));
        panic!("with fibers at hand");
    }));
    assert!(outcome.is_err());
    assert_eq!(notes.take(), ["dropped inner", "dropped outer"]);
}

/// Waits in its destructor, which is refused.
struct WaitsInDrop<'a, 'f>(&'a Plainly<'f>, Notes);

impl Drop for WaitsInDrop<'_, '_> {
    fn drop(&mut self) {
        let (cx, notes) = (self.0, &self.1);
        notes.note(format!("{:?}", cx.sleep(ms(1)).err()));
        notes.note(format!("{:?}", cx.recv().err()));
        // What needs no waiting is possible while its own panic unwinds it, but not when it is ended from outside.
        notes.note(format!("{:?}", cx.now().err()));
    }
}

#[test]
fn to_wait_while_panicking_is_a_named_error() {
    let mut world = World::new(false);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("bad", move |cx| {
        let _waits = WaitsInDrop(cx, noted);
        cx.sleep(ms(1))?;
        panic!("on purpose");
    });
    world.run(ms(100));
    let refused = "Some(Unwinding)";
    assert_eq!(notes.take(), [refused, refused, "None"]);
    assert_eq!(world.ends(), ["panicked: on purpose"]);
}

#[test]
fn to_wait_while_being_ended_is_a_named_error() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("ended", move |cx| {
        let _waits = WaitsInDrop(cx, noted);
        Ok(cx.recv().map(drop)?)
    });
    world.run(ms(1));
    drop((world.sim, world.on));
    let refused = "Some(Unwinding)";
    assert_eq!(notes.take(), [refused, refused, refused]);
}

/// A body that swallows the unwinding is told the same, and can only return.
#[test]
fn who_swallows_the_unwinding_is_refused_everything() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("greedy", move |cx| {
        let swallowed = catch_unwind(AssertUnwindSafe(|| cx.recv().map(drop)));
        assert!(swallowed.is_err());
        noted.note(format!("{:?}", cx.sleep(ms(1)).err()));
        noted.note(format!("{:?}", cx.with_context(|()| ()).err()));
        Ok(())
    });
    world.run(ms(1));
    drop((world.sim, world.on));
    assert_eq!(notes.take(), ["Some(Unwinding)", "Some(Unwinding)"]);
    assert_eq!(world.stacks.stats().in_use, 0);
}

/// A destructor that panics in a fiber that is ended while its own unwinding is over: the panic stays with the loop.
#[test]
fn a_panic_that_replaces_the_unwinding_is_caught_by_the_loop() {
    let mut world = World::new(false);
    world.spawn("greedy", move |cx| {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            while cx.recv() == Err(FiberError::Cancelled) {
                cx.carry_on();
            }
        }));
        panic!("instead");
    });
    world.run(ms(1));
    world.on.handle().shutdown(ms(0));
    world.run(ms(10));
    assert_eq!(world.sim.stats(&world.on).panics, 1);
    assert_eq!(world.ends(), ["closed by the shutdown"]);
    assert_eq!(world.stacks.stats().in_use, 0);
}

#[test]
fn nothing_can_be_asked_of_the_loop_inside_with_context() {
    run_for_real(vec![1], |cx| {
        let answer = cx.with_context(|numbers| {
            numbers.push(2);
            assert_eq!(cx.sleep(ms(1)), Err(FiberError::InContext));
            assert_eq!(cx.recv(), Err(FiberError::InContext));
            assert_eq!(cx.within(ms(1)).recv(), Err(FiberError::InContext));
            assert_eq!(cx.yield_now(), Err(FiberError::InContext));
            assert_eq!(cx.now(), Err(FiberError::InContext));
            assert_eq!(cx.connect(local(1)).err(), Some(FiberError::InContext));
            assert_eq!(cx.with_context(|_| ()), Err(FiberError::InContext));
            numbers.len()
        });
        assert_eq!(answer, Ok(2));
        // It was refused, nothing else: all is well afterwards.
        cx.sleep(ms(1))?;
        assert_eq!(cx.with_context(|numbers| numbers.clone()), Ok(vec![1, 2]));
        Ok(())
    });
}

/// A panic inside leaves the fiber able to go on, if it catches it.
#[test]
fn a_panic_inside_with_context_gives_the_context_back() {
    run_for_real(0, |cx| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            cx.with_context(|_| panic!("on purpose")).map(drop)
        }));
        assert!(caught.is_err());
        assert_eq!(cx.with_context(|n| *n), Ok(0));
        Ok(cx.sleep(ms(1))?)
    });
}

#[test]
fn an_unused_seed_gives_its_stack_back_and_drops_its_closure() {
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let notes = Notes::default();
    let guard = NotesDrop(notes.clone(), "closure");
    let seed = stacks.fiber("unused", move |_: &Plainly| {
        drop(guard);
        Ok(())
    });
    assert_eq!(stacks.stats().in_use, 1);
    drop(seed.unwrap());
    assert_eq!(notes.take(), ["dropped closure"]);
    assert_eq!(stacks.stats().in_use, 0);
}

#[test]
fn a_closure_that_owns_too_much_is_refused() {
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let much = [0u8; 60_000];
    let refused = stacks.fiber("large", move |_: &Plainly| {
        assert_eq!(much[0], 0);
        Ok(())
    });
    let refused = refused.err();
    assert!(
        matches!(refused, Some(NoStack::ClosureTooLarge { bytes, .. }) if bytes >= 60_000),
        "{refused:?}"
    );
}

/// Ends when it is told to.
struct Enum;

impl Machine for Enum {
    type Context = Shared;
    type Message = ();
    type Seed = ();

    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Enum))
    }

    fn wakeup(self, _: (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.0.note("enum");
        Ok(Response::done())
    }
}

struct Shared(Notes, Option<Spawner<Enum>>);
type Part = Fiber<Shared, u32>;
type OtherPart = Fiber<Shared, &'static str>;

compose! { enum App(Shared) { Enum(Enum), Part(Part), Other(OtherPart) } }

/// Fibers of two types and an enum machine on one loop, talking to each other.
#[test]
fn fibers_are_parts_of_a_composition() {
    let _dog = watchdog();
    let notes = Notes::default();
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let (config, _) = noting(true);
    let mut main_loop = Loop::<App>::new(config, |setup| {
        Ok(Shared(notes.clone(), Some(setup.spawner())))
    })
    .unwrap();
    let other = stacks.fiber("other", |cx: &Cx<Shared, &'static str>| {
        let word = cx.recv()?;
        cx.with_context(|shared| shared.0.note(word))?;
        Ok(())
    });
    let other = main_loop.spawn::<OtherPart>(other.unwrap()).unwrap();
    let seed = stacks.fiber("first", move |cx: &Cx<Shared, u32>| {
        let own = cx.notifier()?;
        let child = cx.stacks().fiber("child", move |cx| {
            own.send(cx.recv()? + 1)?;
            Ok(())
        })?;
        cx.spawn(child)?.send(41)?;
        assert_eq!(cx.recv(), Ok(42));
        let machine = cx.with_context(|shared| {
            let spawner = shared.1.as_ref();
            spawner.and_then(|spawner| spawner.spawn(()).ok())
        })?;
        machine.expect("there is room").send(())?;
        other.send("fiber")?;
        Ok(())
    });
    main_loop.spawn::<Part>(seed.unwrap()).unwrap();
    main_loop.run().unwrap();
    drop(main_loop);
    let mut notes = notes.take();
    notes.sort();
    assert_eq!(notes, ["enum", "fiber"]);
    assert_eq!(stacks.stats().in_use, 0);
}

#[test]
fn run_is_one_line() {
    let _dog = watchdog();
    rotor_net::fiber::run(7, "main", |cx| {
        assert_eq!(cx.with_context(|n| *n), Ok(7));
        assert_eq!(cx.name(), "main");
        Ok(cx.sleep(ms(1))?)
    })
    .unwrap();
    let failed = rotor_net::fiber::run((), "main", |_| Err(Error::msg("no")));
    assert_eq!(failed.unwrap_err().to_string(), "no");
}

#[test]
fn a_machine_is_one_pointer() {
    assert_eq!(size_of::<Plain>(), size_of::<usize>());
    assert_eq!(
        size_of::<Option<rotor_net::fiber::FiberSeed<(), u32>>>(),
        size_of::<usize>()
    );
}
