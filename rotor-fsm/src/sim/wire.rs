//! The way from one end of a connection to the other: pieces that take time, FIN, resets, and closing.
//!
//! Pieces of one direction never overtake each other. A reset overtakes nothing that arrives before it, and what would
//! arrive after it is lost. Closing with unread input resets the other end, as a kernel does.

use super::end::{Fin, Owner, Piece, State};
use super::trace::Who;
use super::world::{EndId, Happening, World};
use uv_sys_wrap::Kind;

/// The way to the other end.
impl World {
    /// How many bytes the way to the other end takes now. Without another end they vanish, so any number.
    pub fn room(&self, from: EndId) -> usize {
        let other = self
            .ends
            .get(from)
            .and_then(|end| end.other)
            .and_then(|other| self.ends.get(other));
        other.map_or(usize::MAX, |other| {
            other.input.capacity.saturating_sub(other.input.bytes.len())
        })
    }

    /// All of so many bytes, or by chance fewer.
    pub fn some_of(&mut self, n: usize) -> usize {
        let partly = n > 0 && self.rng.percent(self.config.partial_percent);
        if partly {
            self.rng.below(n as u64) as usize
        } else {
            n
        }
    }

    /// Sends bytes off in seeded pieces.
    pub fn transmit(&mut self, from: EndId, bytes: &[u8]) {
        let Some(to) = self.ends.get(from).and_then(|end| end.other) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        if let Some(other) = self.ends.get_mut(to) {
            other.input.bytes.push(bytes);
        }
        let mut pieces = self.rng.one_to(self.config.pieces_max.max(1));
        let mut left = bytes.len();
        while left > 0 {
            let len = if pieces > 1 {
                self.rng.one_to(left)
            } else {
                left
            };
            (left, pieces) = (left - len, pieces - 1);
            self.send_piece(from, to, len, false);
        }
    }

    fn send_piece(&mut self, from: EndId, to: EndId, len: usize, fin: bool) {
        let mut at = self.now.saturating_add(self.delay());
        if let Some(other) = self.ends.get_mut(to) {
            at = at.max(other.input.last_at);
            other.input.last_at = at;
            other.input.pieces.push_back(Piece { at, len, fin });
        }
        self.at(at, Happening::Arrive { to, from, fin });
    }

    /// Pieces arrive. For bytes that find nobody any more the sender gets a reset; a mere FIN is what was missing.
    pub fn arrive(&mut self, to: EndId, from: EndId, fin: bool) {
        let now = self.now;
        let Some(end) = self.ends.get_mut(to) else {
            if !fin {
                self.send_reset(from);
            }
            return;
        };
        while let Some(piece) = end.input.pieces.pop_front_if(|piece| piece.at <= now) {
            end.input.arrived += piece.len;
            end.input.fin |= piece.fin;
        }
        self.notify(to);
    }

    /// A reset goes to `to`. It overtakes nothing that arrives before it; what would arrive later is lost.
    pub fn send_reset(&mut self, to: EndId) {
        let at = self.now.saturating_add(self.delay());
        let Some(end) = self.ends.get_mut(to) else {
            return;
        };
        let at = at.max(end.established_at);
        let input = &mut end.input;
        let lost: usize = input
            .pieces
            .iter()
            .filter(|piece| piece.at > at)
            .map(|piece| piece.len)
            .sum();
        input.pieces.retain(|piece| piece.at <= at);
        let kept = input.bytes.len() - lost;
        input.bytes.truncate(kept);
        self.at(at, Happening::Reset { to });
    }

    pub fn reset_arrives(&mut self, to: EndId) {
        let Some(end) = self.ends.get_mut(to) else {
            return;
        };
        if end.input.reset || end.state == State::Failed {
            return;
        }
        let kind = if end.input.fin {
            Kind::BrokenPipe
        } else {
            Kind::Reset
        };
        end.input.reset = true;
        end.input.error = Some(kind);
        end.input.pieces.clear();
        let arrived = end.input.arrived;
        end.input.bytes.truncate(arrived);
        if !end.output.writes.is_empty() {
            end.input.error = None;
        }
        end.output.fail_all(kind);
        let who = self.who(to);
        self.record(who, "reset-arrives", 0, 0);
        self.notify(to);
    }

    /// The network breaks the connection: each end gets a reset.
    pub fn break_up(&mut self, end: EndId) {
        let Some(other) = self.ends.get(end).and_then(|end| end.other) else {
            return;
        };
        let who = self.who(end);
        self.record(who, "broken", 0, 0);
        self.send_reset(end);
        self.send_reset(other);
    }

    pub fn pump_later(&mut self, id: EndId) {
        let delay = self.delay();
        let Some(end) = self.ends.get_mut(id) else {
            return;
        };
        if !end.output.pump_due && end.state == State::Open {
            end.output.pump_due = true;
            self.later(delay, Happening::Pump { end: id });
        }
    }

    /// Queued output goes on as far as there is room, then FIN if it was asked for.
    pub fn pump(&mut self, id: EndId) {
        match self.ends.get_mut(id) {
            Some(end) => end.output.pump_due = false,
            None => return,
        }
        while let Some(end) = self.ends.get_mut(id) {
            if end.input.reset {
                let kind = end.input.error.take().unwrap_or(Kind::BrokenPipe);
                end.output.fail_all(kind);
                break;
            }
            let Some(mut write) = end.output.writes.pop_front() else {
                if end.output.fin == Fin::Asked {
                    self.send_fin(id);
                }
                break;
            };
            let left = write.bytes.len() - write.taken;
            let room = self.room(id);
            let taken = self.some_of(left.min(room));
            self.transmit(id, &write.bytes[write.taken..write.taken + taken]);
            write.taken += taken;
            let Some(end) = self.ends.get_mut(id) else {
                return;
            };
            if taken == left {
                end.output.done.push_back((write, Ok(())));
                continue;
            }
            end.output.writes.push_front(write);
            // Without room, the other end's reading is what makes it go on.
            if room > taken {
                self.pump_later(id);
            }
            break;
        }
        self.notify(id);
    }

    pub fn send_fin(&mut self, id: EndId) {
        let Some(end) = self.ends.get_mut(id) else {
            return;
        };
        end.output.fin = Fin::Sent;
        end.output.shut = Some(Ok(()));
        if let Some(other) = end.other {
            self.send_piece(id, other, 0, true);
        }
    }

    /// Closes an end: with a reset if asked to or if input is unread, else with FIN. Queued writes are gone.
    pub fn close_end(&mut self, id: EndId, with_reset: bool) {
        if let Some(end) = self.ends.get_mut(id).filter(|end| end.is_stdin) {
            (end.owner, end.reading) = (Owner::Nobody, false);
            return;
        }
        let Some(end) = self.ends.remove(id) else {
            return;
        };
        let Some(other) = end.other.filter(|_| !end.input.reset) else {
            return;
        };
        if with_reset || end.input.arrived > 0 {
            self.send_reset(other);
        } else if end.output.fin != Fin::Sent {
            self.send_piece(id, other, 0, true);
        }
    }

    /// Tells the owner that there may be news.
    #[inline]
    pub fn notify(&mut self, id: EndId) {
        match self.ends.get(id).map(|end| end.owner) {
            Some(Owner::Handle(owner, handle)) => self.mark(owner, handle),
            Some(Owner::Peer(peer)) => self.peer_progress(peer),
            Some(Owner::Waiting(_) | Owner::Nobody) | None => {}
        }
    }

    pub fn who(&self, id: EndId) -> Who {
        match self.ends.get(id).map(|end| end.owner) {
            Some(Owner::Handle(owner, handle)) => Who::Handle(owner, handle),
            Some(Owner::Peer(peer)) => Who::Peer(peer),
            _ => Who::World,
        }
    }
}
