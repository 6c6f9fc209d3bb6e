//! Listening sockets that come as descriptor 0, 1 or 2. A process of its own, and one test: standard input is everybody's.

mod common;
use common::*;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use uv_sys_wrap::*;

/// libuv never closes the descriptors of the standard streams, so none of them may become a socket of ours.
#[test]
fn u21_sockets_are_moved_above_the_standard_streams() {
    // SAFETY: 0 is open in a test, and nothing else here uses it until it is put back.
    let stdin = unsafe { OwnedFd::from_raw_fd(libc::dup(0)) };
    assert!(stdin.as_raw_fd() > 2);
    let listener = TcpListener::bind(any()).unwrap();
    let addr = listener.local_addr().unwrap();
    // SAFETY: 0 is replaced by the listener, and owned by `low` alone from here on.
    let low = unsafe {
        assert_eq!(libc::dup2(listener.as_raw_fd(), 0), 0);
        OwnedFd::from_raw_fd(0)
    };
    drop(listener);
    let handed = ListenSocket::from_fd(low).unwrap();
    assert!(handed.as_fd().as_raw_fd() > 2);
    // SAFETY: asks whether 0 is open; takes no pointer.
    let is_open = || unsafe { libc::fcntl(0, libc::F_GETFD) } >= 0;
    assert!(!is_open(), "moved, not copied");

    // With 0 free, whatever is made next would get it.
    let made = ListenSocket::tcp(any(), &ListenOptions::default()).unwrap();
    let clone = handed.try_clone().unwrap();
    for socket in [&made, &clone] {
        assert!(socket.as_fd().as_raw_fd() > 2);
    }
    assert!(!is_open());
    // SAFETY: puts standard input back where it was.
    assert_eq!(unsafe { libc::dup2(stdin.as_raw_fd(), 0) }, 0);

    // It listens as before.
    let mut world = World::silent();
    let acceptor = Acceptor::new(&world.uv, handed, Token(1)).unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    world.until_logged("1 Incoming", 1);
    assert!(acceptor.accept_fd().unwrap().is_some());
    drop(acceptor);
    world.end();
}
