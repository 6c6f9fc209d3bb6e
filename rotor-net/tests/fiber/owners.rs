//! Whose a stream is: other fibers cannot use it, and it can be handed over.

use super::*;
use rotor_net::fiber::FiberError;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The context of fibers that give each other what is not theirs.
#[derive(Default)]
struct Table {
    stream: Option<FiberStream>,
}

#[test]
fn a_stream_in_the_hands_of_another_fiber_is_a_named_error() {
    run_for_real(Table::default(), |cx| {
        let mut listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        let mut peer = TcpStream::connect(at.to_string())?;
        let incoming = cx.accept(&mut listener)?;
        let stream = cx.open(incoming)?;
        cx.with_context(|table| table.stream = Some(stream))?;
        let parent = cx.notifier()?;
        let thief = cx.stacks().fiber("thief", move |cx: &Cx<Table, u32>| {
            let mut stream = cx.with_context(|table| table.stream.take().expect("it is there"))?;
            let other = Err(FiberError::OtherFiber);
            assert_eq!(cx.read(&mut stream, &mut [0; 1]), other);
            assert_eq!(cx.write_all(&mut stream, b"x").map(|()| 0), other);
            assert_eq!(cx.flush(&mut stream).map(|()| 0), other);
            let mut line = Vec::new();
            let line = cx.read_until(&mut stream, b"\n", 9, &mut line);
            assert_eq!(line.map(|_| 0), other);
            assert_eq!(cx.shutdown_write(&mut stream).map(|()| 0), other);
            assert_eq!(cx.set_nodelay(&stream, true).map(|()| 0), other);
            let error = stream.read(&mut [0; 1]).unwrap_err();
            let inside = error.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(inside, Some(&FiberError::OtherFiber));
            assert!(stream.write(b"x").is_err() && stream.flush().is_err());
            // Dropped by the wrong fiber, it is closed all the same.
            drop(stream);
            parent.send(1)?;
            Ok(())
        })?;
        cx.spawn(thief)?;
        assert_eq!(cx.within(PATIENCE).recv(), Ok(1));
        peer.set_read_timeout(Some(PATIENCE))?;
        assert_eq!(peer.read(&mut [0; 1])?, 0, "closed");
        Ok(())
    });
}

#[test]
fn a_stream_that_outlives_its_fiber_is_of_no_use() {
    let notes = Rc::new(RefCell::new(None));
    let kept = notes.clone();
    run_for_real((), move |cx| {
        let listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        *kept.borrow_mut() = Some((cx.connect(at)?, listener));
        Ok(())
    });
    let (mut stream, _listener) = notes.take().unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    let inside = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert_eq!(inside, Some(&FiberError::OtherFiber));
    assert!(stream.write(b"x").is_err());
}

/// A loop inside a fiber of another loop: the inner fiber cannot use what is the outer one's, although that one runs.
#[test]
fn a_fiber_inside_of_a_fiber_is_another_fiber() {
    run_for_real((), |cx| {
        let mut listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        let stream = Rc::new(RefCell::new(cx.connect(at)?));
        let inner = stream.clone();
        let stacks = Stacks::new(StackConfig::default())?;
        let seed = stacks.fiber("inner", move |cx: &Plainly| {
            let error = inner.borrow_mut().read(&mut [0; 1]).unwrap_err();
            let inside = error.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(inside, Some(&FiberError::OtherFiber));
            Ok(cx.sleep(ms(1))?)
        })?;
        let (config, _) = noting(true);
        let mut inner_loop = Loop::<Plain>::new(config, |_| Ok(()))?;
        inner_loop.spawn::<Plain>(seed)?;
        inner_loop.run()?;
        drop(inner_loop);
        // And afterwards the outer one is the one that runs again.
        let incoming = cx.accept(&mut listener)?;
        cx.write_all(&mut cx.open(incoming)?, b"x")?;
        assert_eq!(stream.borrow_mut().read(&mut [0; 2])?, 1);
        Ok(())
    });
}

#[test]
fn a_connection_can_be_handed_to_another_fiber() {
    run_for_real((), |cx| {
        let mut listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        let mut peer = TcpStream::connect(at.to_string())?;
        peer.set_read_timeout(Some(PATIENCE))?;
        peer.write_all(b"first\nmore")?;
        let incoming = cx.accept(&mut listener)?;
        let mut stream = cx.open(incoming)?;
        let mut line = Vec::new();
        let within = cx.within(PATIENCE);
        assert_eq!(
            within.read_until(&mut stream, b"\n", 9, &mut line),
            Ok(true)
        );
        let incoming = cx.accept_from_first(stream)?;
        let parent = cx.notifier()?;
        let second = cx.stacks().fiber("second", move |cx| {
            let mut stream = cx.open(incoming)?;
            cx.write_all(&mut stream, b"welcome")?;
            let mut more = [0; 4];
            cx.within(PATIENCE).read_exact(&mut stream, &mut more)?;
            assert_eq!(&more, b"even");
            drop(stream);
            parent.send(1)?;
            Ok(())
        })?;
        cx.spawn(second)?;
        cx.sleep(ms(1))?;
        let mut welcome = [0; 7];
        peer.read_exact(&mut welcome)?;
        assert_eq!(&welcome, b"welcome");
        peer.write_all(b"even")?;
        assert_eq!(within.recv(), Ok(1));
        drop(peer);
        Ok(())
    });
}

trait HandOver {
    fn accept_from_first(&self, stream: FiberStream) -> Result<Incoming, FiberError>;
}

impl HandOver for Plainly<'_> {
    /// Unread input must not be lost: it is read first.
    fn accept_from_first(&self, mut stream: FiberStream) -> Result<Incoming, FiberError> {
        let mut more = [0; 4];
        self.within(PATIENCE).read_exact(&mut stream, &mut more)?;
        assert_eq!(&more, b"more");
        self.hand_over(stream)
    }
}

#[test]
fn a_connection_with_unread_input_is_not_handed_over() {
    let mut world = World::new(true);
    streams::server(&mut world, |cx, mut stream| {
        cx.sleep(ms(100))?;
        cx.read_exact(&mut stream, &mut [0; 1])?;
        let refused = cx.hand_over(stream).unwrap_err();
        assert_eq!(refused.io().unwrap().kind(), rotor_fsm::IoErrorKind::Busy);
        Ok(())
    });
    let peer = world.sim.connect(local(7));
    world.sim.send(peer, b"ab");
    world.sim.shutdown(peer);
    world.run(ms(1000));
    assert!(world.sim.saw_eof(peer));
    assert_eq!(world.machines(), 1);
}
