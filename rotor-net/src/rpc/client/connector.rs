//! `Connector`: the machine that makes a client's connections, one after the other, and gives them the calls.
//!
//! ```text
//!            ┌────────────── a wait, longer each time ──────────────┐
//!            ↓                                                      │
//! Idle → Connecting → Up (greeting, open) ── lost ──────────────→ Resting
//!                       └ the server drains, or the client closes → leaving: finish, say goodbye, linger
//! ```
//!
//! Every event ends in [`run`](Core::run): orders are taken, calls sent, output written. Invariant: a call that was begun
//! is in the orders, in the queue, or in flight on one connection, or it is over.

mod ends;
mod events;
mod seed;

pub use seed::ConnectorSeed;

use super::link::Link;
use super::shared::{Order, Shared};
use super::slots::Begun;
use super::state::ChannelState;
use crate::rpc::{CallError, ClientConfig};
use rotor_fsm::{Addr, HandleId, Io, Machine, Never, Response, Result, Scope, Socket, Time};
use seed::Guard;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

/// The machine behind a [`Channel`](super::Channel), for loops of one's own: spawn it from the seed that
/// [`Channel::new`](super::Channel::new) gives. It ends when the channel is closed. A shutdown of the loop closes the
/// channel.
pub struct Connector<C: 'static> {
    core: Box<Core>,
    context: PhantomData<fn(C)>,
}

struct Core {
    guard: Guard,
    to: Addr,
    state: State,
    /// Connections that get no more calls.
    leaving: Vec<Link>,
    /// Calls that wait, in the order of their numbers.
    queue: VecDeque<Begun>,
    /// Calls that were begun so far.
    begun: u64,
    /// No call in the queue has a deadline before this.
    earliest: Time,
    /// Calls that have come to wait since that was last told, less those that no longer do.
    more_waiting: isize,
    /// Attempts to connect since the last connection that was of use: the wait for the next grows with them.
    attempts: u32,
    /// Attempts in a row that have failed.
    failed: u32,
    /// A connection is wanted though nothing is called.
    is_wanted: bool,
    /// No more calls come.
    is_closing: bool,
    orders: Vec<Order>,
    /// The deadline that the machine has.
    armed: Time,
}

enum State {
    Idle,
    Connecting { socket: Socket, until: Time },
    Up(Box<Link>),
    Resting { until: Time },
}

/// Looks at orders in one dispatch; what comes later has another.
const ROUNDS_MAX: usize = 4;

impl<C: 'static> Machine for Connector<C> {
    type Context = C;
    type Message = Never;
    type Seed = ConnectorSeed<C>;

    fn create(seed: ConnectorSeed<C>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let (guard, to) = seed.into_parts();
        guard.shared.nudge.arm(scope.waker());
        let core = Box::new(Core {
            guard,
            to,
            state: State::Idle,
            leaving: Vec::new(),
            queue: VecDeque::new(),
            begun: 0,
            earliest: Time::NEVER,
            more_waiting: 0,
            attempts: 0,
            failed: 0,
            is_wanted: false,
            is_closing: false,
            orders: Vec::new(),
            armed: Time::NEVER,
        });
        core.run(scope)
    }

    fn io(
        mut self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        self.core.shared().nudge.work();
        self.core.event(event, on, scope);
        self.core.run(scope)
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.core.shared().nudge.work();
        self.core.armed = Time::NEVER;
        self.core.expire(scope);
        self.core.run(scope)
    }

    fn finish(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.core.shared().close();
        self.core.is_closing = true;
        self.core.run(scope)
    }
}

/// The flow.
impl Core {
    fn shared(&self) -> &Arc<Shared> {
        &self.guard.shared
    }

    fn config(&self) -> &ClientConfig {
        &self.guard.shared.config
    }

    /// Does all that can be done now.
    fn run<C: 'static>(
        mut self: Box<Self>,
        scope: &mut Scope<'_, Connector<C>>,
    ) -> Result<Response<Connector<C>>> {
        for round in 1.. {
            self.shared().nudge.work();
            self.take_orders();
            // What was left on the links before an order was given leaves before what the order is about.
            self.with_links(|link| link.flush(scope));
            if !self.orders.is_empty() {
                self.carry_out(scope);
            }
            self.connect_if_wanted(scope);
            self.send(scope);
            self.close_what_is_done(scope);
            self.with_links(|link| link.write(scope));
            self.shared().nudge.rest();
            if !self.has_news() {
                break;
            }
            if round == ROUNDS_MAX {
                self.shared().nudge.wake_anyway();
                break;
            }
        }
        if self.is_over() {
            self.shared().tell(ChannelState::Closed, None);
            return Ok(Response::done());
        }
        let deadline = self.next_deadline();
        let is_moved = deadline != std::mem::replace(&mut self.armed, deadline);
        let response = Response::of(Connector {
            core: self,
            context: PhantomData,
        });
        Ok(match is_moved {
            true => response.deadline(deadline),
            false => response,
        })
    }

    /// Whether there is more to be done already.
    fn has_news(&mut self) -> bool {
        let more_waiting = std::mem::take(&mut self.more_waiting);
        let has_orders = self.shared().count_waiting(more_waiting);
        let can_send = match &self.state {
            State::Up(link) => !self.queue.is_empty() && link.has_room(),
            _ => false,
        };
        can_send
            || has_orders
            || self.current().is_some_and(Link::has_news)
            || self.leaving.iter().any(Link::has_news)
    }

    /// The connection that calls go to, as far as it stands.
    #[inline]
    fn current(&self) -> Option<&Link> {
        match &self.state {
            State::Up(link) => Some(link),
            _ => None,
        }
    }

    #[inline]
    fn current_mut(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Up(link) => Some(link),
            _ => None,
        }
    }

    fn take_orders(&mut self) {
        self.guard.shared.take_orders(&mut self.orders);
    }

    fn carry_out<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        let mut orders = std::mem::take(&mut self.orders);
        let (mut purges, mut now) = (false, None);
        for order in orders.drain(..) {
            match order {
                Order::Connect => self.is_wanted = true,
                Order::Close => self.is_closing = true,
                Order::Begin(call) => {
                    // All of these were begun before now, and perhaps long after this turn.
                    let deadline = call.core().within().map_or(Time::NEVER, |within| {
                        *now.get_or_insert_with(|| scope.fresh_now()) + within
                    });
                    self.earliest = self.earliest.min(deadline);
                    self.begun += 1;
                    self.queue.push_back(Begun {
                        call,
                        deadline,
                        number: self.begun,
                        losses: 0,
                    });
                }
                Order::Cancelled(call) if call.core().slot().is_none() => purges = true,
                Order::Cancelled(call) => {
                    self.with_links(|link| link.session.cancelled(&call));
                }
            }
        }
        self.orders = orders;
        if purges {
            self.keep_waiting(|waiting| !waiting.call.core().is_over());
        }
    }

    /// Drops what does not wait any more.
    fn keep_waiting(&mut self, f: impl FnMut(&Begun) -> bool) {
        let before = self.queue.len();
        self.queue.retain(f);
        self.more_waiting -= (before - self.queue.len()) as isize;
    }

    fn connect_if_wanted<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        let is_wanted = self.is_wanted && !self.is_closing;
        if matches!(self.state, State::Idle) && (is_wanted || !self.queue.is_empty()) {
            self.connect(scope);
        }
    }

    fn connect<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        self.attempts = self.attempts.saturating_add(1);
        let attempt = self.attempts;
        self.shared()
            .tell(ChannelState::Connecting { attempt }, None);
        match scope.connect(self.to.clone()) {
            Ok(socket) => {
                let until = scope.now() + self.config().connect;
                self.state = State::Connecting { socket, until };
            }
            Err(error) => self.attempt_failed(&error, scope),
        }
    }

    /// Gives the connection what waits, as far as there is room.
    fn send<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        let State::Up(link) = &mut self.state else {
            return;
        };
        while link.has_room() {
            let Some(begun) = self.queue.pop_front() else {
                break;
            };
            self.more_waiting -= 1;
            if begun.call.core().is_over() {
                continue;
            }
            let now = match begun.deadline {
                Time::NEVER => Time::ZERO,
                _ => scope.now(),
            };
            link.session.call(begun, now);
        }
    }

    /// Those that have something to say: all that have calls.
    fn with_links(&mut self, mut f: impl FnMut(&mut Link)) {
        if let Some(link) = self.current_mut() {
            f(link);
        }
        for link in &mut self.leaving {
            if !link.is_lingering() {
                f(link);
            }
        }
    }

    fn next_deadline(&self) -> Time {
        let own = match self.state {
            State::Connecting { until, .. } | State::Resting { until } => until,
            _ => Time::NEVER,
        };
        let current = self.current().map_or(Time::NEVER, Link::next_deadline);
        let leaving = self.leaving.iter().map(Link::next_deadline);
        leaving.fold(own.min(self.earliest).min(current), Time::min)
    }

    /// Nothing is left to be done, and nothing will come.
    fn is_over(&self) -> bool {
        let is_idle = matches!(self.state, State::Idle);
        self.is_closing && is_idle && self.queue.is_empty() && self.leaving.is_empty()
    }
}

impl Drop for Core {
    /// Where the machine ends before it is done, because its loop does.
    fn drop(&mut self) {
        self.shared().give_up(seed::ENDED);
        let waiting = std::mem::take(&mut self.queue);
        let mut sent = Vec::new();
        self.with_links(|link| sent.append(&mut link.session.abandon()));
        let sent = sent.into_iter().map(|one| (one.call, true));
        for (call, was_sent) in waiting.into_iter().map(|one| (one.call, false)).chain(sent) {
            let why = seed::ENDED.into();
            call.fail(CallError::Disconnected { was_sent, why });
        }
    }
}
