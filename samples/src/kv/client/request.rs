//! One request: parsed, executed or sent on its way, and what follows from it.

use super::super::channels::Kind;
use super::super::command::{Effect, execute};
use super::super::reply::{self, Full, Out};
use super::super::resp::{Args, Parsed};
use super::super::shard::{Means, SHARE_BYTES, Taken};
use super::super::subscriptions::{Change, Subscriptions};
use super::{Client, Held, Message, State};
use rotor_net::Conn;

/// What follows from one request.
pub(super) enum Then {
    /// The next one, behind so many bytes.
    Next(usize),
    /// Nothing, until more arrives.
    Wait,
    /// This one again, later.
    Later,
    /// Flush and close.
    Close,
    /// Close at once.
    Cut,
}

impl State {
    /// Does one request after the other: what follows from the last, and how many bytes are left. One program for a
    /// server of one worker, which has nothing to do with pipelines, and one for a server of several.
    #[inline(always)]
    pub(super) fn requests<const SEVERAL: bool>(
        &mut self,
        input: &[u8],
        conn: &mut Conn<'_, Client>,
    ) -> (Then, usize) {
        let now = conn.now();
        let ctx = &mut *conn.ctx;
        let now_ms = ctx.clock.unix_ms(now);
        ctx.server.stats.clients = ctx.clients() as u64;
        self.heard = true;
        let (mut rest, mut written) = (input, 0);
        let then = loop {
            if rest.is_empty() {
                break Then::Wait;
            }
            if written >= SHARE_BYTES {
                break Then::Later;
            }
            match self.request::<SEVERAL>(rest, now_ms, &mut written, conn) {
                Then::Next(consumed) => rest = rest.get(consumed..).unwrap_or(&[]),
                other => break other,
            }
        };
        conn.ctx.tell_expirer();
        (then, rest.len())
    }

    /// Parses and executes the request at the front of `input`.
    #[inline(always)]
    fn request<const SEVERAL: bool>(
        &mut self,
        input: &[u8],
        now_ms: u64,
        written: &mut usize,
        conn: &mut Conn<'_, Client>,
    ) -> Then {
        let mut out = Replies {
            out: &mut conn.out,
            written,
        };
        let ctx = &mut *conn.ctx;
        let (args, consumed) = match ctx.parser.parse(&mut self.resume, input) {
            Parsed::Complete { args, consumed } => (args, consumed),
            Parsed::Incomplete { .. } => return Then::Wait,
            Parsed::Error(error) => {
                let told = match SEVERAL {
                    true => self.say(conn, |out| error.reply(out)),
                    false => error.reply(&mut out),
                };
                return match told {
                    Ok(()) => Then::Close,
                    Err(Full) => Then::Cut,
                };
            }
        };
        if args.is_empty() {
            return Then::Next(consumed);
        }
        if SEVERAL && let Some(pipeline) = &mut self.pipeline {
            let mut means = Means {
                server: &mut ctx.server,
                session: &mut self.session,
                channels: &ctx.channels,
                workers: &ctx.workers,
                pushes_max: ctx.limits.pushes_max,
                now_ms,
            };
            match pipeline.take(args, &mut means) {
                Taken::Direct => {}
                Taken::Yes => return Then::Next(consumed),
                Taken::NoRoom => {
                    self.held = Held::Room;
                    return Then::Later;
                }
                Taken::NotYet => {
                    self.held = Held::Replies;
                    return Then::Later;
                }
                Taken::Later => return Then::Later,
                Taken::Close => return Then::Close,
                Taken::Cut => return Then::Cut,
            }
        }
        let (kind, joins, names) =
            match execute(&mut ctx.server, &mut self.session, args, now_ms, &mut out) {
                Ok(Effect::None) => return Then::Next(consumed),
                Ok(Effect::Close) => return Then::Close,
                Ok(Effect::Reset) => {
                    self.leave_all();
                    return Then::Next(consumed);
                }
                Ok(Effect::Publish { channel, payload }) => {
                    let pushes_max = ctx.limits.pushes_max;
                    return match ctx.channels.publish(channel, payload, pushes_max) {
                        None => Then::Later,
                        Some(receivers) => match reply::count(&mut out, receivers) {
                            Ok(()) => Then::Next(consumed),
                            Err(Full) => Then::Cut,
                        },
                    };
                }
                Ok(Effect::Subscribe(names)) => (Kind::Channel, true, names),
                Ok(Effect::Unsubscribe(names)) => (Kind::Channel, false, names),
                Ok(Effect::SubscribePatterns(names)) => (Kind::Pattern, true, names),
                Ok(Effect::UnsubscribePatterns(names)) => (Kind::Pattern, false, names),
                Err(Full) => return Then::Cut,
            };
        let change = Change {
            kind,
            joins,
            names: owned(names),
        };
        match self.change(change, written, conn) {
            Ok(()) => Then::Next(consumed),
            Err(Full) => Then::Cut,
        }
    }

    /// Joins or leaves channels or patterns.
    #[cold]
    fn change(
        &mut self,
        change: Change,
        written: &mut usize,
        conn: &mut Conn<'_, Client>,
    ) -> Result<(), Full> {
        let subscriptions = match &mut self.subscriptions {
            Some(subscriptions) => subscriptions,
            none => {
                let notifier = conn.notifier().map(Message::Push);
                none.insert(Box::new(Subscriptions::new(notifier)))
            }
        };
        let mut out = Replies {
            out: &mut conn.out,
            written,
        };
        let ctx = &*conn.ctx;
        subscriptions.change(change, &ctx.channels, &ctx.limits, &mut out)?;
        self.session.subscriptions = subscriptions.len();
        if self.session.subscriptions == 0 {
            self.subscriptions = None;
        }
        Ok(())
    }

    /// Leaves all channels and patterns.
    #[cold]
    pub(super) fn leave_all(&mut self) {
        self.session.subscriptions = 0;
        self.subscriptions = None;
    }
}

impl State {
    /// Answers with something that is no command's reply, behind all replies that are awaited.
    #[cold]
    pub(super) fn say(
        &mut self,
        conn: &mut Conn<'_, Client>,
        what: impl FnOnce(&mut Vec<u8>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let mut text = Vec::new();
        what(&mut text)?;
        match &mut self.pipeline {
            Some(pipeline) if pipeline.is_busy() => pipeline.reply(|out| out.put(&text)),
            _ => conn.out.write(&text).map_err(|_| Full),
        }
    }
}

#[cold]
fn owned(names: Args<'_>) -> Vec<std::sync::Arc<[u8]>> {
    names.iter().map(Into::into).collect()
}

/// The connection's output, with a count of what went there.
pub(super) struct Replies<'a, 'b> {
    pub out: &'a mut rotor_net::Out<'b>,
    pub written: &'a mut usize,
}

impl Out for Replies<'_, '_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        *self.written += bytes.len();
        self.out.write(bytes).map_err(|_| Full)
    }
}
