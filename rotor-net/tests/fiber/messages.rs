//! Messages to fibers, and fibers that make fibers.

use super::*;
use rotor_net::fiber::{FiberError, FiberLimits};

#[test]
fn messages_wait_in_order_while_the_fiber_does_something_else() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    let tester = world.spawn("tester", move |cx| {
        assert_eq!(cx.try_recv(), None);
        cx.sleep(ms(100))?;
        assert_eq!(cx.try_recv(), Some(0));
        for expected in 1..100 {
            assert_eq!(cx.recv(), Ok(expected));
        }
        noted.note("all");
        Ok(())
    });
    // The first ones come before it has begun.
    for n in 0..50 {
        tester.send(n).unwrap();
    }
    world.run(ms(50));
    for n in 50..100 {
        tester.send(n).unwrap();
    }
    world.run(ms(100));
    assert_eq!(notes.take(), ["all"]);
}

#[test]
fn more_messages_than_may_wait_end_the_fiber_with_a_named_error() {
    let limits = FiberLimits {
        messages_max: 3,
        ..FiberLimits::default()
    };
    let config = StackConfig {
        limits,
        ..StackConfig::default()
    };
    for count in [3, 4] {
        let mut world = World::with(false, config.clone(), SimConfig::default());
        let notes = Notes::default();
        let noted = notes.clone();
        let tester = world.spawn("deaf", move |cx| {
            let _guard = NotesDrop(noted, "guard");
            Ok(cx.sleep(ms(100))?)
        });
        world.run(ms(1));
        for n in 0..count {
            tester.send(n).unwrap();
        }
        world.run(ms(200));
        assert_eq!(notes.take(), ["dropped guard"]);
        let expected = if count == 3 {
            "done".to_owned()
        } else {
            format!("failed: {}", FiberError::MailboxFull { messages_max: 3 })
        };
        assert_eq!(world.ends(), [expected]);
        assert!(tester.send(1).unwrap_err().is_closed());
    }
}

#[test]
fn messages_between_threads_reach_a_fiber() {
    run_for_real((), |cx| {
        let notifier = cx.notifier()?;
        let sender = std::thread::spawn(move || {
            for n in 0..1000 {
                notifier.send(n).unwrap();
            }
        });
        for expected in 0..1000 {
            assert_eq!(cx.within(PATIENCE).recv(), Ok(expected));
        }
        sender.join().unwrap();
        Ok(())
    });
}

/// A tree of fibers, each waiting for its children's counts.
fn count(cx: &Plainly, depth: u32) -> Result<u32, Error> {
    let mut sum = 1;
    if depth > 0 {
        for _ in 0..2 {
            let parent = cx.notifier()?;
            let child = cx.stacks().fiber("child", move |cx| {
                parent.send(count(cx, depth - 1)?)?;
                Ok(())
            })?;
            cx.spawn(child)?;
        }
        sum += cx.recv()? + cx.recv()?;
    }
    Ok(sum)
}

#[test]
fn fibers_spawn_fibers() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("root", move |cx| {
        noted.note(count(cx, 9)?.to_string());
        Ok(())
    });
    world.run(ms(1000));
    assert_eq!(notes.take(), ["1023"]);
    assert_eq!(world.stacks.stats().in_use, 0);
}

#[test]
fn a_full_machine_table_is_a_named_error() {
    let config = Config {
        machines_max: 2,
        ..Config::default()
    };
    let mut sim = Sim::new(1);
    let on = sim.add::<Plain>(config, |_| Ok(())).unwrap();
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    let seed = stacks.fiber("root", move |cx: &Plainly| {
        let mut results = Vec::new();
        for _ in 0..2 {
            let child = cx
                .stacks()
                .fiber("child", |cx: &Plainly| Ok(cx.sleep(ms(1))?))?;
            results.push(cx.spawn(child).map(drop));
        }
        noted.note(format!("{results:?}"));
        Ok(())
    });
    sim.spawn::<Plain, Plain>(&on, seed.unwrap()).unwrap();
    sim.run(ms(100));
    assert_eq!(notes.take(), ["[Ok(()), Err(NoRoom)]"]);
    assert_eq!(stacks.stats().in_use, 0);
}

/// One that computes for long gives the others their turns, sockets included.
#[test]
fn yield_now_lets_the_others_run() {
    run_for_real((), |cx| {
        let mut listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        let parent = cx.notifier()?;
        let client = cx.stacks().fiber("client", move |cx| {
            let mut stream = cx.connect(at)?;
            cx.write_all(&mut stream, b"x")?;
            assert_eq!(cx.read(&mut stream, &mut [0; 1]), Ok(1));
            parent.send(1)?;
            Ok(())
        })?;
        cx.spawn(client)?;
        let incoming = cx.accept(&mut listener)?;
        let echo = cx.stacks().fiber("echo", move |cx| {
            let mut stream = cx.open(incoming)?;
            let mut byte = [0];
            cx.read_exact(&mut stream, &mut byte)?;
            Ok(cx.write_all(&mut stream, &byte)?)
        })?;
        cx.spawn(echo)?;
        let mut turns = 0;
        while cx.try_recv().is_none() {
            cx.yield_now()?;
            turns += 1;
            assert!(turns < 10_000_000, "the others never run");
        }
        Ok(())
    });
}
