//! Whatever a server sends, at any time, cut anywhere: a named end or nothing; and every call is over in the end.

use super::*;
use crate::rpc::client::ask::{Ask, Target};
use crate::rpc::client::call::{CallCell, ClientCall, Flows};
use crate::rpc::client::slots::Begun;
use crate::rpc::handshake::{Menu, MenuEntry, Welcome, write_welcome};
use crate::rpc::items::{Inflow, Outflow};
use crate::rpc::{CallKind, ClientConfig};
use proptest::prelude::*;

/// A call by name, of any kind.
struct Any;

impl Ask for Any {
    type Answer = Vec<u8>;

    fn target(&self) -> Target<'_> {
        Target::Named("anything", 1)
    }

    fn encode(&self, _: usize, _: &Limits, out: &mut Vec<u8>) -> Result<(), CallError> {
        out.push(1);
        Ok(())
    }

    fn decode(_: usize, bytes: &[u8], _: &Limits) -> Result<Vec<u8>, CallError> {
        Ok(bytes.to_vec())
    }
}

const KINDS: [CallKind; 5] = [
    CallKind::Unary,
    CallKind::ServerStream,
    CallKind::ClientStream,
    CallKind::BothStreams,
    CallKind::OneWay,
];

fn call(shared: &Arc<Shared>, kind: CallKind) -> Arc<dyn ClientCall> {
    let mut flows = Flows::default();
    if kind.has_items() {
        flows = flows.with_inflow(&Inflow::new(shared.config.window_bytes));
    }
    if kind.has_input() {
        flows = flows.with_outflow(&Outflow::new());
    }
    CallCell::new(shared, kind, flows, Any)
}

#[derive(Clone, Debug)]
enum Step {
    Call(usize),
    CallWithin(usize, u64),
    Cancel(prop::sample::Index),
    Time(u64),
    Frame {
        kind: u8,
        number: u16,
        slot: u32,
        sequence: u32,
        body: Vec<u8>,
    },
    Bytes(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    // Mostly what has a place, so that not everything ends at the first frame.
    let kind = prop_oneof![9 => 6u8..11, 2 => 12u8..15, 1 => 0u8..20];
    let body = prop_oneof![Just(vec![1, 0, 0, 0]), bytes()];
    let frame = (kind, 0u16..12, 0u32..4, 0u32..8, body).prop_map(
        |(kind, number, slot, sequence, body)| Step::Frame {
            kind,
            number,
            slot,
            sequence,
            body,
        },
    );
    let step = prop_oneof![
        4 => (0usize..5).prop_map(Step::Call),
        1 => (0usize..5, 0u64..50).prop_map(|(kind, ms)| Step::CallWithin(kind, ms)),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        1 => (0u64..20).prop_map(Step::Time),
        8 => frame,
        1 => bytes().prop_map(Step::Bytes),
    ];
    proptest::collection::vec(step, 0..60)
}

fn opened(shared: &Arc<Shared>) -> Session {
    let mut session = Session::new(shared, Time::ZERO).unwrap();
    let welcome = Welcome {
        frame_bytes_max: 100,
        window_bytes: 100,
        in_flight_max: 4,
        meta_bytes_max: 0,
        takes_unknown: true,
        menu: Menu {
            service: "any".to_owned(),
            entries: vec![MenuEntry {
                name: "nothing".to_owned(),
                version: 1,
                kind: CallKind::Unary,
                digests: [0; 3],
                signature: String::new(),
            }],
        },
    };
    let mut bytes = Vec::new();
    write_welcome(&welcome, &mut bytes).unwrap();
    session.received(&bytes).unwrap();
    assert!(session.server().is_some());
    session.out.clear();
    session
}

proptest! {
    #[test]
    fn any_server_gives_a_named_end_or_nothing(steps in steps(), cut in 1usize..50) {
        let shared = Shared::new(ClientConfig { window_bytes: 60, ..ClientConfig::default() });
        let mut session = opened(&shared);
        let (mut calls, mut now) = (Vec::new(), Time::ZERO);
        let mut returned = Vec::new();
        for step in steps {
            let input = match step {
                Step::Call(_) | Step::CallWithin(..) if !session.has_room() => continue,
                Step::Call(kind) => {
                    let call = call(&shared, KINDS[kind]);
                    calls.push(call.clone());
                    session.call(Begun { call, deadline: Time::NEVER, number: 0, losses: 0 }, now);
                    continue;
                }
                Step::CallWithin(kind, ms) => {
                    let call = call(&shared, KINDS[kind]);
                    calls.push(call.clone());
                    let deadline = now + std::time::Duration::from_millis(ms);
                    session.call(Begun { call, deadline, number: 0, losses: 0 }, now);
                    continue;
                }
                Step::Cancel(index) if !calls.is_empty() => {
                    let call = index.get(&calls);
                    call.cancel_aloud();
                    session.cancelled(call);
                    continue;
                }
                Step::Cancel(_) => continue,
                Step::Time(ms) => {
                    now = now + std::time::Duration::from_millis(ms);
                    prop_assert!(session.expire(now).is_ok(), "the heartbeats are far apart");
                    prop_assert!(session.next_deadline() > now);
                    continue;
                }
                Step::Frame { kind, number, slot, sequence, body } => {
                    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
                    bytes.extend([kind, 0]);
                    bytes.extend(number.to_le_bytes());
                    bytes.extend(slot.to_le_bytes());
                    bytes.extend(sequence.to_le_bytes());
                    bytes.extend(body);
                    bytes
                }
                Step::Bytes(bytes) => bytes,
            };
            let ended = input.chunks(cut).try_for_each(|piece| session.received(piece));
            returned.append(&mut session.returned);
            prop_assert!(session.slots.len() <= 4);
            prop_assert!(session.out.len() < 10_000);
            if ended.is_err() {
                break;
            }
        }
        // What was handed back lives on, what is in flight is named, and all else is over.
        let left = session.abandon();
        for call in &calls {
            let lives = left.iter().chain(&returned).any(|one| one.call.is(&**call));
            prop_assert!(call.core().is_over() || lives);
            prop_assert_eq!(call.core().slot(), None);
        }
    }
}
