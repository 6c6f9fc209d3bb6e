//! `Shard`: the machine that executes what clients of other workers want of this worker's keys.

use super::super::resp::Span;
use super::super::serve::Shared;
use super::super::server::Session;
use super::RETRY;
use super::envelope::{Bench, Envelope};
use rotor_fsm::prelude::*;
use std::time::Duration;

/// Executes envelopes as they come, and sends them back. Ends with the last client of all workers.
pub struct Shard(Box<State>);

struct State {
    session: Session,
    spans: Vec<Span>,
    /// Done, but not taken back, because the client's loop has no room for a message. One at most for each client.
    // Boxes, because boxes travel.
    #[allow(clippy::vec_box)]
    unsent: Vec<Box<Envelope>>,
    is_finishing: bool,
}

/// How often a worker that shuts down looks whether the other workers' clients still need it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Machine for Shard {
    type Context = Shared;
    type Message = Box<Envelope>;
    type Seed = ();

    fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Shard(Box::new(State {
            session: Session::new(0),
            spans: Vec::new(),
            unsent: Vec::new(),
            is_finishing: false,
        }))))
    }

    #[inline]
    fn wakeup(
        mut self,
        mut envelope: Box<Envelope>,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let now = scope.now();
        let ctx = &mut *scope.ctx;
        ctx.server.stats.clients = ctx.clients() as u64;
        envelope.execute(&mut Bench {
            now_ms: ctx.clock.unix_ms(now),
            server: &mut ctx.server,
            session: &mut self.0.session,
            channels: &ctx.channels,
            pushes_max: ctx.limits.pushes_max,
            spans: &mut self.0.spans,
        });
        ctx.tell_expirer();
        match envelope.send_back() {
            Ok(()) => Ok(Response::of(self)),
            Err(envelope) => {
                self.0.unsent.push(envelope);
                Ok(Response::of(self).after(RETRY))
            }
        }
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let unsent = std::mem::take(&mut self.0.unsent);
        self.0.unsent = unsent
            .into_iter()
            .filter_map(|envelope| envelope.send_back().err())
            .collect();
        if !self.0.unsent.is_empty() {
            return Ok(Response::of(self).after(RETRY));
        }
        self.go_on(scope)
    }

    /// Clients that leave still get their replies, those of other workers too.
    fn finish(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.0.is_finishing = true;
        self.go_on(scope)
    }
}

impl Shard {
    fn go_on(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(match self.0.is_finishing {
            false => Response::of(self),
            true if scope.ctx.clients() == 0 => Response::done(),
            true => Response::of(self).after(LOOK_AGAIN),
        })
    }
}
