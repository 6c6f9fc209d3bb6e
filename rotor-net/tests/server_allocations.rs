//! The server allocates nothing per connection: neither the acceptor nor a worker, from the first one on that finds the
//! tables made.
//!
//! A program of its own, with one test, because it counts on all threads but the clients'.

mod common;
#[path = "common/counting.rs"]
mod counting;

use common::{Client, eventually};
use counting::{allocations, count_by_default, count_here};
use rotor_net::prelude::*;
use rotor_net::server::{Dispatch, Server};

/// Answers lines.
struct Echo;

impl Protocol for Echo {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Echo).line(100))
    }

    fn received(self, line: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.out.write(&line)?;
        conn.out.write(b"\n")?;
        Ok(Intent::of(self))
    }
}

#[test]
fn r12_a_connection_costs_no_allocation_on_any_thread_of_the_server() {
    count_by_default();
    count_here(false);
    for dispatch in [Dispatch::LeastLoaded, Dispatch::ReusePort] {
        let server = Server::<Stream<Echo>>::builder()
            .listen("127.0.0.1:0")
            .workers(2)
            .connections(200)
            .dispatch(dispatch)
            .start(|_| Ok(()), |connection, _| connection.stream(()))
            .unwrap();
        let Addr::Tcp(addr) = server.addresses()[0] else {
            panic!("no TCP address");
        };
        let crowd = || {
            // Closed by the clients, one by one, after something was said.
            let mut clients: Vec<_> = (0..100).map(|_| Client::connect(addr)).collect();
            for client in &mut clients {
                client.send("hello\n");
                assert_eq!(client.line(), "hello");
            }
            drop(clients);
            eventually("all are closed", || server.stats().connections == 0);
        };
        // Queues and spare buffers grow to their size, on a busy machine now and then once more; tables are made.
        let mut counts = Vec::new();
        let clean = |counts: &[usize]| counts.iter().rev().take_while(|&&count| count == 0).count();
        while clean(&counts) < 5 {
            assert!(
                counts.len() < 100,
                "{dispatch:?}: allocations per 100 connections {counts:?}"
            );
            let before = allocations();
            crowd();
            counts.push(allocations() - before);
        }
    }
}
