//! `Channel`: the handle of a client, from which all calls are made.

use super::ask::{Ask, Raw, Replied, Unreplied, decode_output, encode_input};
use super::call::{CallCell, ClientCall, Flows};
use super::connector::ConnectorSeed;
use super::shared::Shared;
use super::starting::Starting;
use super::state::{ChannelState, ServerInfo};
use super::thread;
use crate::rpc::items::{Inflow, ItemReceiver, ItemSender, Outflow, Side};
use crate::rpc::{CallError, CallKind, ClientConfig, Menu, Method, Pending};
use rotor_fsm::Addr;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A connection to a server, made again when it is lost, and the calls on it. Clones share it, on any thread.
///
/// What `service!` emits wraps it: `files::Client::connect(…)?.get(path)`. A call is made when its [`Pending`] is used,
/// and the order in which calls are made is that in which they are sent. (Those that a server hands back because it drains
/// are sent again later.)
///
/// When the last clone is dropped, and with it whatever was asked of it and not begun, it [closes](Self::close).
pub struct Channel {
    shared: Arc<Shared>,
}

/// Making one.
impl Channel {
    /// Connects to a server from a thread that this starts, and which ends when the channel is closed and all is done, or
    /// when its connection is lost and not made again. Waits until the server has said what it offers. The address is as
    /// [`Addr`] reads it: `127.0.0.1:80`, `unix:/path`.
    ///
    /// # Errors
    /// Whatever made the first attempt fail, as [`CallError::Disconnected`], also where the client would connect again;
    /// [`CallError::OnLoopThread`] on a thread that runs a loop: there use [`new`](Self::new).
    pub fn connect(at: &str) -> Result<Self, CallError> {
        Self::connect_with(at, ClientConfig::default())
    }

    /// The same with limits and habits of one's own.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(at: &str, config: ClientConfig) -> Result<Self, CallError> {
        thread::connect(at, config)
    }

    /// A client on a loop of one's own: spawn a [`Connector`](super::Connector) from the seed on it. It connects when
    /// something is called; what is called before the machine is there waits for it.
    pub fn new<C: 'static>(at: impl Into<Addr>, config: ClientConfig) -> (Self, ConnectorSeed<C>) {
        let shared = Shared::new(config);
        shared.enter();
        let seed = ConnectorSeed::new(at.into(), shared.clone());
        (Self { shared }, seed)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Calling.
impl Channel {
    /// One request, one reply.
    #[inline]
    pub fn unary<M: Method>(&self, request: M::Request) -> Pending<M::Output> {
        let ask = Replied::<M>(request);
        let call = CallCell::new(&self.shared, CallKind::Unary, Flows::default(), ask);
        Pending::new(call)
    }

    /// One request, items from the server. The call begins when the receiver is first used.
    pub fn server_stream<M: Method>(&self, request: M::Request) -> ItemReceiver<M::Output> {
        let (inflow, flows) = (self.inflow(), Flows::default());
        let flows = flows.with_inflow(&inflow);
        let ask = Unreplied::<M>(request);
        let call = CallCell::new(&self.shared, CallKind::ServerStream, flows, ask);
        self.receiver::<M>(inflow, call)
    }

    /// A request and items, one reply. The call begins when the first of the two is used.
    pub fn client_stream<M: Method>(
        &self,
        request: M::Request,
    ) -> (ItemSender<M::Input>, Pending<M::Output>) {
        let outflow = Outflow::new();
        let flows = Flows::default().with_outflow(&outflow);
        let ask = Replied::<M>(request);
        let call = CallCell::new(&self.shared, CallKind::ClientStream, flows, ask);
        let sender = self.sender::<M, _>(outflow, call.clone());
        (sender, Pending::new(call))
    }

    /// A request, and items both ways. The call begins when the first of the two is used.
    pub fn both_streams<M: Method>(
        &self,
        request: M::Request,
    ) -> (ItemSender<M::Input>, ItemReceiver<M::Output>) {
        let (outflow, inflow) = (Outflow::new(), self.inflow());
        let flows = Flows::default();
        let flows = flows.with_outflow(&outflow).with_inflow(&inflow);
        let ask = Unreplied::<M>(request);
        let call = CallCell::new(&self.shared, CallKind::BothStreams, flows, ask);
        let sender = self.sender::<M, _>(outflow, call.clone());
        (sender, self.receiver::<M>(inflow, call))
    }

    /// A request and no reply, not even an error. It waits for a connection as others do; what goes wrong with it later
    /// nobody hears of.
    ///
    /// # Errors
    /// If the client is closed, or too many calls wait.
    pub fn one_way<M: Method>(&self, request: M::Request) -> Result<(), CallError> {
        let ask = Unreplied::<M>(request);
        let flows = Flows::default();
        let call: Arc<dyn ClientCall> = CallCell::new(&self.shared, CallKind::OneWay, flows, ask);
        call.begin()
    }

    /// A unary call in bytes, for programs that pass calls on: by its rank where the server's menu has this version of
    /// it, otherwise by its name, if the server takes such. Looks for it in the menu, entry by entry.
    pub fn raw(&self, name: &str, version: u16, request: Vec<u8>) -> Pending<Vec<u8>> {
        let ask = Raw {
            name: name.into(),
            version,
            request,
        };
        let call = CallCell::new(&self.shared, CallKind::Unary, Flows::default(), ask);
        Pending::new(call)
    }

    fn inflow(&self) -> Arc<Inflow> {
        Inflow::new(self.shared.config.window_bytes)
    }

    fn sender<M: Method, A: Ask>(
        &self,
        outflow: Arc<Outflow>,
        call: Arc<CallCell<A>>,
    ) -> ItemSender<M::Input> {
        let side = Side::Client(Arc::new(Starting(call)));
        ItemSender::new(outflow, encode_input::<M>, self.shared.codec.clone(), side)
    }

    fn receiver<M: Method>(
        &self,
        inflow: Arc<Inflow>,
        call: Arc<CallCell<Unreplied<M>>>,
    ) -> ItemReceiver<M::Output> {
        let side = Side::Client(Arc::new(Starting(call)));
        ItemReceiver::new(inflow, decode_output::<M>, self.shared.codec.clone(), side)
    }
}

/// The connection.
impl Channel {
    /// How it is.
    pub fn state(&self) -> ChannelState {
        self.shared.now()
    }

    /// Tells this function of every change from now on, on the connection's thread. It is kept as long as the channel is.
    pub fn watch(&self, watcher: impl FnMut(&ChannelState) + Send + 'static) {
        self.shared.watch(Box::new(watcher));
    }

    /// What the server of this connection, or of the last, has said of itself; `None` before the first.
    pub fn server(&self) -> Option<Arc<ServerInfo>> {
        self.shared.server()
    }

    /// What it offers.
    pub fn menu(&self) -> Option<Menu> {
        self.shared.server().map(|server| server.menu.clone())
    }

    /// Takes no more calls, on any clone. What was begun is finished, if there is a connection or the first is being
    /// made; then it closes. Does not wait for that.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The same, and waits until it is done: for programs that end then. Otherwise what was begun last may not have left.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] if it takes longer than this; [`CallError::OnLoopThread`] on a thread that runs a loop, and
    /// then it is closed, but not waited for.
    pub fn close_and_wait(&self, within: Duration) -> Result<(), CallError> {
        self.shared.close();
        if rotor_fsm::is_loop_thread() {
            return Err(CallError::OnLoopThread);
        }
        match self.shared.wait_until_closed(within) {
            true => Ok(()),
            false => Err(CallError::TimedOut),
        }
    }
}

impl Clone for Channel {
    fn clone(&self) -> Self {
        self.shared.enter();
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.state())
    }
}
