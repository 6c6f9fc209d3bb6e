//! This library's typed calls. The client is a machine for each call in flight, on the loop of its connections.

use crate::Shape;
use crate::call::{Reply, Request, answer, request};
use crate::meter::{Found, Meter};
use rotor_fsm::prelude::*;
use rotor_fsm::{Reason, Verdict};
use rotor_net::Limits;
use rotor_net::rpc::{self, CallError, CallScope, Channel, ClientConfig, Connector, Reconnect};
use std::net::SocketAddr;
use std::time::Duration;

rpc::service! {
    mod files {
        fn call(request: Request) -> Reply;
    }
}

/// The server's side of a connection.
#[derive(Default)]
struct Store;

impl files::Service for Store {
    type Context = ();

    #[inline]
    fn call(&mut self, request: Request, reply: rpc::Reply<Reply>, _: &mut CallScope<'_, ()>) {
        reply.ok(answer(request));
    }
}

/// Serves until SIGTERM.
pub fn serve() -> Result<()> {
    let listening = |at: &Addr| println!("listening on {at}");
    rotor_net::serve_with::<files::Session<Store>>(
        "127.0.0.1:0",
        Limits::default(),
        Config::default(),
        (),
        listening,
    )
}

/// One call after the other.
struct Caller {
    files: files::Client,
    own: Notifier<Result<Reply, CallError>>,
}

/// What the callers share.
struct Callers {
    meter: Meter,
    expected: Reply,
    /// Those that have not ended.
    left: usize,
}

compose! {
    enum Load(Callers) { Connector(Connector<Callers>), Caller(Caller) }
}

impl Machine for Caller {
    type Context = Callers;
    type Message = Result<Reply, CallError>;
    type Seed = files::Client;

    fn create(files: files::Client, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let own = scope.notifier();
        Self { files, own }.ask()
    }

    fn wakeup(
        self,
        reply: Result<Reply, CallError>,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        if reply? != scope.ctx.expected {
            return Err(Error::msg("this is not the reply to what was asked"));
        }
        if scope.ctx.meter.count() {
            return self.ask();
        }
        scope.ctx.left -= 1;
        if scope.ctx.left == 0 {
            scope.shutdown(Duration::ZERO);
        }
        Ok(Response::done())
    }
}

impl Caller {
    fn ask(self) -> Result<Response<Self>> {
        let answer = |reply| reply;
        self.files.call(request()).then(&self.own, answer)?.detach();
        Ok(Response::of(self))
    }
}

/// Asks until the meter says that it is enough.
pub fn load(addr: SocketAddr, shape: Shape, meter: Meter) -> Result<Option<Found>> {
    let callers = Callers {
        meter,
        expected: answer(request()),
        left: shape.connections * shape.in_flight,
    };
    let config = Config {
        on_end: Some(Box::new(|_, reason| match reason {
            Reason::Failed(_) | Reason::Panicked(_) => Verdict::Stop,
            _ => Verdict::Continue,
        })),
        ..Config::default()
    };
    let mut main_loop = Loop::<Load>::new(config, |_| Ok(callers))?;
    for _ in 0..shape.connections {
        let config = ClientConfig {
            reconnect: Reconnect::Never,
            ..ClientConfig::default()
        };
        let (channel, seed) = Channel::new(addr, config);
        main_loop.spawn::<Connector<Callers>>(seed)?;
        for _ in 0..shape.in_flight {
            main_loop.spawn::<Caller>(files::Client::new(&channel))?;
        }
    }
    main_loop.run()?;
    match main_loop.context() {
        Some(callers) => Ok(callers.meter.finish()?),
        None => Err(Error::msg("the context is gone")),
    }
}
