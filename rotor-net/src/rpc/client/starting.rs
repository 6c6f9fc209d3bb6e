//! `Starting`: a client's call, for the halves of its streams.

use super::ask::Ask;
use super::call::{CallCell, ClientCall};
use crate::rpc::CallError;
use crate::rpc::items::Starter;
use std::sync::Arc;
use std::time::Duration;

/// A call for the halves of its streams.
pub(crate) struct Starting<A: Ask>(pub Arc<CallCell<A>>);

impl<A: Ask> Starting<A> {
    fn call(&self) -> Arc<dyn ClientCall> {
        self.0.clone()
    }
}

impl<A: Ask> Starter for Starting<A> {
    fn start(&self) -> Result<(), CallError> {
        if self.0.core().is_begun() {
            return Ok(());
        }
        let call = self.call();
        call.begin().inspect_err(|error| call.fail(error.clone()))
    }

    fn cancel(&self) {
        self.call().cancel_aloud();
    }

    fn within(&self, duration: Duration) {
        if !self.0.core().is_begun() {
            self.0.core().set_within(duration);
        }
    }

    fn with_meta(&self, meta: &[u8]) {
        if !self.0.core().is_begun() {
            self.0.set_meta(meta);
        }
    }
}
