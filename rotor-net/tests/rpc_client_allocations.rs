//! R12 for calls: in the steady state a call is one allocation, which holds its request, its answer and all that is known
//! of it; on both threads together.
#![cfg(feature = "rpc")]
#![allow(dead_code)] // of what is shared with the other tests, a part is used here

#[path = "common/counting.rs"]
mod counting;
#[path = "rpc_client/service.rs"]
mod service;
#[path = "rpc_client/wire.rs"]
mod wire;

use counting::{allocations, count_by_default, count_here};
use rotor_net::rpc::{Channel, ClientConfig, Reconnect};
use service::{Double, Touch};
use wire::{CALL, ONE_WAY, Peer, scripted};

const CALLS: u32 = 1000;

/// Answers each call with the same bytes, from a buffer of its own.
fn serve(peer: &mut Peer) {
    use std::io::{Read, Write};
    let (mut bytes, mut have) = (vec![0; 1 << 16], 0);
    loop {
        match peer.socket.read(&mut bytes[have..]) {
            Ok(0) | Err(_) => return,
            Ok(n) => have += n,
        }
        let mut at = 0;
        while have - at >= 16 {
            let body = bytes[at] as usize;
            if have - at < 16 + body {
                break;
            }
            let kind = bytes[at + 4];
            if kind == CALL {
                let mut reply = [0; 17];
                reply[..16].copy_from_slice(&bytes[at..at + 16]);
                (reply[0], reply[4], reply[5], reply[16]) = (1, wire::REPLY, 0, 9);
                peer.socket.write_all(&reply).unwrap();
            } else {
                assert!(kind == ONE_WAY || kind == wire::CLOSE_STARTED);
            }
            at += 16 + body;
        }
        bytes.copy_within(at..have, 0);
        have -= at;
    }
}

#[test]
fn r12_a_call_is_one_allocation() {
    count_by_default();
    let server = scripted(|listener| {
        count_here(false);
        let mut peer = listener.greet();
        serve(&mut peer);
    });
    let config = ClientConfig {
        reconnect: Reconnect::Never,
        ..ClientConfig::default()
    };
    let channel = Channel::connect_with(&server.at, config).unwrap();
    let waited = || assert_eq!(channel.unary::<Double>(1).wait(), Ok(9));
    let (tell, heard) = std::sync::mpsc::sync_channel(1);
    let told = || {
        let tell = tell.clone();
        let call = channel.unary::<Double>(1).done(move |result| {
            tell.send(result).unwrap();
        });
        call.unwrap().detach();
        assert_eq!(heard.recv().unwrap(), Ok(9));
    };
    let one_way = || channel.one_way::<Touch>(1).unwrap();
    let many: &dyn Fn() = &|| {
        let first = channel.unary::<Double>(1).start();
        let others = [1, 2, 3, 4].map(|n| channel.unary::<Double>(n).start());
        for call in others {
            assert_eq!(call.wait(), Ok(9));
        }
        assert_eq!(first.wait(), Ok(9));
    };
    let kinds: [(&str, &dyn Fn(), u32); 4] = [
        ("waited for", &waited, 1),
        // The function is one more.
        ("told to a function", &told, 2),
        ("five at once", many, 5),
        (
            "one way, then another",
            &|| {
                one_way();
                waited()
            },
            2,
        ),
    ];
    for (what, call, expected) in kinds {
        for _ in 0..100 {
            call();
        }
        let before = allocations();
        for _ in 0..CALLS {
            call();
        }
        let counted = (allocations() - before) as u32;
        // The other thread may grow a queue now and then that it had not needed before.
        let expected = expected * CALLS;
        assert!(
            (expected..expected + 5).contains(&counted),
            "{what}: {counted} allocations in {CALLS}, rather than {expected}"
        );
    }
    drop(channel);
    server.join();
}
