//! From the arguments of a request to its reply and its effect.
//!
//! A command reads and writes the [`Server`] and the [`Session`] and appends its reply to the
//! output. What reaches beyond its own connection (publish, subscribe, close) it cannot do: it
//! answers with an [`Effect`], which the connection machine performs. Errors are worded as in
//! Redis 7.
//!
//! Each family of commands has its own file; names, arity and documentation are in `table`.

mod about;
mod admin;
mod keys;
pub(super) mod route;
mod strings;
mod table;

use super::number::parse_i64;
use super::reply::{self, Full, Out};
use super::resp::Args;
use super::server::{Server, Session};
use super::store::StoreFull;
pub(super) use about::info;
use table::{Id, Spec};

/// What remains for the connection machine to do. Unless it says otherwise the reply is written.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub enum Effect<'a> {
    /// Nothing.
    None,
    /// Flush the output and close.
    Close,
    /// Leave all channels and patterns, without replies; the reply to `RESET` is written.
    Reset,
    /// Join each channel and answer each with [`reply::subscription`] `"subscribe"`.
    Subscribe(Args<'a>),
    /// Leave each channel, or all if there are none here, and answer each with `"unsubscribe"`; if
    /// there was none to leave, one answer with no channel.
    Unsubscribe(Args<'a>),
    /// As `Subscribe`, for patterns, with `"psubscribe"`.
    SubscribePatterns(Args<'a>),
    /// As `Unsubscribe`, for patterns, with `"punsubscribe"`.
    UnsubscribePatterns(Args<'a>),
    /// Send [`reply::message`] or [`reply::pattern_message`] to the subscribers and answer
    /// with [`reply::count`]: how many they were.
    Publish {
        /// The channel; [`glob::matches`](super::glob::matches) compares it with patterns.
        channel: &'a [u8],
        /// What its subscribers get.
        payload: &'a [u8],
    },
}

/// Executes one request of one connection. `now_ms` is Unix milliseconds.
///
/// Fails only if the output is full; then part of a reply may be written, so close.
// Always: it is called from two places, but a server is only ever at one of them.
#[inline(always)]
pub fn execute<'r, O: Out>(
    server: &mut Server,
    session: &mut Session,
    args: Args<'r>,
    now_ms: u64,
    out: &mut O,
) -> Result<Effect<'r>, Full> {
    server.stats.commands += 1;
    perform(server, session, args, now_ms, out)
}

/// As [`execute`], but not counted: one worker's part of a command that is counted where its client is.
#[inline(always)]
pub(super) fn perform<'r, O: Out>(
    server: &mut Server,
    session: &mut Session,
    args: Args<'r>,
    now_ms: u64,
    out: &mut O,
) -> Result<Effect<'r>, Full> {
    let Some(spec) = table::find(args.at(0)) else {
        return unknown(args, out);
    };
    let mut call = Call {
        args,
        now_ms,
        spec,
        server,
        session,
        out,
    };
    let result = match call.refusal() {
        None => call.dispatch(),
        Some(refusal) => Err(refusal),
    };
    match result {
        Ok(effect) => Ok(effect),
        Err(Refusal::Output(full)) => Err(full),
        Err(refusal) => {
            refusal.reply(spec.name, out)?;
            Ok(Effect::None)
        }
    }
}

/// A command under way.
struct Call<'r, 's, O> {
    args: Args<'r>,
    now_ms: u64,
    spec: &'static Spec,
    server: &'s mut Server,
    session: &'s mut Session,
    out: &'s mut O,
}

/// What a command's function answers.
type Outcome<'r> = Result<Effect<'r>, Refusal>;

/// Why a command was not done.
enum Refusal {
    /// No room for the reply.
    Output(Full),
    /// This error, code included.
    Error(&'static str),
    /// The number of arguments is wrong, of this subcommand if there is one.
    Arity(Option<&'static str>),
    /// A time to live that is not positive, or beyond the end of time.
    InvalidExpire,
    /// An error that quotes the request.
    Quoting(Vec<u8>),
}

const NOT_INTEGER: Refusal = Refusal::Error("ERR value is not an integer or out of range");
const SYNTAX: Refusal = Refusal::Error("ERR syntax error");
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// How much of a request an error quotes.
const QUOTED_MAX: usize = 128;

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Refusal::Output(full)
    }
}

impl From<StoreFull> for Refusal {
    fn from(_: StoreFull) -> Self {
        Refusal::Error(OUT_OF_MEMORY)
    }
}

impl Refusal {
    #[cold]
    fn reply(self, command: &str, out: &mut impl Out) -> Result<(), Full> {
        let text = match self {
            Refusal::Output(full) => return Err(full),
            Refusal::Error(text) => return reply::error(out, text.as_bytes()),
            Refusal::Quoting(text) => return reply::error(out, &text),
            Refusal::InvalidExpire => format!("ERR invalid expire time in '{command}' command"),
            Refusal::Arity(sub) => {
                let sub = sub.map(|sub| format!("|{sub}")).unwrap_or_default();
                format!("ERR wrong number of arguments for '{command}{sub}' command")
            }
        };
        reply::error(out, text.as_bytes())
    }
}

impl<'r, O: Out> Call<'r, '_, O> {
    /// Why the command must not even start.
    #[inline]
    fn refusal(&self) -> Option<Refusal> {
        if !self.spec.takes(self.args.len()) {
            return Some(Refusal::Arity(None));
        }
        if self.session.subscriptions > 0 && !self.spec.in_subscribed_mode() {
            let text = format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                self.spec.name
            );
            return Some(Refusal::Quoting(text.into_bytes()));
        }
        None
    }

    #[inline]
    fn dispatch(&mut self) -> Outcome<'r> {
        match self.spec.id {
            Id::Get => self.get(),
            Id::Set => self.set(),
            Id::Append => self.append(),
            Id::Decr => self.add(Some(-1)),
            Id::Decrby => self.decrby(),
            Id::Getdel => self.getdel(),
            Id::Getset => self.getset(),
            Id::Incr => self.add(Some(1)),
            Id::Incrby => self.add(None),
            Id::Mget => self.mget(),
            Id::Mset => self.mset(),
            Id::Psetex => self.setex(1),
            Id::Setex => self.setex(1000),
            Id::Setnx => self.setnx(),
            Id::Strlen => self.strlen(),
            Id::Del | Id::Unlink => self.del(),
            Id::Exists | Id::Touch => self.exists(),
            Id::Expire => self.expire(1000, true),
            Id::Expireat => self.expire(1000, false),
            Id::Pexpire => self.expire(1, true),
            Id::Pexpireat => self.expire(1, false),
            Id::Expiretime => self.expiretime(1000),
            Id::Pexpiretime => self.expiretime(1),
            Id::Persist => self.persist(),
            Id::Ttl => self.ttl(1000),
            Id::Pttl => self.ttl(1),
            Id::Keys => self.keys(),
            Id::Scan => self.scan(),
            Id::Type => self.type_of(),
            Id::Dbsize => self.dbsize(),
            Id::Flushall | Id::Flushdb => self.flush(),
            Id::Ping => self.ping(),
            Id::Echo => self.echo(),
            Id::Select => self.select(),
            Id::Quit => self.quit(),
            Id::Reset => self.reset(),
            Id::Hello => self.hello(),
            Id::Client => self.client(),
            Id::Config => self.config(),
            Id::Info => self.info(),
            Id::Command => self.command(),
            Id::Publish => Ok(Effect::Publish {
                channel: self.args.at(1),
                payload: self.args.at(2),
            }),
            Id::Subscribe => Ok(Effect::Subscribe(self.args.from(1))),
            Id::Unsubscribe => Ok(Effect::Unsubscribe(self.args.from(1))),
            Id::Psubscribe => Ok(Effect::SubscribePatterns(self.args.from(1))),
            Id::Punsubscribe => Ok(Effect::UnsubscribePatterns(self.args.from(1))),
        }
    }

    #[inline]
    fn ok(&mut self) -> Outcome<'r> {
        reply::simple(self.out, "OK")?;
        Ok(Effect::None)
    }

    #[inline]
    fn integer(&mut self, value: i64) -> Outcome<'r> {
        reply::integer(self.out, value)?;
        Ok(Effect::None)
    }

    #[inline]
    fn count(&mut self, value: usize) -> Outcome<'r> {
        reply::count(self.out, value)?;
        Ok(Effect::None)
    }

    /// The first argument as one of these subcommands, which take so many arguments
    /// (names included; negative: at least).
    fn subcommand(&self, subs: &[(&'static str, i8)]) -> Result<&'static str, Refusal> {
        let name = self.args.at(1);
        let Some((sub, arity)) = subs.iter().find(|(sub, _)| is(name, sub)) else {
            let text = [b"ERR unknown subcommand '", quoted(name), b"'. Try "].concat();
            let help = format!("{} HELP.", self.spec.name.to_ascii_uppercase());
            return Err(Refusal::Quoting([&text[..], help.as_bytes()].concat()));
        };
        if table::takes(*arity, self.args.len()) {
            Ok(sub)
        } else {
            Err(Refusal::Arity(Some(sub)))
        }
    }
}

/// Whether an argument is this word, in any case.
fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn integer(arg: &[u8]) -> Result<i64, Refusal> {
    parse_i64(arg).ok_or(NOT_INTEGER)
}

/// As much of an argument as an error may quote. Up to a NUL byte, where Redis' C strings end.
fn quoted(arg: &[u8]) -> &[u8] {
    let end = arg
        .iter()
        .take(QUOTED_MAX)
        .take_while(|byte| **byte != 0)
        .count();
    arg.get(..end).unwrap_or(arg)
}

#[cold]
fn unknown<'r>(args: Args<'r>, out: &mut impl Out) -> Result<Effect<'r>, Full> {
    let name = args.at(0);
    // A browser was tricked into sending us an HTTP request: it must not get far enough to
    // smuggle commands in its body. Redis hangs up in the same way.
    if is(name, "post") || is(name, "host:") {
        return Ok(Effect::Close);
    }
    let mut text = [
        b"ERR unknown command '",
        quoted(name),
        b"', with args beginning with: ",
    ]
    .concat();
    let start = text.len();
    for arg in args.from(1).iter() {
        let Some(left) = QUOTED_MAX
            .checked_sub(text.len() - start)
            .filter(|left| *left > 0)
        else {
            break;
        };
        let arg = quoted(arg);
        text.extend_from_slice(b"'");
        text.extend_from_slice(arg.get(..left).unwrap_or(arg));
        text.extend_from_slice(b"' ");
    }
    reply::error(out, &text)?;
    Ok(Effect::None)
}

#[cfg(test)]
mod tests;
