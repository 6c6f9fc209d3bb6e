//! Both halves of a stream, alone and together.

mod model;
mod receiving;
mod sending;
#[cfg(feature = "fiber")]
mod waiting;

use super::{Inflow, ItemReceiver, ItemSender, Next, Outflow, Ready, testing};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (count.clone(), count.into())
    }

    /// How often since the last look.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn halves_travel_between_threads_and_are_small() {
    fn travels<T: Send>() {}
    travels::<ItemSender<std::cell::Cell<u8>>>();
    travels::<ItemReceiver<std::cell::Cell<u8>>>();
    travels::<Ready<'_, String>>();
    travels::<Next<'_, String>>();
    let sizes = [
        size_of::<Outflow>(),
        size_of::<Inflow>(),
        size_of::<ItemSender<String>>(),
        size_of::<ItemReceiver<String>>(),
    ];
    let at_most = [112, 152, 96, 96];
    let fit = sizes.iter().zip(at_most).all(|(&size, max)| size <= max);
    assert!(fit, "{sizes:?}");
}
