//! Whatever a peer sends after a valid greeting: a named end at most, never a panic, and the next peer is served.

use crate::bench::*;
use crate::counting::peak_bytes_of;
use crate::time::World;
use crate::time::ms;
use crate::wire::*;
use proptest::prelude::*;
use rotor_net::rpc::{SessionConfig, Unknown};

/// A piece of what the peer sends.
#[derive(Clone, Debug)]
enum Piece {
    /// A frame, which is likely to mean something.
    Frame(Frame),
    /// A frame that is the next call.
    Call(u16, u32, u8, Vec<u8>),
    Bytes(Vec<u8>),
    Pause,
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(0..3_u8, 0..8),
        Just(vec![1; 1000]),
        any::<u32>().prop_map(|n| n.to_le_bytes().to_vec()),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let small = prop_oneof![9 => 0..4_u32, 1 => any::<u32>()];
    let sequence = prop_oneof![9 => 0..20_u32, 1 => any::<u32>()];
    let frame = (
        0..16_u8,
        0..9_u8,
        any::<u16>(),
        small.clone(),
        sequence,
        body(),
    )
        .prop_map(|(kind, flags, number, slot, sequence, body)| {
            Piece::Frame(Frame {
                kind,
                flags,
                number,
                slot,
                sequence,
                body,
            })
        });
    let flags = prop_oneof![3 => Just(0_u8), 1 => 0..9_u8];
    let call = (0..NOTHING + 1, small, flags, body())
        .prop_map(|(rank, slot, flags, body)| Piece::Call(rank, slot, flags, body));
    let bytes = proptest::collection::vec(any::<u8>(), 0..50).prop_map(Piece::Bytes);
    let piece = prop_oneof![3 => frame, 8 => call, 1 => bytes, 2 => Just(Piece::Pause)];
    proptest::collection::vec(piece, 0..30)
}

/// The thread pool is left out: it is not simulated to the end of a test.
fn config(unknown: Unknown) -> SessionConfig {
    SessionConfig {
        unknown,
        window_bytes: 100,
        in_flight_max: 5,
        ..SessionConfig::default()
    }
}

fn run(seed: u64, pieces: Vec<Piece>, proxies: bool) -> Result<(), TestCaseError> {
    let unknown = if proxies {
        Unknown::Proxy
    } else {
        Unknown::Refuse
    };
    let mut world = World::new(seed, config(unknown));
    let (mut received, mut kept) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Frame(frame) => world.sim.send(world.peer, &frame.bytes()),
            Piece::Call(number, slot, flags, body) => {
                let sequence = world.sequence;
                world.sequence += 1;
                let frame = Frame {
                    kind: if number == NOTE { ONE_WAY } else { CALL },
                    slot: if number == NOTE { NO_SLOT } else { slot },
                    flags,
                    number,
                    sequence,
                    body,
                };
                world.sim.send(world.peer, &frame.bytes());
            }
            Piece::Bytes(bytes) => world.sim.send(world.peer, &bytes),
            Piece::Pause => {
                world.sim.run_for(ms(20));
                received.extend(world.frames());
                kept.extend(world.kept.try_iter());
                prop_assert!(kept.len() <= 100);
                if kept.len() > 3 {
                    kept.remove(0);
                }
            }
        }
    }
    world.sim.run_for(ms(1000));
    kept.extend(world.kept.try_iter());
    drop(kept);
    world.sim.shutdown(world.peer);
    world.sim.run_for(ms(200_000));
    received.extend(world.frames());
    prop_assert!(world.partial.is_empty(), "whole frames only");
    for (at, frame) in received.iter().enumerate() {
        let is_servers = matches!(
            frame.kind,
            GOODBYE | REPLY | FAIL | ITEM | END | CREDIT | PING | PONG
        );
        prop_assert!(is_servers, "{frame:?}");
        prop_assert!(frame.kind != GOODBYE || at == received.len() - 1);
    }
    prop_assert!(!world.sim.is_open(world.peer) || world.sim.saw_eof(world.peer));
    let trace = world.sim.trace();
    let machine_panics = trace.lines().filter(|line| line.contains("panicked"));
    prop_assert_eq!(machine_panics.count(), 0);
    world.next_peer_is_served();
    Ok(())
}

/// The simulation takes under 1 MiB. The largest reply takes 4 as a value, and 1 in bytes, which are in a buffer that grows
/// by doubling beside the last replies before it: 2, and 4 while it moves.
const PEAK_BYTES_MAX: usize = 12 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_frames_have_a_named_end_or_none(
        seed in any::<u64>(),
        pieces in pieces(),
        proxies in any::<bool>(),
    ) {
        let (peak_bytes, outcome) = peak_bytes_of(|| run(seed, pieces, proxies));
        outcome?;
        prop_assert!(peak_bytes < PEAK_BYTES_MAX, "{peak_bytes} bytes were held");
    }
}

impl World {
    fn next_peer_is_served(&mut self) {
        self.peer = self
            .sim
            .connect(rotor_fsm::Addr::Tcp(([127, 0, 0, 1], 7).into()));
        self.sim.send(self.peer, &Hello::default().bytes());
        let call = Frame::call(ECHO, 0, 0, encoded(b"next" as &[u8]));
        self.sim.send(self.peer, &call.bytes());
        self.sim.run_for(ms(100));
        let received = self.sim.take_received(self.peer);
        let frames = frames(&received[8..]);
        assert_eq!((frames[0].kind, frames[1].kind), (WELCOME, REPLY));
        assert_eq!(decoded::<Vec<u8>>(&frames[1].body), b"next");
    }
}
