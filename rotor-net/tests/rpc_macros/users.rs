//! The same client from a machine, a fiber, and async code under an executor of no particular kind.

use crate::common::PATIENCE;
use crate::depot::{Thing, answer, depot, pair, thing};
use rotor_net::prelude::*;
use rotor_net::rpc::{Call, CallError};
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};

/// Asks twice, and tells what it got.
struct Asker {
    calls: Vec<Call>,
    answers: usize,
    tell: Sender<String>,
}

enum Msg {
    Listed(std::result::Result<Vec<Thing>, CallError>),
    Forgotten(std::result::Result<u8, CallError>),
}

impl Machine for Asker {
    type Context = ();
    type Message = Msg;
    type Seed = (depot::Client, Sender<String>);

    fn create((client, tell): Self::Seed, scope: &mut Scope<Self>) -> Result<Response<Self>> {
        let calls = vec![
            client
                .forget("it".into())
                .within(PATIENCE)
                .then(scope, Msg::Forgotten)?,
            client
                .list_all()
                .within(PATIENCE)
                .then(scope, Msg::Listed)?,
        ];
        let asker = Asker {
            calls,
            answers: 0,
            tell,
        };
        Ok(Response::of(asker))
    }

    fn wakeup(mut self, message: Msg, _: &mut Scope<Self>) -> Result<Response<Self>> {
        let told = match message {
            Msg::Listed(list) => format!("{} things", list?.len()),
            Msg::Forgotten(error) => error.unwrap_err().to_string(),
        };
        self.tell.send(told)?;
        self.answers += 1;
        match self.answers == self.calls.len() {
            true => Ok(Response::done()),
            false => Ok(Response::of(self)),
        }
    }
}

#[test]
fn a_machine_gets_answers_as_its_own_messages() {
    let (_server, client) = pair();
    client.put(thing("box", vec![])).unwrap();
    let (tell, told) = channel();
    let asker = LoopThread::<Asker>::spawn(Config::default(), move |setup| {
        setup.add::<Asker>((client, tell))?;
        Ok(())
    });
    asker.unwrap().join().unwrap();
    let told: Vec<_> = told.iter().collect();
    assert_eq!(told, ["the server's handler gave no answer", "1 things"]);
}

#[cfg(feature = "fiber")]
#[test]
fn a_fiber_joins_an_answer_and_reads_a_stream() {
    use rotor_net::fiber::{Fiber, StackConfig, Stacks};

    let (_server, client) = pair();
    client.put(thing("box", vec![])).unwrap();
    let (tell, told) = channel();
    let fiber = LoopThread::<Fiber<(), Never>>::spawn(Config::default(), move |setup| {
        let body = move |cx: &rotor_net::fiber::Cx<'_, (), Never>| {
            let cx = cx.within(PATIENCE);
            tell.send(cx.call(client.list_all())?.len() as u32)?;
            // Waiting would stop the loop.
            assert_eq!(client.list_all().wait(), Err(CallError::OnLoopThread));
            let mut items = client.count(5, 8);
            while let Some(item) = items.next_in(&cx) {
                tell.send(item?)?;
            }
            let (mut numbers, sum) = client.sum(100);
            for number in 0..10 {
                numbers
                    .send_in(&cx, number)
                    .map_err(|error| Error::msg(error.to_string()))?;
            }
            numbers.end()?;
            tell.send(sum.join(&cx)?.expect("a sum") as u32)?;
            Ok(())
        };
        let stacks = Stacks::new(StackConfig::default())?;
        let seed = stacks
            .fiber("caller", body)
            .map_err(|_| Error::msg("no stack"))?;
        setup.add::<Fiber<(), Never>>(seed)?;
        Ok(())
    });
    fiber.unwrap().join().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [1, 5, 6, 7, 145]);
}

/// The smallest executor: it parks the thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn async_code_awaits_answers_and_items() {
    let (_server, client) = pair();
    client.put(thing("box", vec![])).unwrap();
    let got = block_on(async {
        let listed = client.list_all().within(PATIENCE).await?.len();
        let (mut lines, echo) = client.echo(1);
        let mut echo = echo.within(PATIENCE);
        echo.start();
        let mut heard = Vec::new();
        for n in 0..3 {
            lines.ready().await?;
            lines.send(format!("line {n}")).expect("there is credit");
            heard.extend(echo.next().await.transpose()?);
        }
        lines.end()?;
        Ok::<_, CallError>((listed, heard, echo.next().await))
    });
    let heard = ["line 0", "line 1", "line 2"].map(str::to_owned).to_vec();
    assert_eq!(got, Ok((1, heard, None)));
}

#[test]
fn clones_and_other_services_share_a_connection() {
    let (_server, client) = pair();
    let other = depot::Client::new(client.channel());
    client.clone().put(thing("box", vec![])).unwrap();
    drop(client);
    assert_eq!(answer(other.list_all()), Ok(vec![thing("box", vec![])]));
}
