//! Deadlines and cancellation, in each call that waits.

use super::*;
use rotor_net::fiber::{FiberError, FiberListener};
use std::io::{Read, Write};

/// A world where everything that takes time takes at least 200 ms, and at port 7 nobody ever says anything.
fn slow_world() -> (World, Notifier<u32>) {
    let nature = SimConfig {
        delay: (ms(200), ms(300)),
        work: (ms(200), ms(300)),
        ..SimConfig::default()
    };
    let mut world = World::with(true, StackConfig::default(), nature);
    let silent = world.spawn("silent", |cx| silent(cx, 7));
    world.run(ms(10));
    (world, silent)
}

/// What the calls are made on.
struct Tools {
    stream: FiberStream,
    listener: FiberListener,
}

type Call = fn(&Plainly, &mut Tools) -> Result<(), FiberError>;

/// Calls that wait for something to come.
const WAITING: [(&str, Call); 10] = [
    ("read", |cx, tools| {
        cx.read(&mut tools.stream, &mut [0; 10]).map(drop)
    }),
    ("read_exact", |cx, tools| {
        cx.read_exact(&mut tools.stream, &mut [0; 10])
    }),
    ("read_until", |cx, tools| {
        cx.read_until(&mut tools.stream, b"\n", 10, &mut Vec::new())
            .map(drop)
    }),
    ("accept", |cx, tools| {
        cx.accept(&mut tools.listener).map(drop)
    }),
    ("connect", |cx, _| cx.connect(local(7)).map(drop)),
    ("recv", |cx, _| cx.recv().map(drop)),
    ("sleep", |cx, _| cx.sleep(ms(5000))),
    ("work", |cx, _| cx.work(|| 7).map(drop)),
    ("block_on", |cx, _| cx.block_on(std::future::pending())),
    ("within within", |cx, _| {
        cx.within(ms(5000)).recv().map(drop)
    }),
];

/// Calls that wait for output to leave; the stream's is stuck.
const WRITING: [(&str, Call); 2] = [
    ("write_all", |cx, tools| {
        cx.write_all(&mut tools.stream, &[0; 500_000])
    }),
    ("flush", |cx, tools| cx.flush(&mut tools.stream)),
];

fn tools(cx: &Plainly, port: u16) -> Result<Tools> {
    Ok(Tools {
        stream: cx.connect(local(7))?,
        listener: cx.listen(local(port))?,
    })
}

/// Writes until nothing leaves any more.
fn stuff(cx: &Plainly, tools: &mut Tools) {
    loop {
        match cx
            .within(ms(2000))
            .write_all(&mut tools.stream, &[0; 10_000])
        {
            Ok(()) => {}
            Err(error) => return assert_eq!(error, FiberError::TimedOut),
        }
    }
}

#[test]
fn every_call_has_a_deadline() {
    let (mut world, _) = slow_world();
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("tester", move |cx| {
        let mut tools = tools(cx, 8)?;
        for (name, call) in WAITING {
            times_out(cx, name, call, &mut tools);
            // It is the call that is over, not the fiber.
            cx.sleep(ms(1000))?;
        }
        stuff(cx, &mut tools);
        for (name, call) in WRITING {
            times_out(cx, name, call, &mut tools);
        }
        noted.note("all");
        cx.abort(tools.stream)?;
        Ok(())
    });
    world.run(ms(60_000));
    assert_eq!(notes.take(), ["all"]);
}

/// The deadline ends the call on time: not before it, and at the next tick of the clock.
fn times_out(cx: &Plainly, name: &str, call: Call, tools: &mut Tools) {
    let before = cx.now().unwrap();
    assert_eq!(
        call(&cx.within(ms(50)), tools),
        Err(FiberError::TimedOut),
        "{name}"
    );
    let took = cx.now().unwrap().since(before);
    assert!(
        took >= ms(50) && took <= ms(52),
        "{name} took {took:?} of 50 ms"
    );
}

#[test]
fn of_two_deadlines_the_earlier_counts() {
    let mut world = World::new(true);
    world.spawn("tester", |cx| {
        for (outer, inner) in [(50, 5000), (5000, 50)] {
            let before = cx.now()?;
            let outer = cx.within(ms(outer));
            assert_eq!(outer.within(ms(inner)).recv(), Err(FiberError::TimedOut));
            let took = cx.now()?.since(before);
            assert!(took >= ms(50) && took <= ms(52), "{took:?}");
        }
        // To have slept enough is no timeout, to have been kept from it is one.
        assert_eq!(cx.within(ms(50)).sleep(ms(20)), Ok(()));
        assert_eq!(cx.within(ms(20)).sleep(ms(50)), Err(FiberError::TimedOut));
        assert_eq!(
            cx.within(ms(20)).sleep(Duration::MAX),
            Err(FiberError::TimedOut)
        );
        Ok(())
    });
    world.run(ms(20_000));
    assert_eq!(world.ends(), ["done"]);
}

/// A deadline that is left from an earlier, shorter wait fires too early, and must not be taken for the later one's.
#[test]
fn a_wait_is_not_ended_by_the_deadline_of_another() {
    let mut world = World::new(true);
    let tester = world.spawn("tester", |cx| {
        assert_eq!(cx.within(ms(100)).recv(), Ok(1));
        let before = cx.now()?;
        cx.sleep(ms(500))?;
        assert!(cx.now()?.since(before) >= ms(500));
        assert_eq!(cx.within(ms(100)).recv(), Ok(2));
        assert_eq!(cx.recv(), Ok(3));
        Ok(())
    });
    world.run(ms(50));
    tester.send(1).unwrap();
    world.run(ms(400));
    tester.send(2).unwrap();
    world.run(ms(10_000));
    tester.send(3).unwrap();
    world.run(ms(10));
    assert_eq!(world.ends(), ["done"]);
}

#[test]
fn every_call_that_waits_for_something_is_cancelled() {
    for (name, call) in WAITING {
        for by_shutdown in [false, true] {
            let (mut world, _) = slow_world();
            let notes = Notes::default();
            let noted = notes.clone();
            let tester = world.spawn("tester", move |cx| {
                let mut tools = tools(cx, 8)?;
                noted.note("waits");
                let first = call(cx, &mut tools);
                assert_eq!(first, Err(FiberError::Cancelled), "{name}");
                assert!(cx.is_cancelled());
                // And so from then on, at once.
                let again = call(cx, &mut tools);
                assert_eq!(again, Err(FiberError::Cancelled), "{name}");
                noted.note("cancelled");
                cx.abort(tools.stream)?;
                Ok(again?)
            });
            world.run(ms(650));
            assert_eq!(notes.take(), ["waits"], "{name}");
            if by_shutdown {
                world.on.handle().shutdown(ms(10_000));
            } else {
                let id = tester.id();
                world.spawn("canceller", move |cx| Ok(cx.cancel(id)?));
            }
            world.run(ms(10));
            assert_eq!(notes.take(), ["cancelled"], "{name}");
            // To end when asked to is to end well. The silent one lingers until it has seen the reset.
            world.run(ms(1000));
            let ends = world.ends();
            assert!(ends.iter().all(|end| end == "done"), "{name}: {ends:?}");
            assert_eq!(ends.len(), 2);
        }
    }
}

#[test]
fn yield_now_is_cancelled_too_and_a_shutdown_is_not_lost_on_one_who_yields() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("busy", move |cx| {
        let mut turns = 0;
        let error = loop {
            match cx.yield_now() {
                Ok(()) => turns += 1,
                Err(error) => break error,
            }
        };
        assert!(turns > 10 && error == FiberError::Cancelled);
        assert_eq!(cx.yield_now(), Err(FiberError::Cancelled));
        noted.note("cancelled");
        assert!(cx.carry_on());
        for _ in 0..10 {
            cx.yield_now()?;
        }
        Ok(())
    });
    world.run(ms(5));
    world.on.handle().shutdown(ms(1000));
    world.run(ms(5));
    assert_eq!(notes.take(), ["cancelled"]);
    assert_eq!(world.ends(), ["done"]);
}

#[test]
fn writing_and_flushing_go_on_when_asked_to_finish() {
    for (name, call) in WRITING {
        let (mut world, silent) = slow_world();
        let notes = Notes::default();
        let noted = notes.clone();
        let tester = world.spawn("tester", move |cx| {
            let mut tools = tools(cx, 8)?;
            stuff(cx, &mut tools);
            noted.note("waits");
            call(cx, &mut tools)?;
            noted.note("written");
            assert_eq!(cx.recv(), Err(FiberError::Cancelled));
            Ok(())
        });
        while notes.0.borrow().is_empty() {
            world.run(ms(1000));
        }
        let id = tester.id();
        world.spawn("canceller", move |cx| Ok(cx.cancel(id)?));
        world.run(ms(5000));
        assert_eq!(notes.take(), ["waits"], "{name} still waits");
        silent.send(1).unwrap();
        world.run(ms(60_000));
        assert_eq!(notes.take(), ["written"], "{name}");
    }
}

#[test]
fn who_carries_on_waits_again_and_what_is_there_is_had_when_cancelled() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    let tester = world.spawn("tester", move |cx| {
        assert!(!cx.carry_on(), "nobody asked");
        assert_eq!(cx.sleep(ms(1000)), Err(FiberError::Cancelled));
        // Two messages wait already.
        assert_eq!((cx.recv(), cx.recv()), (Ok(1), Ok(2)));
        assert_eq!(cx.recv(), Err(FiberError::Cancelled));
        assert!(cx.carry_on() && !cx.carry_on());
        noted.note("carries on");
        assert_eq!(cx.recv(), Ok(3));
        cx.sleep(ms(100))?;
        noted.note("said goodbye");
        Ok(())
    });
    world.run(ms(10));
    tester.send(1).unwrap();
    tester.send(2).unwrap();
    world.run(ms(10));
    world.on.handle().shutdown(ms(1000));
    world.run(ms(10));
    tester.send(3).unwrap();
    world.run(ms(200));
    assert_eq!(notes.take(), ["carries on", "said goodbye"]);
    assert_eq!(world.ends(), ["done"]);
}

#[test]
fn who_carries_on_for_too_long_is_unwound_at_the_shutdowns_deadline() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("stubborn", move |cx| {
        let _guard = NotesDrop(noted.clone(), "guard");
        loop {
            let _ = cx.sleep(ms(10_000));
            cx.carry_on();
            noted.note("carries on");
        }
    });
    world.run(ms(10));
    world.on.handle().shutdown(ms(500));
    world.run(ms(450));
    assert_eq!(notes.take(), ["carries on"]);
    world.run(ms(100));
    assert_eq!(notes.take(), ["dropped guard"]);
    assert_eq!(world.ends(), ["closed by the shutdown"]);
    assert_eq!(world.stacks.stats().in_use, 0);
}

/// A job whose call was over before it must not be taken for the next one.
#[test]
fn a_late_job_is_not_the_next_ones_result() {
    let nature = SimConfig {
        work: (ms(100), ms(100)),
        ..SimConfig::default()
    };
    let mut world = World::with(true, StackConfig::default(), nature);
    world.spawn("tester", |cx| {
        assert_eq!(cx.work(|| "first"), Ok("first"));
        assert_eq!(cx.within(ms(50)).work(|| "late"), Err(FiberError::TimedOut));
        assert_eq!(cx.work(|| "second"), Ok("second"));
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!(world.ends(), ["done"]);
}

#[test]
fn a_job_that_panics_ends_its_fiber() {
    let mut world = World::new(false);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("tester", move |cx| {
        let _guard = NotesDrop(noted, "guard");
        cx.work(|| panic!("in the pool"))?;
        unreachable!("there is no result");
    });
    world.run(ms(1000));
    assert_eq!(notes.take(), ["dropped guard"]);
    assert_eq!(world.ends(), ["failed: a job in the thread pool panicked"]);
}

#[test]
fn reading_and_writing_through_std_have_timeouts_of_their_own() {
    let (mut world, _) = slow_world();
    world.spawn("tester", |cx| {
        let mut tools = tools(cx, 8)?;
        let stream = &mut tools.stream;
        stream.set_read_timeout(Some(ms(50)));
        let before = cx.now()?;
        let error = stream.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let took = cx.now()?.since(before);
        assert!(took >= ms(50) && took <= ms(52), "{took:?}");
        stuff(cx, &mut tools);
        let stream = &mut tools.stream;
        stream.set_write_timeout(Some(ms(50)));
        let error = stream.write_all(&[0; 500_000]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let error = stream.flush().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        cx.abort(tools.stream)?;
        Ok(())
    });
    world.run(ms(30_000));
    assert_eq!(world.ends(), ["done"]);
}
