//! Streams: reading, writing, ending, resetting (U7–U10, U19, U20), and libuv's own order of things.

mod common;
use common::*;
use std::cell::{Cell, RefCell};
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use uv_sys_wrap::*;

/// A world that collects what it reads.
fn collecting(config: LoopConfig) -> (World, Rc<RefCell<Vec<u8>>>) {
    let all: Rc<RefCell<Vec<u8>>> = Rc::default();
    let sink = all.clone();
    let world = World::with(config, move |_, _, _, event| {
        if let Event::Read(buf) = event {
            sink.borrow_mut().extend_from_slice(&buf);
        }
    });
    (world, all)
}

/// An address that nobody listens on.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind(any()).unwrap().local_addr().unwrap()
}

#[test]
fn u07_an_exhausted_pool_neither_stalls_nor_spins() {
    let mut config = LoopConfig::default();
    config.pool.block_bytes = 4096;
    config.pool.blocks_max = 2;
    config.pool.chunk_blocks = 1;
    config.pool.overflow_bytes_max = 16 << 10;
    let total = sized(2 << 20);
    let chunks: Rc<RefCell<Vec<Chunk>>> = Rc::default();
    let (refused, seen, empty) = (
        Rc::new(Cell::new(0)),
        Rc::new(Cell::new(0)),
        Rc::new(Cell::new(0)),
    );
    let (kept, refusals, bytes, empties) =
        (chunks.clone(), refused.clone(), seen.clone(), empty.clone());
    let mut world = World::with(config, move |_, _, _, event| match event {
        Event::Read(buf) => {
            bytes.set(bytes.get() + buf.len());
            empties.set(empties.get() + usize::from(buf.is_empty()));
            match buf.keep(..) {
                Ok(chunk) => kept.borrow_mut().push(chunk),
                Err(error) => {
                    assert_eq!(error, PoolError::Limit);
                    refusals.set(refusals.get() + 1);
                }
            }
        }
        event => panic!("{event:?}"),
    });
    let (tcp, peer) = pair(&world, Token(1));
    tcp.read_start().unwrap();
    let peer = feed(peer, pattern(total));
    let count = seen.clone();
    world.until("all bytes", move || count.get() == total);
    assert!(
        refused.get() > 0 && !chunks.borrow().is_empty(),
        "the pool was exhausted"
    );
    assert_eq!(empty.get(), 0);
    peer.join().unwrap();
    world.end();
    // Chunks outlive the loop and its pool.
    let first = chunks.borrow_mut().remove(0);
    assert_eq!(first[..], pattern(first.len())[..]);
}

#[test]
fn u07_idle_connections_hold_no_block() {
    let (mut world, all) = collecting(LoopConfig::default());
    let pairs: Vec<_> = (0..20).map(|_| pair(&world, Token(1))).collect();
    for (tcp, mut peer) in pairs.iter().map(|(tcp, peer)| (tcp, peer)) {
        tcp.read_start().unwrap();
        peer.write_all(b"hello").unwrap();
    }
    world.until("all bytes", || all.borrow().len() == 100);
    let stats = world.uv.pool().stats();
    assert_eq!(stats.blocks_kept, 0, "{stats:?}");
    drop(pairs);
    world.end();
}

#[test]
fn u08_eagain_is_no_event_and_eof_is_one() {
    // A read that fills the buffer makes libuv read again, which finds nothing: a count of zero.
    let mut config = LoopConfig::default();
    config.pool.block_bytes = 4096;
    let mut world = World::with(config, |_, _, _, _| ());
    let (tcp, mut peer) = pair(&world, Token(1));
    peer.write_all(&[1; 4096]).unwrap();
    tcp.read_start().unwrap();
    world.until_logged("1 Read(4096)", 1);
    world.turns(3);
    assert_eq!(world.logged(), ["1 Read(4096)"]);
    // EOF with nothing to read before it, once.
    drop(peer);
    world.until_logged("1 Eof", 1);
    world.turns(5);
    assert_eq!(world.logged(), ["1 Eof"]);
    // A second start is allowed, and says it again.
    tcp.read_start().unwrap();
    world.until_logged("1 Eof", 1);
    drop(tcp);
    world.end();
}

#[test]
fn u09_output_keeps_its_order_whichever_way_it_was_written() {
    let mut world = World::silent();
    let (tcp, peer) = pair(&world, Token(1));
    let total = sized(12 << 20).max(8 << 20);
    let bytes = pattern(total);
    let peer = std::thread::spawn(move || {
        // Start late, so that the socket fills up.
        std::thread::sleep(std::time::Duration::from_millis(50));
        drain(peer).join().unwrap()
    });
    let (mut sent, mut direct, mut refused, mut size) = (0, 0, 0, 1);
    while sent < total {
        size = (size * 7 + 3) % 60_000 + 1;
        let end = (sent + size).min(total);
        let (left, right) = bytes[sent..end].split_at((end - sent) / 2);
        let wrote = tcp
            .try_write(&[IoSlice::new(left), IoSlice::new(right)])
            .unwrap();
        direct += wrote;
        refused += usize::from(wrote == 0);
        if sent + wrote < end {
            let mut bufs = WriteBufs::new();
            // Five parts: one more than libuv keeps inline. Empty ones are skipped.
            let rest = &bytes[sent + wrote..end];
            for part in [
                &rest[..0],
                &rest[..rest.len() / 3],
                &rest[rest.len() / 3..],
                &[],
                &[],
            ] {
                bufs.push(part.to_vec());
            }
            tcp.write(bufs).unwrap();
            assert!(tcp.write_queue_bytes().unwrap() > 0);
            assert_eq!(
                tcp.try_write(&[IoSlice::new(b"!")]).unwrap(),
                0,
                "never past the queue"
            );
        }
        sent = end;
    }
    assert!(direct > 0 && refused > 0, "both ways were used");
    tcp.shutdown().unwrap();
    world.until_logged("1 ShutDown", 1);
    assert!(peer.join().unwrap().unwrap() == bytes);
    drop(tcp);
    world.end();
}

#[test]
fn u09_nothing_overtakes_the_queue_even_if_the_socket_has_room() {
    let mut world = World::silent();
    let (tcp, mut peer) = pair(&world, Token(1));
    let mut bytes = pattern(16 << 20);
    tcp.write(bytes.clone().into()).unwrap();
    let queued = tcp.write_queue_bytes().unwrap();
    assert!(queued > 0);
    // The peer takes all that has been sent: now there is room, but our queue comes first.
    let mut got = vec![0; bytes.len() - queued];
    peer.read_exact(&mut got).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(tcp.try_write(&[IoSlice::new(b"overtakes")]).unwrap(), 0);
    tcp.write(b"last".to_vec().into()).unwrap();
    tcp.shutdown().unwrap();
    let peer = drain(peer);
    world.until_logged("1 ShutDown", 1);
    got.extend(peer.join().unwrap().unwrap());
    bytes.extend(b"last");
    assert!(got == bytes);
    drop(tcp);
    world.end();
}

#[test]
fn u09_a_refused_write_gives_the_buffers_back_and_calls_nobody() {
    let mut world = World::silent();
    let (tcp, peer) = pair(&world, Token(1));
    tcp.read_start().unwrap();
    // A reset peer: reading fails, and libuv refuses writes from then on.
    socket_reset(peer);
    world.until_logged("1 Failed(Reset)", 1);
    let refused = tcp.write(vec![1, 2, 3].into()).unwrap_err();
    assert_eq!(refused.error.kind(), Kind::BrokenPipe);
    assert_eq!(
        refused.bufs.into_iter().next().unwrap().as_slice(),
        [1, 2, 3]
    );
    // Empty writes and a full request table are refused as well.
    assert_eq!(
        tcp.write(WriteBufs::new()).unwrap_err().error.kind(),
        Kind::Invalid
    );
    assert_eq!(
        tcp.write(vec![].into()).unwrap_err().error.kind(),
        Kind::Invalid
    );
    assert_eq!(world.uv.stats().requests_live, 0);
    world.turns(3);
    assert_eq!(world.logged(), ["1 Failed(Reset)"]);
    drop(tcp);
    world.end();
}

#[test]
fn u09_the_limit_of_requests_is_an_error() {
    let config = LoopConfig {
        requests_max: 2,
        ..LoopConfig::default()
    };
    let mut world = World::with(config, |_, _, _, _| ());
    let (tcp, peer) = pair(&world, Token(1));
    tcp.write(vec![1; 16 << 20].into()).unwrap();
    tcp.write(vec![2; 10].into()).unwrap();
    let refused = tcp.write(vec![3; 10].into()).unwrap_err();
    assert_eq!(
        (refused.error.kind(), refused.bufs.len_bytes()),
        (Kind::Limit, 10)
    );
    assert_eq!(tcp.shutdown().unwrap_err().kind(), Kind::Limit);
    let peer = drain(peer);
    world.until_logged("1 Written(10)", 1);
    tcp.shutdown().unwrap();
    world.until_logged("1 ShutDown", 1);
    assert_eq!(peer.join().unwrap().unwrap().len(), (16 << 20) + 10);
    drop(tcp);
    world.end();
}

#[test]
fn u10_shutdown_waits_for_the_queue_and_refuses_later_writes() {
    let mut world = World::silent();
    let (tcp, peer) = pair(&world, Token(1));
    let bytes = pattern(4 << 20);
    tcp.write(bytes.clone().into()).unwrap();
    tcp.shutdown().unwrap();
    assert_eq!(
        tcp.write(vec![1].into()).unwrap_err().error.kind(),
        Kind::ShutDown
    );
    assert_eq!(
        tcp.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(),
        Kind::ShutDown
    );
    assert_eq!(tcp.shutdown().unwrap_err().kind(), Kind::ShutDown);
    let peer = drain(peer);
    world.until_logged("1 ShutDown", 1);
    let written = format!("1 Written({})", bytes.len());
    assert_eq!(world.logged(), [written.as_str(), "1 ShutDown"]);
    assert!(peer.join().unwrap().unwrap() == bytes);
    assert_eq!(
        tcp.write(vec![1].into()).unwrap_err().error.kind(),
        Kind::ShutDown
    );
    drop(tcp);
    world.end();
}

#[test]
fn half_open_connections_go_on_in_the_other_direction() {
    let (mut world, all) = collecting(LoopConfig::default());
    let (tcp, mut peer) = pair(&world, Token(1));
    tcp.read_start().unwrap();
    tcp.shutdown().unwrap();
    world.until_logged("1 ShutDown", 1);
    let mut end = [0; 1];
    assert_eq!(peer.read(&mut end).unwrap(), 0);
    // We have said that we are done; the peer has not.
    peer.write_all(b"still here").unwrap();
    world.until("the bytes", || *all.borrow() == b"still here");
    // And the other way round.
    let (tcp, mut peer) = pair(&world, Token(2));
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    tcp.read_start().unwrap();
    world.until_logged("2 Eof", 1);
    assert_eq!(tcp.try_write(&[IoSlice::new(b"more")]).unwrap(), 4);
    let mut more = [0; 4];
    peer.read_exact(&mut more).unwrap();
    assert_eq!(&more, b"more");
    drop(tcp);
    world.end();
}

#[test]
fn written_events_come_in_the_order_of_the_writes() {
    let mut world = World::silent();
    let (tcp, peer) = pair(&world, Token(1));
    let sizes = [3 << 20, 1, 2, 3, 2 << 20, 4];
    for size in sizes {
        tcp.write(vec![0; size].into()).unwrap();
    }
    let peer = drain(peer);
    world.until_logged("1 Written(4)", 1);
    assert_eq!(
        world.logged(),
        sizes.map(|size| format!("1 Written({size})"))
    );
    drop(tcp);
    assert_eq!(peer_len(&mut world, peer), sizes.iter().sum::<usize>());
    world.end();
}

/// Runs the loop until the handle is closed, then counts what the peer got.
fn peer_len(world: &mut World, peer: std::thread::JoinHandle<std::io::Result<Vec<u8>>>) -> usize {
    world.turns(2);
    peer.join().unwrap().unwrap().len()
}

#[test]
fn closing_with_queued_writes_frees_them_without_an_event() {
    let mut world = World::silent();
    let counted = std::sync::Arc::new([0_u8; 1 << 16]);
    struct Counted(std::sync::Arc<[u8; 1 << 16]>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &*self.0
        }
    }
    let (tcp, _peer) = pair(&world, Token(1));
    for _ in 0..200 {
        tcp.write(bytes::Bytes::from_owner(Counted(counted.clone())).into())
            .unwrap();
    }
    tcp.shutdown().unwrap();
    assert!(std::sync::Arc::strong_count(&counted) > 100);
    drop(tcp);
    world.turns(2);
    assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    assert_eq!(world.logged(), [""; 0]);
    assert!(world.uv.stats().discarded > 100);
    world.end();
}

#[test]
fn a_handle_may_be_dropped_in_any_of_its_own_events() {
    // The first event of each stream drops it, whatever it is.
    let handles: Rc<RefCell<Vec<Handle>>> = Rc::default();
    let doomed = handles.clone();
    let mut world = World::new(move |uv, _, id, _| {
        doomed.borrow_mut().retain(|handle| handle.id() != id);
        assert!(
            uv.is_live(id),
            "noted to be closed, and closed when this event ends"
        );
    });
    // In Read (with more to read), Written (with more queued), ShutDown, Eof, and Connected.
    let (reads, mut peer) = pair(&world, Token(1));
    peer.write_all(&[1; 200_000]).unwrap();
    reads.read_start().unwrap();
    let (writes, slow_peer) = pair(&world, Token(2));
    writes.write(vec![1; 10].into()).unwrap();
    writes.write(vec![1; 8 << 20].into()).unwrap();
    writes.shutdown().unwrap();
    let (ends, _quiet) = pair(&world, Token(3));
    ends.shutdown().unwrap();
    let (hears, gone) = pair(&world, Token(4));
    drop(gone);
    hears.read_start().unwrap();
    let listener = TcpListener::bind(any()).unwrap();
    let connects = Tcp::new(&world.uv, Token(5)).unwrap();
    connects.connect(listener.local_addr().unwrap()).unwrap();
    connects.write(vec![1; 10].into()).unwrap();
    let fails = Tcp::new(&world.uv, Token(6)).unwrap();
    fails.connect(nobody()).unwrap();
    fails.write(vec![1; 10].into()).unwrap();
    for tcp in [reads, writes, ends, hears, connects, fails] {
        handles.borrow_mut().push(tcp.into_handle());
    }
    let left = handles.clone();
    world.until("all dropped", move || left.borrow().is_empty());
    world.turns(3);
    let mut log = world.logged();
    log.sort();
    let expected = [
        "1 Read(65536)",
        "2 Written(10)",
        "3 ShutDown",
        "4 Eof",
        "5 Connected",
        "6 Failed(Refused)",
    ];
    assert_eq!(log[1..], expected[1..]);
    assert!(log[0].starts_with("1 Read("), "{log:?}");
    drop((peer, slow_peer));
    world.end();
}

#[test]
fn closing_while_connecting_is_silent() {
    let mut world = World::silent();
    let listener = TcpListener::bind(any()).unwrap();
    for addr in [listener.local_addr().unwrap(), nobody()] {
        let tcp = Tcp::new(&world.uv, Token(1)).unwrap();
        tcp.connect(addr).unwrap();
        tcp.write(vec![1].into()).unwrap();
        assert_eq!(tcp.connect(addr).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(tcp.shutdown().unwrap_err().kind(), Kind::NotConnected);
        assert_eq!(tcp.try_write(&[IoSlice::new(b"x")]).unwrap(), 0);
        drop(tcp);
        world.turns(3);
    }
    assert_eq!(world.logged(), [""; 0]);
    world.end();
}

#[test]
fn connecting_works_both_ways() {
    let mut world = World::silent();
    let listener = TcpListener::bind(any()).unwrap();
    let addr = listener.local_addr().unwrap();
    let tcp = Tcp::new(&world.uv, Token(1)).unwrap();
    tcp.connect(addr).unwrap();
    // What is queued while connecting is sent afterwards.
    tcp.write(b"early".to_vec().into()).unwrap();
    world.until_logged("1 Written(5)", 1);
    assert_eq!(world.logged(), ["1 Connected", "1 Written(5)"]);
    let (mut peer, from) = listener.accept().unwrap();
    assert_eq!(
        (tcp.local_addr().unwrap(), tcp.peer_addr().unwrap()),
        (from, addr)
    );
    let mut early = [0; 5];
    peer.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    // Refused, with a write queued: both are told, and the handle is of no more use.
    let tcp = Tcp::new(&world.uv, Token(2)).unwrap();
    tcp.connect(nobody()).unwrap();
    tcp.write(b"lost".to_vec().into()).unwrap();
    world.until_logged("2 Written(Cancelled)", 1);
    assert_eq!(
        world.logged(),
        ["2 Failed(Refused)", "2 Written(Cancelled)"]
    );
    assert_eq!(tcp.connect(addr).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(tcp.read_start().unwrap_err().kind(), Kind::NotConnected);
    drop(tcp);
    world.end();
}

#[test]
fn pausing_inside_a_read_event_holds_the_rest_back() {
    let mut config = LoopConfig::default();
    config.pool.block_bytes = 4096;
    let mut world = World::with(config, |uv, _, id, event| {
        if let Event::Read(_) = event {
            uv.stream(id).read_stop().unwrap();
        }
    });
    let (tcp, mut peer) = pair(&world, Token(1));
    peer.write_all(&[1; 8192]).unwrap();
    tcp.read_start().unwrap();
    tcp.read_start().unwrap();
    world.until_logged("1 Read(4096)", 1);
    world.turns(5);
    assert_eq!(world.logged(), ["1 Read(4096)"]);
    tcp.read_start().unwrap();
    world.until_logged("1 Read(4096)", 1);
    drop(tcp);
    world.end();
}

#[test]
#[cfg(target_os = "linux")]
fn u19_keepalive_set_before_the_socket_exists_is_applied() {
    let option = |tcp: &Tcp, level, name| {
        let (mut value, mut len) = (0_i32, 4);
        // SAFETY: an open descriptor, an int, and its length.
        let code = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(tcp.raw_fd().unwrap(), level, name, value, &mut len)
        };
        assert_eq!(code, 0);
        value
    };
    let idle = |tcp: &Tcp| {
        let on = option(tcp, libc::SOL_SOCKET, libc::SO_KEEPALIVE) != 0;
        on.then(|| option(tcp, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE))
    };
    let mut world = World::silent();
    let listener = TcpListener::bind(any()).unwrap();
    let addr = listener.local_addr().unwrap();
    let early = |millis| {
        let tcp = Tcp::new(&world.uv, Token(1)).unwrap();
        tcp.keepalive(Some(std::time::Duration::from_millis(millis)))
            .unwrap();
        tcp
    };
    let connected = early(42_000);
    connected.connect(addr).unwrap();
    assert_eq!(idle(&connected), Some(42));
    let opened = early(1_001);
    opened
        .open(TcpStream::connect(addr).unwrap().into())
        .unwrap();
    assert_eq!(idle(&opened), Some(2), "rounded up");
    let bound = early(0);
    bound.bind(any(), BindOptions::default()).unwrap();
    assert_eq!(idle(&bound), Some(1), "at least a second");
    opened.keepalive(Some(std::time::Duration::MAX)).unwrap();
    assert_eq!(idle(&opened), Some(32_767));
    opened.keepalive(None).unwrap();
    assert_eq!(idle(&opened), None);
    drop((connected, opened, bound));
    world.turns(2);
    world.end();
}

/// Closes a std socket with a reset.
fn socket_reset(socket: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    use std::os::fd::AsRawFd;
    // SAFETY: an open descriptor, a `linger`, and its length.
    let code = unsafe {
        let value = (&raw const linger).cast();
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            value,
            len,
        )
    };
    assert_eq!(code, 0);
}

#[test]
fn u20_a_reset_that_libuv_refuses_still_closes() {
    let mut world = World::silent();
    // Plainly: the peer sees a reset.
    let (tcp, peer) = pair(&world, Token(1));
    tcp.reset().unwrap();
    assert!(!world.uv.is_live(tcp.id()));
    assert_eq!(tcp.reset().unwrap_err().kind(), Kind::Closed);
    let end = drain(peer).join().unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    // With a shutdown under way libuv says EINVAL and leaves the handle open.
    let (tcp, peer) = pair(&world, Token(2));
    tcp.shutdown().unwrap();
    tcp.reset().unwrap();
    assert!(!world.uv.is_live(tcp.id()));
    world.turns(2);
    assert_eq!(drain(peer).join().unwrap().unwrap(), [0; 0]);
    // Without a socket it says EBADF.
    let tcp = Tcp::new(&world.uv, Token(3)).unwrap();
    tcp.reset().unwrap();
    assert!(!world.uv.is_live(tcp.id()));
    // A pipe cannot be reset at all.
    let unix = std::os::unix::net::UnixStream::pair().unwrap();
    let pipe = Pipe::new(&world.uv, Token(4)).unwrap();
    pipe.open(unix.0.into()).unwrap();
    pipe.reset().unwrap();
    world.turns(2);
    assert_eq!(world.uv.stats().handles_closing, 0);
    assert_eq!(world.logged(), [""; 0]);
    drop((tcp, pipe));
    world.end();
}

#[test]
fn buffer_sizes_are_set_and_read() {
    let world = World::silent();
    let (tcp, _peer) = pair(&world, Token(1));
    tcp.set_send_buffer_bytes(32 << 10).unwrap();
    tcp.set_recv_buffer_bytes(16 << 10).unwrap();
    assert!(tcp.send_buffer_bytes().unwrap() >= 32 << 10);
    assert!(tcp.recv_buffer_bytes().unwrap() >= 16 << 10);
    assert_eq!(
        tcp.set_send_buffer_bytes(0).unwrap_err().kind(),
        Kind::Invalid
    );
    assert_eq!(
        tcp.set_send_buffer_bytes(usize::MAX).unwrap_err().kind(),
        Kind::Invalid
    );
    tcp.nodelay(true).unwrap();
    tcp.nodelay(false).unwrap();
    drop(tcp);
    world.end();
}
