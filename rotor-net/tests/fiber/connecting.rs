//! Listening, accepting, connecting; options and addresses.

use super::*;
use rotor_net::fiber::FiberError;
use std::net::TcpStream;

/// Connections that come while the fiber does something else wait for it, one here and the others in the kernel.
#[test]
fn connections_wait_until_they_are_accepted() {
    let mut world = World::new(true);
    let notes = Notes::default();
    let noted = notes.clone();
    world.spawn("slow", move |cx| {
        let mut listener = cx.listen(local(7))?;
        for n in 0..6 {
            cx.sleep(ms(100))?;
            let incoming = cx.within(ms(10)).accept(&mut listener)?;
            cx.write_all(&mut cx.open(incoming)?, &[b'0' + n])?;
        }
        noted.note("all");
        Ok(())
    });
    world.run(ms(1));
    let peers: Vec<_> = (0..6).map(|_| world.sim.connect(local(7))).collect();
    world.run(ms(50));
    assert!(world.sim.stats(&world.on).sockets <= 1, "the others wait");
    world.run(ms(1000));
    assert_eq!(notes.take(), ["all"]);
    let mut greetings: Vec<_> = (peers.iter())
        .flat_map(|&peer| world.sim.received(peer).to_vec())
        .collect();
    greetings.sort();
    assert_eq!(greetings, b"012345");
}

#[test]
fn a_connection_that_nobody_takes_is_refused() {
    run_for_real((), |cx| {
        let listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        drop(listener);
        cx.yield_now()?;
        let error = cx.within(PATIENCE).connect(at).unwrap_err();
        let FiberError::Io(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), rotor_fsm::IoErrorKind::Refused);
        Ok(())
    });
}

#[test]
fn options_and_addresses() {
    run_for_real((), |cx| {
        let mut listener = cx.listen(any_port())?;
        let at = cx.listening_at(&listener)?;
        let peer = TcpStream::connect(at.to_string())?;
        let incoming = cx.accept(&mut listener)?;
        let stream = cx.open(incoming)?;
        assert_eq!(cx.peer_addr(&stream)?, Addr::Tcp(peer.local_addr()?));
        assert_eq!(cx.local_addr(&stream)?, at);
        cx.set_nodelay(&stream, false)?;
        cx.set_keepalive(&stream, Some(Duration::from_secs(10)))?;
        drop(peer);
        Ok(())
    });
}
