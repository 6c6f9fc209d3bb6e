//! Calls of machines: the connection and its user are machines of one loop.

use crate::service::{self, Count, Double};
use crate::wire::*;
use crate::world::at;
use crate::{eventually, ms, scripted};
use rotor_fsm::sim::{Ended, check};
use rotor_fsm::{LoopThread, compose};
use rotor_net::prelude::*;
use rotor_net::rpc::{
    Call, CallError, Channel, ClientConfig, Connector, ItemReceiver, SendItemError,
};
use std::sync::mpsc::{Sender, channel as channel_of_results};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

compose! {
    /// A client's connection, and machines that use it.
    enum App(()) {
        Connector(Connector<()>),
        Caller(Caller),
        Watcher(Watcher),
        Busy(Busy),
    }
}

/// Makes three calls, gives one of them up, and ends when it has two answers.
struct Caller {
    _calls: Vec<Call>,
    heard: Arc<Mutex<Vec<Msg>>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Msg {
    Got(u32, Result<u32, CallError>),
}

impl Machine for Caller {
    type Context = ();
    type Message = Msg;
    type Seed = (Channel, Arc<Mutex<Vec<Msg>>>);

    fn create((channel, heard): Self::Seed, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        let mut calls = Vec::new();
        for n in 0..3 {
            let call = channel.unary::<Double>(n);
            calls.push(call.then(scope, move |result| Msg::Got(n, result))?);
        }
        drop(calls.remove(1));
        Ok(Response::of(Caller {
            _calls: calls,
            heard,
        }))
    }

    fn wakeup(self, message: Msg, _: &mut Scope<Self>) -> Result<Response<Self>> {
        let mut heard = self.heard.lock().unwrap();
        heard.push(message);
        let is_done = heard.len() == 2;
        drop(heard);
        Ok(match is_done {
            true => Response::done(),
            false => Response::of(self),
        })
    }
}

/// Receives a stream, woken without messages.
struct Watcher {
    items: ItemReceiver<u32>,
    heard: Arc<Mutex<Vec<u32>>>,
}

impl Machine for Watcher {
    type Context = ();
    type Message = Never;
    type Seed = (Channel, Arc<Mutex<Vec<u32>>>);

    fn create((channel, heard): Self::Seed, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        let mut items = channel.server_stream::<Count>(9);
        items.wake_when_ready(scope.waker());
        Ok(Response::of(Watcher { items, heard }))
    }

    fn io(mut self, event: Io, _: HandleId, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        assert!(matches!(event, Io::Woken), "{event:?}");
        loop {
            match self.items.try_next() {
                Poll::Ready(Some(item)) => self.heard.lock().unwrap().push(item?),
                Poll::Ready(None) => return Ok(Response::done()),
                Poll::Pending => break,
            }
        }
        self.items.wake_when_ready(scope.waker());
        Ok(Response::of(self))
    }
}

#[test]
fn answers_arrive_as_messages_in_order_of_completion() {
    check(0..200, |sim| {
        let listener = sim.listen_peer(at()).unwrap();
        let (channel, seed) = Channel::new::<()>(at(), ClientConfig::default());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let app = sim.add::<App>(Config::default(), |_| Ok(())).unwrap();
        sim.spawn::<App, Connector<()>>(&app, seed).unwrap();
        sim.spawn::<App, Caller>(&app, (channel, heard.clone()))
            .unwrap();
        let mut peer = None;
        sim.run_until(ms(1000), |sim| {
            peer = sim.accept(listener);
            peer.is_some()
        });
        let peer = peer.expect("connected");
        sim.send(peer, &service::welcome().bytes());
        sim.run_for(ms(50));
        let mut bytes = sim.take_received(peer)[PREAMBLE.len()..].to_vec();
        let calls = frames(&mut bytes);
        // The one that was given up before there was a connection is not among them.
        let numbers: Vec<_> = calls[1..3].iter().map(number).collect();
        assert_eq!(numbers, [0, 2]);
        for call in calls[1..3].iter().rev() {
            let reply = postcard::to_stdvec(&(10 * number(call))).unwrap();
            sim.send(peer, &call.answer(REPLY, 0, &reply));
            sim.run_for(ms(20));
        }
        assert_eq!(
            *heard.lock().unwrap(),
            [Msg::Got(2, Ok(20)), Msg::Got(0, Ok(0))]
        );
        // With the caller the last handle went, so the client has closed.
        sim.close(peer);
        assert_eq!(sim.run(ms(1000)), Ended::Over);
    });
}

#[test]
fn a_machine_receives_items_by_its_waker() {
    check(0..200, |sim| {
        let listener = sim.listen_peer(at()).unwrap();
        let (channel, seed) = Channel::new::<()>(at(), ClientConfig::default());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let app = sim.add::<App>(Config::default(), |_| Ok(())).unwrap();
        sim.spawn::<App, Connector<()>>(&app, seed).unwrap();
        sim.spawn::<App, Watcher>(&app, (channel, heard.clone()))
            .unwrap();
        let mut peer = None;
        sim.run_until(ms(1000), |sim| {
            peer = sim.accept(listener);
            peer.is_some()
        });
        let peer = peer.expect("connected");
        sim.send(peer, &service::welcome().bytes());
        sim.run_for(ms(50));
        let mut bytes = sim.take_received(peer)[PREAMBLE.len()..].to_vec();
        let call = frames(&mut bytes).pop().unwrap();
        for n in 0..20 {
            sim.send(peer, &item(&call, n));
        }
        sim.send(peer, &call.answer(END, 0, &[]));
        sim.run_for(ms(200));
        assert_eq!(*heard.lock().unwrap(), (0..20).collect::<Vec<_>>());
        sim.close(peer);
        assert_eq!(sim.run(ms(1000)), Ended::Over);
    });
}

/// Makes a call at the end of a long handler, and tells how long it took to fail.
struct Busy {
    _socket: Socket,
    channel: Channel,
    tell: Sender<(Duration, Result<u32, CallError>)>,
}

impl Machine for Busy {
    type Context = ();
    type Message = Never;
    type Seed = (Addr, Channel, Sender<(Duration, Result<u32, CallError>)>);

    fn create((to, channel, tell): Self::Seed, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        Ok(Response::of(Busy {
            _socket: scope.connect(to)?,
            channel,
            tell,
        }))
    }

    /// The client's machine is woken later in this turn, which has had its time before the work.
    fn io(self, _: Io, _: HandleId, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        scope.now();
        std::thread::sleep(ms(100));
        let (begun, tell) = (Instant::now(), self.tell);
        let call = self.channel.unary::<Double>(1).within(ms(50));
        call.done(move |result| tell.send((begun.elapsed(), result)).unwrap())?
            .detach();
        Ok(Response::done())
    }
}

#[test]
fn a_deadline_counts_from_the_call_and_not_from_its_turn() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = Addr::Tcp(silent.local_addr().unwrap());
    let (channel, seed) = Channel::new::<()>(at.clone(), ClientConfig::default());
    let thread = LoopThread::<App>::spawn(Config::default(), |_| Ok(())).unwrap();
    thread.spawn::<Connector<()>>(seed).wait().unwrap();
    let (tell, heard) = channel_of_results();
    thread.spawn::<Busy>((at, channel, tell)).wait().unwrap();
    let (elapsed, result) = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(result, Err(CallError::TimedOut));
    assert!(elapsed >= ms(50), "{elapsed:?}");
}

/// A machine that takes any message, and nothing else.
struct Sink;

impl Machine for Sink {
    type Context = ();
    type Message = u32;
    type Seed = ();

    fn create((): (), _: &mut Scope<Self>) -> Result<Response<Self>> {
        Ok(Response::of(Sink))
    }

    fn wakeup(self, _: u32, _: &mut Scope<Self>) -> Result<Response<Self>> {
        Ok(Response::of(self))
    }
}

#[test]
fn an_answer_has_its_place_before_the_call_is_made() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!(number(&call), 1);
        peer.expect(CANCEL);
        peer.double();
    });
    let config = Config {
        inbox_messages_max: 1,
        ..Config::default()
    };
    let thread = LoopThread::<Sink>::spawn(config, |_| Ok(())).unwrap();
    let sink = thread.spawn::<Sink>(()).wait().unwrap();
    let channel = crate::connect(&server);
    let call = channel
        .unary::<Double>(1)
        .then(&sink, |result| result.unwrap());
    let refused = channel
        .unary::<Double>(2)
        .then(&sink, |result| result.unwrap());
    assert_eq!(refused.unwrap_err(), CallError::Unheard);
    crate::cancel::let_it_be_sent(&channel);
    // What is given up gives its place back.
    drop(call);
    eventually("a place", || {
        let call = channel
            .unary::<Double>(3)
            .then(&sink, |result| result.unwrap());
        call.map(Call::detach).is_ok()
    });
    drop(thread);
    let refused = channel
        .unary::<Double>(2)
        .then(&sink, |result| result.unwrap());
    assert_eq!(refused.unwrap_err(), CallError::Unheard);
    // Nor is it made by sending the first of its items.
    let (mut numbers, sum) = channel.client_stream::<service::Sum>(2);
    let refused = sum.then(&sink, |result| result.unwrap());
    assert_eq!(refused.unwrap_err(), CallError::Unheard);
    let ended = numbers.send(1);
    assert!(matches!(
        ended,
        Err(SendItemError::Ended(CallError::Cancelled))
    ));
    drop((numbers, channel));
    server.join();
}
