//! Output of streams: what handlers wrote gathers here and leaves at the end of the dispatch (rule R16).
//!
//! Most dispatches write to one stream. Its output gathers in a buffer that all streams share (`direct`), and leaves
//! from there. Output of further streams, and of a stream that still has some in flight, gathers in a buffer of its
//! own. Buffers are recycled, so that an idle connection holds none and a busy one allocates none. At most one queued
//! write is in flight per stream; what gathers meanwhile is the next (L2).
//!
//! Invariants: `dirty` lists exactly the records whose `DIRTY` flag is set; while a stream is `direct`, its own buffer is
//! empty and nothing of it is in flight.

use crate::error::IoError;
use uv_sys_wrap::{HandleId, Kind, Op};

pub(crate) struct Outputs {
    /// Whose output is in `shared`.
    direct: Option<HandleId>,
    /// Somebody waits for that stream's queue to be empty, or for the end of its output.
    direct_needs_care: bool,
    shared: Box<[u8]>,
    shared_len: usize,
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

/// A queued write is on its way.
const IN_FLIGHT: u8 = 1;
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
/// Room for the output of one dispatch to one stream; more goes to the stream's own buffer.
const SHARED_BYTES: usize = 64 << 10;

impl Outputs {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            direct: None,
            direct_needs_care: false,
            shared: vec![0; SHARED_BYTES].into_boxed_slice(),
            shared_len: 0,
            records: Vec::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            bytes_max,
        }
    }

    /// Sets memory aside for the records of this many streams.
    pub fn reserve(&mut self, streams: usize) {
        self.records.reserve(streams);
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
        if self.direct == Some(id) {
            self.take_direct();
        }
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
        self.push_within(id, bytes, self.bytes_max)
    }

    /// The same with a lower limit, the caller's own.
    #[inline(always)]
    pub fn push_within(
        &mut self,
        id: HandleId,
        bytes: &[u8],
        bytes_max: usize,
    ) -> Result<(), IoError> {
        let bytes_max = bytes_max.min(self.bytes_max);
        let record = match self.records.get_mut(id.index() as usize) {
            Some(record) if record.generation == id.generation() => record,
            _ => return Err(refused(Kind::Closed)),
        };
        // Without a flag nothing is in flight and nothing waits.
        let begins = record.flags == 0 && self.direct.is_none();
        if begins || (self.direct == Some(id) && record.flags & !WATCHED == 0) {
            let end = self.shared_len + bytes.len();
            if end <= bytes_max
                && let Some(room) = self.shared.get_mut(self.shared_len..end)
            {
                room.copy_from_slice(bytes);
                self.shared_len = end;
                self.direct = Some(id);
                return Ok(());
            }
        }
        self.push_apart(id, bytes, bytes_max)
    }

    /// Into the stream's own buffer, behind what the shared one may have of it.
    #[inline(never)]
    fn push_apart(&mut self, id: HandleId, bytes: &[u8], bytes_max: usize) -> Result<(), IoError> {
        let queued = self.queued(id);
        let Some(record) = self.record(id) else {
            return Err(refused(Kind::Closed));
        };
        if record.has(ENDING | FAILED) || bytes.len() > bytes_max.saturating_sub(queued) {
            return Err(record.refusal());
        }
        self.move_direct_apart(id);
        self.append(id, bytes);
        self.mark(id);
        Ok(())
    }

    /// What the shared buffer has of this stream goes into its own.
    fn move_direct_apart(&mut self, id: HandleId) {
        if self.direct == Some(id) {
            let (len, shared) = (self.shared_len, std::mem::take(&mut self.shared));
            self.append(id, &shared[..len]);
            self.shared = shared;
            self.take_direct();
        }
    }

    /// Appends to the stream's own buffer, a recycled one if it has none.
    fn append(&mut self, id: HandleId, bytes: &[u8]) {
        let spare = match self.record(id) {
            Some(record) if record.buffer.capacity() == 0 => self.spare.pop(),
            _ => None,
        };
        if let Some(record) = self.record(id) {
            if let Some(spare) = spare {
                record.buffer = spare;
            }
            record.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes accepted but not yet handed to the kernel.
    pub fn queued(&mut self, id: HandleId) -> usize {
        let shared = if self.direct == Some(id) {
            self.shared_len
        } else {
            0
        };
        self.record(id).map_or(0, |record| record.queued() + shared)
    }

    /// Sets flags that need to be looked at when the stream's output has left.
    pub fn care(&mut self, id: HandleId, flag: u8) {
        self.direct_needs_care |= self.direct == Some(id);
        if let Some(record) = self.record(id) {
            record.set(flag, true);
        }
    }

    /// The stream whose output is in the shared buffer.
    #[inline(always)]
    pub fn direct(&self) -> Option<HandleId> {
        self.direct
    }

    /// What is in the shared buffer.
    #[inline(always)]
    pub fn shared(&self) -> &[u8] {
        &self.shared[..self.shared_len]
    }

    /// The shared buffer is empty again, nobody's. Says whether the stream needs to be looked at.
    #[inline(always)]
    pub fn take_direct(&mut self) -> bool {
        self.direct = None;
        self.shared_len = 0;
        self.direct_needs_care && std::mem::take(&mut self.direct_needs_care)
    }

    /// The rest of the shared buffer, in one that can be queued.
    pub fn rest_of_shared(&mut self, written: usize) -> Vec<u8> {
        let mut rest = self.spare.pop().unwrap_or_default();
        rest.extend_from_slice(self.shared().get(written..).unwrap_or(&[]));
        rest
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

    /// Bytes in flight and in the stream's own buffer.
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
        self.set(IN_FLIGHT, bytes > 0);
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
        assert_eq!((outputs.direct(), outputs.queued(id)), (Some(id), 10));
        assert_eq!(outputs.record(id).unwrap().buffer.capacity(), 0);
        assert!(outputs.close(id) && !outputs.close(id));
        outputs.open(HandleId::new(3, 2));
        assert!(
            outputs.record(id).is_none(),
            "the old id does not reach the new stream"
        );
    }

    #[test]
    fn the_second_stream_of_a_dispatch_gathers_apart() {
        let (a, b) = (HandleId::new(0, 0), HandleId::new(1, 0));
        let mut outputs = Outputs::new(10);
        outputs.open(a);
        outputs.open(b);
        for id in [a, b, a, b] {
            outputs.push(id, b"123").unwrap();
        }
        assert_eq!((outputs.direct, &outputs.dirty[..]), (Some(a), &[b][..]));
        assert_eq!((outputs.queued(a), outputs.queued(b)), (6, 6));
        assert_eq!(outputs.push(b, b"12345").unwrap_err().kind(), Kind::Limit);
    }

    #[test]
    fn more_than_the_shared_buffer_holds_goes_apart_in_order() {
        let id = HandleId::new(0, 0);
        let mut outputs = Outputs::new(1 << 20);
        outputs.open(id);
        outputs.push(id, b"first").unwrap();
        outputs.push(id, &vec![b'x'; SHARED_BYTES]).unwrap();
        assert_eq!((outputs.direct(), &outputs.dirty[..]), (None, &[id][..]));
        let buffer = &outputs.record(id).unwrap().buffer;
        assert!(buffer.starts_with(b"firstx") && buffer.len() == SHARED_BYTES + 5);
    }
}
