//! Calls of fibers.

use crate::ms;
use crate::service::{self, Double, Sum};
use crate::wire::*;
use crate::world::at;
use rotor_fsm::compose;
use rotor_fsm::sim::{Sim, check};
use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
use rotor_net::prelude::*;
use rotor_net::rpc::{CallError, Channel, ClientConfig, Connector};
use std::sync::{Arc, Mutex};

type Body = Fiber<(), Never>;

compose! {
    /// A client's connection, and fibers that use it.
    enum App(()) {
        Connector(Connector<()>),
        Fiber(Body),
    }
}

type Results = Arc<Mutex<Vec<Result<u32, CallError>>>>;

/// Runs a fiber against a server that doubles, and adds up what is streamed.
fn run(
    sim: &mut Sim,
    body: impl FnOnce(&Cx<(), Never>, Channel, Results) -> Result<()> + 'static,
) -> Vec<Result<u32, CallError>> {
    let listener = sim.listen_peer(at()).unwrap();
    let (channel, seed) = Channel::new::<()>(at(), ClientConfig::default());
    let results = Results::default();
    let app = sim.add::<App>(Config::default(), |_| Ok(())).unwrap();
    sim.spawn::<App, Connector<()>>(&app, seed).unwrap();
    let stacks = Stacks::new(StackConfig::default()).unwrap();
    let told = results.clone();
    let fiber = stacks.fiber("caller", move |cx: &Cx<(), Never>| body(cx, channel, told));
    sim.spawn::<App, Body>(&app, fiber.unwrap()).unwrap();
    let mut peer = None;
    sim.run_until(ms(1000), |sim| {
        peer = sim.accept(listener);
        peer.is_some()
    });
    let peer = peer.expect("connected");
    sim.send(peer, &service::welcome().bytes());
    let (mut bytes, mut sums) = (Vec::new(), std::collections::HashMap::new());
    let mut has_greeted = false;
    for _ in 0..200 {
        sim.run_for(ms(10));
        bytes.extend(sim.take_received(peer));
        if !has_greeted && bytes.len() > PREAMBLE.len() {
            bytes.drain(..PREAMBLE.len());
            has_greeted = true;
        }
        for frame in frames(&mut bytes) {
            match (frame.kind, frame.number) {
                (CALL, service::DOUBLE) if number(&frame) == 0 => {} // never answered
                (CALL, service::DOUBLE) => {
                    let reply = postcard::to_stdvec(&(2 * number(&frame))).unwrap();
                    sim.send(peer, &frame.answer(REPLY, 0, &reply));
                }
                (CALL, _) => drop(sums.insert(frame.sequence, 0)),
                (ITEM, _) => {
                    *sums.get_mut(&frame.sequence).unwrap() += number(&frame);
                    let bytes = 16 + frame.body.len() as u32;
                    sim.send(peer, &frame.answer(CREDIT, 0, &bytes.to_le_bytes()));
                }
                (END, _) => {
                    let reply = postcard::to_stdvec(&sums[&frame.sequence]).unwrap();
                    sim.send(peer, &frame.answer(REPLY, 0, &reply));
                }
                _ => {}
            }
        }
    }
    std::mem::take(&mut *results.lock().unwrap())
}

#[test]
fn a_fiber_waits_for_its_answer() {
    check(0..50, |sim| {
        let results = run(sim, |cx, channel, results| {
            for n in 1..5 {
                let result = channel.unary::<Double>(n).join(cx);
                results.lock().unwrap().push(result);
            }
            let (mut numbers, sum) = channel.client_stream::<Sum>(0);
            for n in 1..=100 {
                numbers.send_in(cx, n).unwrap();
            }
            numbers.end()?;
            results.lock().unwrap().push(sum.join(cx));
            Ok(())
        });
        assert_eq!(results, [Ok(2), Ok(4), Ok(6), Ok(8), Ok(5050)]);
    });
}

#[test]
fn deadlines_of_the_call_and_of_the_fiber_both_end_the_wait() {
    check(0..50, |sim| {
        let results = run(sim, |cx, channel, results| {
            let tell = |result| results.lock().unwrap().push(result);
            tell(channel.unary::<Double>(0).within(ms(100)).join(cx));
            tell(cx.within(ms(100)).call(channel.unary::<Double>(0)));
            let misuse = cx.with_context(|()| channel.unary::<Double>(0).join(cx))?;
            assert!(matches!(misuse, Err(CallError::Misuse(_))), "{misuse:?}");
            tell(channel.unary::<Double>(4).join(cx));
            Ok(())
        });
        let late = Err(CallError::TimedOut);
        assert_eq!(results, [late.clone(), late, Ok(8)]);
    });
}
