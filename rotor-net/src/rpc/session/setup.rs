//! `Setup`: what all sessions of a thread with the same service and configuration share: the menu, resolved and encoded.

use super::super::call::{CallInfo, CallKind, ServiceInfo};
use super::super::codec::{CodecError, Limits};
use super::super::config::{SessionConfig, Unknown};
use super::super::frame::HEADER_BYTES;
use super::super::handshake::{Menu, Welcome, write_welcome};
use super::super::serve::Serve;
use std::any::TypeId;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Shared by the sessions of a thread.
pub(super) struct Setup {
    service: TypeId,
    input_bytes_max: usize,
    pub config: Arc<SessionConfig>,
    pub limits: Arc<Limits>,
    pub per_call: PerCall,
    /// Preamble and `Welcome`.
    pub welcome: Box<[u8]>,
}

/// What each call is looked at by: in one line of the processor's cache, since between two calls that come one by one the
/// kernel fills the cache.
#[repr(align(64))]
pub(super) struct PerCall {
    /// The longest body of a frame that is taken.
    pub frame_bytes_max: usize,
    pub in_flight_max: usize,
    /// Replies, senders and receivers that may be kept, of calls that are over too. A call has three at most, and the
    /// session counts as one.
    pub halves_max: usize,
    pub deadline_max: Duration,
    pub meta_bytes_max: u16,
    /// What each rank calls.
    pub ranks: Box<[Rank]>,
}

/// A version of a call, by its position on the menu.
#[derive(Clone, Copy)]
pub(super) struct Rank {
    pub info: &'static CallInfo,
    /// As the call's.
    pub kind: CallKind,
}

/// Setups that a thread keeps: of programs that make a configuration for each connection, the last few.
const KEPT_MAX: usize = 8;

thread_local! {
    static SETUPS: RefCell<Vec<Rc<Setup>>> = const { RefCell::new(Vec::new()) };
}

impl Setup {
    /// The setup of this service, on streams with this limit of input.
    ///
    /// # Errors
    /// A menu that is too long to be sent.
    pub fn of<S: Serve>(
        config: &Arc<SessionConfig>,
        input_bytes_max: usize,
    ) -> Result<Rc<Self>, CodecError> {
        let service = TypeId::of::<S>();
        let is_it = |setup: &&Rc<Self>| {
            setup.service == service
                && setup.input_bytes_max == input_bytes_max
                && Arc::ptr_eq(&setup.config, config)
        };
        let found = SETUPS.with_borrow(|setups| setups.iter().find(is_it).cloned());
        if let Some(setup) = found {
            return Ok(setup);
        }
        let setup = Rc::new(Self::new(service, S::info(), config, input_bytes_max)?);
        SETUPS.with_borrow_mut(|setups| {
            if setups.len() == KEPT_MAX {
                setups.remove(0);
            }
            setups.push(setup.clone());
        });
        Ok(setup)
    }

    fn new(
        service: TypeId,
        info: &'static ServiceInfo,
        config: &Arc<SessionConfig>,
        input_bytes_max: usize,
    ) -> Result<Self, CodecError> {
        let calls = info.calls.iter();
        let rank = |info: &'static CallInfo| Rank {
            info,
            kind: info.kind,
        };
        let ranks = calls.flat_map(|call| call.versions.iter().map(move |_| rank(call)));
        let frame_bytes_max = config
            .frame_bytes_max()
            .min(input_bytes_max.saturating_sub(HEADER_BYTES));
        let in_flight_max = config.in_flight_max.max(1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut welcome = Vec::new();
        write_welcome(
            &Welcome {
                frame_bytes_max: count(frame_bytes_max),
                window_bytes: config.window_bytes.max(1),
                in_flight_max: count(in_flight_max),
                meta_bytes_max: config.meta_bytes_max,
                takes_unknown: config.unknown == Unknown::Proxy,
                menu: Menu::of(info),
            },
            &mut welcome,
        )?;
        Ok(Self {
            service,
            input_bytes_max,
            config: config.clone(),
            limits: Arc::new(config.codec.clone()),
            per_call: PerCall {
                frame_bytes_max,
                in_flight_max,
                halves_max: in_flight_max.saturating_mul(4).saturating_add(1),
                deadline_max: config.deadline_max,
                meta_bytes_max: config.meta_bytes_max,
                ranks: ranks.collect(),
            },
            welcome: welcome.into(),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_each_call_needs_is_in_one_cache_line() {
        assert_eq!(size_of::<PerCall>(), 64);
    }
}
