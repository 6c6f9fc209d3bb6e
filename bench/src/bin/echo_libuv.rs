//! The yardstick: a TCP echo server written straight on libuv, as tight as it gets.
//!
//! One static read buffer serves every connection, since each read is answered before the next
//! one happens. A read is echoed by `uv_try_write` in the read callback; only what the socket did
//! not take is copied and queued with `uv_write`, and reading pauses until that is gone. A
//! connection is one allocation: its `uv_tcp_t`, and a `uv_timer_t` when `--idle-ms` asks for one.
//!
//! The flow: `main` → `uv_run` → `on_connection` → `on_alloc`, `on_read` → `close`, `on_closed`.
//! Everything runs on the main thread.

use libuv_sys2::*;
use rotor_bench::args::{Args, fail};
use std::ffi::CStr;
use std::mem::{MaybeUninit, offset_of};
use std::net::SocketAddr;
use std::os::raw::{c_char, c_int, c_uint};
use std::ptr::addr_of_mut;

/// What every connection reads into: its content never outlives a read callback.
static mut READ_BUFFER: [u8; 65_536] = [0; 65_536];

/// How long a connection may be silent; 0 means for ever, and costs no timer.
static mut IDLE_MS: u64 = 0;

/// A connection without a timer is only its `uv_tcp_t`; one with a timer is this. The stream
/// comes first, so that both are reached through the same pointer.
#[repr(C)]
struct Timed {
    tcp: uv_tcp_t,
    timer: uv_timer_t,
    /// Handles that libuv has not closed yet; the memory goes with the last one.
    open: u8,
}

/// A queued write and the bytes it owns until its callback.
#[repr(C)]
struct Rest {
    request: uv_write_t,
    bytes: Vec<u8>,
}

fn main() {
    let mut args = Args::from_env();
    let addr: SocketAddr = args
        .option("--listen")
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let idle_ms = args.option("--idle-ms").unwrap_or(0);
    args.finish();

    // SAFETY: one thread only; the handles live on this frame, which outlasts the loop's run, and
    // the process ends right after it, so none needs closing.
    unsafe {
        IDLE_MS = idle_ms;
        let uv = uv_default_loop();
        let mut listener = MaybeUninit::<uv_tcp_t>::uninit();
        check("init", uv_tcp_init(uv, listener.as_mut_ptr()));
        bind(listener.as_mut_ptr(), addr);
        let stream = listener.as_mut_ptr().cast::<uv_stream_t>();
        check("listen", uv_listen(stream, 1024, Some(on_connection)));
        println!("listening on {}", local_addr(listener.as_mut_ptr()));

        let mut signals = [const { MaybeUninit::<uv_signal_t>::uninit() }; 2];
        for (handle, signum) in signals.iter_mut().zip([libc::SIGTERM, libc::SIGINT]) {
            check("signal", uv_signal_init(uv, handle.as_mut_ptr()));
            check(
                "signal",
                uv_signal_start(handle.as_mut_ptr(), Some(on_signal), signum),
            );
        }
        uv_run(uv, uv_run_mode_UV_RUN_DEFAULT);
    }
}

unsafe extern "C" fn on_signal(handle: *mut uv_signal_t, _signum: c_int) {
    // SAFETY: libuv passes the live handle, and it knows its loop.
    unsafe { uv_stop((*handle).loop_) }
}

unsafe extern "C" fn on_connection(listener: *mut uv_stream_t, status: c_int) {
    if status < 0 {
        return;
    }
    // SAFETY: the allocation stays until `on_closed` frees it, after libuv let go of it. It is
    // made as the type that `free` frees it as: both ask IDLE_MS, which no longer changes.
    unsafe {
        let uv = (*listener).loop_;
        let tcp: *mut uv_tcp_t = if IDLE_MS == 0 {
            Box::into_raw(Box::<uv_tcp_t>::new_uninit()).cast()
        } else {
            let timed: *mut Timed = Box::into_raw(Box::<Timed>::new_uninit()).cast();
            (*timed).open = 2;
            uv_timer_init(uv, addr_of_mut!((*timed).timer));
            uv_timer_start(addr_of_mut!((*timed).timer), Some(on_idle), IDLE_MS, 0);
            timed.cast()
        };
        check("init", uv_tcp_init(uv, tcp));
        if uv_accept(listener, tcp.cast()) < 0
            || uv_tcp_nodelay(tcp, 1) < 0
            || uv_read_start(tcp.cast(), Some(on_alloc), Some(on_read)) < 0
        {
            close(tcp.cast());
        }
    }
}

unsafe extern "C" fn on_alloc(_: *mut uv_handle_t, _suggested: usize, buf: *mut uv_buf_t) {
    // SAFETY: libuv passes a buffer description to fill in, and fills the buffer before the next
    // callback of this thread.
    unsafe {
        (*buf).base = addr_of_mut!(READ_BUFFER).cast::<c_char>();
        (*buf).len = 65_536;
    }
}

unsafe extern "C" fn on_read(stream: *mut uv_stream_t, nread: isize, buf: *const uv_buf_t) {
    if nread == 0 {
        return;
    }
    // SAFETY: the stream is live as long as its callbacks come; the first nread bytes of the
    // static buffer were just written by libuv.
    unsafe {
        if nread < 0 {
            return close(stream);
        }
        if IDLE_MS != 0 {
            uv_timer_start(
                addr_of_mut!((*stream.cast::<Timed>()).timer),
                Some(on_idle),
                IDLE_MS,
                0,
            );
        }
        let len = nread as usize;
        let out = uv_buf_t {
            base: (*buf).base,
            len: len as _,
        };
        let sent = uv_try_write(stream, &out, 1);
        if sent >= 0 && sent as usize == len {
            return;
        }
        if sent < 0 && sent != uv_errno_t_UV_EAGAIN {
            return close(stream);
        }
        let sent = sent.max(0) as usize;
        let rest = std::slice::from_raw_parts((*buf).base.cast::<u8>().add(sent), len - sent);
        queue(stream, rest.to_vec());
    }
}

/// Queues what the socket did not take, and pauses reading until it is gone.
///
/// # Safety
/// `stream` is a live connection of this server.
unsafe fn queue(stream: *mut uv_stream_t, bytes: Vec<u8>) {
    // SAFETY: the request and its bytes stay until `on_written`, which libuv calls exactly once
    // when uv_write answered 0; otherwise they are freed here.
    unsafe {
        let rest: *mut Rest = Box::into_raw(Box::<Rest>::new_uninit()).cast();
        addr_of_mut!((*rest).bytes).write(bytes);
        let buf = uv_buf_t {
            base: (*rest).bytes.as_ptr().cast_mut().cast(),
            len: (*rest).bytes.len() as _,
        };
        let request = addr_of_mut!((*rest).request);
        if uv_write(request, stream, &buf, 1, Some(on_written)) < 0 {
            drop(Box::from_raw(rest));
            return close(stream);
        }
        uv_read_stop(stream);
    }
}

unsafe extern "C" fn on_written(request: *mut uv_write_t, status: c_int) {
    // SAFETY: the request is the first field of the `Rest` that `queue` boxed, and this is its one
    // callback. The stream is still there: a close callback comes after all write callbacks.
    unsafe {
        let stream = (*request).handle;
        drop(Box::from_raw(request.cast::<Rest>()));
        if status < 0 {
            close(stream);
        } else if uv_is_closing(stream.cast()) == 0 {
            uv_read_start(stream, Some(on_alloc), Some(on_read));
        }
    }
}

unsafe extern "C" fn on_idle(timer: *mut uv_timer_t) {
    // SAFETY: the timer is a field of a live `Timed`, whose stream is its first field.
    unsafe { close(timer.byte_sub(offset_of!(Timed, timer)).cast()) }
}

/// Closes a connection; harmless when it is closing already.
///
/// # Safety
/// `stream` is a connection of this server whose memory was not freed yet.
unsafe fn close(stream: *mut uv_stream_t) {
    // SAFETY: the caller's promise; uv_is_closing guards against the second close that libuv
    // would abort on.
    unsafe {
        if uv_is_closing(stream.cast()) != 0 {
            return;
        }
        uv_close(stream.cast(), Some(on_closed));
        if IDLE_MS != 0 {
            let timer = addr_of_mut!((*stream.cast::<Timed>()).timer);
            uv_close(timer.cast(), Some(on_timer_closed));
        }
    }
}

unsafe extern "C" fn on_closed(handle: *mut uv_handle_t) {
    // SAFETY: libuv let go of the stream, which is the start of what `on_connection` boxed.
    unsafe {
        if IDLE_MS == 0 {
            drop(Box::from_raw(handle.cast::<MaybeUninit<uv_tcp_t>>()));
        } else {
            release(handle.cast());
        }
    }
}

unsafe extern "C" fn on_timer_closed(handle: *mut uv_handle_t) {
    // SAFETY: libuv let go of the timer, which is a field of a `Timed` that `on_connection` boxed.
    unsafe { release(handle.byte_sub(offset_of!(Timed, timer)).cast()) }
}

/// Frees a connection with a timer after the second of its two handles closed.
///
/// # Safety
/// Called once for each of the two, from its close callback.
unsafe fn release(timed: *mut Timed) {
    // SAFETY: the memory is there until the count reaches 0, which happens once.
    unsafe {
        (*timed).open -= 1;
        if (*timed).open == 0 {
            drop(Box::from_raw(timed.cast::<MaybeUninit<Timed>>()));
        }
    }
}

/// Binds to `addr` or ends the process.
///
/// # Safety
/// `tcp` is initialised.
unsafe fn bind(tcp: *mut uv_tcp_t, addr: SocketAddr) {
    let text = format!("{}\0", addr.ip());
    let port = c_int::from(addr.port());
    // SAFETY: the storage has room for either family, and the text ends with a NUL.
    unsafe {
        let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let at = storage.as_mut_ptr();
        let parsed = if addr.is_ipv4() {
            uv_ip4_addr(text.as_ptr().cast(), port, at.cast())
        } else {
            uv_ip6_addr(text.as_ptr().cast(), port, at.cast())
        };
        check("address", parsed);
        check("bind", uv_tcp_bind(tcp, at.cast(), 0 as c_uint));
    }
}

/// The address that a bound socket got.
///
/// # Safety
/// `tcp` is bound.
unsafe fn local_addr(tcp: *mut uv_tcp_t) -> String {
    let mut name = [0 as c_char; 64];
    // SAFETY: libuv is told the size of the storage and of the text buffer, and ends the text
    // with a NUL; the family says which of the two shapes the storage holds.
    unsafe {
        let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed().assume_init();
        let mut len = size_of_val(&storage) as c_int;
        let at = addr_of_mut!(storage);
        check("getsockname", uv_tcp_getsockname(tcp, at.cast(), &mut len));
        check(
            "address",
            uv_ip_name(at.cast(), name.as_mut_ptr(), name.len()),
        );
        let ip = CStr::from_ptr(name.as_ptr()).to_string_lossy();
        if c_int::from(storage.ss_family) == libc::AF_INET6 {
            let port = u16::from_be((*at.cast::<libc::sockaddr_in6>()).sin6_port);
            format!("[{ip}]:{port}")
        } else {
            let port = u16::from_be((*at.cast::<libc::sockaddr_in>()).sin_port);
            format!("{ip}:{port}")
        }
    }
}

/// Ends the process when libuv refused a step of the start, and says which and why.
fn check(what: &str, code: c_int) {
    if code < 0 {
        // SAFETY: libuv answers a static text for every code.
        let why = unsafe { CStr::from_ptr(uv_strerror(code)) }.to_string_lossy();
        fail(&format!("{what}: {why}"));
    }
}
