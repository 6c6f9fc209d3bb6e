//! Output of streams: what handlers wrote gathers here and leaves at the end of the dispatch (rule R16).
//!
//! One record per handle index, reached without hashing. A record owns a buffer only while something is in it;
//! buffers are recycled, so that an idle connection holds none and a busy one allocates none. At most one queued
//! write is in flight per stream; what gathers meanwhile is the next (L2).
//!
//! Invariant: `dirty` lists exactly the records whose `DIRTY` flag is set.

use crate::error::IoError;
use uv_sys_wrap::{HandleId, Kind, Op};

pub(crate) struct Outputs {
    records: Vec<Record>,
    pub dirty: Vec<HandleId>,
    spare: Vec<Vec<u8>>,
    bytes_max: usize,
}

/// The output side of one stream.
pub(crate) struct Record {
    /// `CLOSED` while no stream has this index.
    generation: u32,
    flags: u8,
    in_flight: u32,
    pub buffer: Vec<u8>,
}

/// No handle ever has this generation.
const CLOSED: u32 = u32::MAX;

impl Default for Record {
    fn default() -> Self {
        Self {
            generation: CLOSED,
            flags: 0,
            in_flight: 0,
            buffer: Vec::new(),
        }
    }
}

/// New output, or a wish to shut down, waits for the end of the dispatch.
pub(crate) const DIRTY: u8 = 2;
/// Somebody looked at a non-empty queue and must hear when it is empty.
pub(crate) const WATCHED: u8 = 4;
/// No more output is taken; FIN follows what is queued.
pub(crate) const ENDING: u8 = 8;
/// FIN was asked of the driver.
pub(crate) const ENDED: u8 = 16;
/// A write failed: output is over.
pub(crate) const FAILED: u8 = 32;

/// Buffers kept for the next writers, and how large one may have grown to be kept.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 64 << 10;

impl Outputs {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            records: Vec::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            bytes_max,
        }
    }

    /// A stream was opened under this id.
    pub fn open(&mut self, id: HandleId) {
        let index = id.index() as usize;
        if self.records.len() <= index {
            self.records.resize_with(index + 1, Record::default);
        }
        let old = std::mem::replace(
            &mut self.records[index],
            Record {
                generation: id.generation(),
                ..Record::default()
            },
        );
        self.recycle(old.buffer);
    }

    /// The stream is closed: what it had is discarded. Answers whether it was open.
    pub fn close(&mut self, id: HandleId) -> bool {
        let Some(record) = self.record(id) else {
            return false;
        };
        let old = std::mem::take(record);
        self.recycle(old.buffer);
        true
    }

    /// The record of an open stream.
    #[inline]
    pub fn record(&mut self, id: HandleId) -> Option<&mut Record> {
        self.records
            .get_mut(id.index() as usize)
            .filter(|record| record.generation == id.generation())
    }

    /// Takes all of `bytes`, or none.
    #[inline]
    pub fn push(&mut self, id: HandleId, bytes: &[u8]) -> Result<(), IoError> {
        let record = match self.records.get_mut(id.index() as usize) {
            Some(record) if record.generation == id.generation() => record,
            _ => return Err(refused(Kind::Closed)),
        };
        if record.flags & (ENDING | FAILED) != 0 || bytes.len() > self.bytes_max - record.queued() {
            return Err(record.refusal());
        }
        if record.buffer.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            record.buffer = spare;
        }
        record.buffer.extend_from_slice(bytes);
        if record.flags & DIRTY == 0 {
            record.flags |= DIRTY;
            self.dirty.push(id);
        }
        Ok(())
    }

    /// Puts the stream on the list of those to be flushed.
    #[inline]
    pub fn mark(&mut self, id: HandleId) {
        if let Some(record) = self.record(id)
            && record.flags & DIRTY == 0
        {
            record.flags |= DIRTY;
            self.dirty.push(id);
        }
    }

    /// Takes a buffer back.
    #[inline]
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity > 0 && capacity <= SPARE_BYTES_MAX && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl Record {
    /// Why `push` takes nothing.
    #[cold]
    fn refusal(&self) -> IoError {
        refused(if self.has(FAILED) {
            Kind::Closed
        } else if self.has(ENDING) {
            Kind::ShutDown
        } else {
            Kind::Limit
        })
    }

    /// Bytes accepted but not yet handed to the kernel.
    #[inline]
    pub fn queued(&self) -> usize {
        self.in_flight as usize + self.buffer.len()
    }

    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    pub fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    pub fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Takes note of a queued write of so many bytes; 0 when it has ended.
    pub fn set_in_flight(&mut self, bytes: usize) {
        self.in_flight = u32::try_from(bytes).unwrap_or(u32::MAX);
    }
}

fn refused(kind: Kind) -> IoError {
    IoError::new(Op::Write, kind)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_small_and_idle_ones_hold_no_buffer() {
        assert!(size_of::<Record>() <= 40);
        let id = HandleId::new(3, 1);
        let mut outputs = Outputs::new(10);
        assert_eq!(outputs.push(id, b"x").unwrap_err().kind(), Kind::Closed);
        outputs.open(id);
        outputs.push(id, b"12345").unwrap();
        assert_eq!(outputs.push(id, b"678901").unwrap_err().kind(), Kind::Limit);
        outputs.push(id, b"67890").unwrap();
        assert_eq!(outputs.dirty, [id]);
        assert_eq!(outputs.record(id).unwrap().queued(), 10);
        assert!(outputs.close(id) && !outputs.close(id));
        outputs.open(HandleId::new(3, 2));
        assert!(
            outputs.record(id).is_none(),
            "the old id does not reach the new stream"
        );
        assert_eq!(outputs.spare.len(), 1);
    }
}
