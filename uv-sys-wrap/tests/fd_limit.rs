//! Out of descriptors (U15). A process of its own, and one test: the limit belongs to
//! all threads.

mod common;
use common::*;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;
use uv_sys_wrap::*;

/// Opens descriptors until there are no more.
fn exhaust() -> Vec<std::fs::File> {
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
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn u15_out_of_descriptors_connections_wait_and_nothing_spins() {
    if slow() {
        // Valgrind imitates the limit by closing what it has already accepted.
        return;
    }
    // Every `Incoming` is answered with an `accept`, which fails while there are no descriptors.
    let (accepted, failed) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let (taken, refused) = (accepted.clone(), failed.clone());
    let mut world = World::new(move |uv, _, id, event| {
        if let Event::Incoming = event {
            match uv.acceptor(id).accept(Token(2)) {
                Ok(handle) => taken.borrow_mut().extend(handle),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::FdLimit);
                    refused.set(refused.get() + 1);
                }
            }
        }
    });
    let acceptor = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let addr = acceptor.local_addr().unwrap();
    let mut clients = [
        TcpStream::connect(addr).unwrap(),
        TcpStream::connect(addr).unwrap(),
    ];
    let files = exhaust();
    world.until("the refusal", || failed.get() > 0);
    for _ in 0..3 {
        assert_eq!(acceptor.accept(Token(2)).unwrap_err().kind(), Kind::FdLimit);
    }
    world.turns(20);
    assert_eq!(failed.get(), 1, "polling has stopped: nothing spins");

    what_needs_a_descriptor_fails_cleanly(&mut world);

    // With descriptors again, those who waited are served.
    drop(files);
    acceptor.resume().unwrap();
    world.until("both", || accepted.borrow().len() == 2);
    for handle in accepted.borrow().iter() {
        world.uv.stream(handle.id()).read_start().unwrap();
    }
    clients
        .iter_mut()
        .for_each(|client| client.write_all(b"hi").unwrap());
    world.until_logged("2 Read(2)", 2);
    assert_eq!(world.uv.stats().shed, 0);
    accepted.borrow_mut().clear();
    drop(acceptor);
    world.end();
}

/// Each fails with the same kind, and leaves nothing behind.
fn what_needs_a_descriptor_fails_cleanly(world: &mut World) {
    let before = world.uv.stats();
    for _ in 0..3 {
        let refused = Acceptor::tcp(&world.uv, any(), &ListenOptions::default(), Token(9));
        assert_eq!(refused.unwrap_err().kind(), Kind::FdLimit);
        let tcp = Tcp::new(&world.uv, Token(9)).unwrap();
        assert_eq!(tcp.connect(any()).unwrap_err().kind(), Kind::FdLimit);
        assert_eq!(tcp.read_start().unwrap_err().kind(), Kind::NotConnected);
        drop(tcp);
        assert!(Loop::new(LoopConfig::default(), |_| Nobody).is_err());
        world.turns(2);
        let now = world.uv.stats();
        assert_eq!(
            (now.handles_live, now.handles_closing),
            (before.handles_live, 0)
        );
        assert_eq!((now.requests_live, now.shed), (0, 0));
    }
}

struct Nobody;
impl Sink for Nobody {
    fn event(&mut self, _: Token, _: HandleId, _: Event<'_>) {}
}
