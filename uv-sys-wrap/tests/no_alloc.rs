//! The steady state allocates nothing, in Rust or in libuv. A process of its own: it replaces both
//! allocators, and counts what the test's own thread does (the harness's thread has its own affairs).

mod common;
use common::*;
use libuv_sys2 as sys;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use uv_sys_wrap::*;

thread_local! {
    static RUST: Cell<usize> = const { Cell::new(0) };
    static LIBUV: Cell<usize> = const { Cell::new(0) };
}

fn note(counter: &'static std::thread::LocalKey<Cell<usize>>) {
    // No destructor and no lazy start, so this neither fails nor allocates.
    counter.with(|count| count.set(count.get() + 1));
}

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(&RUST);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(&RUST);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

unsafe extern "C" fn uv_malloc(size: usize) -> *mut c_void {
    note(&LIBUV);
    // SAFETY: takes any size.
    unsafe { libc::malloc(size) }
}
unsafe extern "C" fn uv_realloc(place: *mut c_void, size: usize) -> *mut c_void {
    note(&LIBUV);
    // SAFETY: libuv passes what it got from here.
    unsafe { libc::realloc(place, size) }
}
unsafe extern "C" fn uv_calloc(count: usize, size: usize) -> *mut c_void {
    note(&LIBUV);
    // SAFETY: takes any size.
    unsafe { libc::calloc(count, size) }
}
unsafe extern "C" fn uv_free(place: *mut c_void) {
    // SAFETY: libuv passes what it got from here.
    unsafe { libc::free(place) }
}

/// A sink without a log: logging allocates.
struct Echo {
    uv: Uv,
    accepted: Vec<Handle>,
    eofs: Rc<Cell<usize>>,
    spare: Rc<RefCell<Option<Vec<u8>>>>,
    timer: Timer,
    wakes: usize,
}

const STREAM: Token = Token(2);

impl Sink for Echo {
    fn event(&mut self, _: Token, id: HandleId, event: Event<'_>) {
        match event {
            Event::Incoming => {
                while let Ok(Some(handle)) = self.uv.acceptor(id).accept(STREAM) {
                    let stream = self.uv.stream(handle.id());
                    stream.nodelay(true).unwrap();
                    stream.read_start().unwrap();
                    self.accepted.push(handle);
                }
            }
            Event::Read(buf) => {
                let kept = buf.keep(..).unwrap();
                let stream = self.uv.stream(id);
                // The first half at once, the other through the queue.
                let half = kept.len() / 2;
                assert_eq!(
                    stream.try_write(&[IoSlice::new(&kept[..half])]).unwrap(),
                    half
                );
                let mut bufs = WriteBufs::from(kept.slice(half..));
                bufs.push(self.spare.take().unwrap());
                stream.write(bufs).unwrap();
                self.timer.start(1 << 30, 0).unwrap();
            }
            Event::Written { bufs, result } => {
                result.unwrap();
                let spare = std::mem::take(bufs).into_iter().find_map(|buf| match buf {
                    WriteBuf::Vec { bytes, .. } => Some(bytes),
                    _ => None,
                });
                self.spare.replace(spare);
            }
            Event::Eof => {
                self.accepted.retain(|handle| handle.id() != id);
                self.eofs.set(self.eofs.get() + 1);
            }
            Event::Wake => self.wakes += 1,
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn echoing_accepting_and_closing_allocate_nothing_once_warm() {
    // SAFETY: nothing of libuv is in use yet: this process has one test.
    let code = unsafe {
        sys::uv_replace_allocator(
            Some(uv_malloc),
            Some(uv_realloc),
            Some(uv_calloc),
            Some(uv_free),
        )
    };
    assert_eq!(code, 0);
    let (eofs, spare) = (
        Rc::new(Cell::new(0)),
        Rc::new(RefCell::new(Some(vec![9; 16]))),
    );
    let (ended, buffer) = (eofs.clone(), spare.clone());
    let mut uv_loop = Loop::new(LoopConfig::default(), |uv| Echo {
        uv: uv.clone(),
        accepted: Vec::with_capacity(8),
        eofs: ended,
        spare: buffer,
        timer: Timer::new(uv, Token(3)).unwrap(),
        wakes: 0,
    })
    .unwrap();
    let acceptor = Acceptor::tcp(uv_loop.uv(), any(), &ListenOptions::default(), Token(1)).unwrap();
    let wake = Wake::new(uv_loop.uv(), Token(4)).unwrap();
    let waker = wake.waker().unwrap();
    let addr = acceptor.local_addr().unwrap();
    let mut reply = [0; 64 + 16];
    let mut round = |uv_loop: &mut Loop<Echo>| {
        let mut client = TcpStream::connect(addr).unwrap();
        client.set_nonblocking(true).unwrap();
        for _ in 0..10 {
            assert_eq!(client.write(&[7; 64]).unwrap(), 64);
            waker.wake().unwrap();
            let mut got = 0;
            while got < reply.len() {
                uv_loop.run(RunMode::NoWait).unwrap();
                got += client.read(&mut reply[got..]).unwrap_or(0);
            }
        }
        drop(client);
        let before = eofs.get();
        while eofs.get() == before {
            uv_loop.run(RunMode::NoWait).unwrap();
        }
    };
    for _ in 0..20 {
        round(&mut uv_loop);
    }
    let rounds = sized(100);
    let before = (RUST.get(), LIBUV.get());
    for _ in 0..rounds {
        round(&mut uv_loop);
    }
    let after = (RUST.get(), LIBUV.get());
    assert_eq!(after, before, "allocations of Rust and of libuv");
    assert!(uv_loop.sink().wakes > 0 && eofs.get() == 20 + rounds);
    drop((acceptor, wake));
    assert!(uv_loop.close().is_ok());
}
