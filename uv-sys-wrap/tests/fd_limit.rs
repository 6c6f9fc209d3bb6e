//! Out of descriptors (U15, and U1's other half). A process of its own, and one test: the limit belongs to
//! all threads.

mod common;
use common::*;
use std::io::Write;
use std::net::TcpStream;
use uv_sys_wrap::*;

/// Opens descriptors until there are no more.
fn exhaust() -> Vec<std::fs::File> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes one `rlimit`.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = 64;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn u15_out_of_descriptors_connections_wait_and_nothing_spins() {
    let mut world = World::silent();
    let acceptor = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let addr = acceptor.local_addr().unwrap();
    let mut clients = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
    world.until_logged("1 Incoming", 1);
    let files = exhaust();
    for _ in 0..3 {
        assert_eq!(acceptor.accept(Token(2)).unwrap_err().kind(), Kind::FdLimit);
    }
    world.logged();
    world.turns(20);
    assert_eq!(world.logged(), [""; 0], "polling has stopped");

    u01_a_failed_init_is_no_handle(&mut world);

    // With descriptors again, those who waited are served.
    drop(files);
    let first = acceptor.accept(Token(2)).unwrap().unwrap();
    world.until_logged("1 Incoming", 1);
    let second = acceptor.accept(Token(3)).unwrap().unwrap();
    for handle in [&first, &second] {
        world.uv.stream(handle.id()).read_start().unwrap();
    }
    clients.iter_mut().for_each(|client| client.write_all(b"hi").unwrap());
    world.until_logged("2 Read(2)", 1);
    world.until_logged("3 Read(2)", 1);
    drop((first, second, acceptor));
    world.end();
}

/// Signal handles need a pipe: this init fails, and leaves nothing to close.
fn u01_a_failed_init_is_no_handle(world: &mut World) {
    let before = world.uv.stats();
    for _ in 0..3 {
        assert_eq!(Signal::new(&world.uv, Token(9)).unwrap_err().kind(), Kind::FdLimit);
        let refused = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(9));
        assert_eq!(refused.unwrap_err().kind(), Kind::FdLimit);
        let tcp = Tcp::new(&world.uv, Token(9)).unwrap();
        assert_eq!(tcp.connect(any()).unwrap_err().kind(), Kind::FdLimit);
        assert_eq!(tcp.read_start().unwrap_err().kind(), Kind::NotConnected);
        drop(tcp);
        assert!(Loop::new(LoopConfig::default(), |_| Nobody).is_err());
        world.turns(2);
        assert_eq!(world.uv.stats(), before);
    }
}

struct Nobody;
impl Sink for Nobody {
    fn event(&mut self, _: Token, _: HandleId, _: Event<'_>) {}
}
