//! What one client is subscribed to. Most clients have nothing of this.

use super::Limits;
use super::channels::{Channels, Kind, Membership, Push};
use super::reply::{self, Full, Out};
use rotor_fsm::Notifier;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A client's channels and patterns. Dropping it leaves them all.
pub(super) struct Subscriptions {
    /// How messages reach this client.
    notifier: Notifier<Push>,
    channels: BTreeMap<Arc<[u8]>, Membership>,
    patterns: BTreeMap<Arc<[u8]>, Membership>,
}

/// `SUBSCRIBE` and its kin, with names that outlive the request.
pub(super) struct Change {
    pub kind: Kind,
    pub joins: bool,
    pub names: Vec<Arc<[u8]>>,
}

impl Change {
    /// As the reply names it.
    fn verb(&self) -> &'static str {
        match (self.joins, self.kind) {
            (true, Kind::Channel) => "subscribe",
            (false, Kind::Channel) => "unsubscribe",
            (true, Kind::Pattern) => "psubscribe",
            (false, Kind::Pattern) => "punsubscribe",
        }
    }
}

impl Subscriptions {
    pub fn new(notifier: Notifier<Push>) -> Self {
        Self {
            notifier,
            channels: BTreeMap::new(),
            patterns: BTreeMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether a message that was sent still has somebody to get it: the client may have left meanwhile.
    pub fn has(&self, push: &Push) -> bool {
        match push.kind() {
            Kind::Channel => self.channels.contains_key(push.name()),
            Kind::Pattern => self.patterns.contains_key(push.name()),
        }
    }

    /// Joins or leaves, with one reply for each name.
    pub fn change(
        &mut self,
        change: Change,
        all: &Channels,
        limits: &Limits,
        out: &mut impl Out,
    ) -> Result<(), Full> {
        let verb = change.verb();
        if change.joins {
            for name in &change.names {
                match self.join(change.kind, name, all, limits) {
                    Ok(()) => reply::subscription(out, verb, Some(name), self.len())?,
                    Err(refusal) => reply::error(out, refusal.as_bytes())?,
                }
            }
            return Ok(());
        }
        let names = if change.names.is_empty() {
            self.of(change.kind).keys().cloned().collect()
        } else {
            change.names
        };
        if names.is_empty() {
            return reply::subscription(out, verb, None, self.len());
        }
        for name in &names {
            self.of(change.kind).remove(name);
            reply::subscription(out, verb, Some(name), self.len())?;
        }
        Ok(())
    }

    fn join(
        &mut self,
        kind: Kind,
        name: &Arc<[u8]>,
        all: &Channels,
        limits: &Limits,
    ) -> Result<(), &'static str> {
        if self.of(kind).contains_key(name) {
            return Ok(());
        }
        if name.len() > limits.channel_bytes_max {
            return Err("ERR the name of a channel or pattern is too long");
        }
        if self.len() >= limits.subscriptions_max {
            return Err("ERR too many subscriptions");
        }
        let membership = all.join(kind, name, self.notifier.clone());
        self.of(kind).insert(name.clone(), membership);
        Ok(())
    }

    fn of(&mut self, kind: Kind) -> &mut BTreeMap<Arc<[u8]>, Membership> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }
}
