//! Streams of fibers: reading and writing in all ways, backpressure, ends, and whose they are.

use super::*;
use rotor_net::fiber::{FiberError, FiberLimits};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};

/// A listening fiber at port 7 of the simulation, each of whose connections is served by `serve`.
pub fn server(world: &mut World, serve: fn(&Plainly, FiberStream) -> Result<()>) {
    world.spawn("listener", move |cx| {
        let mut listener = cx.listen(local(7))?;
        loop {
            let incoming = cx.accept(&mut listener)?;
            let seed = cx
                .stacks()
                .fiber("server", move |cx| serve(cx, cx.open(incoming)?))?;
            cx.spawn(seed)?;
        }
    });
    world.run(ms(1));
}

/// Echoes through `std::io`, line by line.
fn echo_lines(_: &Plainly, stream: FiberStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        write!(stream.get_mut(), "you said {}: {line}", line.len())?;
        line.clear();
    }
    stream.get_mut().flush()?;
    Ok(())
}

#[test]
fn ordinary_code_for_std_io_works_on_a_fibers_stream() {
    for seed in 0..50 {
        let mut world = World::new(true);
        world.sim = Sim::new(seed);
        let (config, _) = noting(true);
        world.on = world.sim.add::<Plain>(config, |_| Ok(())).unwrap();
        server(&mut world, echo_lines);
        let peer = world.sim.connect(local(7));
        world.sim.send(peer, b"hello\nlonger line\n\nunfinished");
        world.sim.shutdown(peer);
        world.run(ms(10_000));
        assert_eq!(
            String::from_utf8_lossy(&world.sim.received(peer)),
            "you said 6: hello\nyou said 12: longer line\nyou said 1: \nyou said 10: unfinished"
        );
        assert!(world.sim.saw_eof(peer) && !world.sim.saw_reset(peer));
        assert_eq!(world.machines(), 1, "only the listener is left");
    }
}

#[test]
fn read_until_takes_all_or_nothing() {
    let mut world = World::new(true);
    server(&mut world, |cx, mut stream| {
        let mut line = b"old".to_vec();
        assert_eq!(cx.read_until(&mut stream, b"\r\n", 5, &mut line), Ok(true));
        assert_eq!(line, b"first");
        assert_eq!(cx.read_until(&mut stream, b"\r\n", 5, &mut line), Ok(true));
        assert_eq!(line, b"");
        // Half a line: not there yet, and not lost.
        let soon = cx.within(ms(100));
        assert_eq!(
            soon.read_until(&mut stream, b"\r\n", 50, &mut line),
            Err(FiberError::TimedOut)
        );
        assert_eq!(line, b"");
        assert_eq!(
            cx.read_until(&mut stream, b";", 50, &mut line),
            Ok(true),
            "another delimiter, in what was searched already"
        );
        assert_eq!(line, b"half");
        // No delimiter, no waiting.
        assert_eq!(cx.read_until(&mut stream, b"", 50, &mut line), Ok(true));
        assert_eq!(line, b"");
        assert_eq!(
            cx.read_until(&mut stream, b"\n", 9, &mut line),
            Err(FiberError::TooLong { bytes_max: 9 })
        );
        assert_eq!(cx.read_until(&mut stream, b"\n", 10, &mut line), Ok(true));
        assert_eq!(line, b" line of 5");
        let mut rest = [0; 3];
        cx.read_exact(&mut stream, &mut rest)?;
        assert_eq!(&rest, b"abc");
        assert_eq!(
            cx.read_until(&mut stream, b"\n", 9, &mut line),
            Err(FiberError::Eof),
            "in the middle"
        );
        let mut end = [0; 2];
        assert_eq!(cx.read(&mut stream, &mut end), Ok(2));
        assert_eq!(&end, b"de");
        assert_eq!(cx.read_until(&mut stream, b"\n", 9, &mut line), Ok(false));
        assert_eq!(cx.read(&mut stream, &mut end), Ok(0));
        assert_eq!(cx.read_exact(&mut stream, &mut end), Err(FiberError::Eof));
        cx.write_all(&mut stream, b"all is well")?;
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.sim.send(peer, b"first\r\n\r\nhalf; line");
    world.run(ms(1000));
    world.sim.send(peer, b" of 5\nabcde");
    world.sim.shutdown(peer);
    world.run(ms(1000));
    assert_eq!(&*world.sim.received(peer), b"all is well");
}

#[test]
fn nothing_is_no_reason_to_wait() {
    let mut world = World::new(true);
    server(&mut world, |cx, mut stream| {
        assert_eq!(cx.read(&mut stream, &mut []), Ok(0));
        assert_eq!(cx.read_exact(&mut stream, &mut []), Ok(()));
        assert_eq!(cx.write_all(&mut stream, b""), Ok(()));
        assert_eq!(cx.flush(&mut stream), Ok(()));
        assert_eq!(stream.read(&mut []).unwrap(), 0);
        assert_eq!(stream.write(b"").unwrap(), 0);
        cx.write_all(&mut stream, b"still here")?;
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.run(ms(100));
    assert_eq!(&*world.sim.received(peer), b"still here");
}

/// A fiber that does not read makes its peer wait, and holds no more than its limits say.
#[test]
fn a_peer_that_is_not_read_is_made_to_wait() {
    let limits = FiberLimits {
        input_bytes_max: 1000,
        ..FiberLimits::default()
    };
    let config = StackConfig {
        limits,
        ..StackConfig::default()
    };
    let nature = SimConfig {
        buffer_bytes: (2000, 4000),
        ..SimConfig::default()
    };
    let mut world = World::with(true, config, nature);
    server(&mut world, |cx, mut stream| {
        cx.sleep(ms(10_000))?;
        let (mut sum, mut buf) = (0, [0; 700]);
        loop {
            match cx.read(&mut stream, &mut buf)? {
                0 => break,
                n => sum += n,
            }
        }
        cx.write_all(&mut stream, sum.to_string().as_bytes())?;
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.sim.send(peer, &[b'x'; 100_000]);
    world.sim.shutdown(peer);
    world.run(ms(9000));
    // What was read before it was enough, and what is on the way.
    let taken = 100_000 - world.sim.unsent(peer);
    assert!((1000..10_000).contains(&taken), "{taken} bytes were taken");
    world.run(ms(60_000));
    assert_eq!(&*world.sim.received(peer), b"100000");
}

/// A fiber whose peer does not read is made to wait, and holds no more than its limits say.
#[test]
fn a_fiber_whose_peer_does_not_read_is_made_to_wait() {
    let limits = FiberLimits {
        output_high_bytes: 5000,
        output_low_bytes: 2000,
        ..FiberLimits::default()
    };
    let config = StackConfig {
        limits,
        ..StackConfig::default()
    };
    let mut world = World::with(true, config, SimConfig::default());
    thread_local! {
        static WRITTEN: Cell<usize> = const { Cell::new(0) };
    }
    WRITTEN.set(0);
    server(&mut world, |cx, mut stream| {
        for n in 0..1000 {
            cx.write_all(&mut stream, &[n as u8; 1000])?;
            WRITTEN.set(WRITTEN.get() + 1000);
        }
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.sim.pause(peer);
    world.run(ms(10_000));
    // Beyond what is on the way (at most 65,536) no more than the high mark, and the piece that waits.
    let held = WRITTEN.get().saturating_sub(world.sim.bytes_in_flight());
    assert!(WRITTEN.get() < 80_000 && held <= 6000, "{held} bytes");
    world.sim.resume(peer);
    world.run(ms(60_000));
    let received = world.sim.take_received(peer);
    assert_eq!(received.len(), 1_000_000);
    let in_order = received.chunks(1000).enumerate();
    for (n, piece) in in_order {
        assert!(piece.iter().all(|&byte| byte == n as u8), "piece {n}");
    }
    assert!(world.sim.saw_eof(peer));
}

#[test]
fn flush_returns_when_the_kernel_has_everything() {
    let mut world = World::new(true);
    server(&mut world, |cx, mut stream| {
        cx.write_all(&mut stream, &[7; 60_000])?;
        cx.flush(&mut stream)?;
        let queued = cx.within(ms(0)).flush(&mut stream);
        assert_eq!(queued, Ok(()), "nothing waits any more");
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.run(ms(10_000));
    assert_eq!(world.sim.received(peer).len(), 60_000);
    assert!(world.sim.saw_eof(peer));
}

/// L4: what a fiber wrote before it dropped its stream arrives, though the peer reads late and has sent what nobody
/// reads; and the machine lives until that is done.
#[test]
fn l4_a_dropped_stream_lingers_until_its_output_has_arrived() {
    let mut world = World::new(true);
    server(&mut world, |cx, mut stream| {
        let mut byte = [0];
        cx.read_exact(&mut stream, &mut byte)?;
        cx.write_all(&mut stream, &[7; 60_000])?;
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.sim.pause(peer);
    world.sim.send(peer, &[1; 5000]);
    world.run(ms(2000));
    assert_eq!(world.machines(), 2);
    world.sim.resume(peer);
    world.run(ms(1000));
    assert_eq!(world.sim.received(peer).len(), 60_000);
    assert!(world.sim.saw_eof(peer) && !world.sim.saw_reset(peer));
    assert_eq!(world.machines(), 2, "the peer has not closed yet");
    world.sim.shutdown(peer);
    world.run(ms(1000));
    assert_eq!(world.machines(), 1);
}

#[test]
fn l4_lingering_has_limits_of_time_and_bytes() {
    let limits = FiberLimits {
        linger: ms(1000),
        linger_bytes_max: 100_000,
        ..FiberLimits::default()
    };
    let config = StackConfig {
        limits,
        ..StackConfig::default()
    };
    for floods in [false, true] {
        let mut world = World::with(true, config.clone(), SimConfig::default());
        server(&mut world, |cx, mut stream| {
            cx.write_all(&mut stream, b"bye")?;
            Ok(())
        });
        let peer = world.sim.connect(local(7));
        world.run(ms(500));
        assert_eq!(world.machines(), 2);
        if floods {
            world.sim.send(peer, &[0; 300_000]);
            world.run(ms(450));
        } else {
            world.run(ms(600));
        }
        assert_eq!(world.machines(), 1);
        assert_eq!(world.stacks.stats().in_use, 1);
        assert!(!world.sim.is_open(peer) || world.sim.saw_eof(peer));
    }
}

/// A fiber that goes on drops connection after connection; each lingers by itself, and none stays.
#[test]
fn streams_linger_beside_a_fiber_that_goes_on() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("server", move |cx| {
        let mut listener = cx.listen(local(7))?;
        for _ in 0..3 {
            let incoming = cx.accept(&mut listener)?;
            let mut stream = cx.open(incoming)?;
            cx.write_all(&mut stream, b"bye")?;
            // Dropping it inside, where nothing can be asked of the loop, is the same.
            cx.with_context(|()| drop(stream))?;
        }
        noted.note("served");
        assert_eq!(cx.recv(), Err(FiberError::Cancelled));
        Ok(())
    });
    world.run(ms(1));
    let peers: Vec<_> = (0..3).map(|_| world.sim.connect(local(7))).collect();
    world.run(ms(1000));
    assert_eq!(notes.take(), ["served"]);
    for peer in peers {
        assert_eq!(&*world.sim.received(peer), b"bye");
        assert!(world.sim.saw_eof(peer));
        world.sim.shutdown(peer);
    }
    world.run(ms(1000));
    assert_eq!(world.sim.stats(&world.on).sockets, 0);
}

#[test]
fn a_reset_is_told_after_what_came_before_it() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("server", move |cx| {
        let mut listener = cx.listen(local(7))?;
        let incoming = cx.accept(&mut listener)?;
        let mut stream = cx.open(incoming)?;
        cx.sleep(ms(1000))?;
        let mut buf = [0; 3];
        cx.read_exact(&mut stream, &mut buf)?;
        noted.note(String::from_utf8_lossy(&buf));
        let error = cx.read(&mut stream, &mut buf).unwrap_err();
        assert_eq!(error.io().unwrap().kind(), rotor_fsm::IoErrorKind::Reset);
        // And again, as often as one asks.
        assert_eq!(cx.read(&mut stream, &mut buf), Err(error));
        assert!(cx.write_all(&mut stream, b"x").is_err());
        assert!(cx.flush(&mut stream).is_err());
        noted.note("reset");
        Ok(())
    });
    world.run(ms(1));
    let peer = world.sim.connect(local(7));
    world.sim.send(peer, b"abc");
    world.run(ms(500));
    world.sim.reset(peer);
    world.run(ms(5000));
    assert_eq!(notes.take(), ["abc", "reset"]);
    assert_eq!(world.machines(), 0);
}

#[test]
fn half_close_goes_both_ways() {
    let mut world = World::new(true);
    server(&mut world, |cx, mut stream| {
        cx.write_all(&mut stream, b"that is all from me")?;
        cx.shutdown_write(&mut stream)?;
        let refused = cx.write_all(&mut stream, b"no, wait").unwrap_err();
        assert_eq!(
            refused.io().unwrap().kind(),
            rotor_fsm::IoErrorKind::ShutDown
        );
        let mut word = [0; 6];
        cx.read_exact(&mut stream, &mut word)?;
        assert_eq!(&word, b"thanks");
        assert_eq!(cx.read(&mut stream, &mut word), Ok(0));
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.run(ms(100));
    assert_eq!(&*world.sim.received(peer), b"that is all from me");
    assert!(world.sim.saw_eof(peer));
    world.sim.send(peer, b"thanks");
    world.sim.shutdown(peer);
    world.run(ms(100));
    assert_eq!(world.machines(), 1);
}
