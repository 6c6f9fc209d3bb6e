//! Publish and subscribe between clients of different workers.

use super::detour::{ask, detour};
use super::several;
use crate::support::{Dice, bulk};
use crate::world::{MINUTE, ms, start_workers};
use rotor_fsm::sim::{Ended, PeerId, check};
use samples::kv::Limits;

#[test]
fn subscribers_of_all_workers_get_all_messages_in_order() {
    check(0..300, |sim| {
        let mut dice = Dice(sim.seed());
        let limits = Limits {
            pushes_max: 1 + dice.below(20) as usize,
            ..Limits::default()
        };
        let servers = start_workers(sim, several(sim), &limits);
        let count = 1 + dice.below(6) as usize;
        let subscribers: Vec<PeerId> = (0..count)
            .map(|_| sim.connect(servers.some_addr(&mut dice)))
            .collect();
        for peer in &subscribers {
            sim.send(*peer, b"SUBSCRIBE a\nPSUBSCRIBE ?\n");
        }
        sim.run(MINUTE);
        for peer in &subscribers {
            sim.take_received(*peer);
        }
        let publisher = sim.connect(servers.some_addr(&mut dice));
        let (mut expected, mut replies) = (Vec::new(), Vec::new());
        for n in 0..dice.below(60) {
            let channel = [b'a' + dice.below(2) as u8];
            let text = bulk(n.to_string().as_bytes());
            sim.send(
                publisher,
                format!("PUBLISH {} {n}\n", channel[0] as char).as_bytes(),
            );
            let mut receivers = count;
            if channel == *b"a" {
                receivers *= 2;
                expected.extend([b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n", &text[..]].concat());
            }
            let head = b"*4\r\n$8\r\npmessage\r\n$1\r\n?\r\n";
            expected.extend([&head[..], &bulk(&channel), &text].concat());
            replies.extend(format!(":{receivers}\r\n").into_bytes());
            // Others are served in between, and the replies stay in order.
            sim.send(publisher, format!("ECHO {n}\nDBSIZE\n").as_bytes());
            replies.extend([&text[..], b":0\r\n"].concat());
            if dice.below(5) == 0 {
                sim.run_for(ms(dice.below(4)));
            }
        }
        assert_eq!(sim.run(MINUTE), Ended::Idle);
        assert!(*sim.received(publisher) == replies[..]);
        for peer in &subscribers {
            assert!(*sim.received(*peer) == expected[..]);
        }
        // Who left is not counted any more.
        for peer in &subscribers {
            sim.reset(*peer);
        }
        sim.run_for(ms(100));
        assert_eq!(ask(sim, publisher, "PUBLISH a x"), ":0\r\n");
    });
}

/// A client that changes between subscribing and asking others for something.
#[test]
fn subscribing_waits_for_the_replies_before_it() {
    check(0..100, |sim| {
        let servers = start_workers(sim, 2, &Limits::default());
        detour(sim, &servers, 1, Some(ms(20)));
        let key = servers.key_of(1, 0);
        let (peer, publisher) = (sim.connect(servers.addr(0)), sim.connect(servers.addr(1)));
        let lines = format!(
            "SET {key} 1\nGET {key}\nSUBSCRIBE c\nGET {key}\nPING\nUNSUBSCRIBE\nGET {key}\nSUBSCRIBE d\n"
        );
        sim.send(peer, lines.as_bytes());
        for _ in 0..20 {
            sim.send(publisher, b"PUBLISH d x\n");
            sim.run_for(ms(7));
        }
        sim.run_for(ms(500));
        let received = String::from_utf8(sim.take_received(peer)).unwrap();
        let change = |verb: &str, name: &str, n: u8| {
            format!(
                "*3\r\n${}\r\n{verb}\r\n$1\r\n{name}\r\n:{n}\r\n",
                verb.len()
            )
        };
        let refused = "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                       allowed in this context\r\n";
        let head = [
            "+OK\r\n$1\r\n1\r\n",
            &change("subscribe", "c", 1),
            refused,
            "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
            &change("unsubscribe", "c", 0),
            "$1\r\n1\r\n",
            &change("subscribe", "d", 1),
        ]
        .concat();
        let messages = received.strip_prefix(&head);
        let messages = messages.unwrap_or_else(|| panic!("{received}"));
        let one = "*3\r\n$7\r\nmessage\r\n$1\r\nd\r\n$1\r\nx\r\n";
        assert_eq!(messages, one.repeat(messages.len() / one.len()));
    });
}
