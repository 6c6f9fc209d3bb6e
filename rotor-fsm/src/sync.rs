//! The synchronisation primitives of the parts that threads share, so that `loom` can take their place in its model.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
/// Segments are made by one thread before others learn their indices; loom has no `OnceLock` of its own.
#[cfg(loom)]
pub(crate) use std::sync::OnceLock;
