//! The ways to wait for an answer: threads, futures, polls by hand.

use super::*;
use rotor_net::rpc::Pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A server that answers each call with its double, and lets go of one at a time.
fn doubling() -> Scripted {
    scripted(|listener| listener.greet().double())
}

struct Counting(AtomicUsize, std::thread::Thread);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.unpark();
    }
}

fn counting() -> (Arc<Counting>, Waker) {
    let counting = Arc::new(Counting(AtomicUsize::new(0), std::thread::current()));
    (counting.clone(), Waker::from(counting))
}

/// Any executor will do: this is a small one.
fn block_on<F: Future>(future: F) -> F::Output {
    let (counting, waker) = counting();
    let mut future = Box::pin(future);
    let start = Instant::now();
    loop {
        let before = counting.0.load(Ordering::SeqCst);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while counting.0.load(Ordering::SeqCst) == before {
            assert!(start.elapsed() < PATIENCE, "never woken");
            std::thread::park_timeout(ms(1000));
        }
    }
}

#[test]
fn a_pending_call_is_a_future() {
    let server = doubling();
    let channel = connect(&server);
    let sum = block_on(async {
        let a = channel.unary::<Double>(1).start();
        let b = channel.unary::<Double>(2);
        b.await.unwrap() + a.await.unwrap()
    });
    assert_eq!(sum, 6);
    drop(channel);
    server.join();
}

/// Under an executor that is not of these tests, with calls that wait for each other.
#[test]
fn calls_are_awaited_by_tasks() {
    let server = doubling();
    let channel = connect(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let sum = runtime.unwrap().block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let channel = channel.clone();
                tokio::spawn(async move {
                    let double = channel.unary::<Double>(n).within(PATIENCE).await?;
                    channel.unary::<Double>(double).within(PATIENCE).await
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap().unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..100).map(|n| 4 * n).sum());
    drop(channel);
    server.join();
}

#[test]
fn a_polled_call_wakes_the_last_who_polled_and_only_once() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        let go = peer.expect(ONE_WAY);
        assert_eq!(number(&go), 0);
        peer.answer(&call, 7);
        peer.double();
    });
    let channel = connect(&server);
    let ((first, first_waker), (second, second_waker)) = (counting(), counting());
    let mut call: Pending<u32> = channel.unary::<Double>(1);
    for waker in [&first_waker, &second_waker, &second_waker] {
        let polled = Pin::new(&mut call).poll(&mut Context::from_waker(waker));
        assert_eq!(polled, Poll::Pending);
    }
    channel.one_way::<Touch>(0).unwrap();
    eventually("woken", || second.0.load(Ordering::SeqCst) > 0);
    let mut context = Context::from_waker(&first_waker);
    assert_eq!(Pin::new(&mut call).poll(&mut context), Poll::Ready(Ok(7)));
    // It was had: what follows is an error, not a hang.
    let again = Pin::new(&mut call).poll(&mut context);
    assert!(matches!(again, Poll::Ready(Err(CallError::Misuse(_)))));
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(second.0.load(Ordering::SeqCst), 1);
    drop(channel);
    server.join();
}

#[test]
fn an_answer_that_has_come_waits_for_whoever_asks() {
    let server = doubling();
    let channel = connect(&server);
    let call = channel.unary::<Double>(1).start();
    assert_eq!(channel.unary::<Double>(2).wait(), Ok(4));
    // Answers come in order here, so the first has come too.
    assert_eq!(call.wait(), Ok(2));
    let call = channel.unary::<Double>(3).start();
    assert_eq!(channel.unary::<Double>(4).wait(), Ok(8));
    let (tell, heard) = std::sync::mpsc::channel();
    let call = call.done(move |result| tell.send(result).unwrap()).unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Ok(6));
    assert!(call.is_over());
    drop((call, channel));
    server.join();
}

#[test]
fn many_threads_share_a_channel() {
    let server = doubling();
    let channel = connect(&server);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let channel = channel.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    let n = 1000 * thread + n;
                    assert_eq!(channel.unary::<Double>(n).wait(), Ok(2 * n));
                }
            });
        }
    });
    drop(channel);
    server.join();
}

#[test]
fn a_function_that_panics_harms_nobody_else() {
    let server = doubling();
    let channel = connect(&server);
    let call = channel.unary::<Double>(1).done(|_| panic!("on purpose"));
    call.unwrap().detach();
    assert_eq!(channel.unary::<Double>(2).wait(), Ok(4));
    channel.watch(|_| panic!("on purpose"));
    assert_eq!(channel.unary::<Double>(2).wait(), Ok(4));
    drop(channel);
    server.join();
}

#[test]
fn calls_made_by_an_answer_are_sent_without_another_wake() {
    let server = doubling();
    let channel = connect(&server);
    let (tell, heard) = std::sync::mpsc::channel();
    let again = channel.clone();
    let first = channel.unary::<Double>(1).done(move |result| {
        let tell = tell.clone();
        let call = again.unary::<Double>(result.unwrap());
        call.done(move |result| tell.send(result).unwrap())
            .unwrap()
            .detach();
    });
    first.unwrap().detach();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Ok(4));
    drop(channel);
    server.join();
}

#[test]
fn waiting_ends_in_time_even_if_the_connections_thread_does_not_get_to_it() {
    let server = doubling();
    let channel = connect(&server);
    // The connection's thread is busy with this function until the wait is over.
    let (let_go, go) = std::sync::mpsc::channel::<()>();
    let (tell, heard) = std::sync::mpsc::channel();
    let busy = channel.unary::<Double>(0).done(move |_| {
        tell.send(()).unwrap();
        let _ = go.recv_timeout(PATIENCE);
    });
    heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        channel.unary::<Double>(1).within(ms(20)).wait(),
        Err(CallError::TimedOut)
    );
    let_go.send(()).unwrap();
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop((busy, channel));
    server.join();
}
