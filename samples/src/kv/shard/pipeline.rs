//! `Pipeline`: a client's commands whose replies are not all there yet, in the order in which they came.
//!
//! Each command has a slot that says whose replies it waits for: one worker's, or those of several, to be joined.
//! The replies of one worker come in the order of their commands, this worker's own too, so a slot need not say which
//! reply it means: it is the next one of that worker. The oldest slot that has all its replies is written and gone.
//!
//! Invariant: for every worker, the slots that name it are as many as the commands and replies it still owes.

use super::super::channels::Channels;
use super::super::client::Message;
use super::super::command::route::{Route, route};
use super::super::command::{self, Effect};
use super::super::reply::{self, Full, Out};
use super::super::resp::{Args, Span};
use super::super::server::{Server, Session};
use super::answers::Answers;
use super::join::{Join, write_totals};
use super::lane::{Lane, Sent};
use super::parts::Parts;
use super::{Envelope, SHARE_BYTES, Workers};
use rotor_fsm::Notifier;
use std::collections::VecDeque;

/// What one client has under way. Boxed: most of a worker's clients may be idle.
pub(in super::super) struct Pipeline {
    back: Notifier<Message>,
    /// The number of the client's own worker.
    own: u16,
    slots: VecDeque<Slot>,
    slots_max: usize,
    /// This worker's own replies that wait for others.
    here: Answers,
    /// By worker; this worker's own is never used.
    lanes: Vec<Lane>,
    /// Bytes that wait to be sent in all lanes.
    gathered_bytes: usize,
    answers_bytes_max: usize,
    /// Scratch: this worker's part of a command that is parted.
    part: Parts,
    spans: Vec<Span>,
}

enum Slot {
    One(u16),
    /// The workers that reply; for values, that of each key.
    Joined(Join, Vec<u16>),
}

/// What a command needs besides its arguments.
pub(in super::super) struct Means<'a> {
    pub server: &'a mut Server,
    pub session: &'a mut Session,
    pub channels: &'a Channels,
    pub workers: &'a Workers,
    pub pushes_max: usize,
    pub now_ms: u64,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Taken {
    /// It is under way.
    Yes,
    /// It is to be executed here and now, as with one worker.
    Direct,
    /// It has to wait until there is room.
    NoRoom,
    /// It has to wait until all before it are answered.
    NotYet,
    /// It has to wait for a later turn.
    Later,
    /// Nothing further is wanted of this client; the replies still are to be delivered.
    Close,
    /// A reply was too large.
    Cut,
}

/// What became of the wish to send.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(in super::super) struct Sending {
    /// Some worker has no room: try again.
    pub retry: bool,
    /// Some worker is down: there are errors to deliver.
    pub refused: bool,
}

impl Pipeline {
    /// Of a client of worker `own`, to whom envelopes go `back`.
    pub fn new(
        back: Notifier<Message>,
        own: usize,
        workers: &Workers,
        slots_max: usize,
        answers_bytes_max: usize,
    ) -> Box<Self> {
        let mut lanes = Vec::new();
        lanes.resize_with(workers.count(), Lane::default);
        Box::new(Self {
            back,
            own: own as u16,
            slots: VecDeque::new(),
            slots_max: slots_max.max(1),
            here: Answers::new(answers_bytes_max),
            lanes,
            gathered_bytes: 0,
            answers_bytes_max,
            part: Parts::default(),
            spans: Vec::new(),
        })
    }

    /// Whether replies are awaited.
    #[inline]
    pub fn is_busy(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether no further command is taken for now.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.slots_max
            || self.here.held_bytes() >= SHARE_BYTES
            || self.gathered_bytes >= SHARE_BYTES
    }

    /// Whether it is worth while to take commands again.
    pub fn has_room(&self) -> bool {
        !self.is_full() && self.slots.len() <= self.slots_max / 2
    }

    /// Takes a command, which must not be empty.
    pub fn take(&mut self, args: Args<'_>, means: &mut Means<'_>) -> Taken {
        if means.session.subscriptions > 0 {
            // Nothing is under way then, and nothing that is allowed concerns another worker.
            return Taken::Direct;
        }
        if self.is_full() {
            return Taken::NoRoom;
        }
        match route(args, &means.workers.sharding) {
            Route::Alone if self.is_busy() => Taken::NotYet,
            Route::Alone => Taken::Direct,
            Route::Here => self.execute(args, means),
            Route::At(worker) if worker == usize::from(self.own) => self.execute(args, means),
            Route::At(worker) => {
                means.server.stats.commands += 1;
                self.gather(worker as u16, |parts| parts.push(args));
                self.slots.push_back(Slot::One(worker as u16));
                Taken::Yes
            }
            Route::Split { step, join } => self.split(args, step, join, means),
            Route::All(join) => self.ask_all(args, join, means),
        }
    }

    /// Takes a reply of the connection's own, such as an error, behind those that are awaited.
    pub fn reply(
        &mut self,
        write: impl FnOnce(&mut Answers) -> Result<(), Full>,
    ) -> Result<(), Full> {
        write(&mut self.here)?;
        self.here.end();
        self.slots.push_back(Slot::One(self.own));
        Ok(())
    }

    /// Sends what has gathered.
    pub fn send(&mut self, workers: &Workers) -> Sending {
        let mut sending = Sending::default();
        for (worker, lane) in self.lanes.iter_mut().enumerate() {
            let max = self.answers_bytes_max;
            match lane.send(worker, &self.back, max, &workers.mesh) {
                Sent::Nothing => {}
                Sent::Left(bytes) => self.gathered_bytes -= bytes,
                Sent::Full(bytes) => {
                    self.gathered_bytes -= bytes;
                    sending.retry = true;
                }
                Sent::Down(bytes) => {
                    self.gathered_bytes -= bytes;
                    sending.refused = true;
                }
            }
        }
        sending
    }

    /// An envelope is back. False if the client has to be cut, because a reply was too large.
    pub fn returned(&mut self, envelope: Box<Envelope>) -> bool {
        let is_whole = !envelope.overflowed;
        if let Some(lane) = self.lanes.get_mut(envelope.worker) {
            lane.returned(envelope);
        }
        is_whole
    }

    /// Looks whether envelopes were lost with their workers.
    pub fn look_after(&mut self, workers: &Workers) {
        for (worker, lane) in self.lanes.iter_mut().enumerate() {
            lane.look_after(worker, &self.back, self.answers_bytes_max, &workers.mesh);
        }
    }

    /// Writes the oldest reply, if it is there; whether it was.
    pub fn deliver_one(&mut self, out: &mut impl Out) -> Result<bool, Full> {
        let Some(slot) = self.slots.front() else {
            return Ok(false);
        };
        match slot {
            Slot::One(worker) => match self.answer(*worker) {
                Some(answer) => out.put(answer)?,
                None => return Ok(false),
            },
            Slot::Joined(join, workers) => {
                if workers.iter().any(|worker| self.answer(*worker).is_none()) {
                    return Ok(false);
                }
                join.write(workers, |worker| self.answer(worker).unwrap_or(b""), out)?;
            }
        }
        match self.slots.pop_front() {
            Some(Slot::One(worker)) => self.pop(worker),
            Some(Slot::Joined(_, mut workers)) => {
                workers.sort_unstable();
                workers.dedup();
                workers.into_iter().for_each(|worker| self.pop(worker));
            }
            None => {}
        }
        Ok(true)
    }

    fn answer(&self, worker: u16) -> Option<&[u8]> {
        if worker == self.own {
            return self.here.front();
        }
        self.lanes.get(usize::from(worker))?.front()
    }

    fn pop(&mut self, worker: u16) {
        if worker == self.own {
            self.here.pop();
        } else if let Some(lane) = self.lanes.get_mut(usize::from(worker)) {
            lane.pop();
        }
    }

    /// A command for this worker itself. If replies are awaited, its own has to wait behind them.
    fn execute(&mut self, args: Args<'_>, means: &mut Means<'_>) -> Taken {
        if !self.is_busy() {
            return Taken::Direct;
        }
        let (server, session) = (&mut *means.server, &mut *means.session);
        let taken = match command::execute(server, session, args, means.now_ms, &mut self.here) {
            Ok(Effect::Close) => Taken::Close,
            // Whatever has another effect is sent to all, or done when nothing is awaited.
            Ok(_) => Taken::Yes,
            Err(Full) => return Taken::Cut,
        };
        self.here.end();
        self.slots.push_back(Slot::One(self.own));
        taken
    }

    /// A command for all workers.
    fn ask_all(&mut self, args: Args<'_>, join: Join, means: &mut Means<'_>) -> Taken {
        means.server.stats.commands += 1;
        let is_info = matches!(join, Join::Info(_));
        let own = if is_info {
            write_totals(&mut self.here, &means.server.totals(means.now_ms))
        } else {
            let (server, session) = (&mut *means.server, &mut *means.session);
            match command::perform(server, session, args, means.now_ms, &mut self.here) {
                Ok(Effect::Publish { channel, payload }) => {
                    let receivers = means.channels.publish(channel, payload, means.pushes_max);
                    match receivers {
                        // Nobody has got it yet, so that it can be done again as a whole.
                        None => return Taken::Later,
                        Some(receivers) => reply::count(&mut self.here, receivers),
                    }
                }
                other => other.map(|_| ()),
            }
        };
        if own.is_err() {
            return Taken::Cut;
        }
        self.here.end();
        let (workers, own) = (0..self.lanes.len() as u16, self.own);
        for worker in workers.clone().filter(|worker| *worker != own) {
            self.gather(worker, |parts| match is_info {
                true => parts.push_totals(),
                false => parts.push(args),
            });
        }
        self.slots.push_back(Slot::Joined(join, workers.collect()));
        Taken::Yes
    }

    /// A command of several keys: each worker gets its own, in their order.
    fn split(&mut self, args: Args<'_>, step: usize, join: Join, means: &mut Means<'_>) -> Taken {
        means.server.stats.commands += 1;
        let (name, rest) = (args.at(0), args.from(1));
        let mut order = Vec::new();
        for key in (0..rest.len()).step_by(step) {
            let worker = means.workers.sharding.of(rest.at(key)) as u16;
            if matches!(join, Join::Values) || !self.parts(worker).is_open() {
                order.push(worker);
            }
            for i in key..key + step {
                self.gather(worker, |parts| parts.push_arg(name, rest.at(i)));
            }
        }
        self.lanes.iter_mut().for_each(|lane| {
            lane.next.end_part();
        });
        self.slots.push_back(Slot::Joined(join, order));
        if !self.part.end_part() {
            return Taken::Yes;
        }
        let (server, session) = (&mut *means.server, &mut *means.session);
        if let Some(part) = self.part.front(&mut self.spans) {
            let here = &mut self.here;
            if command::perform(server, session, part.args, means.now_ms, here).is_err() {
                return Taken::Cut;
            }
            self.here.end();
        }
        self.part.clear();
        Taken::Yes
    }

    fn parts(&mut self, worker: u16) -> &mut Parts {
        match self.lanes.get_mut(usize::from(worker)) {
            Some(lane) if worker != self.own => &mut lane.next,
            _ => &mut self.part,
        }
    }

    fn gather(&mut self, worker: u16, add: impl FnOnce(&mut Parts)) {
        let is_own = worker == self.own;
        let parts = self.parts(worker);
        let before = parts.held_bytes();
        add(parts);
        let added = parts.held_bytes() - before;
        if !is_own {
            self.gathered_bytes += added;
        }
    }
}
