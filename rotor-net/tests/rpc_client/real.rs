//! The client and the real server, over real sockets.

use super::*;
use crate::common;
use rotor_fsm::LoopThread;
use rotor_net::rpc::{Arrived, CallScope, Method, Serve, ServiceInfo, Session};
use rotor_net::{Accept, AcceptSeed, Limits, Service, Streams};
use std::sync::atomic::{AtomicU32, Ordering};

static TOUCHED: AtomicU32 = AtomicU32::new(0);

/// Serves the calls of these tests, by hand.
#[derive(Default)]
struct Tests;

impl Serve for Tests {
    type Context = ();

    fn info() -> &'static ServiceInfo {
        Double::service()
    }

    fn dispatch(&mut self, call: Arrived<'_>, _: &mut CallScope<'_, ()>) -> Result<(), CallError> {
        match call.rank() {
            service::DOUBLE => {
                let n: u32 = call.request()?;
                // The last digit says how: at once, later, not at all.
                let reply = call.reply::<u32>();
                match n % 10 {
                    7 => drop(std::thread::spawn(move || reply.ok(2 * n))),
                    8 => drop(reply),
                    9 => panic!("on purpose"),
                    _ => reply.ok(2 * n),
                }
            }
            service::COUNT => {
                let n: u32 = call.request()?;
                let mut items = call.sender::<u32>();
                std::thread::spawn(move || {
                    for n in 0..n {
                        if items.send_blocking(n).is_err() {
                            return;
                        }
                    }
                    let _ = items.end();
                });
            }
            service::SUM => {
                let mut sum: u32 = call.request()?;
                let (mut items, reply) = (call.receiver::<u32>(), call.reply::<u32>());
                std::thread::spawn(move || {
                    while let Some(Ok(n)) = items.next_blocking() {
                        sum += n;
                    }
                    reply.ok(sum);
                });
            }
            service::TOUCH => {
                let n: u32 = call.request()?;
                TOUCHED.fetch_add(n, Ordering::SeqCst);
            }
            _ => {
                let _: u32 = call.request()?;
                let (mut theirs, mut ours) = (call.receiver::<u32>(), call.sender::<u32>());
                std::thread::spawn(move || {
                    while let Some(Ok(n)) = theirs.next_blocking() {
                        if ours.send_blocking(n + 1).is_err() {
                            return;
                        }
                    }
                    let _ = ours.end();
                });
            }
        }
        Ok(())
    }
}

fn start() -> common::Server<Session<Tests>> {
    common::start::<Session<Tests>>(Limits::default(), || ())
}

#[test]
fn a_unix_socket_does_as_well() {
    let path = std::env::temp_dir().join(format!("rotor-rpc-client-{}", std::process::id()));
    let at = path.clone();
    let (tell, heard) = std::sync::mpsc::channel();
    let thread =
        LoopThread::<Service<Session<Tests>>>::spawn(rotor_fsm::Config::default(), move |setup| {
            let streams = Streams::new(Limits::default());
            let seed = AcceptSeed::new(at, &streams, &setup.spawner(), |_| Default::default());
            setup.add::<Accept<Session<Tests>>>(
                seed.on_listening(move |at| tell.send(at.clone()).unwrap()),
            )?;
            Ok(())
        });
    let thread = thread.unwrap();
    let at = heard.recv_timeout(PATIENCE).unwrap();
    let channel = Channel::connect_with(&at.to_string(), once()).unwrap();
    assert_eq!(channel.unary::<Double>(21).within(PATIENCE).wait(), Ok(42));
    let mut items = channel.server_stream::<Count>(1000).within(PATIENCE);
    assert_eq!(items.by_ref_count(), 1000);
    let (mut numbers, sum) = channel.client_stream::<Sum>(1);
    let sum = sum.within(PATIENCE);
    numbers.send_blocking(2).unwrap();
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(3));
    assert_eq!(channel.close_and_wait(PATIENCE), Ok(()));
    thread.shutdown(PATIENCE);
    thread.join().unwrap();
    let _ = std::fs::remove_file(path);
}

fn connect_to(server: &common::Server<Session<Tests>>) -> Channel {
    Channel::connect_with(&server.addr.to_string(), once()).unwrap()
}

#[test]
fn all_kinds_of_calls_work() {
    let server = start();
    let channel = connect_to(&server);
    assert_eq!(channel.unary::<Double>(21).wait(), Ok(42));
    assert_eq!(channel.unary::<Double>(7).wait(), Ok(14));
    assert_eq!(
        channel.unary::<Double>(8).wait(),
        Err(CallError::Unanswered)
    );
    assert_eq!(channel.unary::<Double>(9).wait(), Err(CallError::Panicked));
    let mut items = channel.server_stream::<Count>(50_000);
    for n in 0..50_000 {
        assert_eq!(items.next_blocking(), Some(Ok(n)));
    }
    assert_eq!(items.next_blocking(), None);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    for _ in 0..50_000 {
        numbers.send_blocking(1).unwrap();
    }
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(50_000));
    let (mut ours, mut theirs) = channel.both_streams::<Chat>(0);
    for n in 0..1000 {
        ours.send_blocking(n).unwrap();
        assert_eq!(theirs.next_blocking(), Some(Ok(n + 1)));
    }
    ours.end().unwrap();
    assert_eq!(theirs.next_blocking(), None);
    for _ in 0..100 {
        channel.one_way::<Touch>(1).unwrap();
    }
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(2));
    assert_eq!(TOUCHED.load(Ordering::SeqCst), 100);
    drop(channel);
    assert_eq!(server.end(), "done");
}

#[test]
fn threads_call_cancel_and_stream_at_once() {
    let server = start();
    let channel = connect_to(&server);
    std::thread::scope(|scope| {
        for thread in 0..6_u32 {
            let channel = channel.clone();
            scope.spawn(move || {
                for n in 0..300 {
                    let n = 10 * (1000 * thread + n);
                    assert_eq!(channel.unary::<Double>(n).wait(), Ok(2 * n));
                    drop(channel.unary::<Double>(n).start());
                    let mut items = channel.server_stream::<Count>(100);
                    assert_eq!(items.next_blocking(), Some(Ok(0)));
                    if n % 20 == 0 {
                        assert_eq!(items.by_ref_count(), 99);
                    }
                    let (mut numbers, sum) = channel.client_stream::<Sum>(n);
                    numbers.send_blocking(5).unwrap();
                    match n % 30 {
                        0 => drop(numbers),
                        _ => {
                            numbers.end().unwrap();
                            assert_eq!(sum.wait(), Ok(n + 5));
                        }
                    }
                }
            });
        }
    });
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(2));
    drop(channel);
    assert_eq!(server.end(), "done");
}

trait Rest {
    fn by_ref_count(&mut self) -> usize;
}

impl Rest for rotor_net::rpc::ItemReceiver<u32> {
    /// How many items are left.
    fn by_ref_count(&mut self) -> usize {
        std::iter::from_fn(|| self.next_blocking())
            .map(Result::unwrap)
            .count()
    }
}

#[test]
fn a_server_that_shuts_down_finishes_what_is_in_flight() {
    let server = start();
    let channel = connect_to(&server);
    let mut items = channel.server_stream::<Count>(100_000);
    assert_eq!(items.next_blocking(), Some(Ok(0)));
    server.thread.shutdown(PATIENCE);
    eventually("draining", || {
        channel.unary::<Double>(1).wait() == Err(CallError::Draining)
    });
    assert_eq!(items.by_ref_count(), 99_999);
    server.thread.join().unwrap();
}

#[test]
fn a_server_that_is_gone_is_connected_to_again_when_it_is_back() {
    let server = start();
    let addr = server.addr;
    let config = ClientConfig {
        reconnect: Reconnect::Backoff {
            first: ms(5),
            longest: ms(20),
            attempts_max: None,
        },
        ..ClientConfig::default()
    };
    let channel = Channel::connect_with(&addr.to_string(), config).unwrap();
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(2));
    drop(server);
    let waiting = channel.unary::<Double>(2).within(PATIENCE).start();
    // Somebody else's server, which answers otherwise.
    let listener = std::net::TcpListener::bind(addr).unwrap();
    let server = scripted_on(listener, |listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.answer(&call, 77);
        peer.double();
    });
    let result = waiting.wait();
    // It may have been sent before the client knew.
    if let Err(error) = &result {
        assert!(why(error).0, "{error}");
        assert_eq!(channel.unary::<Double>(2).wait(), Ok(77));
    } else {
        assert_eq!(result, Ok(77));
    }
    drop(channel);
    server.join();
}
