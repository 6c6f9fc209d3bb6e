//! `Arrived`: a call that has come, on its way to its handler. From it come the halves that the handler gets.

use super::super::call::{Method, Older, Wire};
use super::super::codec::{self, CodecError, Limits};
use super::super::error::CallError;
use super::super::frame::CallId;
use super::super::items::{Inflow, ItemReceiver, ItemSender, Outflow, Side};
use super::super::reply::{Claim, Reply};
use super::calls::Flows;
use super::shared::Shared;
use rotor_fsm::Time;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// A call that has arrived: its request, and what answers it.
///
/// Take a [`reply`](Self::reply) or a [`sender`](Self::sender), as the call's kind says: a call of which neither was
/// taken fails with [`CallError::Unanswered`]. If both were, the first answer counts.
pub struct Arrived<'a> {
    pub(super) rank: u16,
    pub(super) request: &'a [u8],
    pub(super) shared: &'a Arc<Shared>,
    pub(super) id: CallId,
    pub(super) deadline: Time,
    pub(super) flows: &'a Flows,
    /// Something that answers the call was given away.
    pub(super) is_taken: &'a Cell<bool>,
}

impl Arrived<'_> {
    /// The position on the menu of what is called: versions of all calls, one after the other, as in
    /// [`Serve::info`](super::super::Serve::info). It exists.
    #[inline]
    pub fn rank(&self) -> u16 {
        self.rank
    }

    /// The request.
    ///
    /// # Errors
    /// [`CallError::BadRequest`] if the bytes are not a `Q`, or are over the limits of
    /// [`SessionConfig::codec`](super::super::SessionConfig::codec).
    #[inline]
    pub fn request<Q: Wire>(&self) -> Result<Q, CallError> {
        codec::decode(self.request, &self.shared.limits).map_err(bad_request)
    }

    /// What answers a call that has one reply. Of a one-way call, what is answered goes nowhere.
    #[inline]
    pub fn reply<T: Wire>(&self) -> Reply<T> {
        Reply::new(self.claim(), encode)
    }

    /// The same where the client speaks an older version.
    pub fn reply_older<M: Method, O: Older<M>>(&self) -> Reply<M::Output> {
        Reply::new(self.claim(), encode_older::<M, O>)
    }

    /// What answers a call that has items for its reply.
    pub fn sender<T: Wire>(&self) -> ItemSender<T> {
        self.sender_by(|_, item, limits, out| encode(item, limits, out))
    }

    /// The same where the client speaks an older version.
    pub fn sender_older<M: Method, O: Older<M>>(&self) -> ItemSender<M::Output> {
        self.sender_by(|_, item, limits, out| encode_older::<M, O>(item, limits, out))
    }

    /// The items that the client sends.
    pub fn receiver<T: Wire>(&self) -> ItemReceiver<T> {
        self.receiver_by(|_, bytes, limits| decode(bytes, limits))
    }

    /// The same where the client speaks an older version.
    pub fn receiver_older<M: Method, O: Older<M>>(&self) -> ItemReceiver<M::Input> {
        self.receiver_by(|_, bytes, limits| O::upgrade_input(decode(bytes, limits)?))
    }

    #[inline]
    pub(super) fn claim(&self) -> Claim {
        self.is_taken.set(true);
        Claim::new(self.shared.clone(), self.id, self.deadline)
    }

    fn sender_by<T>(&self, encode: super::super::items::Encode<T>) -> ItemSender<T> {
        let outflow = match &self.flows.outflow {
            Some(outflow) => {
                self.is_taken.set(true);
                outflow.clone()
            }
            None => {
                let none = Outflow::new();
                none.close(CallError::Misuse("a call that has items for its reply"));
                none
            }
        };
        ItemSender::new(outflow, encode, self.shared.limits.clone(), Side::Server)
    }

    fn receiver_by<T>(&self, decode: super::super::items::Decode<T>) -> ItemReceiver<T> {
        let inflow = self.flows.inflow.clone().unwrap_or_else(|| {
            let none = Inflow::new(1);
            none.end(Err(CallError::Misuse("a call whose client sends items")));
            none
        });
        ItemReceiver::new(inflow, decode, self.shared.limits.clone(), Side::Server)
    }
}

impl fmt::Debug for Arrived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrived")
            .field("rank", &self.rank)
            .field("request_bytes", &self.request.len())
            .finish_non_exhaustive()
    }
}

#[cold]
fn bad_request(error: CodecError) -> CallError {
    CallError::BadRequest(error.to_string().into())
}

fn encode<T: Wire>(value: T, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CallError> {
    codec::encode(&value, limits, out).map_err(CallError::Encode)
}

fn encode_older<M: Method, O: Older<M>>(
    value: M::Output,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    encode(O::downgrade_output(value)?, limits, out)
}

fn decode<T: Wire>(bytes: &[u8], limits: &Limits) -> Result<T, CallError> {
    codec::decode(bytes, limits).map_err(|error: CodecError| CallError::Decode(error))
}
