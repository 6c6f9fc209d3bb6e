//! Output leaves: at the end of a dispatch each stream with new output gets one write, and what the kernel does not take
//! becomes one queued write (rule R16).

use super::{Effects, Owed};
use crate::error::{IoError, IoErrorKind};
use crate::output::{DIRTY, ENDED, ENDING, FAILED, WATCHED};
use uv_sys_wrap::{HandleId, Op};

impl Effects {
    /// Bytes accepted and not yet given to the kernel. Who sees some is owed a `Flushed`.
    pub fn queued(&mut self, id: HandleId) -> usize {
        let queued = self.outputs.queued(id);
        if queued > 0 {
            self.outputs.care(id, WATCHED);
        }
        queued
    }

    /// No more output after what is queued, then FIN.
    pub fn shutdown_write(&mut self, id: HandleId) -> Result<(), IoError> {
        let Some(record) = self.outputs.record(id) else {
            return Err(IoError::new(Op::Shutdown, IoErrorKind::Closed));
        };
        if !record.has(ENDING | FAILED) {
            self.outputs.care(id, ENDING);
            self.outputs.mark(id);
        }
        Ok(())
    }

    /// Applies the effects of a dispatch.
    #[inline(always)]
    pub fn end_dispatch(&mut self) {
        if let Some(id) = self.outputs.direct() {
            self.flush_direct(id);
        }
        if !self.outputs.dirty.is_empty() {
            self.flush();
        }
        if !self.closes.is_empty() {
            self.apply_closes();
        }
    }

    /// Writes the shared buffer's content to the stream that it is for.
    #[inline(always)]
    fn flush_direct(&mut self, id: HandleId) {
        let output = self.outputs.shared();
        match self.driver.try_write(id, output) {
            Ok(written) if written == output.len() => {}
            Ok(written) => self.flushed_in_part(id, written),
            Err(error) => self.output_failed(id, error, Vec::new()),
        }
        if self.outputs.take_direct() {
            self.flushed_with_care(id);
        }
    }

    /// The rest of the shared buffer becomes a queued write.
    #[cold]
    #[inline(never)]
    fn flushed_in_part(&mut self, id: HandleId, written: usize) {
        let rest = self.outputs.rest_of_shared(written);
        self.queue(id, rest, 0);
    }

    /// Writes what further streams gathered.
    #[inline(never)]
    fn flush(&mut self) {
        while let Some(id) = self.outputs.dirty.pop() {
            self.flush_one(id);
        }
    }

    /// Writes what one stream gathered: at once as far as it goes, the rest as one queued write.
    fn flush_one(&mut self, id: HandleId) {
        let Some(record) = self.outputs.record(id) else {
            return;
        };
        record.set(DIRTY, false);
        if record.is_in_flight() || record.has(FAILED) {
            return;
        }
        let buffer = std::mem::take(&mut record.buffer);
        // Nothing to write if it is only the end of output that was asked for; after that even no bytes are refused.
        if !buffer.is_empty() {
            match self.driver.try_write(id, &buffer) {
                Ok(written) if written == buffer.len() => self.outputs.recycle(buffer),
                Ok(written) => self.queue(id, buffer, written),
                Err(error) => return self.output_failed(id, error, buffer),
            }
        }
        self.flushed_with_care(id);
    }

    /// Somebody waits for the queue to be empty, or for the end of output.
    #[cold]
    fn flushed_with_care(&mut self, id: HandleId) {
        let Some(record) = self.outputs.record(id) else {
            return;
        };
        let ends = record.has(ENDING) && !record.has(ENDED);
        if record.has(WATCHED) && record.queued() == 0 {
            self.owe_flushed(id);
        }
        if ends {
            self.end_output(id);
        }
    }

    #[cold]
    fn queue(&mut self, id: HandleId, buffer: Vec<u8>, start: usize) {
        let rest = buffer.len() - start;
        match self.driver.write(id, buffer, start) {
            Ok(()) => {
                if let Some(record) = self.outputs.record(id) {
                    record.set_in_flight(rest);
                }
            }
            Err((error, buffer)) => self.output_failed(id, error, buffer),
        }
    }

    /// Asks for FIN, which the driver sends after what is queued there. While the stream still connects this must
    /// wait: `connected` comes back to it.
    fn end_output(&mut self, id: HandleId) {
        let Some(record) = self.outputs.record(id) else {
            return;
        };
        if record.has(FAILED) {
            return;
        }
        match self.driver.shutdown(id) {
            Ok(()) => record.set(ENDED, true),
            Err(error) if error.kind() == IoErrorKind::NotConnected => {}
            Err(error) => self.output_failed(id, error, Vec::new()),
        }
    }

    /// The stream is connected: reading begins, and an end that was wished for can take its course.
    pub fn connected(&mut self, id: HandleId) {
        if let Err(error) = self.driver.set_reading(id, true) {
            self.owed.push_back((id, Owed::Failed(error)));
        }
        if self
            .outputs
            .record(id)
            .is_some_and(|record| record.has(ENDING))
        {
            self.outputs.mark(id);
        }
    }

    fn owe_flushed(&mut self, id: HandleId) {
        if let Some(record) = self.outputs.record(id) {
            record.set(WATCHED, false);
            self.owed.push_back((id, Owed::Flushed));
        }
    }

    #[cold]
    fn output_failed(&mut self, id: HandleId, error: IoError, buffer: Vec<u8>) {
        self.outputs.recycle(buffer);
        if let Some(record) = self.outputs.record(id)
            && !record.has(FAILED)
        {
            record.set(FAILED, true);
            self.owed.push_back((id, Owed::Failed(error)));
        }
    }

    /// A queued write has ended. True if the machine shall hear `Flushed`; a failure is owed to it.
    pub fn written(
        &mut self,
        id: HandleId,
        result: Result<(), IoError>,
        buffers: impl Iterator<Item = Vec<u8>>,
    ) -> bool {
        for buffer in buffers {
            self.outputs.recycle(buffer);
        }
        let Some(record) = self.outputs.record(id) else {
            return false;
        };
        record.set_in_flight(0);
        if let Err(error) = result {
            let rest = std::mem::take(&mut record.buffer);
            self.output_failed(id, error, rest);
            return false;
        }
        record.set(WATCHED, false);
        if !record.buffer.is_empty() || (record.has(ENDING) && !record.has(ENDED)) {
            self.outputs.mark(id);
        }
        true
    }
}
