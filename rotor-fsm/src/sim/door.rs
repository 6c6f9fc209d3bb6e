//! Listeners, and how a connect finds one: addresses, ports, accept queues and refusals.

use super::end::{End, Owner, State};
use super::loops::Occurrence;
use super::trace::Who;
use super::world::{DoorId, EndId, Happening, World};
use crate::Addr;
use crate::ListenOptions;
use crate::driver::IoResult;
use crate::time::nanos;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use uv_sys_wrap::{Error as IoError, HandleId, Kind, Op};

/// A listening socket: of a loop or of a scripted peer.
pub(super) struct Door {
    pub addr: Addr,
    reuse_port: bool,
    ipv6_only: bool,
    backlog: usize,
    queue: VecDeque<EndId>,
    /// Whom to tell; none for a peer, which looks for itself.
    pub owner: Option<(u32, HandleId)>,
    /// Connections are wanted; if not, they wait in the queue.
    pub is_on: bool,
    /// It was told of a connection and has not asked for it: told again only after it asks.
    pub is_told: bool,
}

impl Door {
    pub fn has_news(&self) -> bool {
        self.is_on && !self.is_told && !self.queue.is_empty()
    }

    fn takes(&self, to: &Addr) -> bool {
        match (&self.addr, to) {
            (Addr::Tcp(own), Addr::Tcp(to)) => {
                own.port() == to.port() && covers(own.ip(), to.ip(), self.ipv6_only)
            }
            (own, to) => own == to,
        }
    }
}

/// Whether who listens on `own` is reached at `to`.
fn covers(own: IpAddr, to: IpAddr, ipv6_only: bool) -> bool {
    match (own, to) {
        (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified() && !ipv6_only,
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        _ => own.is_unspecified() || own == to,
    }
}

/// How often a connect that finds a full queue is tried again, after 1 s, 2 s, 4 s and so on, as a kernel does.
const KNOCKS_MAX: u32 = 6;
const KNOCK_AGAIN: u64 = 1_000_000_000;

/// Listening.
impl World {
    pub fn open_door(&mut self, at: &Addr, options: &ListenOptions) -> IoResult<DoorId> {
        let addr = match at {
            Addr::Tcp(addr) if addr.port() == 0 => {
                Addr::Tcp(SocketAddr::new(addr.ip(), self.fresh_port()))
            }
            other => other.clone(),
        };
        let in_the_way = |door: &Door| {
            let meets = match (&door.addr, &addr) {
                (Addr::Tcp(a), Addr::Tcp(b)) => {
                    a.port() == b.port()
                        && (covers(a.ip(), b.ip(), door.ipv6_only)
                            || covers(b.ip(), a.ip(), options.ipv6_only))
                }
                (a, b) => a == b,
            };
            meets && !(door.reuse_port && options.reuse_port)
        };
        if self.doors.iter().any(|(_, door)| in_the_way(door)) {
            return Err(IoError::new(Op::Bind, Kind::AddrInUse));
        }
        Ok(self.doors.insert(Door {
            addr,
            reuse_port: options.reuse_port,
            ipv6_only: options.ipv6_only,
            backlog: usize::try_from(options.backlog).unwrap_or(0).max(1),
            queue: VecDeque::new(),
            owner: None,
            is_on: true,
            is_told: false,
        }))
    }

    /// Closes a listener; connections that nobody took are reset.
    pub fn close_door(&mut self, id: DoorId) {
        let Some(door) = self.doors.remove(id) else {
            return;
        };
        for end in door.queue {
            self.close_end(end, true);
        }
    }

    pub fn next_of_door(&mut self, id: DoorId) -> Option<Occurrence> {
        self.doors.get_mut(id)?.is_told = true;
        Some(Occurrence::Incoming)
    }

    /// Takes the connection that has waited longest, for a new owner.
    pub fn take_waiting(&mut self, id: DoorId) -> Option<EndId> {
        let door = self.doors.get_mut(id)?;
        door.is_told = false;
        door.queue.pop_front()
    }

    /// A port that nobody uses: the next of the range that most systems keep for this.
    fn fresh_port(&mut self) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(49_152);
            let is_taken = |addr: &Addr| matches!(addr, Addr::Tcp(addr) if addr.port() == port);
            if !self.doors.iter().any(|(_, door)| is_taken(&door.addr)) {
                return port;
            }
        }
    }
}

/// Connecting.
impl World {
    /// An end on its way to `to`.
    pub fn start_connect(&mut self, to: &Addr, owner: Owner) -> EndId {
        let (local, remote) = match to {
            Addr::Tcp(to) => {
                let ip = match to.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip => ip,
                };
                let port = self.fresh_port();
                (
                    Addr::Tcp(SocketAddr::new(ip, port)),
                    Addr::Tcp(SocketAddr::new(ip, to.port())),
                )
            }
            // The connecting side of a Unix socket has no name.
            path => (Addr::Unix(PathBuf::new()), path.clone()),
        };
        let capacity = self.capacity();
        let client = self.ends.insert(End::new(owner, local, remote, capacity));
        let delay = self.delay();
        self.later(delay, Happening::Knock { client, attempt: 0 });
        client
    }

    /// A connect has reached where it goes.
    pub fn knock(&mut self, client: EndId, attempt: u32) {
        // One that failed for want of a descriptor never left.
        let Some(end) = self
            .ends
            .get(client)
            .filter(|end| end.state == State::Connecting)
        else {
            return;
        };
        let (from, to) = (end.local.clone(), end.remote.clone());
        if self.rng.percent(self.config.refuse_percent) {
            return self.refuse(client, Kind::Refused);
        }
        let Some(door) = self.find_door(&to) else {
            let kind = if matches!(to, Addr::Tcp(_)) {
                Kind::Refused
            } else {
                Kind::NotFound
            };
            return self.refuse(client, kind);
        };
        if self
            .doors
            .get(door)
            .is_some_and(|door| door.queue.len() >= door.backlog)
        {
            return match attempt {
                KNOCKS_MAX.. => self.connect_failed(client, Kind::TimedOut),
                _ => self.later(
                    KNOCK_AGAIN << attempt,
                    Happening::Knock {
                        client,
                        attempt: attempt + 1,
                    },
                ),
            };
        }
        self.let_in(client, door, to, from);
    }

    fn refuse(&mut self, client: EndId, kind: Kind) {
        let delay = self.delay();
        self.later(delay, Happening::Refused { client, kind });
    }

    /// The listener that takes a connection to `to`; one of those that share the port.
    fn find_door(&mut self, to: &Addr) -> Option<DoorId> {
        let found: Vec<DoorId> = self
            .doors
            .iter()
            .filter(|(_, door)| door.takes(to))
            .map(|(id, _)| id)
            .collect();
        match found[..] {
            [] => None,
            [only] => Some(only),
            _ => Some(found[self.rng.below(found.len() as u64) as usize]),
        }
    }

    fn let_in(&mut self, client: EndId, door: DoorId, local: Addr, remote: Addr) {
        let capacity = self.capacity();
        let established_at = self.now.saturating_add(self.delay());
        let mut end = End::new(Owner::Waiting(door), local, remote, capacity);
        (end.state, end.other) = (State::Open, Some(client));
        let server = self.ends.insert(end);
        if let Some(end) = self.ends.get_mut(client) {
            end.other = Some(server);
            end.established_at = established_at;
            end.input.last_at = established_at;
        }
        self.at(established_at, Happening::Established { client });
        if self.rng.percent(self.config.break_percent) {
            let within = nanos(self.config.break_within);
            let after = self.rng.below(within.saturating_add(1));
            self.at(
                established_at.saturating_add(after),
                Happening::Break { end: server },
            );
        }
        let Some(entry) = self.doors.get_mut(door) else {
            return;
        };
        entry.queue.push_back(server);
        if let Some((owner, handle)) = entry.owner {
            self.mark(owner, handle);
        }
    }

    pub fn established(&mut self, client: EndId) {
        let Some(end) = self.ends.get_mut(client) else {
            return;
        };
        end.state = State::Open;
        end.connect = Some(Ok(()));
        self.notify(client);
        self.pump(client);
    }

    pub fn connect_failed(&mut self, client: EndId, kind: Kind) {
        let Some(end) = self.ends.get_mut(client) else {
            return;
        };
        end.state = State::Failed;
        end.connect = Some(Err(kind));
        end.cancel_writes();
        self.notify(client);
    }

    pub fn record_door(&mut self, who: Who, id: DoorId) {
        if let Some(door) = self.doors.get(id) {
            let text = door.addr.to_string();
            self.trace.note(self.now, who, "listen", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimConfig;

    fn listen(world: &mut World, at: &str, options: &ListenOptions) -> IoResult<DoorId> {
        let at: Addr = at
            .parse()
            .map_err(|_| IoError::new(Op::Bind, Kind::Invalid))?;
        world.open_door(&at, options)
    }

    #[test]
    fn an_address_is_taken_once_and_port_zero_becomes_a_fresh_one() {
        let mut world = World::new(1, SimConfig::default());
        let plain = ListenOptions::default();
        let door = listen(&mut world, "127.0.0.1:80", &plain).unwrap();
        for taken in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"] {
            assert_eq!(
                listen(&mut world, taken, &plain).unwrap_err().kind(),
                Kind::AddrInUse,
                "{taken}"
            );
        }
        listen(&mut world, "127.0.0.2:80", &plain).unwrap();
        listen(
            &mut world,
            "[::]:80",
            &ListenOptions {
                ipv6_only: true,
                ..plain
            },
        )
        .unwrap();
        let a = listen(&mut world, "127.0.0.1:0", &plain).unwrap();
        let b = listen(&mut world, "127.0.0.1:0", &plain).unwrap();
        assert_ne!(
            world.doors.get(a).unwrap().addr,
            world.doors.get(b).unwrap().addr
        );
        world.close_door(door);
        listen(&mut world, "127.0.0.1:80", &plain).unwrap();
    }

    #[test]
    fn a_shared_port_is_shared_only_by_those_who_agree() {
        let mut world = World::new(1, SimConfig::default());
        let shared = ListenOptions {
            reuse_port: true,
            ..ListenOptions::default()
        };
        let doors = [0; 3].map(|_| listen(&mut world, "0.0.0.0:7", &shared).unwrap());
        assert!(listen(&mut world, "0.0.0.0:7", &ListenOptions::default()).is_err());
        let to = "127.0.0.1:7".parse().unwrap();
        let found: std::collections::BTreeSet<_> =
            (0..100).filter_map(|_| world.find_door(&to)).collect();
        assert_eq!(found.len(), doors.len());
    }
}
