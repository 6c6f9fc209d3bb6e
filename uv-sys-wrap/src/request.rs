//! Requests (write, connect, shutdown) and the buffers they own, recycled.
//!
//! A request is taken when libuv accepts it and given back by its own callback, which libuv runs exactly
//! once, at the latest while the handle closes. A stream that does nothing owns no request.

use crate::arena::Place;
use crate::write::WriteBufs;
use libuv_sys2 as sys;
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

/// Room for any request.
#[repr(C)]
union UvRequest {
    write: sys::uv_write_t,
    connect: sys::uv_connect_t,
    shutdown: sys::uv_shutdown_t,
}

/// One request. libuv's part comes first, so that its pointer is also ours.
#[repr(C)]
pub(crate) struct Request {
    uv: UnsafeCell<MaybeUninit<UvRequest>>,
    bufs: UnsafeCell<WriteBufs>,
    link: Cell<u32>,
    pub(crate) index: u32,
}

impl Place for Request {
    fn link(&self) -> &Cell<u32> {
        &self.link
    }
}

impl Request {
    pub(crate) fn new(index: u32) -> Request {
        Request {
            uv: UnsafeCell::new(MaybeUninit::uninit()),
            bufs: UnsafeCell::new(WriteBufs::new()),
            link: Cell::new(0),
            index,
        }
    }

    /// libuv's part, as whichever request type is wanted.
    pub(crate) fn uv<T>(&self) -> *mut T {
        debug_assert!(size_of::<T>() <= size_of::<UvRequest>());
        // The whole `Request` is reachable through this pointer: callbacks cast it back.
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// The request that libuv's pointer belongs to.
    ///
    /// # Safety
    /// `request` came from [`Request::uv`], and its arena lives.
    pub(crate) unsafe fn of<'a, T>(request: *mut T) -> &'a Request {
        // SAFETY: `uv` is the first field of a `repr(C)` struct; the caller vouches for the rest.
        unsafe { &*request.cast::<Request>() }
    }

    /// Stores the buffers until the callback, and gives out what was stored before.
    pub(crate) fn swap_bufs(&self, bufs: WriteBufs) -> WriteBufs {
        // SAFETY: single-threaded, and no reference to the stored value outlives this call: libuv holds
        // pointers to the bytes, which lie in the buffers' own heap storage and do not move.
        unsafe { std::mem::replace(&mut *self.bufs.get(), bufs) }
    }
}
