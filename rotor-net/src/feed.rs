//! Input of a stream: what was kept and what has just arrived, as one sequence of bytes, cut into frames.
//!
//! An idle connection keeps nothing. A frame that lies within one read is presented where the read put it; only a
//! frame that is not complete yet is copied, into a recycled buffer, and of the next read only what completes it.
//! The search for a delimiter goes on where it stopped (L3), so its work is linear in what arrives.
//!
//! Invariant: the first `scanned` bytes of the sequence contain no end of a frame of the current `Want`.

use crate::until::{Kind, Want};
use memchr::memchr;

/// What a stream keeps between reads. Boxed and recycled, so that an idle stream spends one pointer on it.
#[derive(Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    start: usize,
    scanned: usize,
}

impl Held {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Appends, after moving what is left to the front if that costs no more than was consumed.
    fn append(&mut self, bytes: &[u8]) {
        if self.start >= self.bytes.len() - self.start {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What its buffer could hold.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Empty, for its next user.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.scanned = 0;
    }
}

/// Where spare buffers come from and go to.
pub(crate) trait Spares {
    fn take(&self) -> Box<Held>;
    fn put_back(&self, held: Box<Held>);
}

/// The bytes of one dispatch: first what was kept, then what has just arrived.
pub(crate) struct Feed<'a> {
    held: Option<Box<Held>>,
    fresh: &'a [u8],
    scanned: usize,
    #[cfg(test)]
    pub work: usize,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame.
    Frame(Frame),
    /// Not enough yet.
    Partial,
    /// It can only become longer than this.
    TooLong(u32),
}

/// A frame at the front of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes for the protocol.
    pub data: usize,
    /// The same with the delimiter.
    pub whole: usize,
}

impl<'a> Feed<'a> {
    #[inline]
    pub fn new(held: Option<Box<Held>>, fresh: &'a [u8]) -> Self {
        let scanned = held.as_ref().map_or(0, |held| held.scanned);
        Self {
            held,
            fresh,
            scanned,
            #[cfg(test)]
            work: 0,
        }
    }

    /// Bytes not consumed.
    #[inline]
    pub fn len(&self) -> usize {
        self.fresh.len() + self.held.as_ref().map_or(0, |held| held.rest().len())
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.held.is_none()
    }

    /// The frame at the front. `bytes_max` limits every kind of frame.
    #[inline]
    pub fn find(&mut self, want: &Want, bytes_max: usize) -> Found {
        match want.kind {
            Kind::Any => match self.len() {
                0 => Found::Partial,
                all => Found::Frame(Frame {
                    data: all,
                    whole: all,
                }),
            },
            Kind::Bytes => self.find_bytes(want.count as usize, bytes_max),
            Kind::Delimiter | Kind::Line => self.find_delimited(want, bytes_max),
        }
    }

    fn find_bytes(&self, count: usize, bytes_max: usize) -> Found {
        if count > bytes_max {
            Found::TooLong(bytes_max as u32)
        } else if count <= self.len() {
            Found::Frame(Frame {
                data: count,
                whole: count,
            })
        } else {
            Found::Partial
        }
    }

    fn find_delimited(&mut self, want: &Want, bytes_max: usize) -> Found {
        let max = bytes_max.min(want.count as usize);
        let is_line = want.kind == Kind::Line;
        // A line of `max` bytes may end in two more.
        let window = max + want.delimiter.len() + is_line as usize;
        let Some(whole) = self.find_end(want.delimiter, window) else {
            return if self.len() >= window {
                Found::TooLong(max as u32)
            } else {
                Found::Partial
            };
        };
        let mut data = whole - want.delimiter.len();
        if is_line && data > 0 && self.byte(data - 1) == b'\r' {
            data -= 1;
        }
        if data > max {
            return Found::TooLong(max as u32);
        }
        Found::Frame(Frame { data, whole })
    }

    /// Where the delimiter ends, if it does within the first `window` bytes. Looks at each byte once, however often
    /// it is called: it seeks the delimiter's last byte, and looks back where that is found.
    pub fn find_end(&mut self, delimiter: &[u8], window: usize) -> Option<usize> {
        let last = *delimiter.last()?;
        let kept = self.held.as_ref().map_or(0, |held| held.rest().len());
        let window = window.min(kept + self.fresh.len());
        while self.scanned < window {
            let from = self.scanned;
            let piece = match &self.held {
                Some(held) if from < kept => &held.rest()[from..window.min(kept)],
                _ => &self.fresh[from - kept..window - kept],
            };
            let at = memchr(last, piece);
            self.scanned = from + at.map_or(piece.len(), |at| at + 1);
            #[cfg(test)]
            {
                self.work += self.scanned - from;
            }
            if at.is_some() && self.ends_with(self.scanned, delimiter) {
                return Some(self.scanned);
            }
        }
        None
    }

    /// Whether the delimiter ends at `end`.
    fn ends_with(&self, end: usize, delimiter: &[u8]) -> bool {
        let Some(start) = end.checked_sub(delimiter.len()) else {
            return false;
        };
        delimiter
            .iter()
            .enumerate()
            .all(|(i, &byte)| self.byte(start + i) == byte)
    }

    /// One byte of the sequence; the caller knows that it is there.
    fn byte(&self, at: usize) -> u8 {
        let kept = self.held.as_ref().map_or(&[][..], |held| held.rest());
        match kept.get(at) {
            Some(&byte) => byte,
            None => self.fresh[at - kept.len()],
        }
    }

    /// The first `count` bytes as one slice. Copies only what completes a frame that was begun before.
    #[inline]
    pub fn front(&mut self, count: usize) -> &[u8] {
        match &mut self.held {
            None => &self.fresh[..count],
            Some(held) => {
                let missing = count.saturating_sub(held.rest().len());
                if missing > 0 {
                    let (now, later) = self.fresh.split_at(missing);
                    held.append(now);
                    self.fresh = later;
                }
                &held.rest()[..count]
            }
        }
    }

    /// Drops bytes off the front: as many as `front` was last asked for, or fewer.
    #[inline]
    pub fn consume(&mut self, count: usize, spares: &impl Spares) {
        self.scanned = self.scanned.saturating_sub(count);
        match &mut self.held {
            None => self.fresh = &self.fresh[count..],
            Some(held) => {
                held.start += count;
                if held.rest().is_empty() {
                    self.drop_held(spares);
                }
            }
        }
    }

    /// What is searched for has changed, or bytes are to be looked at again.
    #[inline]
    pub fn rescan(&mut self) {
        self.scanned = 0;
    }

    /// Forgets everything.
    pub fn clear(&mut self, spares: &impl Spares) {
        self.fresh = &[];
        self.scanned = 0;
        self.drop_held(spares);
    }

    fn drop_held(&mut self, spares: &impl Spares) {
        if let Some(held) = self.held.take() {
            spares.put_back(held);
        }
    }

    /// What was kept, and how much of what has just arrived is left behind it: that stays where it is unless it was
    /// searched in vain, which is remembered only of what is kept.
    #[cfg(feature = "fiber")]
    pub fn into_parts(mut self, spares: &impl Spares) -> (Option<Box<Held>>, usize) {
        let kept = self.held.as_ref().map_or(0, |held| held.rest().len());
        if self.scanned > kept {
            return (self.into_held(spares), 0);
        }
        if let Some(held) = &mut self.held {
            held.scanned = self.scanned;
        }
        (self.held, self.fresh.len())
    }

    /// What is to be kept for the next dispatch: nothing, if nothing is left.
    #[inline]
    pub fn into_held(mut self, spares: &impl Spares) -> Option<Box<Held>> {
        if !self.fresh.is_empty() {
            let held = self.held.get_or_insert_with(|| spares.take());
            held.append(self.fresh);
        }
        if let Some(held) = &mut self.held {
            held.scanned = self.scanned;
        }
        self.held
    }
}

#[cfg(test)]
mod tests;
