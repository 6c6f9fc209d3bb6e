//! SIGPIPE in a host whose `main` is not Rust's (U16). A process of its own: the disposition is shared.

mod common;
use common::*;
use std::io::IoSlice;
use uv_sys_wrap::*;

#[test]
fn u16_writing_to_a_closed_peer_is_an_error_not_a_death() {
    // SAFETY: installs the default action, as a C program has it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut world = World::silent();
    let (tcp, peer) = pair(&world, Token(1));
    drop(peer);
    let start = std::time::Instant::now();
    let error = loop {
        match tcp.try_write(&[IoSlice::new(&[0; 1024])]) {
            Ok(_) => assert!(start.elapsed() < PATIENCE),
            Err(error) => break error,
        }
        world.turns(1);
    };
    assert!(
        matches!(error.kind(), Kind::BrokenPipe | Kind::Reset),
        "{error}"
    );
    let (reads, writes) = std::io::pipe().unwrap();
    let pipe = Pipe::new(&world.uv, Token(2)).unwrap();
    pipe.open(writes.into()).unwrap();
    drop(reads);
    assert_eq!(
        pipe.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(),
        Kind::BrokenPipe
    );
    drop((tcp, pipe));
    world.end();
    // A handler that the host installed stays.
    extern "C" fn theirs(_: i32) {}
    // SAFETY: installs a handler that does nothing, and asks for it again.
    unsafe {
        libc::signal(
            libc::SIGPIPE,
            theirs as extern "C" fn(i32) as libc::sighandler_t,
        );
        World::silent().end();
        let now = libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        assert_eq!(now, theirs as extern "C" fn(i32) as libc::sighandler_t);
    }
}
