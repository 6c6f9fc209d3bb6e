//! `Client`: the protocol on one connection.
//!
//! What a read brings is parsed and executed request by request; the replies gather in the output and leave in one
//! write. An incomplete request stays unread until more of it comes. After a fair share of replies the rest of the
//! requests wait until these have left, so that a client that asks for much and reads little costs no memory.
//!
//! With several workers, what concerns another one's keys goes through the client's [`Pipeline`].

mod flow;
mod request;

use super::channels::Push;
use super::reply::{self, Full};
use super::resp::Resume;
use super::serve::Shared;
use super::server::Session;
use super::shard::{Envelope, Pipeline, Place};
use super::subscriptions::Subscriptions;
use request::Then;
use rotor_net::prelude::*;

/// One client. Boxed, because a machine is moved at every event.
pub struct Client(Box<State>);

/// What a client is told by others.
#[derive(Debug)]
pub enum Message {
    /// A message for a channel or pattern.
    Push(Push),
    /// Replies of another worker.
    Answer(Box<Envelope>),
}

struct State {
    session: Session,
    resume: Resume,
    /// Absent while it is subscribed to nothing.
    subscriptions: Option<Box<Subscriptions>>,
    /// Commands under way to other workers. Absent if there are none, and until it first asks for something.
    pipeline: Option<Box<Pipeline>>,
    /// Its place among the clients of all workers.
    _place: Place,
    /// When to look whether something came since, or whether it has left.
    look_at: Time,
    /// When the deadline is; it may be before `look_at`.
    alarm_at: Time,
    /// What its next request waits for. The connection is not read meanwhile.
    held: Held,
    /// It has sent something since the last look.
    heard: bool,
    /// Its last replies are on their way; what it sends is thrown away.
    is_leaving: bool,
    /// Nobody reads its replies any more; those that are awaited are waited for, so that its last commands are done.
    is_gone: bool,
}

/// What a request waits for that has arrived but was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    No,
    /// Room in the pipeline.
    Room,
    /// All replies that are awaited.
    Replies,
}

impl Protocol for Client {
    type Context = Shared;
    type Message = Message;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let look_at = conn.now() + conn.ctx.idle;
        let ctx = &mut *conn.ctx;
        ctx.server.stats.connections += 1;
        let Some(place) = ctx.workers.place(ctx.limits.clients_max) else {
            ctx.server.stats.rejected += 1;
            conn.out.write(b"-ERR max number of clients reached\r\n")?;
            return Ok(Intent::done());
        };
        let client = Box::new(State {
            session: Session::new(ctx.workers.next_id()),
            resume: Resume::default(),
            subscriptions: None,
            pipeline: None,
            _place: place,
            look_at,
            alarm_at: look_at,
            held: Held::No,
            heard: true,
            is_leaving: false,
            is_gone: false,
        });
        Ok(Intent::of(Client(client)).deadline(look_at))
    }

    #[inline]
    fn received(mut self, data: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if conn.ctx.workers.count() > 1 {
            return self.received_by_one_of_many(data, conn);
        }
        if self.0.is_leaving {
            return Ok(Intent::of(self));
        }
        match self.0.requests::<false>(&data, conn) {
            (Then::Close, _) => self.leave(conn),
            (Then::Cut, _) => Ok(Intent::abort()),
            (Then::Next(_) | Then::Wait, rest) => {
                data.unread(rest);
                Ok(Intent::of(self))
            }
            (Then::Later, rest) => {
                data.later(rest);
                Ok(Intent::of(self))
            }
        }
    }

    #[inline]
    fn wakeup(mut self, message: Message, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let push = match message {
            Message::Push(push) => push,
            Message::Answer(envelope) => {
                let pipeline = self.0.pipeline.as_mut();
                return match pipeline.is_none_or(|pipeline| pipeline.returned(envelope)) {
                    true => self.advance(conn),
                    false => Ok(Intent::abort()),
                };
            }
        };
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

    /// Looks now and then whether something came since; subscribers may be silent. And more often, while replies of
    /// other workers are awaited.
    fn timeout(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let now = conn.now();
        let state = &mut *self.0;
        if now >= state.look_at {
            if state.is_leaving {
                return Ok(Intent::abort());
            }
            if !state.heard && state.subscriptions.is_none() && !state.is_busy() {
                return self.leave(conn);
            }
            state.heard = false;
            state.look_at = now + conn.ctx.idle;
        }
        self.look_after(conn)
    }

    /// Replies have left.
    fn flushed(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if self.0.is_leaving && !self.0.is_busy() {
            return Ok(Intent::done());
        }
        self.advance(conn)
    }

    fn eof(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.leave(conn)
    }

    /// Peers come and go as they like.
    fn failed(mut self, failure: Failure, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if let Failure::TooLong { .. } = failure {
            let error = b"-ERR Protocol error: too big request\r\n";
            return match self.0.say(conn, |out| reply::Out::put(out, error)) {
                Ok(()) => self.leave(conn),
                Err(Full) => Ok(Intent::abort()),
            };
        }
        if self.0.is_busy() {
            self.0.is_gone = true;
            return self.leave(conn);
        }
        Ok(Intent::done())
    }

    fn finish(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.leave(conn)
    }
}
