//! The flow of what is under way to other workers: commands out, replies in, the connection held back meanwhile.

use super::super::reply::Full;
use super::super::shard::{LOOK_AFTER, Pipeline, RETRY, SHARE_BYTES, Sending};
use super::request::{Replies, Then};
use super::{Client, Held, State};
use rotor_net::prelude::*;
use std::time::Duration;

/// How long a client that has ended its side, or was told goodbye, may take to read its last replies.
const LEAVING_MAX: Duration = Duration::from_secs(60);

impl Client {
    /// What was read, where there are several workers.
    #[inline(never)]
    pub(super) fn received_by_one_of_many(
        mut self,
        data: Input<'_>,
        conn: &mut Conn<'_, Self>,
    ) -> Result<Intent<Self>> {
        if self.0.is_leaving {
            return Ok(Intent::of(self));
        }
        if self.0.pipeline.is_none() {
            self.0.begin_pipeline(conn);
        }
        match self.0.requests::<true>(&data, conn) {
            (Then::Close, _) => return self.leave(conn),
            (Then::Cut, _) => return Ok(Intent::abort()),
            (Then::Next(_) | Then::Wait, rest) => data.unread(rest),
            (Then::Later, rest) => data.later(rest),
        }
        self.advance(conn)
    }

    /// Delivers replies that are there, sends commands that wait, and goes on with requests that were held back.
    pub(super) fn advance(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let state = &mut *self.0;
        let Some(pipeline) = &mut state.pipeline else {
            return Ok(Intent::of(self));
        };
        let (is_blocked, sending) = match exchange(pipeline, conn) {
            Ok(outcome) => outcome,
            Err(Full) => return Ok(Intent::abort()),
        };
        let is_busy = pipeline.is_busy();
        if state.is_leaving && !is_busy {
            if state.is_gone || conn.out.queued() == 0 {
                return Ok(Intent::done());
            }
            return Ok(Intent::of(self).resume().flushed_below(1));
        }
        let go_on = match state.held {
            _ if state.is_leaving => true,
            Held::No => true,
            Held::Room => pipeline.has_room(),
            Held::Replies => !is_busy,
        };
        if go_on {
            state.held = Held::No;
        }
        let alarm_at = match (sending.retry, is_busy) {
            (true, _) => conn.now() + RETRY,
            (false, true) => conn.now() + LOOK_AFTER,
            (false, false) => Time::NEVER,
        };
        let alarm_at = alarm_at.min(state.look_at);
        let is_sooner = alarm_at < state.alarm_at;
        if is_sooner {
            state.alarm_at = alarm_at;
        }
        let mut intent = match go_on {
            true => Intent::of(self).resume(),
            false => Intent::of(self).pause(),
        };
        if is_sooner {
            intent = intent.deadline(alarm_at);
        }
        if is_blocked {
            intent = intent.flushed_below(SHARE_BYTES / 2);
        }
        Ok(intent)
    }

    /// The deadline has passed: looks whether something was lost, and sets the next one.
    pub(super) fn look_after(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let look_at = self.0.look_at;
        let Some(pipeline) = &mut self.0.pipeline else {
            self.0.alarm_at = look_at;
            return Ok(Intent::of(self).deadline(look_at));
        };
        pipeline.look_after(&conn.ctx.workers);
        self.0.alarm_at = Time::NEVER;
        self.advance(conn)
    }

    /// Ends when the last replies have left: a stream lingers too briefly for a slow reader of a large value.
    #[cold]
    pub(super) fn leave(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let is_busy = self.0.is_busy();
        if conn.out.queued() == 0 && !is_busy {
            return Ok(Intent::done());
        }
        self.0.is_leaving = true;
        self.0.leave_all();
        self.0.look_at = conn.now() + LEAVING_MAX;
        if is_busy {
            self.0.alarm_at = Time::NEVER;
            return self.advance(conn);
        }
        self.0.alarm_at = self.0.look_at;
        let look_at = self.0.look_at;
        Ok(Intent::of(self).resume().flushed_below(1).deadline(look_at))
    }
}

impl State {
    /// Whether replies of other workers are awaited.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.pipeline.as_ref().is_some_and(|all| all.is_busy())
    }

    /// It is the first time that something came from this client.
    #[cold]
    pub(super) fn begin_pipeline(&mut self, conn: &mut Conn<'_, Client>) {
        let back = conn.notifier();
        let ctx = &*conn.ctx;
        self.pipeline = Some(Pipeline::new(
            back,
            ctx.index,
            &ctx.workers,
            ctx.limits.awaited_max,
            ctx.limits.reply_bytes_max,
        ));
    }
}

/// Delivers replies that are there while there is room in the output, and sends commands that wait. Whether there was
/// no more room, and what became of the wish to send.
fn exchange(
    pipeline: &mut Pipeline,
    conn: &mut Conn<'_, Client>,
) -> std::result::Result<(bool, Sending), Full> {
    loop {
        loop {
            // Commands wait, too: their replies would only be more.
            if pipeline.is_busy() && conn.out.queued() >= SHARE_BYTES {
                return Ok((true, Sending::default()));
            }
            let mut out = Replies {
                out: &mut conn.out,
                written: &mut 0,
            };
            if !pipeline.deliver_one(&mut out)? {
                break;
            }
        }
        let sending = pipeline.send(&conn.ctx.workers);
        if !sending.refused {
            return Ok((false, sending));
        }
    }
}
