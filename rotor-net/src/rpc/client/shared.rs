//! `Shared`: what the handles of a channel and the machine that makes its connections have in common.
//!
//! Handles append orders and wake the machine; the machine takes them all at once. Nothing is called under the lock:
//! calls that are dropped, watchers and wakers are dealt with outside of it.
//!
//! Invariants: `waiting` counts the calls that were begun and not yet sent, nor failed; once `closed` is set no call is
//! taken, so every call that was is in `orders`, or with the machine.

use super::call::ClientCall;
use super::nudge::{Left, Nudge};
use super::state::{ChannelState, ServerInfo};
use crate::rpc::guard::guarded;
use crate::rpc::{CallError, ClientConfig};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Shared {
    pub config: ClientConfig,
    pub codec: Arc<crate::rpc::codec::Limits>,
    pub nudge: Nudge,
    /// Channels, and calls that have not begun.
    handles: AtomicUsize,
    state: Mutex<State>,
    /// Whether there are orders.
    ordered: Left,
    /// Told when the state of the connection changes.
    changed: Condvar,
}

struct State {
    orders: Vec<Order>,
    waiting: usize,
    /// Why no more calls are taken.
    closed: Option<CallError>,
    now: ChannelState,
    /// Why there is no connection, from the first failure on.
    failure: Option<Box<str>>,
    server: Option<Arc<ServerInfo>>,
    watchers: Vec<Watcher>,
}

pub(super) type Watcher = Box<dyn FnMut(&ChannelState) + Send>;

/// What the machine is to do.
pub(crate) enum Order {
    /// Makes a connection, though nothing is called yet.
    Connect,
    Begin(Arc<dyn ClientCall>),
    /// The call is over: the server is told, if it has it.
    Cancelled(Arc<dyn ClientCall>),
    /// Closes once all that was begun before is done.
    Close,
}

impl Shared {
    pub fn new(config: ClientConfig) -> Arc<Self> {
        let config = config.with_floors();
        Arc::new(Self {
            codec: Arc::new(config.codec.clone()),
            config,
            nudge: Nudge::new(),
            handles: AtomicUsize::new(0),
            state: Mutex::new(State {
                orders: Vec::new(),
                waiting: 0,
                closed: None,
                now: ChannelState::Idle,
                failure: None,
                server: None,
                watchers: Vec::new(),
            }),
            ordered: Left::nothing(),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handles' side.
impl Shared {
    /// One more handle.
    pub fn enter(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One less; the last closes the connection when all that was begun is done.
    pub fn leave(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// Takes no more calls.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some(CallError::Closed);
        self.order(state, Order::Close);
    }

    /// Makes a connection, though nothing is called yet.
    pub fn connect(&self) {
        self.order(self.lock(), Order::Connect);
    }

    /// Takes a call.
    ///
    /// # Errors
    /// If the channel is closed, or too many calls wait.
    pub fn begin(&self, call: &Arc<dyn ClientCall>) -> Result<(), CallError> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        let max = self.config.waiting_max;
        if state.waiting >= max {
            let what = "calls that wait";
            return Err(CallError::Full { what, max });
        }
        state.waiting += 1;
        self.order(state, Order::Begin(call.clone()));
        Ok(())
    }

    /// A call that was begun is over, by the will of this side.
    pub fn cancelled(&self, call: &Arc<dyn ClientCall>) {
        self.order(self.lock(), Order::Cancelled(call.clone()));
    }

    fn order(&self, mut state: MutexGuard<'_, State>, order: Order) {
        state.orders.push(order);
        let is_first = self.ordered.leave();
        drop(state);
        if is_first {
            self.nudge.wake();
        }
    }

    pub fn now(&self) -> ChannelState {
        self.lock().now.clone()
    }

    pub fn server(&self) -> Option<Arc<ServerInfo>> {
        self.lock().server.clone()
    }

    pub fn watch(&self, watcher: Watcher) {
        self.lock().watchers.push(watcher);
    }

    /// Waits for the first connection, or for the first failure to make one.
    pub fn wait_for_connection(&self) -> Result<(), Box<str>> {
        let mut state = self.lock();
        loop {
            match (&state.now, &state.failure) {
                // It may not stand any more: a server that drains greets as well.
                _ if state.server.is_some() => return Ok(()),
                (_, Some(why)) => return Err(why.clone()),
                (ChannelState::Closed, None) => return Err("the client is closed".into()),
                _ => {}
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits, this long at most, until there will be no connection any more. Whether that is so.
    pub fn wait_until_closed(&self, within: Duration) -> bool {
        let is_open = |state: &mut State| state.now != ChannelState::Closed;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), within, is_open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.now == ChannelState::Closed
    }
}

/// The machine's side.
impl Shared {
    /// Swaps what was ordered for an empty list.
    #[inline]
    pub fn take_orders(&self, orders: &mut Vec<Order>) {
        if self.ordered.is_there() {
            let mut state = self.lock();
            self.ordered.taken();
            std::mem::swap(&mut state.orders, orders);
        }
    }

    /// So many more calls wait than before, or fewer: those that were sent, or are over. Whether there are new orders.
    #[inline]
    pub fn count_waiting(&self, more: isize) -> bool {
        if more != 0 {
            let mut state = self.lock();
            state.waiting = state.waiting.saturating_add_signed(more);
        }
        self.ordered.is_there()
    }

    /// The connection has come into another state: tells whoever wants to know.
    pub fn tell(&self, now: ChannelState, server: Option<Arc<ServerInfo>>) {
        let mut state = self.lock();
        if let ChannelState::Lost { why, .. } = &now {
            state.failure = Some(why.clone());
        }
        if server.is_some() {
            state.server = server;
        }
        state.now = now.clone();
        let mut watchers = std::mem::take(&mut state.watchers);
        drop(state);
        self.changed.notify_all();
        // One that panics is told nothing more; the panic was reported by the hook.
        watchers.retain_mut(|watcher| guarded(|| watcher(&now)).is_some());
        let mut state = self.lock();
        // Those who came meanwhile follow those who were there.
        watchers.append(&mut state.watchers);
        state.watchers = watchers;
    }

    /// There will be no connection any more: takes no more calls, because of this. Those that were ordered fail with it.
    pub fn shut(&self, why: CallError) {
        let mut state = self.lock();
        state.closed = Some(why.clone());
        state.waiting = 0;
        self.ordered.taken();
        let orders = std::mem::take(&mut state.orders);
        drop(state);
        for order in orders {
            if let Order::Begin(call) = order {
                call.fail(why.clone());
            }
        }
    }

    /// The same where the machine is gone for another reason than that it was done.
    pub fn give_up(&self, why: &str) {
        if self.now() == ChannelState::Closed {
            return;
        }
        self.shut(CallError::Disconnected {
            was_sent: false,
            why: why.into(),
        });
        let again_in = None;
        let why = why.into();
        self.tell(ChannelState::Lost { why, again_in }, None);
        self.tell(ChannelState::Closed, None);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rpc::Menu;

    #[test]
    fn a_connection_that_has_stood_is_not_waited_for() {
        let shared = Shared::new(ClientConfig::default());
        let server = ServerInfo {
            protocol_version: 1,
            frame_bytes_max: 1,
            window_bytes: 1,
            in_flight_max: 1,
            meta_bytes_max: 0,
            takes_unknown: false,
            menu: Menu::default(),
        };
        // All before who waits has its turn.
        shared.tell(ChannelState::Open, Some(Arc::new(server)));
        shared.tell(ChannelState::Draining, None);
        shared.tell(ChannelState::Closed, None);
        assert_eq!(shared.wait_for_connection(), Ok(()));
    }
}
