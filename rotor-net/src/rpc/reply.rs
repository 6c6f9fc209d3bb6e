//! `Reply`: the promise to answer a call, kept now or later, here or on another thread.

use super::codec::Limits;
use super::error::CallError;
use super::frame::CallId;
use super::session::Shared;
use rotor_fsm::Time;
use std::fmt;
use std::sync::Arc;

/// Answers a call, once. It can be kept, and moved to other machines and threads.
///
/// **Dropped unanswered**, it fails the call at once with [`CallError::Unanswered`], or with [`CallError::Panicked`]
/// while panicking. An answer to a call that is over (cancelled, past its deadline, disconnected) goes nowhere.
///
/// A call that the client has cancelled is no longer in flight, though its reply may still be kept: look at
/// [`is_cancelled`](Self::is_cancelled) before work that takes long. While a service keeps several times more than may be
/// [in flight](super::SessionConfig::in_flight_max), the client's calls are refused.
///
/// Answering costs no allocation once its thread, and the connection, have their buffers; and it never waits.
#[must_use = "dropped unanswered, the call fails"]
pub struct Reply<T> {
    claim: Claim,
    encode: Encoder<T>,
}

/// Appends the bytes of a reply.
pub(crate) type Encoder<T> = fn(T, &Limits, &mut Vec<u8>) -> Result<(), CallError>;

impl<T> Reply<T> {
    #[inline]
    pub(crate) fn new(claim: Claim, encode: Encoder<T>) -> Self {
        Self { claim, encode }
    }

    /// Answers. A reply that is over a limit of this side or the client's becomes [`CallError::TooLarge`].
    #[inline]
    pub fn ok(self, value: T) {
        let (claim, encode) = (self.claim, self.encode);
        claim.answer(|limits, body| encode(value, limits, body));
    }

    /// Answers, or fails.
    #[inline]
    pub fn send(self, result: Result<T, CallError>) {
        match result {
            Ok(value) => self.ok(value),
            Err(error) => self.fail(error),
        }
    }

    /// Fails the call. The client gets the same error if it is one that travels, such as
    /// [`CallError::Remote`] with your words; of others it gets the words, as `Remote`.
    pub fn fail(self, error: CallError) {
        self.claim.fail(&error);
    }

    /// Whether nobody waits for the answer any more: the call was cancelled, its deadline passed, or the connection is
    /// gone. For work that can be cut short.
    pub fn is_cancelled(&self) -> bool {
        self.claim.is_over()
    }

    /// As [`CallScope::deadline`](super::CallScope::deadline).
    pub fn deadline(&self) -> Option<Time> {
        self.claim.deadline()
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({:?})", self.claim.id)
    }
}

/// As [`Reply`], in bytes that are encoded already: for proxies.
#[must_use = "dropped unanswered, the call fails"]
pub struct RawReply {
    claim: Claim,
}

impl RawReply {
    pub(crate) fn new(claim: Claim) -> Self {
        Self { claim }
    }

    /// Answers. A reply that is longer than the client takes becomes [`CallError::TooLarge`].
    pub fn ok(self, reply: &[u8]) {
        self.claim.answer(|_, body| {
            body.extend_from_slice(reply);
            Ok(())
        });
    }

    /// Answers, or fails.
    pub fn send(self, result: Result<impl AsRef<[u8]>, CallError>) {
        match result {
            Ok(reply) => self.ok(reply.as_ref()),
            Err(error) => self.fail(error),
        }
    }

    /// As [`Reply::fail`].
    pub fn fail(self, error: CallError) {
        self.claim.fail(&error);
    }

    /// As [`Reply::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.claim.is_over()
    }

    /// As [`Reply::deadline`].
    pub fn deadline(&self) -> Option<Time> {
        self.claim.deadline()
    }
}

impl fmt::Debug for RawReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawReply({:?})", self.claim.id)
    }
}

/// A call that is to be answered, exactly once: by what is said, or by its drop.
pub(crate) struct Claim {
    shared: Arc<Shared>,
    id: CallId,
    deadline: Time,
    is_answered: bool,
}

impl Claim {
    #[inline]
    pub fn new(shared: Arc<Shared>, id: CallId, deadline: Time) -> Self {
        Self {
            shared,
            id,
            deadline,
            is_answered: false,
        }
    }

    /// If `encode` panics, the call fails.
    #[inline]
    fn answer(mut self, encode: impl FnOnce(&Limits, &mut Vec<u8>) -> Result<(), CallError>) {
        let shared = &self.shared;
        shared.reply(self.id, |body| encode(&shared.limits, body));
        self.is_answered = true;
    }

    fn fail(mut self, error: &CallError) {
        self.is_answered = true;
        self.shared.fail(self.id, error);
    }

    fn is_over(&self) -> bool {
        !self.shared.is_live(self.id)
    }

    fn deadline(&self) -> Option<Time> {
        (self.deadline != Time::NEVER).then_some(self.deadline)
    }
}

impl Drop for Claim {
    #[inline]
    fn drop(&mut self) {
        if !self.is_answered {
            let error = match std::thread::panicking() {
                true => CallError::Panicked,
                false => CallError::Unanswered,
            };
            self.shared.fail(self.id, &error);
        }
    }
}
