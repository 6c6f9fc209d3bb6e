//! Ends that come at a bad moment: of a worker, of the server, or on the wrong thread.

use super::*;

/// A worker's loop that its own program shuts down is as good as dead.
#[test]
fn a_loop_that_ends_by_itself_is_reported_and_made_again() {
    let notices = Notices::default();
    let server = start(
        builder()
            .workers(1)
            .config(|_| {
                let mut config = Config::default();
                config.on_end = Some(Box::new(|_, reason| match reason {
                    rotor_fsm::Reason::Panicked(_) => rotor_fsm::Verdict::Continue,
                    _ => rotor_fsm::Verdict::Stop,
                }));
                config
            })
            .restarts(Restarts {
                backoff: Duration::from_millis(1),
                ..Restarts::default()
            })
            .on_notice(notices.hear()),
    );
    let addr = addr_of(&server);
    let mut client = Client::connect(addr);
    assert_eq!(client.ask("who"), "0");
    // The protocol ends with its peer, and the hook stops the loop for that.
    client.half_close();
    assert!(client.rest().is_empty());
    eventually("it is back", || server.stats().workers[0].lives == 2);
    assert_eq!(Client::connect(addr).ask("who"), "0");
    let all = notices.all();
    assert!(
        matches!(
            &all[0],
            Notice::WorkerDown {
                worker: 0,
                restart_in: Some(_),
                ..
            }
        ),
        "{all:?}"
    );
}

/// Says that it goes, once for each time that it is asked to, and stays.
struct Stubborn;

impl Protocol for Stubborn {
    type Context = Ctx;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.out.write(b"hello\n")?;
        Ok(Intent::of(Stubborn).line(100))
    }

    fn received(self, _: Input<'_>, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::done())
    }

    fn finish(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.out.write(b"asked\n")?;
        Ok(Intent::of(self))
    }
}

#[test]
fn a_drain_asks_each_connection_to_finish_once() {
    let server = Server::<Stream<Stubborn>>::builder()
        .listen("127.0.0.1:0")
        .workers(1)
        .on_notice(|_| ())
        .start(
            |_| {
                Ok(Ctx {
                    worker: 0,
                    heard: 0,
                })
            },
            |connection, _| connection.stream(()),
        )
        .unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(addr_of(&server))).collect();
    for client in &mut clients {
        assert_eq!(client.line(), "hello");
    }
    let drain = std::thread::spawn(move || server.drain(PATIENCE).unwrap());
    for client in &mut clients {
        assert_eq!(client.line(), "asked");
        assert!(client.is_silent_for(Duration::from_millis(100)));
        client.send("enough\n");
        assert!(client.rest().is_empty());
    }
    drop(clients);
    let report = drain.join().unwrap();
    assert_eq!((report.ended, report.cut), (3, 0));
}

/// Whoever holds the server may be a machine of the server itself, or hear its notices: no thread waits for itself.
#[test]
fn a_server_that_is_dropped_on_a_thread_of_its_own_stops_without_waiting() {
    type Shelf = Arc<Mutex<Option<Talks>>>;
    let shelf = Shelf::default();
    let server = builder()
        .on_message({
            let shelf = shelf.clone();
            move |_: u32, _: &mut Ctx| drop(shelf.lock().unwrap().take())
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    let mut client = Client::connect(addr_of(&server));
    assert_eq!(client.ask("who").len(), 1);
    let mut shelved = shelf.lock().unwrap();
    server.broadcast(1);
    *shelved = Some(server);
    drop(shelved);
    assert!(client.rest().len() <= 4);
    eventually("it is gone", || shelf.lock().unwrap().is_none());

    // Waiting for it there is refused, and stops it all the same.
    let (tell, told) = channel();
    let shelf = Shelf::default();
    let server = builder()
        .on_message({
            let shelf = shelf.clone();
            move |_: u32, _: &mut Ctx| {
                if let Some(server) = shelf.lock().unwrap().take() {
                    let _ = tell.send(server.join());
                }
            }
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    let mut client = Client::connect(addr_of(&server));
    assert_eq!(client.ask("who").len(), 1);
    let mut shelved = shelf.lock().unwrap();
    server.broadcast(1);
    *shelved = Some(server);
    drop(shelved);
    let refused = told.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(refused.to_string().contains("own threads"), "{refused}");
    assert!(client.rest().len() <= 4);

    // On the acceptor's thread, too.
    let shelf = Shelf::default();
    let server = start(builder().on_notice({
        let shelf = shelf.clone();
        move |_| drop(shelf.lock().unwrap().take())
    }));
    let mut client = Client::connect(addr_of(&server));
    assert_eq!(client.ask("who").len(), 1);
    let stopper = server.stopper();
    *shelf.lock().unwrap() = Some(server);
    stopper.drain(Duration::from_secs(3600));
    assert!(client.rest().len() <= 4);
}

/// The only worker is given up while connections wait for one: they are cut, and the report says so.
#[test]
fn connections_that_no_worker_is_left_for_are_counted_as_cut() {
    let latch = Latch::default();
    let notices = Notices::default();
    let server = builder()
        .workers(1)
        .on_notice(notices.hear())
        .restarts(Restarts {
            failures_max: 0,
            ..Restarts::default()
        })
        .on_message({
            let latch = latch.clone();
            move |_: u32, _: &mut Ctx| {
                latch.wait();
                panic!("the door falls");
            }
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    server.broadcast(0);
    eventually("the worker is stuck", || latch.come() == 1);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(addr_of(&server))).collect();
    eventually("all are accepted", || server.stats().accepted == 3);
    server.stopper().drain(PATIENCE * 2);
    eventually("it drains", || !notices.all().is_empty());
    latch.open();
    let report = within("the end", move || server.join()).unwrap();
    for client in &mut clients {
        assert!(client.rest().is_empty());
    }
    assert_eq!((report.ended, report.cut), (0, 3));
}

/// A worker waits to be restarted, and connections wait for it, when the drain begins: they are served first.
#[test]
fn a_drain_waits_for_a_worker_that_is_restarted() {
    let latch = Latch::default();
    let server = builder()
        .workers(1)
        .on_notice(|_| ())
        .restarts(Restarts {
            backoff: Duration::from_millis(300),
            ..Restarts::default()
        })
        .on_message({
            let latch = latch.clone();
            move |_: u32, _: &mut Ctx| {
                latch.wait();
                panic!("the door falls");
            }
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    server.broadcast(0);
    eventually("the worker is stuck", || latch.come() == 1);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(addr_of(&server))).collect();
    eventually("all are accepted", || server.stats().accepted == 3);
    latch.open();
    eventually("they come back", || server.stats().returned == 3);
    // One more comes while nobody is up.
    clients.push(Client::connect(addr_of(&server)));
    let report = within("the drain", move || server.drain(PATIENCE)).unwrap();
    for client in &mut clients {
        assert_eq!(client.rest(), b"bye\n");
    }
    assert_eq!((report.ended, report.cut), (4, 0));
}

/// Connections served by fibers: some parked, one that panics, one more than there are stacks, and a loop that dies with
/// fibers on it.
#[test]
fn fibers_serve_connections_and_end_with_the_server() {
    use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
    type Serve = Fiber<Stacks, Never>;
    fn echo(cx: &Cx<'_, Stacks, Never>, incoming: rotor_fsm::Incoming) -> Result<()> {
        let mut stream = cx.open(incoming)?;
        let mut line = Vec::new();
        while cx.read_until(&mut stream, b"\n", 100, &mut line)? {
            assert!(line != b"panic", "as asked");
            line.push(b'\n');
            cx.write_all(&mut stream, &line)?;
        }
        Ok(())
    }
    for dies in [false, true] {
        let config = move |_| {
            if dies { fragile(0) } else { Config::default() }
        };
        let server = Server::<Serve>::builder()
            .listen("127.0.0.1:0")
            .workers(1)
            .config(config)
            .on_notice(|_| ())
            .restarts(Restarts {
                backoff: Duration::from_millis(1),
                ..Restarts::default()
            })
            .start(
                |_| {
                    Ok(Stacks::new(StackConfig {
                        stacks_max: 4,
                        ..StackConfig::default()
                    })?)
                },
                |connection, stacks| {
                    let incoming = connection.into_incoming();
                    Ok(stacks.fiber("echo", move |cx| echo(cx, incoming))?)
                },
            )
            .unwrap();
        let addr = addr_of(&server);
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
        for client in &mut clients {
            assert_eq!(client.ask("hello"), "hello");
        }
        assert!(Client::connect(addr).rest().is_empty(), "no stack is left");
        assert_eq!(server.stats().workers[0].refused, 1);
        clients[0].send("panic\n");
        assert!(clients.remove(0).rest().is_empty());
        if dies {
            for client in &mut clients {
                assert!(client.rest().is_empty());
            }
            eventually("it is back", || server.stats().workers[0].lives == 2);
            clients = (0..3).map(|_| Client::connect(addr)).collect();
        }
        for client in &mut clients {
            assert_eq!(client.ask("hello"), "hello");
        }
        assert_eq!(server.stats().connections, 3);
        let drain = std::thread::spawn(move || server.drain(PATIENCE).unwrap());
        for client in &mut clients {
            assert!(client.rest().is_empty());
        }
        drop(clients);
        let report = drain.join().unwrap();
        assert_eq!((report.ended, report.cut), (3, 0));
    }
}

/// Connections that wait at workers which listen themselves, and do not look just then, are served before the end.
#[test]
fn a_drain_begins_with_what_waits_at_the_workers_own_listeners() {
    let latch = Latch::default();
    let server = builder()
        .dispatch(Dispatch::ReusePort)
        .on_notice(|_| ())
        .on_message({
            let latch = latch.clone();
            move |_: u32, _: &mut Ctx| {
                latch.wait();
            }
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    assert_eq!(server.broadcast(0), 2);
    eventually("both are stuck", || latch.come() == 2);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(addr_of(&server))).collect();
    let drain = std::thread::spawn(move || server.drain(PATIENCE).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    latch.open();
    for client in &mut clients {
        assert_eq!(client.rest(), b"bye\n");
    }
    drop(clients);
    let report = drain.join().unwrap();
    assert_eq!((report.ended, report.cut), (10, 0));
}
