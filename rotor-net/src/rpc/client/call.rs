//! A call as its connection sees it: one allocation that holds the request, the answer to come, and what was said about
//! the call, behind a trait that knows none of its types.
//!
//! A call **is over** once, whoever ends it: the reply, a failure, the deadline, the end of its stream, or whoever gives
//! it up. Whoever sets the flag acts, all others do nothing. Requests are encoded, and replies decoded, on the
//! connection's thread, under no lock that anybody else takes.

use super::ask::{Ask, Target};
use super::promise::Promise;
use super::shared::Shared;
use super::slots::NO_SLOT;
use crate::rpc::codec::{CodecError, Limits};
use crate::rpc::frame::{Header, Opening};
use crate::rpc::guard::guarded;
use crate::rpc::items::{Inflow, Outflow};
use crate::rpc::{CallError, CallKind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the connection's machine knows of a call.
pub(crate) trait ClientCall: Send + Sync {
    fn core(&self) -> &Core;

    /// What is called. Given to a function since a name may be in the request.
    fn target(&self, f: &mut dyn FnMut(Target<'_>));

    /// Appends the frame that begins the call.
    ///
    /// # Errors
    /// If the request cannot be encoded or is over a limit. Nothing is appended then.
    fn write(
        &self,
        version: usize,
        envelope: &Envelope<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError>;

    /// What goes along with it.
    fn set_meta(&self, meta: &[u8]);

    /// The reply has come, in this version.
    fn replied(&self, version: usize, bytes: &[u8], limits: &Limits);

    /// Puts the answer that there is none. Only [`Core::end`] says whether that is so.
    fn settle(&self, error: CallError);

    /// Nobody wants the answer any more.
    fn forget(&self);
}

/// The same with the type of its answer.
pub(crate) trait Promised<T>: ClientCall {
    fn promise(&self) -> &Promise<T>;
}

/// What surrounds a request in its frame.
pub(crate) struct Envelope<'a> {
    pub header: Header,
    pub deadline_ms: Option<u32>,
    /// By its name, since the menu does not have it.
    pub is_named: bool,
    pub meta_bytes_max: usize,
    pub body_bytes_max: usize,
    pub limits: &'a Limits,
}

/// A call without its types.
pub(crate) struct Core {
    pub shared: Arc<Shared>,
    pub kind: CallKind,
    pub flows: Flows,
    /// Until then it holds a share of the channel.
    is_begun: AtomicBool,
    is_over: AtomicBool,
    within_nanos: AtomicU64,
    /// Its place among those in flight; the machine's own.
    slot: AtomicU32,
}

/// The streams of a call: the session's halves.
#[derive(Default)]
pub(crate) struct Flows {
    pub inflow: Option<Arc<Inflow>>,
    pub outflow: Option<Arc<Outflow>>,
}

impl Flows {
    pub fn with_inflow(mut self, inflow: &Arc<Inflow>) -> Self {
        self.inflow = Some(inflow.clone());
        self
    }

    pub fn with_outflow(mut self, outflow: &Arc<Outflow>) -> Self {
        self.outflow = Some(outflow.clone());
        self
    }

    /// Ends both.
    fn end(&self, error: &CallError) {
        if let Some(inflow) = &self.inflow {
            inflow.end(Err(error.clone()));
        }
        self.close_outflow(error);
    }

    pub fn close_outflow(&self, why: &CallError) {
        if let Some(outflow) = &self.outflow {
            outflow.close(why.clone());
        }
    }
}

impl Core {
    fn new(shared: &Arc<Shared>, kind: CallKind, flows: Flows) -> Self {
        shared.enter();
        Self {
            shared: shared.clone(),
            kind,
            flows,
            is_begun: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            within_nanos: AtomicU64::new(u64::MAX),
            slot: AtomicU32::new(NO_SLOT),
        }
    }

    /// How long after its beginning the call ends; `None` if it has no deadline.
    pub fn within(&self) -> Option<Duration> {
        match self.within_nanos.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub fn set_within(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.within_nanos.store(nanos, Ordering::Relaxed);
    }

    pub fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Whether this is who ends the call.
    pub fn end(&self) -> bool {
        !self.is_over.swap(true, Ordering::AcqRel)
    }

    pub fn slot(&self) -> Option<u32> {
        Some(self.slot.load(Ordering::Relaxed)).filter(|&slot| slot != NO_SLOT)
    }

    pub fn set_slot(&self, slot: Option<u32>) {
        self.slot.store(slot.unwrap_or(NO_SLOT), Ordering::Relaxed);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if !*self.is_begun.get_mut() {
            self.shared.leave();
        }
    }
}

/// What is done with a call by whoever has it.
impl dyn ClientCall {
    /// Hands the call to the connection, unless that has been done.
    ///
    /// # Errors
    /// If it is refused; the call has not failed by that yet.
    pub fn begin(self: &Arc<Self>) -> Result<(), CallError> {
        let core = self.core();
        if core.is_begun.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let result = core.shared.begin(self);
        core.shared.leave();
        result
    }

    /// The call has no answer, because of this.
    pub fn fail(&self, error: CallError) {
        let core = self.core();
        if core.end() {
            core.flows.end(&error);
            self.settle(error);
        }
    }

    /// The server has ended its stream.
    pub fn end_items(&self) {
        let core = self.core();
        if core.end()
            && let Some(inflow) = &core.flows.inflow
        {
            inflow.end(Ok(()));
        }
    }

    /// Gives the call up: it is not begun if that has not been done, or the server is told. Nobody hears of it.
    pub fn cancel(self: &Arc<Self>) {
        self.forget();
        self.cancel_aloud();
    }

    /// The same, heard by who waits for the answer.
    pub fn cancel_aloud(self: &Arc<Self>) {
        let core = self.core();
        if core.end() {
            core.flows.end(&CallError::Cancelled);
            self.settle(CallError::Cancelled);
            if core.is_begun() {
                core.shared.cancelled(self);
            }
        }
    }

    /// Whether it is the same call.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self, other)
    }
}

/// A call of a certain type.
pub(crate) struct CallCell<A: Ask> {
    core: Core,
    /// A mutex for `Sync` alone: before the call begins its caller has it, then the connection's thread.
    asked: Mutex<Asked<A>>,
    promise: Promise<A::Answer>,
}

struct Asked<A> {
    /// There until the end.
    ask: Option<A>,
    meta: Vec<u8>,
}

impl<A: Ask> CallCell<A> {
    pub fn new(shared: &Arc<Shared>, kind: CallKind, flows: Flows, ask: A) -> Arc<Self> {
        Arc::new(Self {
            core: Core::new(shared, kind, flows),
            asked: Mutex::new(Asked {
                ask: Some(ask),
                meta: Vec::new(),
            }),
            promise: Promise::new(),
        })
    }

    fn asked(&self) -> MutexGuard<'_, Asked<A>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the name of a call can have on the wire.
const NAME_BYTES_MAX: usize = u8::MAX as usize;

impl<A: Ask> ClientCall for CallCell<A> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn target(&self, f: &mut dyn FnMut(Target<'_>)) {
        if let Some(ask) = &self.asked().ask {
            f(ask.target());
        }
    }

    fn write(
        &self,
        version: usize,
        envelope: &Envelope<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let asked = self.asked();
        let Asked {
            ask: Some(ask),
            meta,
        } = &*asked
        else {
            return Err(CallError::Cancelled);
        };
        if meta.len() > envelope.meta_bytes_max {
            return Err(CallError::Full {
                what: "bytes of metadata",
                max: envelope.meta_bytes_max,
            });
        }
        let named = match ask.target() {
            Target::Named(name, version) if envelope.is_named => Some((name, version)),
            _ => None,
        };
        if named.is_some_and(|(name, _)| name.len() > NAME_BYTES_MAX) {
            return Err(CallError::Full {
                what: "bytes of a call's name",
                max: NAME_BYTES_MAX,
            });
        }
        let opening = Opening {
            deadline_ms: envelope.deadline_ms,
            meta,
            named,
        };
        let header = Header {
            flags: opening.flags(),
            ..envelope.header
        };
        let open = header.begin(out);
        opening.write(out);
        let encoded = guarded(|| ask.encode(version, envelope.limits, out))
            .unwrap_or_else(|| Err(CallError::Encode(panicked("Serialize"))));
        let result = match encoded {
            Ok(()) if open.body_bytes(out) > envelope.body_bytes_max => {
                Err(CallError::Encode(CodecError::TooLong {
                    encoded_bytes_max: envelope.body_bytes_max,
                }))
            }
            other => other,
        };
        match result {
            Ok(()) => open.finish(out),
            Err(_) => open.give_up(out),
        }
        result
    }

    fn set_meta(&self, meta: &[u8]) {
        let mut asked = self.asked();
        asked.meta.clear();
        asked.meta.extend_from_slice(meta);
    }

    fn replied(&self, version: usize, bytes: &[u8], limits: &Limits) {
        if self.core.is_over() {
            return;
        }
        let answer = guarded(|| A::decode(version, bytes, limits))
            .unwrap_or_else(|| Err(CallError::Decode(panicked("Deserialize"))));
        guarded(|| match self.core.end() {
            true => self.promise.settle(answer),
            false => drop(answer),
        });
    }

    fn settle(&self, error: CallError) {
        guarded(|| self.promise.settle(Err(error)));
    }

    fn forget(&self) {
        guarded(|| self.promise.give_up());
    }
}

impl<A: Ask> Drop for CallCell<A> {
    /// What is the user's is dropped here: whoever has the last share of a call may be the connection's machine.
    fn drop(&mut self) {
        let ask = self.asked().ask.take();
        guarded(|| drop(ask));
        self.forget();
    }
}

impl<A: Ask> Promised<A::Answer> for CallCell<A> {
    fn promise(&self) -> &Promise<A::Answer> {
        &self.promise
    }
}

fn panicked(what: &str) -> CodecError {
    CodecError::Custom(format!("the type's own `{what}` panicked").into())
}

#[cfg(all(test, not(loom)))]
mod tests;
