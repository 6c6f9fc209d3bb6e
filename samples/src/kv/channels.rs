//! Who is subscribed to what: a group of notifiers per channel and per pattern.
//!
//! A published message travels to its subscribers as a machine message: its reply is put together once and shared by
//! all. A subscriber's place is its [`Membership`], which leaves when dropped, so a client that ends, however it
//! ends, leaves everything.
//!
//! Invariant: a name is in the directory exactly while it has members.

use super::glob;
use super::reply::{self, Full};
use rotor_fsm::{Group, Notifier, Seat};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Whether a name is meant as it is, or as a pattern of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Channel,
    Pattern,
}

/// A message on its way to one subscriber.
#[derive(Clone)]
pub struct Push {
    sent: Arc<Sent>,
    /// Counts the messages on their way, those included that are dropped with their machine.
    _counted: Arc<()>,
}

/// What all subscribers of one name share.
struct Sent {
    kind: Kind,
    name: Arc<[u8]>,
    reply: Vec<u8>,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Push of {} bytes", self.reply().len())
    }
}

impl Push {
    pub(super) fn kind(&self) -> Kind {
        self.sent.kind
    }

    /// The channel or pattern through which it came.
    pub(super) fn name(&self) -> &[u8] {
        &self.sent.name
    }

    /// As the subscriber's connection gets it.
    pub(super) fn reply(&self) -> &[u8] {
        &self.sent.reply
    }
}

/// All channels and patterns of a server. Clones share.
#[derive(Clone, Default)]
pub(super) struct Channels(Rc<RefCell<Directory>>);

/// Ordered, so that messages go out in the same order in every run.
#[derive(Default)]
struct Directory {
    channels: BTreeMap<Arc<[u8]>, Group<Push>>,
    patterns: BTreeMap<Arc<[u8]>, Group<Push>>,
    on_their_way: Arc<()>,
}

/// A client's place among a name's subscribers; dropping it leaves.
pub(super) struct Membership {
    kind: Kind,
    name: Arc<[u8]>,
    channels: Channels,
    seat: Option<Seat>,
}

impl Channels {
    pub fn join(&self, kind: Kind, name: &Arc<[u8]>, notifier: Notifier<Push>) -> Membership {
        let mut directory = self.0.borrow_mut();
        let group = directory.of(kind).entry(name.clone()).or_default();
        Membership {
            kind,
            name: name.clone(),
            seat: Some(group.join(notifier)),
            channels: self.clone(),
        }
    }

    /// Sends to the channel's subscribers and then to those of each pattern that matches, and says how many they
    /// were. `None`: so many messages are on their way that this one has to wait.
    ///
    /// A message is lost to a subscriber only if the loop's inbox is full nevertheless; it is not counted then.
    pub fn publish(&self, channel: &[u8], payload: &[u8], pushes_max: usize) -> Option<usize> {
        let directory = self.0.borrow();
        let on_their_way = Arc::strong_count(&directory.on_their_way) - 1;
        if on_their_way > 0 && on_their_way + directory.receivers(channel) > pushes_max {
            return None;
        }
        let mut accepted = 0;
        if let Some((name, group)) = directory.channels.get_key_value(channel) {
            let write = |out: &mut Vec<u8>| reply::message(out, channel, payload);
            accepted += group.send(directory.push(Kind::Channel, name, write));
        }
        for (name, group) in directory.matching(channel) {
            let write = |out: &mut Vec<u8>| reply::pattern_message(out, name, channel, payload);
            accepted += group.send(directory.push(Kind::Pattern, name, write));
        }
        Some(accepted)
    }
}

impl Directory {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<Arc<[u8]>, Group<Push>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    fn matching(&self, channel: &[u8]) -> impl Iterator<Item = (&Arc<[u8]>, &Group<Push>)> {
        let matches = move |(pattern, _): &(&Arc<[u8]>, _)| glob::matches(pattern, channel);
        self.patterns.iter().filter(matches)
    }

    fn receivers(&self, channel: &[u8]) -> usize {
        let direct = self.channels.get(channel).map_or(0, Group::len);
        direct
            + self
                .matching(channel)
                .map(|(_, group)| group.len())
                .sum::<usize>()
    }

    fn push(
        &self,
        kind: Kind,
        name: &Arc<[u8]>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Full>,
    ) -> Push {
        let mut text = Vec::new();
        // A vector takes all.
        let _ = write(&mut text);
        Push {
            sent: Arc::new(Sent {
                kind,
                name: name.clone(),
                reply: text,
            }),
            _counted: self.on_their_way.clone(),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.seat = None;
        let mut directory = self.channels.0.borrow_mut();
        let names = directory.of(self.kind);
        if names.get(&self.name).is_some_and(Group::is_empty) {
            names.remove(&self.name);
        }
    }
}
