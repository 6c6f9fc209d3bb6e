//! Closing, by the client and by the server.

use super::*;
use rotor_net::rpc::{ChannelState, SendItemError};
use std::sync::{Arc, Mutex};

#[test]
fn the_last_handle_closes_the_connection_and_its_thread_ends() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.answer(&call, 1);
        peer.expect(CLOSE_STARTED);
        peer.expect_end();
    });
    let channel = connect(&server);
    let (tell, heard) = std::sync::mpsc::channel();
    // Dropped with the channel's state, which the thread has a share of.
    struct Told(std::sync::mpsc::Sender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let told = Told(tell);
    channel.watch(move |_| {
        let _ = &told;
    });
    let clone = channel.clone();
    drop(channel);
    assert_eq!(clone.unary::<Double>(0).wait(), Ok(1));
    drop(clone);
    server.join();
    heard.recv_timeout(PATIENCE).expect("the thread lets go");
}

#[test]
fn what_is_in_flight_when_the_last_handle_is_dropped_is_finished() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.expect(CLOSE_STARTED);
        peer.answer(&call, 5);
        peer.expect_end();
    });
    let channel = connect(&server);
    let call = channel.unary::<Double>(0).start();
    drop(channel);
    assert_eq!(call.wait(), Ok(5));
    server.join();
}

#[test]
fn a_call_that_is_not_begun_keeps_the_connection() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.answer(&call, 5);
        let call = peer.expect(CALL);
        peer.send(&item(&call, 6));
        // Closed by the last of them, which is soon given up.
        let mut last = [peer.next().unwrap().kind, peer.next().unwrap().kind];
        last.sort_unstable();
        assert_eq!(last, [CANCEL, CLOSE_STARTED]);
        peer.expect_end();
    });
    let channel = connect(&server);
    let call = channel.unary::<Double>(0);
    let mut items = channel.server_stream::<Count>(0);
    drop(channel);
    assert_eq!(call.wait(), Ok(5));
    assert_eq!(items.next_blocking(), Some(Ok(6)));
    drop(items);
    server.join();
}

#[test]
fn a_closed_channel_takes_no_calls_and_finishes_those_it_has() {
    let server = scripted(|listener| {
        let mut peer = listener.greet_with(&Welcome {
            in_flight_max: 1,
            ..service::welcome()
        });
        let first = peer.expect(CALL);
        peer.send(&bare(PING));
        peer.expect(PONG);
        peer.answer(&first, 1);
        let second = peer.expect(CALL);
        peer.expect(CLOSE_STARTED);
        peer.answer(&second, 2);
        peer.expect_end();
    });
    let channel = connect(&server);
    let first = channel.unary::<Double>(0).start();
    let second = channel.unary::<Double>(0).start();
    channel.close();
    channel.close();
    assert_eq!(channel.unary::<Double>(0).wait(), Err(CallError::Closed));
    assert_eq!(channel.one_way::<Touch>(0), Err(CallError::Closed));
    assert_eq!((first.wait(), second.wait()), (Ok(1), Ok(2)));
    server.join();
    eventually("closed", || channel.state() == ChannelState::Closed);
    assert_eq!(channel.unary::<Double>(0).wait(), Err(CallError::Closed));
}

/// Who sends the items of a call that is refused hears of it, too, and does not wait for it to begin.
#[test]
fn a_call_that_is_refused_ends_for_the_sender_of_its_items() {
    let server = scripted(|listener| listener.greet().double());
    let channel = connect(&server);
    channel.close();
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    let refused = sum.done(|_| panic!("not called"));
    assert_eq!(refused.unwrap_err(), CallError::Closed);
    let ended = numbers.send(1);
    assert!(matches!(
        ended,
        Err(SendItemError::Ended(CallError::Closed))
    ));
    assert_eq!(numbers.end(), Err(CallError::Closed));
    server.join();
}

#[test]
fn closing_can_be_waited_for() {
    let (let_go, go) = std::sync::mpsc::channel::<()>();
    let server = scripted(move |listener| {
        let mut peer = listener.greet();
        for n in 0..100 {
            assert_eq!(number(&peer.expect(ONE_WAY)), n);
        }
        peer.expect(CLOSE_STARTED);
        peer.expect_end();
        go.recv_timeout(PATIENCE).unwrap();
    });
    let channel = connect(&server);
    for n in 0..100 {
        channel.one_way::<Touch>(n).unwrap();
    }
    assert_eq!(channel.close_and_wait(ms(20)), Err(CallError::TimedOut));
    let_go.send(()).unwrap();
    assert_eq!(channel.close_and_wait(PATIENCE), Ok(()));
    assert_eq!(channel.state(), ChannelState::Closed);
    server.join();
}

#[test]
fn a_server_that_drains_finishes_what_is_in_flight() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        let refused = peer.expect(CALL);
        peer.send(&bare(CLOSE_STARTED));
        peer.send(&refused.answer(FAIL, DRAINING, b""));
        peer.expect(CLOSE_STARTED);
        peer.answer(&call, 5);
        peer.expect_end();
    });
    let channel = connect(&server);
    let call = channel.unary::<Double>(0).start();
    let refused = channel.unary::<Double>(0).start();
    assert_eq!(refused.wait(), Err(CallError::Draining));
    assert_eq!(channel.unary::<Double>(0).wait(), Err(CallError::Draining));
    assert_eq!(call.wait(), Ok(5));
    server.join();
    eventually("closed", || channel.state() == ChannelState::Closed);
}

#[test]
fn a_lost_connection_is_named_where_it_is_not_made_again() {
    let states = Arc::new(Mutex::new(Vec::new()));
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        peer.expect(CALL);
    });
    let channel = connect(&server);
    let seen = states.clone();
    channel.watch(move |state| seen.lock().unwrap().push(state.clone()));
    assert_eq!(channel.state(), ChannelState::Open);
    let error = channel.unary::<Double>(0).wait().unwrap_err();
    assert!(why(&error).0, "{error}");
    server.join();
    eventually("closed", || channel.state() == ChannelState::Closed);
    let error = channel.unary::<Double>(0).wait().unwrap_err();
    let (was_sent, lost) = why(&error);
    assert!(!was_sent);
    let lost = ChannelState::Lost {
        why: lost.into(),
        again_in: None,
    };
    // Watchers are told after whoever asks.
    eventually("told", || states.lock().unwrap().len() == 2);
    assert_eq!(*states.lock().unwrap(), [lost, ChannelState::Closed]);
    assert!(channel.server().is_some());
}

#[test]
fn a_thread_that_runs_a_loop_is_not_made_to_wait() {
    use rotor_net::prelude::*;
    struct Waits;
    impl Machine for Waits {
        type Context = ();
        type Message = Never;
        type Seed = Channel;
        fn create(channel: Channel, _: &mut Scope<Self>) -> Result<Response<Self>> {
            let misuse = Err(CallError::OnLoopThread);
            assert_eq!(channel.unary::<Double>(1).wait(), misuse);
            assert_eq!(channel.unary::<Double>(1).start().wait(), misuse);
            let items = channel.server_stream::<Count>(1).next_blocking();
            assert_eq!(items, Some(Err(CallError::OnLoopThread)));
            let error = Channel::connect("127.0.0.1:1").unwrap_err();
            assert_eq!(error, CallError::OnLoopThread);
            Ok(Response::done())
        }
    }
    let server = scripted(|listener| {
        listener.greet().double();
    });
    let channel = connect(&server);
    rotor_fsm::run::<Waits>((), channel.clone()).unwrap();
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn a_connector_that_is_never_made_fails_what_was_called() {
    let (channel, seed) = Channel::new::<()>(std::path::PathBuf::from("/nowhere"), once());
    let call = channel.unary::<Double>(0).start();
    assert_eq!(channel.state(), ChannelState::Idle);
    drop(seed);
    let error = call.wait().unwrap_err();
    assert_eq!(why(&error), (false, "the loop of the client has ended"));
    assert!(!why(&channel.unary::<Double>(0).wait().unwrap_err()).0);
    assert_eq!(channel.state(), ChannelState::Closed);
}
