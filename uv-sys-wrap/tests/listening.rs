//! Listeners and acceptors (U14, U17, U21), Unix sockets.

mod common;
use common::*;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use uv_sys_wrap::*;

fn listen(uv: &Uv, addr: SocketAddr) -> Result<Tcp> {
    let tcp = Tcp::new(uv, Token(1))?;
    tcp.bind(addr, BindOptions::default())?;
    tcp.listen(64)?;
    Ok(tcp)
}

#[test]
fn u14_an_address_in_use_is_a_bind_error() {
    let world = World::silent();
    let first = listen(&world.uv, any()).unwrap();
    let addr = first.local_addr().unwrap();
    let second = Tcp::new(&world.uv, Token(2)).unwrap();
    let error = second.bind(addr, BindOptions::default()).unwrap_err();
    assert_eq!((error.op(), error.kind()), (Op::Bind, Kind::AddrInUse));
    // The handle may still bind elsewhere.
    second.bind(any(), BindOptions::default()).unwrap();
    second.listen(1).unwrap();
    let error = Acceptor::tcp(&world.uv, addr, &ListenOptions::default(), Token(3)).unwrap_err();
    assert_eq!((error.op(), error.kind()), (Op::Bind, Kind::AddrInUse));
    let elsewhere = "203.0.113.1:0".parse().unwrap();
    let error = listen(&world.uv, elsewhere).unwrap_err();
    assert_eq!(
        (error.op(), error.kind()),
        (Op::Bind, Kind::AddrNotAvailable)
    );
    drop((first, second));
    world.end();
}

#[test]
fn reuse_port_shares_and_ipv6_works() {
    let mut world = World::silent();
    let shared = BindOptions {
        reuse_port: true,
        ipv6_only: false,
    };
    let first = Tcp::new(&world.uv, Token(1)).unwrap();
    first.bind(any(), shared).unwrap();
    first.listen(1).unwrap();
    let second = Tcp::new(&world.uv, Token(2)).unwrap();
    second.bind(first.local_addr().unwrap(), shared).unwrap();
    second.listen(1).unwrap();
    let options = ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    };
    let third = Acceptor::tcp(&world.uv, first.local_addr().unwrap(), &options, Token(3)).unwrap();
    drop((first, second, third));
    let v4_only_v6 = BindOptions {
        ipv6_only: true,
        ..BindOptions::default()
    };
    let tcp = Tcp::new(&world.uv, Token(1)).unwrap();
    assert_eq!(
        tcp.bind(any(), v4_only_v6).unwrap_err().kind(),
        Kind::Invalid
    );
    // Not every machine has IPv6.
    if TcpListener::bind("[::1]:0").is_ok() {
        let v6 = "[::1]:0".parse().unwrap();
        let options = ListenOptions {
            ipv6_only: true,
            ..ListenOptions::default()
        };
        let acceptor = Acceptor::tcp(&world.uv, v6, &options, Token(4)).unwrap();
        let addr = acceptor.local_addr().unwrap();
        assert!(addr.is_ipv6() && addr.port() != 0);
        let client = Tcp::new(&world.uv, Token(5)).unwrap();
        client.connect(addr).unwrap();
        world.until_logged("5 Connected", 1);
        assert_eq!(client.peer_addr().unwrap(), addr);
        let accepted = acceptor.accept(Token(6)).unwrap().unwrap();
        let local = world.uv.stream(accepted.id()).local_addr().unwrap();
        assert_eq!(local, addr);
    }
    drop(tcp);
    world.turns(2);
    world.end();
}

#[test]
fn u17_not_accepting_is_the_backpressure() {
    let mut world = World::silent();
    let listener = listen(&world.uv, any()).unwrap();
    let addr = listener.local_addr().unwrap();
    let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
    world.until_logged("1 Incoming", 1);
    world.turns(5);
    assert_eq!(
        world.logged(),
        ["1 Incoming"],
        "only the first is announced"
    );
    for token in 10..13 {
        let accepted = listener.accept(Token(token)).unwrap();
        assert!(
            clients
                .iter()
                .any(|client| client.local_addr().unwrap() == accepted.peer_addr().unwrap())
        );
        if token < 12 {
            world.until_logged("1 Incoming", 1);
            world.logged();
        }
    }
    world.turns(3);
    assert_eq!(world.logged(), [""; 0]);
    assert_eq!(
        listener.accept(Token(13)).unwrap_err().kind(),
        Kind::WouldBlock
    );
    // A connection that waits inside libuv is closed with the listener.
    let waiting = bounded(TcpStream::connect(addr).unwrap());
    world.until_logged("1 Incoming", 1);
    drop(listener);
    world.turns(2);
    let end = drain(waiting).join().unwrap();
    assert!(end.map_or(true, |bytes| bytes.is_empty()));
    world.end();
}

#[test]
fn u21_an_acceptor_takes_many_connections_in_one_event() {
    let accepted: Rc<RefCell<Vec<Handle>>> = Rc::default();
    let most: Rc<RefCell<usize>> = Rc::default();
    let (taken, in_one) = (accepted.clone(), most.clone());
    let mut world = World::new(move |uv, _, id, event| {
        assert!(matches!(event, Event::Incoming));
        let before = taken.borrow().len();
        for _ in 0..64 {
            match uv.acceptor(id).accept(Token(5)).unwrap() {
                Some(handle) => taken.borrow_mut().push(handle),
                None => break,
            }
        }
        let now = taken.borrow().len() - before;
        in_one.replace_with(|most| now.max(*most));
    });
    let acceptor = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let addr = acceptor.local_addr().unwrap();
    let clients: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let all = accepted.clone();
    world.until("all", move || all.borrow().len() == clients.len());
    assert!(*most.borrow() > 1, "more than libuv's one a turn");
    accepted.borrow_mut().clear();
    drop(acceptor);
    world.end();
}

#[test]
fn u21_accepted_connections_work_and_may_go_to_another_loop() {
    let mut world = World::silent();
    let acceptor = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let addr = acceptor.local_addr().unwrap();
    assert!(acceptor.accept(Token(2)).unwrap().is_none());
    let mut client = bounded(TcpStream::connect(addr).unwrap());
    world.until_logged("1 Incoming", 1);
    let handle = acceptor.accept(Token(2)).unwrap().unwrap();
    let stream = world.uv.stream(handle.id());
    assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
    stream.nodelay(true).unwrap();
    stream.read_start().unwrap();
    client.write_all(b"hello").unwrap();
    world.until_logged("2 Read(5)", 1);
    // As a descriptor, to a loop of another thread.
    let mut client = bounded(TcpStream::connect(addr).unwrap());
    world.until_logged("1 Incoming", 2);
    let fd = acceptor.accept_fd().unwrap().unwrap();
    let worker = std::thread::spawn(move || {
        let mut world = World::silent();
        let tcp = Tcp::new(&world.uv, Token(9)).unwrap();
        tcp.open(fd).unwrap();
        tcp.write(b"from afar".to_vec().into()).unwrap();
        world.until_logged("9 Written(9)", 1);
        drop(tcp);
        world.end();
    });
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from afar");
    worker.join().unwrap();
    drop((handle, acceptor));
    world.end();
}

#[test]
fn u21_an_acceptor_that_nobody_asks_does_not_spin() {
    let mut world = World::silent();
    let acceptor = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let addr = acceptor.local_addr().unwrap();
    let _clients = [
        TcpStream::connect(addr).unwrap(),
        TcpStream::connect(addr).unwrap(),
    ];
    world.until_logged("1 Incoming", 1);
    world.turns(10);
    assert_eq!(world.logged(), ["1 Incoming"]);
    let first = acceptor.accept(Token(2)).unwrap().unwrap();
    world.until_logged("1 Incoming", 1);
    // Paused, it says nothing, though one still waits.
    acceptor.pause().unwrap();
    acceptor.pause().unwrap();
    world.turns(5);
    assert_eq!(world.logged(), ["1 Incoming"]);
    acceptor.resume().unwrap();
    acceptor.resume().unwrap();
    world.until_logged("1 Incoming", 1);
    // Accepting while paused works, and stays paused.
    acceptor.pause().unwrap();
    let second = acceptor.accept(Token(3)).unwrap().unwrap();
    world.logged();
    let _third = TcpStream::connect(addr).unwrap();
    world.turns(5);
    assert_eq!(world.logged(), [""; 0]);
    drop((first, second, acceptor));
    world.end();
}

#[test]
fn u21_at_the_limit_of_handles_connections_wait() {
    // The acceptor, the world's timer, and one connection.
    let config = LoopConfig {
        handles_max: 3,
        ..LoopConfig::default()
    };
    let mut world = World::with(config, |_, _, _, _| ());
    let acceptor = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let addr = acceptor.local_addr().unwrap();
    let _one = TcpStream::connect(addr).unwrap();
    let mut two = bounded(TcpStream::connect(addr).unwrap());
    world.until_logged("1 Incoming", 1);
    let first = acceptor.accept(Token(2)).unwrap().unwrap();
    assert_eq!(acceptor.accept(Token(2)).unwrap_err().kind(), Kind::Limit);
    world.logged();
    world.turns(5);
    assert_eq!(world.logged(), [""; 0], "no spinning");
    drop(first);
    world.turns(2);
    let second = acceptor.accept(Token(3)).unwrap().unwrap();
    world.uv.stream(second.id()).read_start().unwrap();
    two.write_all(b"waited").unwrap();
    world.until_logged("3 Read(6)", 1);
    assert_eq!(world.uv.stats().shed, 0);
    drop((second, acceptor));
    world.end();
}

#[test]
fn u21_a_stale_socket_file_is_replaced_a_live_one_is_in_use() {
    let dir = Dir::new("stale");
    let path = dir.0.join("socket");
    let mut world = World::silent();
    let options = ListenOptions::default();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves its file behind");
    let acceptor = Acceptor::unix(&world.uv, &path, &options, Token(1)).unwrap();
    let error = Acceptor::unix(&world.uv, &path, &options, Token(2)).unwrap_err();
    assert_eq!((error.op(), error.kind()), (Op::Bind, Kind::AddrInUse));
    // The probe looked to the live one like a client that leaves at once.
    drop(acceptor.accept(Token(2)).unwrap().unwrap());
    let mut client = UnixStream::connect(&path).unwrap();
    world.until_logged("1 Incoming", 1);
    let handle = acceptor.accept(Token(3)).unwrap().unwrap();
    world.uv.stream(handle.id()).read_start().unwrap();
    client.write_all(b"unix").unwrap();
    world.until_logged("3 Read(4)", 1);
    assert_eq!(
        world.uv.stream(handle.id()).peer_addr().unwrap_err().kind(),
        Kind::WrongKind
    );
    assert_eq!(acceptor.local_addr().unwrap_err().kind(), Kind::Invalid);
    drop(acceptor);
    world.turns(2);
    assert!(!path.exists(), "removed with its acceptor");
    // A file that is no socket is nobody's to remove; neither is a successor's socket.
    std::fs::write(&path, b"precious").unwrap();
    let error = Acceptor::unix(&world.uv, &path, &options, Token(1)).unwrap_err();
    assert_eq!(error.kind(), Kind::AddrInUse);
    std::fs::remove_file(&path).unwrap();
    let acceptor = Acceptor::unix(&world.uv, &path, &options, Token(1)).unwrap();
    std::fs::rename(&path, dir.0.join("moved")).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(acceptor);
    world.turns(2);
    assert!(path.exists(), "another's");
    drop(handle);
    world.end();
}

#[test]
fn pipes_listen_connect_and_carry_bytes() {
    let dir = Dir::new("pipe");
    let path = dir.0.join("socket");
    let mut world = World::silent();
    let listener = Pipe::new(&world.uv, Token(1)).unwrap();
    assert_eq!(listener.bind("").unwrap_err().kind(), Kind::Invalid);
    listener.bind(&path).unwrap();
    listener.listen(8).unwrap();
    assert_eq!(listener.local_name().unwrap(), path);
    let again = Pipe::new(&world.uv, Token(1)).unwrap();
    assert_eq!(again.bind(&path).unwrap_err().kind(), Kind::AddrInUse);
    let client = Pipe::new(&world.uv, Token(2)).unwrap();
    client.connect(&path).unwrap();
    world.until_logged("2 Connected", 1);
    assert_eq!(client.peer_name().unwrap(), path);
    world.until_logged("1 Incoming", 1);
    let server = listener.accept(Token(3)).unwrap();
    assert_eq!(client.nodelay_is_for_tcp(&world.uv), Kind::WrongKind);
    server.read_start().unwrap();
    client.write(b"over unix".to_vec().into()).unwrap();
    client.shutdown().unwrap();
    world.until_logged("3 Eof", 1);
    assert!(world.logged().contains(&"3 Read(9)".to_string()));
    drop((listener, again));
    world.turns(2);
    assert!(!path.exists());
    // Nobody there: told by an event, like TCP.
    let lost = Pipe::new(&world.uv, Token(4)).unwrap();
    lost.connect(&path).unwrap();
    world.until_logged("4 Failed(NotFound)", 1);
    assert_eq!(lost.connect(&path).unwrap_err().kind(), Kind::Invalid);
    drop((client, server, lost));
    world.end();
}

trait WrongKind {
    fn nodelay_is_for_tcp(&self, uv: &Uv) -> Kind;
}

impl WrongKind for Pipe {
    fn nodelay_is_for_tcp(&self, uv: &Uv) -> Kind {
        uv.stream(self.id()).nodelay(true).unwrap_err().kind()
    }
}

#[test]
#[cfg(target_os = "linux")]
fn abstract_names_need_no_file() {
    let name = format!("uv-sys-wrap-{}", std::process::id());
    let name = UnixName::Abstract(name.as_bytes());
    let mut world = World::silent();
    let acceptor = Acceptor::unix(&world.uv, name, &ListenOptions::default(), Token(1)).unwrap();
    let client = Pipe::new(&world.uv, Token(2)).unwrap();
    client.connect(name).unwrap();
    world.until_logged("2 Connected", 1);
    world.until_logged("1 Incoming", 1);
    drop(acceptor.accept(Token(3)).unwrap().unwrap());
    client.read_start().unwrap();
    world.until_logged("2 Eof", 1);
    drop((acceptor, client));
    world.end();
}
