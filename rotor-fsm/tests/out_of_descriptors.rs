//! Out of descriptors, a connection that is taken by hand goes on waiting (U15). A process of its own, and one test: the
//! limit belongs to all threads.

#[path = "rules/common.rs"]
mod common;

use common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{IoErrorKind, ListenOptions, ListenSocket, Op};
use std::cell::RefCell;
use std::fs::File;
use std::net::TcpStream;
use std::rc::Rc;

/// Opens descriptors until there are no more.
fn exhaust() -> Vec<File> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads and writes one `rlimit`.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = 64;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn u15_out_of_descriptors_accept_says_so_and_the_connection_waits() {
    if slow() {
        // Valgrind imitates the limit by closing what it has already accepted.
        return;
    }
    let _dog = watchdog();
    let options = ListenOptions::default();
    let socket = ListenSocket::tcp(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let to = socket.local_addr().unwrap();
    let mut clients = [client(to), client(to)];
    let mut main_loop = noting(Config::default());
    let files = Rc::new(RefCell::new(Vec::new()));
    let (mut socket, mut listener, mut round) = (Some(socket), None, 0);
    let (full, mut taken): (_, Vec<TcpStream>) = (files.clone(), Vec::new());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            match on {
                On::Create => {
                    listener = Some(scope.listen_on(socket.take().unwrap())?);
                    *full.borrow_mut() = exhaust();
                    return after(ms(30));
                }
                On::Io(Io::Waiting, _) => scope.ctx.push("waiting".into()),
                On::Timeout => {
                    round += 1;
                    scope.ctx.push(format!("round {round}"));
                }
                on => panic!("{on:?}"),
            }
            match scope.accept(listener.as_ref().unwrap()) {
                Ok(Some(connection)) => {
                    use std::os::fd::AsFd;
                    taken.push(connection.as_fd().try_clone_to_owned()?.into());
                    scope.ctx.push("taken".into());
                }
                Ok(None) => scope.ctx.push("none".into()),
                Err(error) => {
                    assert_eq!(
                        (error.op(), error.kind()),
                        (Op::Accept, IoErrorKind::FdLimit)
                    );
                    scope.ctx.push("refused".into());
                    if round == 2 {
                        // Somebody else closes something.
                        full.borrow_mut().clear();
                    }
                    return after(ms(30));
                }
            }
            if taken.len() == 2 { done() } else { stay() }
        }))
        .unwrap();
    main_loop.run().unwrap();
    let expected = [
        "waiting", "refused", "round 1", "refused", "round 2", "refused", "round 3", "taken",
        "waiting", "taken",
    ];
    assert_eq!(notes(&mut main_loop), expected, "told once: nothing spins");
    for stream in &mut clients {
        assert!(drain(stream).is_empty());
    }
}
