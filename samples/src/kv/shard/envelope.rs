//! `Envelope`: what travels between a client's machine and another worker's shard.
//!
//! One envelope goes to and fro between a client and each worker it deals with: commands on the way there, replies on
//! the way back, in the same two buffers, so that in the steady state nothing is allocated. A shard that has filled
//! its share of replies sends the rest of the commands back undone; the client sends them again when the replies have
//! left. So what a client makes others hold is bounded, whatever it asks for.

use super::super::channels::Channels;
use super::super::client::Message;
use super::super::command::{self, Effect};
use super::super::reply::{self, Full};
use super::super::resp::Span;
use super::super::server::{Server, Session};
use super::SHARE_BYTES;
use super::answers::Answers;
use super::join::write_totals;
use super::parts::Parts;
use rotor_fsm::{Notifier, SendError};

/// Commands for one worker, and their replies.
pub struct Envelope {
    /// Whose it is.
    back: Notifier<Message>,
    /// Where it goes.
    pub(super) worker: usize,
    /// The worker's epoch when it was sent: one that comes from an earlier life of the worker is not awaited any more.
    pub(super) epoch: u64,
    pub(super) commands: Parts,
    pub(super) answers: Answers,
    /// A reply was too large: the client has to be cut.
    pub(super) overflowed: bool,
}

/// What commands work on at a shard.
pub(super) struct Bench<'a> {
    pub server: &'a mut Server,
    /// Stands for that of every client elsewhere: no command that looks at a session is sent to another worker.
    pub session: &'a mut Session,
    pub channels: &'a Channels,
    pub pushes_max: usize,
    pub spans: &'a mut Vec<Span>,
    pub now_ms: u64,
}

impl Envelope {
    pub(super) fn new(
        back: &Notifier<Message>,
        worker: usize,
        answers_bytes_max: usize,
    ) -> Box<Self> {
        Box::new(Self {
            back: back.clone(),
            worker,
            epoch: 0,
            commands: Parts::default(),
            answers: Answers::new(answers_bytes_max),
            overflowed: false,
        })
    }

    /// Executes the commands in order, as far as their replies are not too many for one journey.
    pub(super) fn execute(&mut self, bench: &mut Bench<'_>) {
        while self.answers.held_bytes() < SHARE_BYTES
            && let Some(part) = self.commands.front(bench.spans)
        {
            let done = if part.args.is_empty() {
                let totals = bench.server.totals(bench.now_ms);
                write_totals(&mut self.answers, &totals).map(|()| true)
            } else {
                let (server, session) = (&mut *bench.server, &mut *bench.session);
                let answers = &mut self.answers;
                match command::perform(server, session, part.args, bench.now_ms, answers) {
                    Ok(Effect::Publish { channel, payload }) => {
                        match bench.channels.publish(channel, payload, bench.pushes_max) {
                            Some(receivers) => reply::count(answers, receivers).map(|()| true),
                            None => Ok(false),
                        }
                    }
                    // No other command with an effect is sent here.
                    other => other.map(|_| true),
                }
            };
            match done {
                Ok(true) => {
                    self.answers.end();
                    let end = part.end();
                    self.commands.pop(end);
                }
                // Too many messages are on their way to subscribers: the client asks again.
                Ok(false) => return,
                Err(Full) => {
                    self.overflowed = true;
                    return;
                }
            }
        }
    }

    /// Answers all that is left with an error.
    pub(super) fn refuse(&mut self, error: &[u8]) {
        for _ in 0..self.commands.len() {
            self.answers.push(error);
        }
        self.commands.clear();
    }

    /// Goes home. A client that is gone gets nothing; for one whose loop's inbox is full it comes back.
    pub(super) fn send_back(self: Box<Self>) -> Result<(), Box<Self>> {
        let back = self.back.clone();
        match back.send(Message::Answer(self)) {
            Err(SendError::Full(Message::Answer(envelope))) => Err(envelope),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Envelope of {} commands", self.commands.len())
    }
}
