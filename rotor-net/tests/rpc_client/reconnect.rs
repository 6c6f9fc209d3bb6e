//! Connecting again, in virtual time.

use crate::service::{self, Count};
use crate::wire::*;
use crate::world::World;
use crate::{ms, why};
use rotor_fsm::sim::{Ended, SimConfig, check, check_with};
use rotor_net::rpc::{CallError, ChannelState, ClientConfig, InFlight, Reconnect};
use std::task::Poll;
use std::time::Duration;

fn backoff(attempts_max: Option<u32>) -> ClientConfig {
    ClientConfig {
        reconnect: Reconnect::Backoff {
            first: ms(50),
            longest: ms(1000),
            attempts_max,
        },
        // Not in the way of what is looked at.
        heartbeat: Duration::MAX,
        ..ClientConfig::default()
    }
}

#[test]
fn a_client_connects_when_something_is_called() {
    check(0..50, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        assert_eq!(world.accept(listener, ms(5000)), None);
        assert_eq!(world.channel.state(), ChannelState::Idle);
        world.call(1, None);
        let peer = world.greet(listener);
        let call = world.expect(peer, CALL);
        world.answer(peer, &call, 11);
        assert_eq!(world.take_results(), [(1, Ok(11))]);
        assert_eq!(
            world.take_states(),
            [ChannelState::Connecting { attempt: 1 }, ChannelState::Open]
        );
    });
}

/// Those before each further attempt that was told since this was asked last.
fn waits(world: &World<'_>) -> Vec<Duration> {
    let states = world.take_states().into_iter();
    let wait = |state| match state {
        ChannelState::Lost { again_in, .. } => again_in,
        _ => None,
    };
    states.filter_map(wait).collect()
}

/// Waits for attempt `n` are random, below 50 ms doubled so often, and below a second.
#[test]
fn waits_between_attempts_grow_and_are_random() {
    let mut longest_seen = [Duration::ZERO; 10];
    let mut seen = std::cell::RefCell::new(&mut longest_seen);
    check(0..60, |sim| {
        let world = World::new(sim, backoff(None));
        world.call(1, None);
        world.sim.run_for(ms(20_000));
        let waits = waits(&world);
        assert!(waits.len() > 10, "{waits:?}");
        for (n, wait) in waits.iter().enumerate() {
            let bound = ms(50 << n.min(20)).min(ms(1000));
            assert!(*wait <= bound, "wait {n} is {wait:?}, over {bound:?}");
        }
        let mut seen = seen.borrow_mut();
        for (longest, wait) in seen.iter_mut().zip(&waits) {
            *longest = (*longest).max(*wait);
        }
    });
    if std::env::var_os("ROTOR_SIM_SEED").is_some() {
        return;
    }
    // Nearly all of the range is used, at each step.
    for (n, longest) in seen.get_mut().iter().enumerate() {
        let bound = ms(50 << n).min(ms(1000));
        assert!(
            *longest > bound / 2,
            "the longest wait {n} of 60 is {longest:?} of {bound:?}"
        );
    }
}

#[test]
fn calls_wait_for_the_server_to_come_back() {
    check(0..100, |sim| {
        let mut world = World::new(sim, backoff(None));
        for n in 0..5 {
            world.call(n, None);
        }
        world.sim.run_for(ms(3000));
        assert_eq!(world.take_results(), []);
        let listener = world.listen();
        let peer = world.greet(listener);
        for n in 0..5 {
            let call = world.expect(peer, CALL);
            assert_eq!((number(&call), call.slot, call.sequence), (n, n, n));
            world.answer(peer, &call, 10 * n);
        }
        let expected: Vec<_> = (0..5).map(|n| (n, Ok(10 * n))).collect();
        assert_eq!(world.take_results(), expected);
    });
}

#[test]
fn a_deadline_counts_while_a_call_waits_for_a_connection() {
    check(0..100, |sim| {
        let mut world = World::new(sim, backoff(None));
        world.call(1, Some(ms(500)));
        world.call(2, None);
        world.sim.run_for(ms(499));
        assert_eq!(world.take_results(), []);
        world.sim.run_for(ms(3));
        assert_eq!(world.take_results(), [(1, Err(CallError::TimedOut))]);
        let listener = world.listen();
        let peer = world.greet(listener);
        assert_eq!(number(&world.expect(peer, CALL)), 2);
    });
}

#[test]
fn the_time_that_is_left_travels() {
    check(0..50, |sim| {
        let mut world = World::new(sim, backoff(None));
        world.call(1, Some(ms(10_000)));
        world.sim.run_for(ms(4000));
        let listener = world.listen();
        let peer = world.greet(listener);
        let left = world.expect(peer, CALL).deadline_ms().unwrap();
        assert!((4000..=6000).contains(&left), "{left}");
        world.sim.run_for(ms(u64::from(left)));
        assert_eq!(world.take_results(), [(1, Err(CallError::TimedOut))]);
        assert_eq!(world.expect(peer, CANCEL).sequence, 0);
    });
}

/// The frame has no room for it: as milliseconds in 32 bits it would be sooner.
#[test]
fn a_deadline_of_many_weeks_does_not_travel() {
    check(0..10, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        let milliseconds = u64::from(u32::MAX);
        world.call(1, Some(ms(milliseconds + 60_000)));
        world.call(2, Some(ms(milliseconds)));
        let peer = world.greet(listener);
        assert_eq!(world.expect(peer, CALL).deadline_ms(), None);
        let left = world.expect(peer, CALL).deadline_ms();
        assert!(left.is_some_and(|left| left > u32::MAX - 60_000));
    });
}

#[test]
fn a_stream_that_has_begun_gets_no_deadline() {
    check(0..10, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        let mut items = world.channel.server_stream::<Count>(7);
        items.start();
        let mut items = items.within(ms(1));
        let peer = world.greet(listener);
        assert_eq!(world.expect(peer, CALL).deadline_ms(), None);
        assert_eq!(items.try_next(), Poll::Pending);
    });
}

#[test]
fn waits_of_nothing_are_short_ones_that_grow() {
    check(0..20, |sim| {
        for (longest, attempts_max) in [(ms(1000), 200), (Duration::ZERO, usize::MAX)] {
            let reconnect = Reconnect::Backoff {
                first: Duration::ZERO,
                longest,
                attempts_max: None,
            };
            let config = ClientConfig {
                reconnect,
                ..backoff(None)
            };
            let world = World::new(sim, config);
            world.call(1, None);
            world.sim.run_for(ms(20_000));
            let waits = waits(&world);
            assert!(waits.len() < attempts_max, "{}", waits.len());
            assert!(waits.iter().any(|wait| !wait.is_zero()));
        }
    });
}

#[test]
fn calls_in_flight_fail_and_those_that_wait_go_to_the_next_connection() {
    check(0..200, |sim| {
        let config = ClientConfig {
            in_flight_max: 2,
            ..backoff(None)
        };
        let mut world = World::new(sim, config);
        let listener = world.listen();
        for n in 0..3 {
            world.call(n, None);
        }
        let peer = world.greet(listener);
        for n in 0..2 {
            assert_eq!(number(&world.expect(peer, CALL)), n);
        }
        world.sim.reset(peer);
        world.sim.run_for(ms(20));
        let results = world.take_results();
        assert_eq!(results.len(), 2);
        for (at, (n, result)) in results.into_iter().enumerate() {
            assert_eq!(n as usize, at);
            assert!(why(&result.unwrap_err()).0);
        }
        let peer = world.greet(listener);
        let call = world.expect(peer, CALL);
        // Numbers begin anew.
        assert_eq!((number(&call), call.slot, call.sequence), (2, 0, 0));
        world.answer(peer, &call, 20);
        assert_eq!(world.take_results(), [(2, Ok(20))]);
    });
}

#[test]
fn where_it_is_wanted_unary_calls_are_sent_again_first_and_streams_fail() {
    check(0..200, |sim| {
        let config = ClientConfig {
            in_flight: InFlight::Resend { times_max: 1 },
            in_flight_max: 4,
            ..backoff(None)
        };
        let mut world = World::new(sim, config);
        let listener = world.listen();
        world.call(0, None);
        let mut items = world.channel.server_stream::<Count>(9);
        items.start();
        for n in 1..5 {
            world.call(n, None);
        }
        let peer = world.greet(listener);
        let calls: Vec<_> = (0..4).map(|_| world.expect(peer, CALL)).collect();
        // One is done, and another takes its slot, so that slots are not in the order of sequence.
        world.answer(peer, &calls[0], 0);
        assert_eq!(number(&world.expect(peer, CALL)), 3);
        world.sim.close(peer);
        world.sim.run_for(ms(20));
        assert_eq!(world.take_results(), [(0, Ok(0))]);
        match items.try_next() {
            std::task::Poll::Ready(Some(Err(error))) => assert!(why(&error).0),
            other => panic!("{other:?}"),
        }
        let peer = world.greet(listener);
        for n in 1..5 {
            let call = world.expect(peer, CALL);
            assert_eq!((number(&call), call.sequence), (n, n - 1));
            world.answer(peer, &call, 10 * n);
        }
        let expected: Vec<_> = (1..5).map(|n| (n, Ok(10 * n))).collect();
        assert_eq!(world.take_results(), expected);
    });
}

/// A call that brings its server down would do so for ever.
#[test]
fn a_call_is_sent_again_so_often_and_fails_then() {
    check(0..50, |sim| {
        let times_max = sim.seed() as u32 % 4;
        let config = ClientConfig {
            in_flight: InFlight::Resend { times_max },
            in_flight_max: 1,
            ..backoff(None)
        };
        let mut world = World::new(sim, config);
        let listener = world.listen();
        world.call(1, None);
        world.call(2, None);
        for _ in 0..=times_max {
            assert_eq!(world.take_results(), []);
            let peer = world.greet(listener);
            assert_eq!(number(&world.expect(peer, CALL)), 1);
            world.sim.reset(peer);
            world.sim.run_for(ms(20));
        }
        let [(1, Err(error))] = &world.take_results()[..] else {
            panic!("the call did not fail, or not alone");
        };
        assert!(why(error).0);
        // One that only waited has lost nothing.
        let peer = world.greet(listener);
        let call = world.expect(peer, CALL);
        assert_eq!(number(&call), 2);
        world.answer(peer, &call, 20);
        assert_eq!(world.take_results(), [(2, Ok(20))]);
    });
}

#[test]
fn a_client_that_gives_up_fails_what_waits_and_tries_again_when_called() {
    check(0..50, |sim| {
        let mut world = World::new(sim, backoff(Some(3)));
        world.call(1, None);
        world.sim.run_for(ms(10_000));
        let [(1, Err(error))] = &world.take_results()[..] else {
            panic!("the call did not fail");
        };
        let (was_sent, lost) = why(error);
        assert!(!was_sent && lost.contains("refused"), "{lost}");
        let attempts = |states: Vec<ChannelState>| {
            let is_attempt = |state: &&_| matches!(state, ChannelState::Connecting { .. });
            states.iter().filter(is_attempt).count()
        };
        assert_eq!(attempts(world.take_states()), 3);
        world.sim.run_for(ms(10_000));
        assert_eq!(world.take_states(), []);
        let listener = world.listen();
        world.call(2, None);
        let peer = world.greet(listener);
        assert_eq!(number(&world.expect(peer, CALL)), 2);
        // An attempt that was a success is none of those in a row that failed.
        world.sim.close_listener(listener);
        world.sim.reset(peer);
        world.sim.run_for(ms(10_000));
        assert_eq!(attempts(world.take_states()), 1 + 3);
    });
}

#[test]
fn a_server_that_greets_and_hangs_up_is_not_tried_in_a_frenzy() {
    check(0..30, |sim| {
        let mut world = World::new(sim, backoff(None));
        world.call(1, None);
        let mut greeted = 0;
        let listener = world.listen();
        let start = world.sim.now();
        while world.sim.now().since(start) < ms(20_000) {
            if let Some(peer) = world.accept(listener, ms(2000)) {
                greeted += 1;
                world.sim.send(peer, &service::welcome().bytes());
                world.sim.run_for(ms(5));
                world.sim.reset(peer);
                if world.channel.state() == ChannelState::Open {
                    world.sim.run_for(ms(5));
                }
            }
        }
        // A second at most, and half a second on average, between one and the next.
        assert!((10..100).contains(&greeted), "{greeted}");
    });
}

/// Being refused by a server that drains is of no use either.
#[test]
fn a_server_that_refuses_every_call_is_not_tried_in_a_frenzy() {
    check(0..30, |sim| {
        let mut world = World::new(sim, backoff(None));
        world.call(1, None);
        let listener = world.listen();
        let (start, mut greeted) = (world.sim.now(), 0);
        while world.sim.now().since(start) < ms(20_000) {
            if let Some(peer) = world.accept(listener, ms(2000)) {
                greeted += 1;
                world.send(peer, &service::welcome().bytes());
                let refused = world.expect(peer, CALL);
                world.send(peer, &refused.answer(FAIL, DRAINING, b""));
                world.sim.close(peer);
            }
        }
        assert!((10..100).contains(&greeted), "{greeted}");
        assert_eq!(world.take_results(), []);
    });
}

#[test]
fn a_connection_that_cannot_be_made_in_time_is_given_up() {
    let nature = SimConfig {
        delay: (ms(600), ms(700)),
        ..SimConfig::default()
    };
    check_with(0..20, &nature, |sim| {
        let config = ClientConfig {
            connect: ms(500),
            ..backoff(Some(1))
        };
        let mut world = World::new(sim, config);
        world.listen();
        world.call(1, None);
        world.sim.run_for(ms(499));
        assert_eq!(world.take_results(), []);
        world.sim.run_for(ms(3));
        let [(1, Err(error))] = &world.take_results()[..] else {
            panic!("the call did not fail");
        };
        assert_eq!(why(error).1, "127.0.0.1:7: no connection within 500ms");
    });
}

#[test]
fn what_a_draining_server_refuses_goes_to_the_next_connection() {
    check(0..200, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        for n in 0..3 {
            world.call(n, None);
        }
        let mut items = world.channel.server_stream::<Count>(7);
        items.start();
        let old = world.greet(listener);
        let calls: Vec<_> = (0..4).map(|_| world.expect(old, CALL)).collect();
        world.sim.send(old, &bare(CLOSE_STARTED));
        for refused in [&calls[0], &calls[2], &calls[3]] {
            world.sim.send(old, &refused.answer(FAIL, DRAINING, b""));
        }
        world.sim.run_for(ms(20));
        world.call(3, None);
        let new = world.greet(listener);
        world.expect(old, CLOSE_STARTED);
        // In the order in which they were called, before the one that came later.
        for n in [0, 2, 7, 3] {
            let call = world.expect(new, CALL);
            assert_eq!(number(&call), n);
            match n {
                7 => {
                    world.send(new, &item(&call, 70));
                    world.send(new, &call.answer(END, 0, &[]));
                }
                n => world.answer(new, &call, 10 * n),
            }
        }
        assert_eq!(world.take_results(), [(0, Ok(0)), (2, Ok(20)), (3, Ok(30))]);
        assert_eq!(items.try_next(), std::task::Poll::Ready(Some(Ok(70))));
        assert_eq!(items.try_next(), std::task::Poll::Ready(None));
        // The old connection finishes what it has, and only then closes.
        assert!(!world.sim.saw_eof(old));
        world.answer(old, &calls[1], 10);
        assert_eq!(world.take_results(), [(1, Ok(10))]);
        world.sim.run_for(ms(20));
        assert!(world.sim.saw_eof(old));
        assert_eq!(world.channel.state(), ChannelState::Open);
    });
}

/// Made again elsewhere, it would begin with items of the first server.
#[test]
fn a_stream_that_is_refused_in_the_middle_is_not_made_again() {
    check(0..100, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        let mut items = world.channel.server_stream::<Count>(7);
        items.start();
        let old = world.greet(listener);
        let call = world.expect(old, CALL);
        let refused = call.answer(FAIL, DRAINING, b"");
        world.send(old, &[item(&call, 70), refused].concat());
        assert_eq!(items.try_next(), Poll::Ready(Some(Ok(70))));
        let drains = Err(CallError::Draining);
        assert_eq!(items.try_next(), Poll::Ready(Some(drains)));
        world.call(1, None);
        let new = world.greet(listener);
        assert_eq!(number(&world.expect(new, CALL)), 1);
    });
}

/// A server that drains again and again, and never ends what it has, does not gather connections.
#[test]
fn of_the_connections_that_drain_the_oldest_is_cut() {
    check(0..30, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        let mut left = Vec::new();
        for n in 0..6 {
            world.call(n, None);
            let peer = world.greet(listener);
            let call = world.expect(peer, CALL);
            world.send(peer, &bare(CLOSE_STARTED));
            left.push((peer, call));
            // Four may be left, so the first to go is the fifth but four.
            let lost = world.take_results();
            match n.checked_sub(4) {
                None => assert_eq!(lost, []),
                Some(oldest) => {
                    let [(which, Err(error))] = &lost[..] else {
                        panic!("{lost:?}");
                    };
                    assert_eq!(*which, oldest);
                    assert_eq!(why(error), (true, "too many connections that end"));
                    let cut = left[oldest as usize].0;
                    assert!(world.sim.saw_eof(cut) || world.sim.saw_reset(cut));
                }
            }
        }
        for (peer, call) in &left[2..] {
            world.answer(*peer, call, 7);
        }
        let answered: Vec<_> = (2..6).map(|n| (n, Ok(7))).collect();
        assert_eq!(world.take_results(), answered);
    });
}

#[test]
fn a_server_that_drains_and_hangs_up_fails_what_it_had() {
    check(0..100, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        world.call(1, None);
        let peer = world.greet(listener);
        world.expect(peer, CALL);
        world.send(peer, &bare(CLOSE_STARTED));
        world.sim.close(peer);
        world.sim.run_for(ms(20));
        let [(1, Err(error))] = &world.take_results()[..] else {
            panic!("the call did not fail");
        };
        assert!(why(error).0);
    });
}

#[test]
fn closing_gives_up_what_waits_for_another_attempt_and_ends_the_loop() {
    check(0..100, |sim| {
        let world = World::new(sim, backoff(None));
        world.call(1, None);
        world.sim.run_for(ms(1000));
        world.channel.close();
        world.sim.run_for(ms(1000));
        let results = world.take_results();
        let [(1, Err(CallError::Closed | CallError::Disconnected { .. }))] = &results[..] else {
            panic!("{results:?}");
        };
        assert_eq!(world.channel.state(), ChannelState::Closed);
        assert_eq!(world.sim.run(ms(1000)), Ended::Over);
        assert_eq!(world.sim.descriptors(), 0);
    });
}

#[test]
fn closing_before_the_first_connection_stands_still_sends_what_was_called() {
    check(0..100, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        world.call(1, None);
        world.channel.close();
        let peer = world.greet(listener);
        let call = world.expect(peer, CALL);
        world.expect(peer, CLOSE_STARTED);
        world.answer(peer, &call, 5);
        assert_eq!(world.take_results(), [(1, Ok(5))]);
        assert!(world.sim.saw_eof(peer));
        world.sim.shutdown(peer);
        assert_eq!(world.sim.run(ms(1000)), Ended::Over);
        assert_eq!(world.sim.descriptors(), 0);
    });
}

#[test]
fn a_server_that_does_not_close_is_not_waited_for_for_ever() {
    check(0..50, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        world.call(1, None);
        let peer = world.greet(listener);
        let call = world.expect(peer, CALL);
        world.answer(peer, &call, 5);
        world.channel.close();
        assert_eq!(world.sim.run(ms(4000)), Ended::Time);
        assert_eq!(world.sim.run(ms(2000)), Ended::Over);
        let closed_at = world.take_states().pop();
        assert_eq!(closed_at, Some(ChannelState::Closed));
    });
}

#[test]
fn a_loop_that_ends_fails_what_is_left_of_its_client() {
    check(0..50, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        world.call(1, None);
        let peer = world.greet(listener);
        world.expect(peer, CALL);
        let client = world.client.handle();
        client.shutdown(Duration::ZERO);
        world.call_refused_or_lost();
        world.sim.run(ms(1000));
        let results = world.take_results();
        let (was_sent, why) = why(results[0].1.as_ref().unwrap_err());
        assert_eq!((was_sent, why), (true, "the loop of the client has ended"));
        assert_eq!(world.channel.state(), ChannelState::Closed);
    });
}

impl World<'_> {
    /// One that comes when the loop is about to end.
    fn call_refused_or_lost(&self) {
        let call = self.channel.unary::<service::Double>(2);
        if let Ok(call) = call.done(|result| assert!(result.is_err())) {
            call.detach();
        }
    }
}

#[test]
fn a_loop_that_shuts_down_finishes_what_is_in_flight() {
    check(0..50, |sim| {
        let mut world = World::new(sim, backoff(None));
        let listener = world.listen();
        world.call(1, None);
        let peer = world.greet(listener);
        let call = world.expect(peer, CALL);
        world.client.handle().shutdown(ms(10_000));
        world.sim.run_for(ms(50));
        world.expect(peer, CLOSE_STARTED);
        world.answer(peer, &call, 3);
        assert_eq!(world.take_results(), [(1, Ok(3))]);
        world.sim.close(peer);
        assert_eq!(world.sim.run(ms(1000)), Ended::Over);
    });
}

/// In a hostile network every call gets exactly one answer, and the right one if it is a reply.
#[test]
fn whatever_breaks_every_call_is_answered_once() {
    let nature = SimConfig {
        break_percent: 60,
        refuse_percent: 20,
        break_within: ms(50),
        ..SimConfig::default()
    };
    check_with(0..300, &nature, |sim| {
        let resends = sim.seed() % 2 == 0;
        let config = ClientConfig {
            in_flight: if resends {
                InFlight::Resend {
                    times_max: u32::MAX,
                }
            } else {
                InFlight::Fail
            },
            in_flight_max: 5,
            ..backoff(None)
        };
        let mut world = World::new(sim, config);
        let listener = world.listen();
        let mut peers: Vec<(rotor_fsm::sim::PeerId, Vec<u8>, bool)> = Vec::new();
        let mut made = 0;
        for step in 0..400 {
            if step % 4 == 0 && made < 60 {
                world.call(made, None);
                made += 1;
            }
            world.sim.run_for(ms(3));
            if let Some(peer) = world.sim.accept(listener) {
                world.sim.send(peer, &service::welcome().bytes());
                peers.push((peer, Vec::new(), false));
            }
            for (peer, bytes, has_greeted) in &mut peers {
                bytes.extend(world.sim.take_received(*peer));
                if !*has_greeted && bytes.len() >= PREAMBLE.len() {
                    bytes.drain(..PREAMBLE.len());
                    *has_greeted = true;
                }
                if !*has_greeted {
                    continue;
                }
                for call in frames(bytes).into_iter().filter(|frame| frame.kind == CALL) {
                    let reply = postcard::to_stdvec(&(2 * number(&call))).unwrap();
                    world.sim.send(*peer, &call.answer(REPLY, 0, &reply));
                }
            }
        }
        let mut results = world.take_results();
        results.sort_by_key(|(n, _)| *n);
        let answered: Vec<_> = results.iter().map(|(n, _)| *n).collect();
        assert_eq!(answered, (0..made).collect::<Vec<_>>());
        for (n, result) in results {
            match result {
                Ok(reply) => assert_eq!(reply, 2 * n),
                Err(error) => assert!(why(&error).0 && !resends, "{error}"),
            }
        }
    });
}
