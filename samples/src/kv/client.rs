//! `Client`: the protocol on one connection.
//!
//! What a read brings is parsed and executed request by request; the replies gather in the output and leave in one
//! write. An incomplete request stays unread until more of it comes. After a fair share of replies the rest of the
//! requests wait until these have left, so that a client that asks for much and reads little costs no memory.

use super::channels::{Kind, Push};
use super::command::{Effect, execute};
use super::reply::{self, Full};
use super::resp::{Args, Parsed, Resume};
use super::serve::Shared;
use super::server::Session;
use super::subscriptions::{Change, Subscriptions};
use rotor_net::prelude::*;
use std::rc::Rc;
use std::time::Duration;

/// Reply bytes after which the next request waits for the next turn.
const SHARE_BYTES: usize = 64 << 10;
/// How long a client that has ended its side, or was told goodbye, may take to read its last replies.
const LEAVING_MAX: Duration = Duration::from_secs(60);

/// One client. Boxed, because a machine is moved at every event.
pub struct Client(Box<State>);

struct State {
    session: Session,
    resume: Resume,
    /// Absent while it is subscribed to nothing.
    subscriptions: Option<Box<Subscriptions>>,
    /// Its place among the clients: the number of clones says how many there are.
    _place: Rc<()>,
    /// It has sent something since the last look.
    heard: bool,
    /// Its last replies are on their way; what it sends is thrown away.
    is_leaving: bool,
}

/// What follows from one request.
enum Then {
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

impl Protocol for Client {
    type Context = Shared;
    type Message = Push;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let ctx = &mut *conn.ctx;
        ctx.server.stats.connections += 1;
        if ctx.clients() >= ctx.limits.clients_max {
            ctx.server.stats.rejected += 1;
            conn.out.write(b"-ERR max number of clients reached\r\n")?;
            return Ok(Intent::done());
        }
        let client = Box::new(State {
            session: Session::new(ctx.server.stats.connections),
            resume: Resume::default(),
            subscriptions: None,
            _place: ctx.places.clone(),
            heard: true,
            is_leaving: false,
        });
        Ok(Intent::of(Client(client)).after(ctx.idle))
    }

    #[inline]
    fn received(mut self, data: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let now = conn.now();
        let ctx = &mut *conn.ctx;
        let now_ms = ctx.clock.unix_ms(now);
        ctx.server.stats.clients = ctx.clients() as u64;
        if self.0.is_leaving {
            return Ok(Intent::of(self));
        }
        self.0.heard = true;
        let (mut rest, mut written) = (&data[..], 0);
        let then = loop {
            if rest.is_empty() {
                break Then::Wait;
            }
            if written >= SHARE_BYTES {
                break Then::Later;
            }
            match self.0.request(rest, now_ms, &mut written, conn) {
                Then::Next(consumed) => rest = rest.get(consumed..).unwrap_or(&[]),
                other => break other,
            }
        };
        conn.ctx.tell_expirer();
        match then {
            Then::Close => return self.leave(conn),
            Then::Cut => return Ok(Intent::abort()),
            Then::Later => data.later(rest.len()),
            Then::Next(_) | Then::Wait => data.unread(rest.len()),
        }
        Ok(Intent::of(self))
    }

    /// A message for a channel or pattern.
    #[inline]
    fn wakeup(self, push: Push, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let subscriptions = &self.0.subscriptions;
        if !subscriptions.as_ref().is_some_and(|all| all.has(&push)) {
            return Ok(Intent::of(self));
        }
        let reply = push.reply();
        let waiting = conn.out.queued().saturating_add(reply.len());
        if waiting > conn.ctx.limits.push_bytes_max || conn.out.write(reply).is_err() {
            conn.ctx.server.stats.cut += 1;
            return Ok(Intent::abort());
        }
        Ok(Intent::of(self))
    }

    /// Looks now and then whether something came since; subscribers may be silent.
    fn timeout(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if self.0.is_leaving {
            return Ok(Intent::abort());
        }
        if !self.0.heard && self.0.subscriptions.is_none() {
            return self.leave(conn);
        }
        self.0.heard = false;
        Ok(Intent::of(self).after(conn.ctx.idle))
    }

    /// The last replies have left.
    fn flushed(self, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::done())
    }

    fn eof(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.leave(conn)
    }

    /// Peers come and go as they like.
    fn failed(self, failure: Failure, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if let Failure::TooLong { .. } = failure {
            conn.out
                .write(b"-ERR Protocol error: too big request\r\n")?;
            return self.leave(conn);
        }
        Ok(Intent::done())
    }

    fn finish(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.leave(conn)
    }
}

impl Client {
    /// Ends when the last replies have left: a stream lingers too briefly for a slow reader of a large value.
    #[cold]
    fn leave(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if conn.out.queued() == 0 {
            return Ok(Intent::done());
        }
        self.0.is_leaving = true;
        self.0.leave_all();
        Ok(Intent::of(self).flushed_below(1).after(LEAVING_MAX))
    }
}

impl State {
    /// Parses and executes the request at the front of `input`.
    #[inline]
    fn request(
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
                return match error.reply(&mut out) {
                    Ok(()) => Then::Close,
                    Err(Full) => Then::Cut,
                };
            }
        };
        if args.is_empty() {
            return Then::Next(consumed);
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
            none => none.insert(Box::new(Subscriptions::new(conn.notifier()))),
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

    #[cold]
    fn leave_all(&mut self) {
        self.session.subscriptions = 0;
        self.subscriptions = None;
    }
}

#[cold]
fn owned(names: Args<'_>) -> Vec<std::sync::Arc<[u8]>> {
    names.iter().map(Into::into).collect()
}

/// The connection's output, with a count of what went there.
struct Replies<'a, 'b> {
    out: &'a mut rotor_net::Out<'b>,
    written: &'a mut usize,
}

impl reply::Out for Replies<'_, '_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        *self.written += bytes.len();
        self.out.write(bytes).map_err(|_| Full)
    }
}
