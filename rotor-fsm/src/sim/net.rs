//! What an owner does with its end of a connection, and hears of it: reading, writing, half-closing.
//!
//! As with real sockets: writing takes what there is room for; data that arrived before a reset is read before it; a
//! reset is reported once, by whichever of read and write comes first, and afterwards reading answers the end and
//! writing a broken pipe.

use super::end::{End, Fin, State, Write};
use super::loops::Occurrence;
use super::world::{EndId, World};
use crate::driver::IoResult;
use uv_sys_wrap::{Error as IoError, Kind, Op, Pool, ReadBuf};

/// What an owner does with its end.
impl World {
    pub fn capacity(&mut self) -> usize {
        let (low, high) = self.config.buffer_bytes;
        self.rng.between((low.max(1) as u64, high.max(1) as u64)) as usize
    }

    /// Writes what there is room for, or a part of it; 0 behind queued writes.
    pub fn try_write(&mut self, id: EndId, bytes: &[u8]) -> IoResult<usize> {
        let end = self.writable(id, Op::Write)?;
        if end.state == State::Connecting || !end.output.writes.is_empty() {
            return Ok(0);
        }
        if end.input.reset {
            let kind = end.input.error.take().unwrap_or(Kind::BrokenPipe);
            return Err(IoError::new(Op::Write, kind));
        }
        let taken = self.some_of(bytes.len().min(self.room(id)));
        self.transmit(id, &bytes[..taken]);
        Ok(taken)
    }

    /// Queues `bytes[start..]`.
    pub fn write(
        &mut self,
        id: EndId,
        bytes: Vec<u8>,
        start: usize,
    ) -> Result<(), (IoError, Vec<u8>)> {
        if start >= bytes.len() {
            return Err((IoError::new(Op::Write, Kind::Invalid), bytes));
        }
        match self.writable(id, Op::Write) {
            Ok(end) => end.output.writes.push_back(Write {
                bytes,
                start,
                taken: start,
            }),
            Err(error) => return Err((error, bytes)),
        }
        self.pump_later(id);
        Ok(())
    }

    /// FIN after what is queued.
    pub fn shutdown(&mut self, id: EndId) -> IoResult<()> {
        let end = self.writable(id, Op::Shutdown)?;
        if end.state != State::Open {
            return Err(IoError::new(Op::Shutdown, Kind::NotConnected));
        }
        end.output.fin = Fin::Asked;
        self.pump_later(id);
        Ok(())
    }

    /// The same for an owner that need not wait until it is connected. Does nothing a second time.
    pub fn finish(&mut self, id: EndId) {
        if let Some(end) = self.ends.get_mut(id)
            && end.output.fin == Fin::Open
        {
            end.output.fin = Fin::Asked;
            self.pump_later(id);
        }
    }

    fn writable(&mut self, id: EndId, op: Op) -> IoResult<&mut End> {
        let end = self
            .ends
            .get_mut(id)
            .ok_or(IoError::new(op, Kind::Closed))?;
        match (end.state, end.output.fin) {
            (State::Failed, _) => Err(IoError::new(op, Kind::NotConnected)),
            (_, Fin::Asked | Fin::Sent) => Err(IoError::new(op, Kind::ShutDown)),
            _ if end.is_stdin => Err(IoError::new(op, Kind::BrokenPipe)),
            _ => Ok(end),
        }
    }

    /// Copies the next bytes into the pool, as a read does.
    pub fn read<'p>(&mut self, id: EndId, n: usize, pool: &'p Pool) -> ReadBuf<'p> {
        let bytes = self
            .ends
            .get(id)
            .map_or(&[][..], |end| end.input.bytes.front(n));
        let read = pool.fill(bytes);
        self.consume(id, read.len());
        let (who, digest) = (self.who(id), super::trace::digest(0, &read));
        self.record(who, "read", read.len() as u64, digest);
        read
    }

    /// Takes all that has arrived.
    pub fn drain_into(&mut self, id: EndId, to: &mut Vec<u8>) -> usize {
        let Some(end) = self.ends.get(id) else {
            return 0;
        };
        let n = end.input.arrived;
        to.extend_from_slice(end.input.bytes.front(n));
        self.consume(id, n);
        n
    }

    fn consume(&mut self, id: EndId, n: usize) {
        let Some(end) = self.ends.get_mut(id) else {
            return;
        };
        end.input.bytes.consume(n);
        end.input.arrived -= n;
        if let Some(other) = end.other
            && self
                .ends
                .get(other)
                .is_some_and(|other| !other.output.writes.is_empty())
        {
            self.pump_later(other);
        }
    }

    /// One thing that a stream has to tell; the input's side or the output's, if both have something.
    pub fn next_of_stream(&mut self, id: EndId) -> Option<Occurrence> {
        let end = self.ends.get_mut(id)?;
        match end.connect.take() {
            Some(Ok(())) => return Some(Occurrence::Connected),
            Some(Err(kind)) => return Some(Occurrence::Failed(IoError::new(Op::Connect, kind))),
            None => {}
        }
        let (input, output) = (end.reading && end.input.has_news(), end.output.has_news());
        if output && (!input || self.rng.below(2) == 0) {
            let output = &mut self.ends.get_mut(id)?.output;
            return match output.done.pop_front() {
                Some((Write { bytes, start, .. }, result)) => Some(Occurrence::Written {
                    bytes,
                    start,
                    result,
                }),
                None => output.shut.take().map(Occurrence::ShutDown),
            };
        }
        if input { self.next_input(id) } else { None }
    }

    fn next_input(&mut self, id: EndId) -> Option<Occurrence> {
        let arrived = self.ends.get(id)?.input.arrived;
        if arrived > 0 {
            let short = self.rng.percent(self.config.short_read_percent);
            let n = if short {
                self.rng.one_to(arrived)
            } else {
                arrived
            };
            return Some(Occurrence::Readable(id, n));
        }
        let end = self.ends.get_mut(id)?;
        end.reading = false;
        match end.input.error {
            Some(kind) if !end.input.fin => {
                end.input.error = None;
                Some(Occurrence::Failed(IoError::new(Op::Read, kind)))
            }
            _ => Some(Occurrence::Eof),
        }
    }
}
