//! Guests on a host's loop (U5, U13), with a host written in terms of raw libuv.

mod common;
use common::*;
use libuv_sys2 as sys;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::rc::Rc;
use uv_sys_wrap::*;

/// A host: a raw loop, pinned, run by hand.
struct Host(*mut sys::uv_loop_t);

impl Host {
    fn new() -> Host {
        let raw = Box::into_raw(Box::new(MaybeUninit::<sys::uv_loop_t>::zeroed())).cast();
        // SAFETY: zeroed, pinned memory.
        assert_eq!(unsafe { sys::uv_loop_init(raw) }, 0);
        Host(raw)
    }

    fn turns(&self, count: usize) {
        for _ in 0..count {
            // SAFETY: the loop is initialised, and not running: no callback calls this.
            unsafe { sys::uv_run(self.0, sys::uv_run_mode_UV_RUN_NOWAIT) };
        }
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "{what}");
            self.turns(1);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Closes the loop, which only works when our handles are gone.
    fn end(self) {
        // SAFETY: initialised, and not running; the memory came from such a box.
        unsafe {
            assert_eq!(sys::uv_loop_close(self.0), 0);
            drop(Box::from_raw(self.0.cast::<MaybeUninit<sys::uv_loop_t>>()));
        }
    }
}

/// A script, and a witness of its life.
struct Act<F>(
    F,
    #[expect(dead_code, reason = "lives and dies with the script")] Rc<()>,
);

impl<F: FnMut(Token, Event<'_>)> Sink for Act<F> {
    fn event(&mut self, token: Token, _: HandleId, event: Event<'_>) {
        (self.0)(token, event);
    }
}

/// A guest with a script, and a witness of its sink's life.
fn guest<F: FnMut(Token, Event<'_>)>(host: &Host, act: F) -> (Guest<Act<F>>, std::rc::Weak<()>) {
    let life = Rc::new(());
    let witness = Rc::downgrade(&life);
    // SAFETY: every test runs the loop until the guest is gone, on this thread, and never inside of an
    // event but where it says so.
    let guest = unsafe {
        Guest::attach(host.0, LoopConfig::default(), |_| {
            Ok::<_, Error>(Act(act, life))
        })
    };
    (guest.unwrap(), witness)
}

#[test]
fn u13_the_hosts_data_stays_as_it_is() {
    let host = Host::new();
    let sentinel = &raw const host as *mut std::ffi::c_void;
    // SAFETY: the loop is initialised.
    unsafe { (*host.0).data = sentinel };
    let fired = Rc::new(Cell::new(0));
    let count = fired.clone();
    let (guest, life) = guest(&host, move |_, _| count.set(count.get() + 1));
    let timer = Timer::new(guest.uv(), Token(1)).unwrap();
    timer.start(0, 1).unwrap();
    let wake = Wake::new(guest.uv(), Token(2)).unwrap();
    wake.waker().unwrap().wake().unwrap();
    host.until("both", || fired.get() >= 3);
    drop((guest, timer, wake));
    assert!(life.upgrade().is_none(), "the sink goes with the guest");
    host.turns(2);
    // SAFETY: the loop is initialised.
    assert_eq!(unsafe { (*host.0).data }, sentinel);
    host.end();
}

#[test]
fn a_guest_leaves_only_its_own_handles_behind_closed() {
    let host = Host::new();
    // A handle of the host's own, which is none of our business.
    let theirs: *mut sys::uv_timer_t =
        Box::into_raw(Box::new(MaybeUninit::<sys::uv_timer_t>::uninit())).cast();
    // SAFETY: pinned memory, closed below.
    unsafe { sys::uv_timer_init(host.0, theirs) };
    let (guest, _) = guest(&host, |_, _| ());
    let uv = guest.uv().clone();
    let tcp = Tcp::new(&uv, Token(1)).unwrap();
    tcp.connect("127.0.0.1:9".parse().unwrap()).unwrap();
    tcp.write(vec![1; 1000].into()).unwrap();
    uv.work(
        Token(2),
        Box::new(|| std::thread::sleep(std::time::Duration::from_millis(20))),
    )
    .unwrap();
    drop(guest);
    assert_eq!(Timer::new(&uv, Token(3)).unwrap_err().kind(), Kind::Closed);
    host.until("the end", || {
        let stats = uv.stats();
        stats.handles_closing + stats.requests_live + stats.work_live == 0
    });
    // SAFETY: live; freed after its close callback would have run.
    unsafe {
        assert_eq!(sys::uv_is_closing(theirs.cast()), 0);
        sys::uv_close(theirs.cast(), None);
        host.turns(1);
        drop(Box::from_raw(theirs.cast::<MaybeUninit<sys::uv_timer_t>>()));
    }
    drop((tcp, uv));
    host.end();
}

#[test]
fn a_guest_may_end_inside_its_own_event() {
    type Doomed = Rc<RefCell<Option<Box<dyn std::any::Any>>>>;
    let host = Host::new();
    let doomed: Doomed = Rc::default();
    let inside = doomed.clone();
    let (guest, life) = guest(&host, move |_, _| drop(inside.take()));
    let life_inside = life.clone();
    let timer = Timer::new(guest.uv(), Token(1)).unwrap();
    timer.start(0, 0).unwrap();
    doomed.replace(Some(Box::new((guest, timer))));
    host.until("the end of the guest", || life_inside.upgrade().is_none());
    host.turns(2);
    host.end();
}

#[test]
fn u05_events_of_a_nested_run_never_reach_the_sink_twice() {
    let host = Host::new();
    let raw = host.0;
    let (depth, deepest, events) = (
        Rc::new(Cell::new(0)),
        Rc::new(Cell::new(0)),
        Rc::new(Cell::new(0)),
    );
    let (now, most, count) = (depth.clone(), deepest.clone(), events.clone());
    let (mut guest, _) = guest(&host, move |_, _| {
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        count.set(count.get() + 1);
        // SAFETY: none: this is what a host must not do, and what must do no harm here.
        unsafe { sys::uv_run(raw, sys::uv_run_mode_UV_RUN_NOWAIT) };
        now.set(now.get() - 1);
    });
    let check = Check::new(guest.uv(), Token(1)).unwrap();
    check.start().unwrap();
    let idle = Idle::new(guest.uv(), Token(2)).unwrap();
    idle.start().unwrap();
    host.turns(5);
    assert_eq!(deepest.get(), 1);
    assert!(events.get() >= 5 && guest.uv().stats().discarded > 0);
    assert!(guest.with_sink(|_| ()).is_some());
    drop((check, idle, guest));
    host.turns(2);
    host.end();
}

#[test]
fn u06_a_guests_panic_waits_for_the_host() {
    let host = Host::new();
    let events = Rc::new(Cell::new(0));
    let count = events.clone();
    let (guest, _) = guest(&host, move |_, _| {
        count.set(count.get() + 1);
        assert_ne!(count.get(), 2, "as planned");
    });
    let timer = Timer::new(guest.uv(), Token(1)).unwrap();
    timer.start(0, 1).unwrap();
    host.until("the panic", || guest.uv().stats().discarded > 0);
    assert_eq!(events.get(), 2);
    assert!(guest.take_panic().is_some() && guest.take_panic().is_none());
    host.until("more events", || events.get() > 3);
    drop((guest, timer));
    host.turns(2);
    host.end();
}

#[test]
fn handles_dropped_by_the_host_are_silent_at_once() {
    let host = Host::new();
    let events = Rc::new(Cell::new(0));
    let count = events.clone();
    let (guest, _) = guest(&host, move |_, _| count.set(count.get() + 1));
    let timer = Timer::new(guest.uv(), Token(1)).unwrap();
    timer.start(0, 0).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(3));
    drop(timer);
    // Due, and its `uv_close` not yet called, when the host's loop runs it.
    host.turns(3);
    assert_eq!(events.get(), 0);
    // Without any event of ours either, a dropped handle is closed in the host's next turn.
    let other = Timer::new(guest.uv(), Token(2)).unwrap();
    other.start(1 << 40, 0).unwrap();
    drop(other);
    host.turns(2);
    let stats = guest.uv().stats();
    assert_eq!((stats.handles_live, stats.handles_closing), (0, 0));
    drop(guest);
    host.turns(2);
    host.end();
}
