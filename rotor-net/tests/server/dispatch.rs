//! How connections are spread over workers.

use crate::common::{Client, eventually};
use crate::talk::*;
use rotor_net::server::Dispatch;

/// The loads of the workers.
fn loads(server: &Talks) -> Vec<usize> {
    let stats = server.stats();
    stats.workers.iter().map(|w| w.connections).collect()
}

#[test]
fn least_loaded_keeps_workers_within_one_of_each_other_whatever_leaves() {
    let server = start(builder().workers(3));
    let mut clients = Vec::new();
    for round in 0..20 {
        for _ in 0..10 {
            let mut client = Client::connect(addr_of(&server));
            let worker: usize = client.ask("who").parse().unwrap();
            clients.push((worker, client));
        }
        // One worker loses more than the others.
        let one = round % 3;
        let mut left = 4;
        clients.retain(|(worker, _)| {
            let goes = *worker == one && left > 0;
            left -= usize::from(goes);
            !goes
        });
        eventually("the closed are noted", || {
            server.stats().connections == clients.len()
        });
    }
    // At rest, after as many more as it takes to even out.
    for _ in 0..12 {
        let mut client = Client::connect(addr_of(&server));
        let worker: usize = client.ask("who").parse().unwrap();
        clients.push((worker, client));
    }
    let loads = loads(&server);
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    assert!(most - least <= 1, "{loads:?}");
    assert_eq!(loads.iter().sum::<usize>(), clients.len());
    // The books agree with what the clients were told.
    let told = |worker| clients.iter().filter(|(w, _)| *w == worker).count();
    assert_eq!(loads, [told(0), told(1), told(2)]);
}

#[test]
fn round_robin_takes_turns_whatever_the_load() {
    let server = start(builder().dispatch(Dispatch::RoundRobin));
    let mut stay = Vec::new();
    for n in 0..8 {
        let mut client = Client::connect(addr_of(&server));
        assert_eq!(client.ask("who"), (n % 2).to_string());
        if n % 2 == 0 {
            stay.push(client);
        }
    }
    eventually("those that left are noted", || loads(&server) == [4, 0]);
}

#[test]
fn with_reuse_port_the_kernel_spreads_and_the_books_are_exact_all_the_same() {
    let server = start(builder().dispatch(Dispatch::ReusePort).connections(100));
    assert_eq!(server.addresses().len(), 1, "one address, two sockets");
    let mut clients: Vec<_> = (0..40).map(|_| Client::connect(addr_of(&server))).collect();
    let mut served = [0; 2];
    for client in &mut clients {
        served[client.ask("who").parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(loads(&server), served);
    clients.truncate(10);
    eventually("the closed are noted", || server.stats().connections == 10);
    assert_eq!(loads(&server).iter().sum::<usize>(), 10);
    let report = server.drain(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!((report.ended, report.cut), (10, 0));
}
