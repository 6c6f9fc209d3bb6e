//! The plain style, without a macro: a service of one call, whose requests are one enum and whose replies another.
//!
//! ```no_run
//! use rotor_net::rpc::{CallScope, PlainClient, PlainServer, PlainService, Reply, Session};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! enum Ask {
//!     Double(i64),
//!     Length(String),
//! }
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! enum Answer {
//!     Number(i64),
//!     Bytes(usize),
//! }
//!
//! #[derive(Default)]
//! struct Oracle;
//!
//! impl PlainService for Oracle {
//!     type Context = ();
//!     type Request = Ask;
//!     type Reply = Answer;
//!
//!     fn call(&mut self, ask: Ask, reply: Reply<Answer>, _: &mut CallScope<'_, ()>) {
//!         reply.ok(match ask {
//!             Ask::Double(number) => Answer::Number(2 * number),
//!             Ask::Length(text) => Answer::Bytes(text.len()),
//!         });
//!     }
//! }
//!
//! // One program:
//! rotor_net::serve::<Session<PlainServer<Oracle>>>("127.0.0.1:6000", Default::default(), ())?;
//!
//! // Another one:
//! let oracle = PlainClient::<Ask, Answer>::connect("127.0.0.1:6000")?;
//! println!("{:?}", oracle.call(Ask::Double(21)).wait()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing ties a reply to its request here, and shapes are not compared: both sides must be built of the same enums.
//! All plain services are the same one to the handshake.

use super::call::{CallInfo, CallKind, Method, NoItems, ServiceInfo, TypeInfo, VersionInfo, Wire};
use super::client::Channel;
use super::error::CallError;
use super::pending::Pending;
use super::reply::Reply;
use super::scope::CallScope;
use super::serve::{Greeting, Refusal, Serve};
use super::session::Arrived;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

/// A service of one call.
pub trait PlainService: Sized + 'static {
    /// What all machines of the loop share: `scope.ctx`.
    type Context: 'static;
    /// Any request.
    type Request: Wire;
    /// Any reply.
    type Reply: Wire;

    /// A client greets, once per connection. Default: all are welcome.
    ///
    /// # Errors
    /// Words for the client, whose connection ends.
    fn admit(
        &mut self,
        hello: &Greeting<'_>,
        scope: &mut CallScope<'_, Self::Context>,
    ) -> Result<(), Refusal> {
        let _ = (hello, scope);
        Ok(())
    }

    /// A request has come. Answer it now or later; it must not block the loop.
    fn call(
        &mut self,
        request: Self::Request,
        reply: Reply<Self::Reply>,
        scope: &mut CallScope<'_, Self::Context>,
    );
}

/// Serves a [`PlainService`].
#[derive(Clone, Debug, Default)]
pub struct PlainServer<T>(
    /// What answers the calls of one connection.
    pub T,
);

impl<T: PlainService> Serve for PlainServer<T> {
    type Context = T::Context;

    fn info() -> &'static ServiceInfo {
        &INFO
    }

    fn admit(
        &mut self,
        hello: &Greeting<'_>,
        scope: &mut CallScope<'_, T::Context>,
    ) -> Result<(), Refusal> {
        self.0.admit(hello, scope)
    }

    fn dispatch(
        &mut self,
        call: Arrived<'_>,
        scope: &mut CallScope<'_, T::Context>,
    ) -> Result<(), CallError> {
        let request = call.request()?;
        self.0.call(request, call.reply(), scope);
        Ok(())
    }
}

/// Calls a plain service. Clones share their connection.
pub struct PlainClient<Q, R> {
    channel: Channel,
    of: PhantomData<fn(Q) -> R>,
}

impl<Q: Wire, R: Wire> PlainClient<Q, R> {
    /// A client that calls through this channel.
    pub fn new(channel: &Channel) -> Self {
        Self {
            channel: channel.clone(),
            of: PhantomData,
        }
    }

    /// Connects to a server, on a thread of the connection's own, and waits until both have greeted.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    pub fn connect(at: &str) -> Result<Self, CallError> {
        Ok(Self::new(&Channel::connect(at)?))
    }

    /// What it calls through.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Sends a request, once the answer is asked for.
    pub fn call(&self, request: Q) -> Pending<R> {
        self.channel.unary::<Plain<Q, R>>(request)
    }
}

impl<Q, R> Clone for PlainClient<Q, R> {
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            of: PhantomData,
        }
    }
}

impl<Q, R> fmt::Debug for PlainClient<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainClient").finish_non_exhaustive()
    }
}

/// The one call of a plain service, for [`Channel::unary`].
pub struct Plain<Q, R>(PhantomData<fn(Q) -> R>);

impl<Q: Wire, R: Wire> Method for Plain<Q, R> {
    type Request = Q;
    type Input = NoItems;
    type Output = R;
    const INDEX: usize = 0;

    fn service() -> &'static ServiceInfo {
        &INFO
    }
}

static INFO: LazyLock<ServiceInfo> = LazyLock::new(|| {
    let any = TypeInfo {
        name: "any",
        digest: 0,
    };
    let version = VersionInfo {
        number: 1,
        request: any,
        input: TypeInfo::of::<NoItems>(),
        output: any,
        signature: "call(request) -> reply".to_owned(),
    };
    ServiceInfo {
        name: "plain",
        calls: vec![CallInfo {
            name: "call",
            kind: CallKind::Unary,
            versions: vec![version],
        }],
    }
});
