//! Workers that fail: what becomes of their connections, and of the worker.

use crate::common::{Client, eventually};
use crate::talk::*;
use rotor_net::server::{Notice, Restarts, WorkerState};
use std::time::Duration;

#[test]
fn a_machine_that_panics_ends_alone() {
    let server = start(builder().workers(1));
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(addr_of(&server))).collect();
    assert_eq!(clients[1].ask("who"), "0");
    clients[0].send("panic\n");
    assert!(clients.remove(0).rest().is_empty());
    assert_eq!(clients[0].ask("who"), "0");
    eventually("its place is free", || server.stats().connections == 1);
    assert_eq!(server.stats().workers[0].lives, 1);
}

#[test]
fn a_loop_that_dies_is_reported_and_made_again_and_its_share_goes_to_others() {
    let notices = Notices::default();
    let server = start(
        builder()
            .config(fragile)
            .on_notice(notices.hear())
            .restarts(Restarts {
                backoff: Duration::from_millis(300),
                ..Restarts::default()
            }),
    );
    let addr = addr_of(&server);
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
    let workers: Vec<_> = clients.iter_mut().map(|client| client.ask("who")).collect();
    let victim: usize = workers[0].parse().unwrap();
    clients[0].send("panic\n");
    for (client, worker) in clients.iter_mut().zip(&workers) {
        match worker.parse::<usize>().unwrap() == victim {
            true => assert!(client.rest().is_empty(), "closed with its worker"),
            false => assert_eq!(client.ask("who"), *worker, "not affected"),
        }
    }
    eventually("its books are even", || {
        server.stats().workers[victim].connections == 0
    });
    // While it is away, the other one serves.
    let mut next = Client::connect(addr);
    assert_eq!(next.ask("who"), (1 - victim).to_string());
    eventually("it is back", || {
        let worker = server.stats().workers[victim];
        worker.state == WorkerState::Up && worker.lives == 2
    });
    eventually("it serves, having the least load", || {
        Client::connect(addr).ask("who") == victim.to_string()
    });
    let all = notices.all();
    assert!(
        matches!(&all[..], [
            Notice::WorkerDown { worker, why, restart_in: Some(_) },
            Notice::WorkerUp { worker: up },
        ] if *worker == victim && *up == victim && why.contains("the loop dies")),
        "{all:?}"
    );
}

#[test]
fn a_worker_that_fails_too_often_is_given_up_and_so_is_a_server_without_any() {
    let notices = Notices::default();
    let server = start(
        builder()
            .config(fragile)
            .on_notice(notices.hear())
            .restarts(Restarts {
                failures_max: 1,
                backoff: Duration::from_millis(1),
                ..Restarts::default()
            }),
    );
    let addr = addr_of(&server);
    for _ in 0..4 {
        let mut client = Client::connect(addr);
        client.send("panic\n");
        assert!(client.rest().is_empty());
        // The next one shall find whoever is left.
        eventually("the failure is noted", || {
            let stats = server.stats();
            stats.connections == 0
                && stats
                    .workers
                    .iter()
                    .all(|w| w.state != WorkerState::Starting)
        });
    }
    let error = server.join().unwrap_err();
    assert!(error.to_string().contains("every worker"), "{error}");
    let given_up = notices.all().into_iter().filter(|notice| {
        matches!(
            notice,
            Notice::WorkerDown {
                restart_in: None,
                ..
            }
        )
    });
    assert_eq!(given_up.count(), 2);
}

/// A worker that is busy collects connections that it has not opened, and then dies: they go to the other one.
#[test]
fn connections_on_their_way_to_a_dying_worker_are_served_by_another() {
    let latch = Latch::default();
    let server = builder()
        .config(fragile)
        .on_notice(|_| ())
        .restarts(Restarts {
            backoff: Duration::from_secs(60),
            ..Restarts::default()
        })
        .on_message({
            let latch = latch.clone();
            move |worker: u32, ctx: &mut Ctx| {
                if worker == ctx.worker as u32 {
                    // A broadcast handler that blocks, and then panics: the door dies, and the loop with it.
                    latch.wait();
                    panic!("the door falls");
                }
            }
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    let addr = addr_of(&server);
    server.broadcast(0);
    eventually("worker 0 is stuck", || latch.come() == 1);
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(addr)).collect();
    eventually("all are accepted", || server.stats().accepted == 6);
    assert_eq!(server.stats().workers[0].connections, 3);
    latch.open();
    for client in &mut clients {
        assert_eq!(client.ask("who"), "1");
    }
    let stats = server.stats();
    assert_eq!((stats.returned, stats.connections), (3, 6));
    let loads: Vec<_> = stats.workers.iter().map(|w| w.connections).collect();
    assert_eq!(loads, [0, 6]);
}

/// Inboxes that hold two messages, and workers that do not look: connections wait, and all are served in the end.
#[test]
fn connections_wait_for_workers_whose_inboxes_are_full() {
    let latch = Latch::default();
    let server = builder()
        .config(|_| {
            let mut config = rotor_fsm::Config::default();
            config.inbox_messages_max = 2;
            config
        })
        .on_message({
            let latch = latch.clone();
            move |_: u32, _: &mut Ctx| {
                latch.wait();
            }
        })
        .start(context, |connection, _| connection.stream(()))
        .unwrap();
    let addr = addr_of(&server);
    assert_eq!(server.broadcast(0), 2);
    eventually("both are stuck", || latch.come() == 2);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(addr)).collect();
    // Two in each inbox, and one that waits for a place; the rest stays in the kernel's queue.
    eventually("accepting pauses", || server.stats().pauses > 0);
    assert!(server.stats().accepted < 20);
    latch.open();
    for client in &mut clients {
        assert_eq!(client.ask("who").len(), 1);
    }
    let stats = server.stats();
    assert_eq!((stats.connections, stats.accepted), (20, 20));
    let loads: Vec<_> = stats.workers.iter().map(|w| w.connections).collect();
    assert!(loads.iter().sum::<usize>() == 20, "{loads:?}");
}
