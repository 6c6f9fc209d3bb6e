//! What is the user's may panic where it is dropped: that goes no further.

use super::*;
use crate::rpc::ClientConfig;
use std::cell::RefCell;
use std::sync::atomic::AtomicUsize;

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
        panic!("on purpose");
    }
}

struct Bombs(#[allow(dead_code)] Bomb);

thread_local! {
    /// Ended by somebody else while its reply is decoded.
    static ENDING: RefCell<Option<Arc<dyn ClientCall>>> = const { RefCell::new(None) };
}

impl Ask for Bombs {
    type Answer = Bomb;

    fn target(&self) -> Target<'_> {
        Target::Named("bombs", 1)
    }

    fn encode(&self, _: usize, _: &Limits, _: &mut Vec<u8>) -> Result<(), CallError> {
        Ok(())
    }

    fn decode(_: usize, _: &[u8], _: &Limits) -> Result<Bomb, CallError> {
        ENDING.with_borrow(|call| call.as_ref().map(|call| call.core().end()));
        Ok(Bomb)
    }
}

#[test]
fn a_request_or_an_answer_that_panics_where_it_is_dropped_harms_nobody() {
    let shared = Shared::new(ClientConfig::default());
    let new = || CallCell::new(&shared, CallKind::Unary, Flows::default(), Bombs(Bomb));
    // The answer loses against the end of the call.
    let call = new();
    ENDING.set(Some(call.clone()));
    call.replied(0, &[], &Limits::DEFAULT);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
    ENDING.set(None);
    drop(call);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 2);
    // It is kept, and nobody has it.
    let call = new();
    call.replied(0, &[], &Limits::DEFAULT);
    drop(call);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 4);
}
