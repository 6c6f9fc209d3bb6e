//! A server starts, serves at several addresses, says what it does, and stops.

use crate::common::{Client, eventually};
use crate::talk::*;
use rotor_fsm::prelude::*;
use rotor_net::server::{Pin, Server, WorkerState, Workers};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn each_connection_is_served_by_one_worker_and_counted_exactly() {
    let server = start(builder());
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(addr_of(&server))).collect();
    let mut served = [0; 2];
    for client in &mut clients {
        served[client.ask("who").parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(served, [3, 3]);
    let stats = server.stats();
    assert_eq!((stats.connections, stats.accepted), (6, 6));
    let loads: Vec<_> = stats.workers.iter().map(|w| w.connections).collect();
    assert_eq!(loads, [3, 3]);
    assert!(
        stats
            .workers
            .iter()
            .all(|w| w.state == WorkerState::Up && w.lives == 1 && w.given == 3)
    );
    eventually("machines are counted", || {
        let stats = server.stats();
        stats.workers.iter().all(|w| w.machines == 1 + 3)
    });
    let open: Vec<_> = server.connections().collect();
    assert_eq!(open.len(), 6);
    assert!(open.iter().all(|one| server.is_open(one.id)));
    drop(clients);
    eventually("all are closed", || server.stats().connections == 0);
    assert!(server.connections().next().is_none());
    assert!(open.iter().all(|one| !server.is_open(one.id)));
    assert!(server.stats().workers.iter().all(|w| w.connections == 0));
    let report = server.stop().unwrap();
    assert_eq!((report.ended, report.cut), (0, 0));
}

#[test]
fn it_listens_at_several_addresses_and_says_to_which_a_connection_came() {
    let path = std::env::temp_dir().join(format!("rotor-server-{}.sock", std::process::id()));
    let (tell, told) = std::sync::mpsc::channel();
    let server = builder()
        .listen("[::1]:0")
        .listen(&format!("unix:{}", path.display()))
        .start(context, move |connection, _| {
            let _ = tell.send((connection.listener(), connection.worker(), connection.id()));
            connection.stream(())
        })
        .unwrap();
    assert_eq!(server.addresses().len(), 3);
    for (at, addr) in server.addresses().to_vec().iter().enumerate() {
        match addr {
            Addr::Tcp(addr) => assert!(!Client::connect(*addr).ask("who").is_empty()),
            Addr::Unix(path) => {
                let mut socket = UnixStream::connect(path).unwrap();
                socket.write_all(b"who\n").unwrap();
                let mut line = String::new();
                BufReader::new(socket).read_line(&mut line).unwrap();
                assert!(line == "0\n" || line == "1\n");
            }
        }
        let (listener, worker, _) = told.recv().unwrap();
        assert_eq!(listener, at);
        assert!(worker < 2);
    }
    server.stop().unwrap();
    assert!(!path.exists(), "the socket's file is removed");
}

#[test]
fn a_broadcast_reaches_every_worker() {
    let server = start(builder());
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(addr_of(&server))).collect();
    assert_eq!(server.broadcast(7), 2);
    for client in &mut clients {
        eventually("it was heard", || client.ask("heard") == "7");
    }
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing_behind() {
    let nowhere = Server::<rotor_net::Stream<Talk>>::builder().start(context, |c, _| c.stream(()));
    assert!(nowhere.unwrap_err().to_string().contains("listens nowhere"));
    let unreadable = builder()
        .listen("localhost")
        .start(context, |c, _| c.stream(()));
    assert!(unreadable.unwrap_err().to_string().contains("localhost"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let in_use = builder().listen(&at).start(context, |c, _| c.stream(()));
    let error = in_use.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen at {at}: "))
    );
    let listen = error.downcast_ref::<rotor_net::server::ListenError>();
    assert_eq!(
        listen.unwrap().error.kind(),
        rotor_fsm::IoErrorKind::AddrInUse
    );

    let failing = builder().start(
        |worker| match worker.index() {
            0 => context(worker),
            _ => Err(Error::msg("no context today")),
        },
        |c, _| c.stream(()),
    );
    assert!(
        failing
            .unwrap_err()
            .to_string()
            .contains("no context today")
    );
    let panicking = builder().start(|_| panic!("a bad start"), |c, _| c.stream(()));
    assert!(panicking.unwrap_err().to_string().contains("a bad start"));
}

#[test]
fn workers_are_counted_and_pinned_as_asked() {
    let server = start(builder().workers(1));
    let stats = server.stats();
    assert_eq!(stats.workers.len(), 1);
    assert!(stats.workers[0].core.is_some(), "{stats:?}");
    let unpinned = start(builder().workers(1).pin(false));
    assert!(unpinned.stats().workers[0].core.is_none());
    let auto = start(builder().workers(Workers::Auto));
    assert!(!auto.stats().workers.is_empty());

    let notices = Notices::default();
    let refused = start(
        builder()
            .pin(Pin::Cores(vec![100_000, 100_001]))
            .on_notice(notices.hear()),
    );
    assert!(Client::connect(addr_of(&refused)).ask("who").len() == 1);
    assert!(refused.stats().workers.iter().all(|w| w.core.is_none()));
    assert!(!notices.all().is_empty(), "a refusal is said");
}

#[test]
fn limits_and_the_table_are_reported() {
    let server = start(builder().connections(100).fds_max(1 << 20));
    let stats = server.stats();
    assert_eq!(stats.connections_max, 100);
    assert_eq!(stats.table_slots, stats.fd_limit.now);
    assert!(stats.table_reserved_bytes >= 16 * stats.table_slots);
    let resident = stats.table_resident_bytes.unwrap();
    let _clients: Vec<_> = (0..10)
        .map(|_| Client::connect(addr_of(&server)).ask("who"))
        .collect();
    let now = server.stats().table_resident_bytes.unwrap();
    assert!(
        now <= resident + 64 * 1024,
        "committed lazily: {resident}, then {now}"
    );
    assert!(now < stats.table_reserved_bytes || stats.table_slots < 10_000);
}

#[test]
fn a_seed_function_that_fails_or_panics_costs_its_connection_only() {
    let server = builder()
        .workers(1)
        .start(context, {
            let count = std::sync::atomic::AtomicUsize::new(0);
            move |connection, _| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => Err(Error::msg("not you")),
                1 => panic!("nor you"),
                _ => connection.stream(()),
            }
        })
        .unwrap();
    for _ in 0..2 {
        assert!(Client::connect(addr_of(&server)).rest().is_empty());
    }
    let mut third = Client::connect(addr_of(&server));
    assert_eq!(third.ask("who"), "0");
    let stats = server.stats();
    assert_eq!((stats.workers[0].refused, stats.workers[0].lives), (2, 1));
    assert_eq!(stats.connections, 1);
}

#[test]
fn a_dropped_server_is_gone() {
    let server = start(builder());
    let addr = addr_of(&server);
    let mut client = Client::connect(addr);
    assert_eq!(client.ask("who").len(), 1);
    drop(server);
    assert!(client.rest().len() <= 4, "closed, perhaps after `bye`");
    assert!(std::net::TcpStream::connect_timeout(&addr, Duration::from_secs(5)).is_err());
}

/// A name in Linux's abstract namespace needs no file, and can be listened at like any other.
#[cfg(target_os = "linux")]
#[test]
fn it_listens_at_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("rotor-server-{}", std::process::id());
    let server = start(builder().listen(&format!("unix:\0{name}")));
    let addr = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let mut socket = UnixStream::connect_addr(&addr).unwrap();
    socket.write_all(b"who\n").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    assert!(line == "0\n" || line == "1\n");
    assert_eq!(server.stop().unwrap().cut, 0);
}
