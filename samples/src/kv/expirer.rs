//! `Expirer`: the machine that removes what nobody touches any more when its time has come.
//!
//! It has one deadline, that of the entry that goes next. Clients tell it when they have set an earlier one. What is
//! due goes in batches, with other machines' turns between them.

use super::clock::Clock;
use super::serve::Shared;
use rotor_fsm::prelude::*;
use std::time::Duration;

/// Entries removed at a time: about a third of a millisecond.
const BATCH: usize = 1000;
/// Pause between batches. The loop serves its sockets meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

/// Removes what is due.
pub struct Expirer;

/// Tells the [`Expirer`] that something is due before it meant to wake.
#[derive(Clone, Copy, Debug)]
pub struct Sooner;

impl Machine for Expirer {
    type Context = Shared;
    type Message = Sooner;
    /// Unix milliseconds now: it is the first machine and sets the clock.
    type Seed = u64;

    fn create(unix_ms: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.clock = Clock::new(scope.now(), unix_ms);
        scope.ctx.server.stats.started_ms = unix_ms;
        Ok(Response::of(Expirer))
    }

    fn wakeup(self, _: Sooner, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(self.sleep(scope))
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let now = scope.now();
        let now_ms = scope.ctx.clock.unix_ms(now);
        scope.ctx.server.store.expire_due(now_ms, BATCH);
        Ok(self.sleep(scope))
    }
}

impl Expirer {
    /// Until something is due.
    fn sleep(self, scope: &mut Scope<'_, Self>) -> Response<Self> {
        let soonest = scope.now() + PAUSE;
        let ctx = &mut *scope.ctx;
        let next_ms = ctx.server.store.next_expiry();
        ctx.expirer_wakes_ms = next_ms.unwrap_or(u64::MAX);
        match next_ms {
            Some(ms) => Response::of(self).deadline(ctx.clock.at(ms).max(soonest)),
            None => Response::of(self).no_deadline(),
        }
    }
}
