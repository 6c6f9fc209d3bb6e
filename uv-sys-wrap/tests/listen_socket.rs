//! Listening sockets without a loop (U21): made early, handed over, cloned, and given to an acceptor; whose the file of a
//! Unix socket is.

mod common;
use common::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use uv_sys_wrap::*;

/// The flags of a descriptor: of the open file, and of the descriptor itself.
fn flags(fd: &impl AsFd) -> (i32, i32) {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: asks about an open descriptor; takes no pointer.
    unsafe {
        (
            libc::fcntl(fd, libc::F_GETFL),
            libc::fcntl(fd, libc::F_GETFD),
        )
    }
}

/// A socket as another program may have left it: blocking, and kept by what is executed.
fn careless(fd: OwnedFd) -> OwnedFd {
    // SAFETY: sets the flags of an open descriptor; takes no pointer.
    unsafe {
        assert_eq!(libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0), 0);
        assert_eq!(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, 0), 0);
    }
    fd
}

/// A connection that waited in the backlog ends with its listener.
fn assert_ended(waiting: TcpStream) {
    match drain(waiting).join().unwrap() {
        Ok(bytes) => assert_eq!(bytes, b""),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

/// Takes one connection on a loop and reads from it what `client` wrote: five bytes.
fn serves_one(listening: ListenSocket, mut client: impl Read + Write) {
    let mut world = World::silent();
    let is_unix = listening.local_name().is_ok();
    let acceptor = Acceptor::new(&world.uv, listening, Token(1)).unwrap();
    let kind = world.uv.acceptor(acceptor.id()).is_unix();
    assert_eq!(kind.unwrap(), is_unix);
    client.write_all(b"hello").unwrap();
    world.until_logged("1 Incoming", 1);
    let handle = acceptor.accept(Token(2)).unwrap().unwrap();
    world.uv.stream(handle.id()).read_start().unwrap();
    world.until_logged("2 Read(5)", 1);
    drop((handle, acceptor));
    world.turns(2);
    world.end();
}

/// Bound before there is a loop; connections that came meanwhile wait for it.
#[test]
fn u21_a_socket_listens_before_its_loop_exists() {
    let tcp = ListenSocket::tcp(any(), &ListenOptions::default()).unwrap();
    let addr = tcp.local_addr().unwrap();
    assert!(addr.ip().is_loopback() && addr.port() != 0);
    assert_eq!(tcp.local_name().unwrap_err().kind(), Kind::Invalid);
    let (file, descriptor) = flags(&tcp);
    assert!(file & libc::O_NONBLOCK != 0 && descriptor & libc::FD_CLOEXEC != 0);
    let client = bounded(TcpStream::connect(addr).unwrap());
    let left = bounded(TcpStream::connect(addr).unwrap());
    // On a thread that did not make it.
    std::thread::spawn(move || serves_one(tcp, client))
        .join()
        .unwrap();
    assert_ended(left);
    // Nothing stays when listening fails.
    let taken = ListenSocket::tcp(any(), &ListenOptions::default()).unwrap();
    let error = ListenSocket::tcp(taken.local_addr().unwrap(), &ListenOptions::default());
    let error = error.unwrap_err();
    assert_eq!((error.op(), error.kind()), (Op::Bind, Kind::AddrInUse));
}

#[test]
fn u21_a_unix_socket_removes_the_file_it_made() {
    let dir = Dir::new("early");
    let path = dir.0.join("socket");
    let unix = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
    assert_eq!(unix.local_name().unwrap(), path);
    assert_eq!(unix.local_addr().unwrap_err().kind(), Kind::Invalid);
    let client = UnixStream::connect(&path).unwrap();
    serves_one(unix, client);
    assert!(!path.exists(), "removed with its acceptor");
    // Without an acceptor too.
    drop(ListenSocket::unix(&path, &ListenOptions::default()).unwrap());
    assert!(!path.exists());
    // Left for another, who then replaces it as a stale one.
    let mut left = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
    left.leave_file();
    drop(left);
    assert!(path.exists());
    drop(ListenSocket::unix(&path, &ListenOptions::default()).unwrap());
    assert!(!path.exists());
    assert!(ListenSocket::unix(&dir.0, &ListenOptions::default()).is_err());
    assert!(dir.0.is_dir(), "what is no socket is not replaced");
}

/// Handed over by whoever made it: it serves like an own one, whatever flags it came with.
#[test]
fn u21_a_handed_over_socket_serves_whatever_flags_it_had() {
    let dir = Dir::new("handed");
    let path = dir.0.join("socket");
    let tcp = TcpListener::bind(any()).unwrap();
    let addr = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(&path).unwrap();

    let tcp = ListenSocket::from_fd(careless(tcp.into())).unwrap();
    assert_eq!(tcp.local_addr().unwrap(), addr);
    assert_eq!(tcp.local_name().unwrap_err().kind(), Kind::Invalid);
    let unix = ListenSocket::from_fd(careless(unix.into())).unwrap();
    assert_eq!(unix.local_name().unwrap(), path);
    assert_eq!(unix.local_addr().unwrap_err().kind(), Kind::Invalid);
    for socket in [&tcp, &unix] {
        let (file, descriptor) = flags(socket);
        assert!(file & libc::O_NONBLOCK != 0, "accepting must not block");
        assert!(descriptor & libc::FD_CLOEXEC != 0);
    }

    let client = bounded(TcpStream::connect(addr).unwrap());
    serves_one(tcp, client);
    serves_one(unix, UnixStream::connect(&path).unwrap());
    assert!(path.exists(), "who made the file removes it");
    // IPv6 is TCP too; not every machine has it.
    if let Ok(v6) = TcpListener::bind("[::1]:0") {
        let at = v6.local_addr().unwrap();
        let v6 = ListenSocket::from_fd(v6.into()).unwrap();
        assert_eq!(v6.local_addr().unwrap(), at);
    }
}

/// Accepting twice from a blocking socket would hang; so would an acceptor that is told of a connection that is gone.
#[test]
fn u21_accepting_from_a_handed_over_socket_never_blocks() {
    let world = World::silent();
    let tcp = TcpListener::bind(any()).unwrap();
    let socket = ListenSocket::from_fd(careless(tcp.into())).unwrap();
    let acceptor = Acceptor::new(&world.uv, socket, Token(1)).unwrap();
    assert!(acceptor.accept_fd().unwrap().is_none());
    drop(acceptor);
    world.end();
}

/// Bound to an address, but not listening.
fn bound_tcp() -> OwnedFd {
    // SAFETY: makes a descriptor, which is nobody else's; binds it to an address that is complete.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        assert!(fd >= 0);
        let mut addr: libc::sockaddr_in = std::mem::zeroed();
        addr.sin_family = libc::AF_INET as libc::sa_family_t;
        addr.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let len = size_of_val(&addr) as libc::socklen_t;
        assert_eq!(libc::bind(fd, (&raw const addr).cast(), len), 0);
        OwnedFd::from_raw_fd(fd)
    }
}

/// A Unix socket that listens, but not for streams.
fn listening_for_packets(path: &Path) -> OwnedFd {
    // SAFETY: as above; the path is shorter than its field, whose rest is zero.
    unsafe {
        let fd = libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0);
        assert!(fd >= 0);
        let mut addr: libc::sockaddr_un = std::mem::zeroed();
        addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, &byte) in addr.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
            *to = byte as libc::c_char;
        }
        let len = size_of_val(&addr) as libc::socklen_t;
        assert_eq!(libc::bind(fd, (&raw const addr).cast(), len), 0);
        assert_eq!(libc::listen(fd, 1), 0);
        OwnedFd::from_raw_fd(fd)
    }
}

#[test]
fn u21_what_does_not_listen_is_invalid() {
    let dir = Dir::new("invalid");
    let listener = TcpListener::bind(any()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let pair = UnixStream::pair().unwrap();
    let bound = bound_tcp();
    let packets = listening_for_packets(&dir.0.join("packets"));
    let file = std::fs::File::create(dir.0.join("file")).unwrap();
    let (end, _other) = std::io::pipe().unwrap();
    let refused: [(&str, OwnedFd); 10] = [
        ("a file", file.into()),
        ("the end of a pipe", end.into()),
        ("a UDP socket", UdpSocket::bind(any()).unwrap().into()),
        (
            "a Unix datagram socket",
            UnixDatagram::unbound().unwrap().into(),
        ),
        ("a connected TCP socket", client.into()),
        (
            "an accepted TCP socket",
            listener.accept().unwrap().0.into(),
        ),
        ("a connected Unix socket", pair.0.into()),
        ("a bound TCP socket", bound),
        ("a socket that listens for packets", packets),
        ("a bound Unix datagram socket", {
            UnixDatagram::bind(dir.0.join("datagram")).unwrap().into()
        }),
    ];
    for (what, fd) in refused {
        let error = ListenSocket::from_fd(fd).expect_err(what);
        assert_eq!(
            (error.op(), error.kind()),
            (Op::Listen, Kind::Invalid),
            "{what}"
        );
    }
    // The descriptor that is refused is closed.
    let mut other = pair.1;
    assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
}

/// The socket lives as long as one of its descriptors, wherever they are.
#[test]
fn u21_clones_go_on_listening() {
    let first = ListenSocket::tcp(any(), &ListenOptions::default()).unwrap();
    let addr = first.local_addr().unwrap();
    let second = first.try_clone().unwrap();
    let third = second.try_clone().unwrap();
    assert_eq!(third.local_addr().unwrap(), addr);
    let (file, descriptor) = flags(&third);
    assert!(file & libc::O_NONBLOCK != 0 && descriptor & libc::FD_CLOEXEC != 0);
    drop(first);
    serves_one(second, bounded(TcpStream::connect(addr).unwrap()));
    // Two acceptors of one loop share it.
    let fourth = third.try_clone().unwrap();
    let mut world = World::silent();
    let acceptors = [
        Acceptor::new(&world.uv, third, Token(1)).unwrap(),
        Acceptor::new(&world.uv, fourth, Token(2)).unwrap(),
    ];
    let _clients = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
    let left = bounded(TcpStream::connect(addr).unwrap());
    let log = world.log.clone();
    world.until("an Incoming", move || !log.borrow().is_empty());
    let taken = acceptors.map(|acceptor| acceptor.accept_fd().unwrap());
    assert_eq!(taken.iter().flatten().count(), 2);
    world.turns(2);
    // The last one is closed.
    assert_ended(left);
    world.end();
}

/// The file is the first one's; a clone of a Unix socket still is one, and accepts pipes.
#[test]
fn u21_the_file_is_not_the_clones() {
    let dir = Dir::new("clones");
    let path = dir.0.join("socket");
    let first = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
    let second = first.try_clone().unwrap();
    drop(second);
    assert!(path.exists(), "a clone's end removes nothing");
    let second = first.try_clone().unwrap();
    let client = UnixStream::connect(&path).unwrap();
    drop(first);
    assert!(!path.exists());
    serves_one(second, client);
    // What one leaves, another may take over.
    let mut first = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
    let mut second = first.try_clone().unwrap();
    first.leave_file();
    second.own_file();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn u21_a_handed_over_file_is_removed_by_who_owns_it() {
    let dir = Dir::new("owned");
    let path = dir.0.join("socket");
    let options = ListenOptions::default();
    let handed = || ListenSocket::from_fd(UnixListener::bind(&path).unwrap().into()).unwrap();
    // Not asked for: it stays.
    drop(handed());
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    // Owned: it goes. Left after that: it stays.
    let mut owned = handed();
    owned.own_file();
    owned.own_file();
    drop(owned);
    assert!(!path.exists());
    let mut owned = handed();
    owned.own_file();
    owned.leave_file();
    drop(owned);
    assert!(path.exists());
    // Another's file at the same place is not removed.
    std::fs::remove_file(&path).unwrap();
    let mut owned = handed();
    owned.own_file();
    std::fs::rename(&path, dir.0.join("moved")).unwrap();
    let successor = UnixListener::bind(&path).unwrap();
    drop(owned);
    assert!(path.exists(), "a successor's");
    drop(successor);
    // Nothing to own: no file, or no Unix socket.
    let mut tcp = ListenSocket::tcp(any(), &options).unwrap();
    tcp.own_file();
    tcp.leave_file();
    std::fs::remove_file(&path).unwrap();
    let mut gone = handed();
    std::fs::remove_file(&path).unwrap();
    gone.own_file();
    std::fs::write(&path, b"precious").unwrap();
    drop(gone);
    assert!(path.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn u21_abstract_names_are_handed_over_too() {
    let name = format!("uv-sys-wrap-handed-{}", std::process::id());
    let abstract_name = UnixName::Abstract(name.as_bytes());
    let made = ListenSocket::unix(abstract_name, &ListenOptions::default()).unwrap();
    let mut handed = ListenSocket::from_fd(made.as_fd().try_clone_to_owned().unwrap()).unwrap();
    handed.own_file();
    drop(made);
    let expected = PathBuf::from(format!("\0{name}"));
    assert_eq!(handed.local_name().unwrap(), expected);
    let mut world = World::silent();
    let acceptor = Acceptor::new(&world.uv, handed, Token(1)).unwrap();
    assert!(world.uv.acceptor(acceptor.id()).is_unix().unwrap());
    let client = Pipe::new(&world.uv, Token(2)).unwrap();
    client.connect(abstract_name).unwrap();
    world.until_logged("2 Connected", 1);
    drop((acceptor, client));
    world.turns(2);
    world.end();
}

/// An acceptor says what it accepts, and can be told to leave its file.
#[test]
fn u21_an_acceptor_knows_its_kind_and_leaves_its_file() {
    let dir = Dir::new("left");
    let path = dir.0.join("socket");
    let options = ListenOptions::default();
    let mut world = World::silent();
    let tcp = Acceptor::tcp(&world.uv, any(), &options, Token(1)).unwrap();
    let unix = Acceptor::unix(&world.uv, &path, &options, Token(2)).unwrap();
    let (tcp_id, unix_id) = (tcp.id(), unix.id());
    assert!(!world.uv.acceptor(tcp_id).is_unix().unwrap());
    assert!(world.uv.acceptor(unix_id).is_unix().unwrap());
    world.uv.acceptor(tcp_id).leave_file().unwrap();
    world.uv.acceptor(unix_id).leave_file().unwrap();
    drop((tcp, unix));
    world.turns(2);
    assert!(path.exists());
    for id in [tcp_id, unix_id] {
        let gone = world.uv.acceptor(id);
        assert_eq!(gone.is_unix().unwrap_err().kind(), Kind::Closed);
        assert_eq!(gone.leave_file().unwrap_err().kind(), Kind::Closed);
    }
    let timer = Timer::new(&world.uv, Token(3)).unwrap();
    let wrong = world.uv.acceptor(timer.id());
    assert_eq!(wrong.is_unix().unwrap_err().kind(), Kind::WrongKind);
    assert_eq!(wrong.leave_file().unwrap_err().kind(), Kind::WrongKind);
    drop(timer);
    world.end();
}

/// On a loop that is over, an acceptor is refused, and its socket closes.
#[test]
fn u21_an_acceptor_needs_a_live_loop() {
    let dir = Dir::new("late");
    let path = dir.0.join("socket");
    let world = World::silent();
    let uv = world.uv.clone();
    world.end();
    let socket = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
    let error = Acceptor::new(&uv, socket, Token(1)).unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert!(!path.exists());
}

#[test]
fn handles_are_made_up_front_as_many_as_asked_and_allowed() {
    let config = LoopConfig {
        handles_max: 500,
        ..LoopConfig::default()
    };
    let mut world = World::with(config, |_, _, _, _| ());
    world.uv.prepare_handles(300);
    let made = world.uv.stats().slots;
    assert!((300..364).contains(&made), "{made}");
    let timers: Vec<Timer> = (0..300)
        .map(|n| Timer::new(&world.uv, Token(n)).unwrap())
        .collect();
    assert_eq!(world.uv.stats().slots, made);
    // Enough are there already; and never more than there may be.
    world.uv.prepare_handles(10);
    assert_eq!(world.uv.stats().slots, made);
    world.uv.prepare_handles(usize::MAX);
    let all = world.uv.stats().slots;
    assert!((500..564).contains(&all), "{all}");
    let more: Vec<Timer> = (0..200)
        .map(|n| Timer::new(&world.uv, Token(n)).unwrap())
        .collect();
    let beyond = Timer::new(&world.uv, Token(9)).unwrap_err();
    assert_eq!(beyond.kind(), Kind::Limit);
    drop((timers, more));
    world.turns(3);
    world.end();
}
