//! What replies and streams do with the session of their call, on any thread.

use super::super::super::error::CallError;
use super::super::super::frame::{CallId, HEADER_BYTES, Header, Kind};
use super::super::super::items::with_scratch;
use super::super::super::line::Line;
use super::super::at_hand;
use super::{Rouse, Shared, check_length};

impl<W: Rouse> Shared<W> {
    /// The longest body that can be sent: one that fits though as much waits as calls are read with.
    #[inline]
    pub fn body_bytes_max(&self) -> usize {
        let queue = (self.bounds.queued_bytes_max / 2).saturating_sub(HEADER_BYTES);
        self.bounds.client_frame_bytes_max.min(queue)
    }

    /// Whether the call is in flight.
    pub fn is_live(&self, id: CallId) -> bool {
        if at_hand::holds(self.key(), id) {
            return true;
        }
        let state = self.lock();
        state.calls.is_live(id) || self.phase.may_be_at_hand(id)
    }

    /// Answers the call, unless it is over: `encode` appends the reply. If that fails, or the reply is longer than can be
    /// sent, the call does.
    #[inline]
    pub fn reply(&self, id: CallId, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CallError>) {
        let header = Header::new(Kind::Reply, id);
        let bytes_max = self.body_bytes_max();
        let answered = match at_hand::draft(self.key(), id) {
            Some(draft) => draft.write(header, bytes_max, encode),
            None => self.put_reply(header, bytes_max, encode),
        };
        if let Err(error) = answered {
            self.fail(id, &error);
        }
    }

    /// Of a call that is not at hand.
    #[inline(never)]
    fn put_reply(
        &self,
        header: Header,
        bytes_max: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        with_scratch(|body| {
            encode(body)?;
            check_length(body.len(), bytes_max)?;
            self.put(header, body);
            Ok(())
        })
    }

    /// The call fails, unless it is over.
    #[cold]
    pub fn fail(&self, id: CallId, error: &CallError) {
        let (code, words) = error.to_wire();
        let bytes_max = self.body_bytes_max();
        let words = words[..words.floor_char_boundary(bytes_max)].as_bytes();
        let header = Header::new(Kind::Fail, id).with_number(code as u16);
        match at_hand::draft(self.key(), id) {
            Some(draft) => {
                let _ = draft.write(header, bytes_max, |body| {
                    body.extend_from_slice(words);
                    Ok(())
                });
            }
            None => {
                self.put(header, words);
            }
        }
    }

    /// Appends a frame of a call, which ends it if it is of such a kind. False if the call is over.
    pub(in super::super) fn put(&self, header: Header, body: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.calls.is_live(header.id) {
            return self.phase.may_be_at_hand(header.id) && state.put_early(header, body);
        }
        let is_taken = state.append(header, body, &self.bounds);
        let flows = match header.kind {
            Kind::Reply | Kind::Fail | Kind::End => state.calls.end(header.id),
            _ => None,
        };
        let is_busy = self.phase.is_busy();
        drop(state);
        if !is_busy && let Some(waker) = self.waker.get() {
            waker.rouse();
        }
        if let Some(flows) = flows {
            flows.close(|| CallError::Cancelled);
        }
        is_taken
    }
}

impl<W: Rouse> Line for Shared<W> {
    fn push(&self, header: Header, body: &[u8]) -> bool {
        self.put(header, body)
    }

    fn is_full(&self) -> bool {
        let mut state = self.lock();
        let is_full = state.waiting_bytes() > self.bounds.high_bytes;
        state.is_starved |= is_full;
        is_full
    }
}
