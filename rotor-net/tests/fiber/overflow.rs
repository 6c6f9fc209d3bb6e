//! A stack that overflows ends the process, and the message says whose it was; other faults are none of ours. Each test
//! runs a scenario in a child: this program again, told by a variable which one.

use super::*;
use rotor_net::fiber::Guards;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

const SCENARIO: &str = "ROTOR_FIBER_SCENARIO";

/// Not a test: what the children run. Does nothing without being told what.
#[test]
fn scenario() {
    match std::env::var(SCENARIO).as_deref() {
        Ok("fiber") => overflow_in_a_fiber(Guards::Auto),
        Ok("protected") => overflow_in_a_fiber(Guards::Protected),
        Ok("many") => overflow_in_one_of_many(),
        Ok("thread") => overflow_in_a_thread(),
        Ok("foreign") => overflow_on_a_thread_without_a_signal_stack(),
        Ok("null") => touch_nothing(),
        Ok("sent") => {
            run_for_real((), |_| Ok(()));
            // At the first the standard library's handler restores the default action, as without ours.
            // SAFETY: sends signals to this process.
            unsafe {
                libc::raise(libc::SIGSEGV);
                libc::raise(libc::SIGSEGV);
            }
        }
        Ok("panic") => panic_with_a_backtrace(),
        Ok(other) => panic!("no scenario {other}"),
        Err(_) => {}
    }
}

fn run(scenario: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "overflow::scenario",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(SCENARIO, scenario)
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("scenario {scenario} hangs");
        }
        std::thread::sleep(ms(2));
    }
    child.wait_with_output().unwrap()
}

/// The child's standard error, after it was ended by this signal.
fn stderr_of(scenario: &str, signal: i32) -> String {
    let output = run(scenario);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(signal), "{scenario}: {text}");
    text
}

/// Uses more stack the larger `n` is; not optimised into a loop.
#[allow(unconditional_recursion)]
fn recurse(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 64]);
    recurse(n + 1) + std::hint::black_box(frame)[(n % 64) as usize]
}

fn stacks(guards: Guards) -> Stacks {
    Stacks::new(StackConfig {
        guards,
        stack_bytes: 64 << 10,
        ..StackConfig::default()
    })
    .unwrap()
}

fn overflow_in_a_fiber(guards: Guards) {
    let seed = stacks(guards).fiber("greedy one", |cx: &Cx<()>| {
        cx.sleep(ms(1))?;
        recurse(0);
        Ok(())
    });
    rotor_fsm::run::<Fiber<()>>((), seed.unwrap()).unwrap();
}

fn overflow_in_one_of_many() {
    let stacks = stacks(Guards::Auto);
    let mut main_loop = Loop::<Plain>::new(Config::default(), |_| Ok(())).unwrap();
    for n in 0..1000 {
        let name = if n == 617 { "the 617th" } else { "another" };
        let seed = stacks.fiber(name, move |cx: &Plainly| {
            cx.sleep(ms(1))?;
            if n == 617 {
                recurse(0);
            }
            Ok(cx.sleep(PATIENCE)?)
        });
        main_loop.spawn::<Plain>(seed.unwrap()).unwrap();
    }
    main_loop.run().unwrap();
}

/// With our handler installed.
fn overflow_in_a_thread() {
    run_for_real((), |_| Ok(()));
    let thread = std::thread::Builder::new().name("a thread of std".into());
    thread.spawn(|| recurse(0)).unwrap().join().unwrap();
}

/// A host's thread may have no signal stack: the standard library gives one only to its own.
fn overflow_on_a_thread_without_a_signal_stack() {
    std::thread::spawn(|| {
        let none = libc::stack_t {
            ss_sp: std::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: no handler runs on it now.
        unsafe { libc::sigaltstack(&none, std::ptr::null_mut()) };
        overflow_in_a_fiber(Guards::Auto);
    })
    .join()
    .unwrap();
}

fn touch_nothing() {
    run_for_real((), |_| {
        // SAFETY: not at all; that is the point.
        unsafe { std::ptr::null_mut::<u8>().wrapping_add(8).write_volatile(1) };
        Ok(())
    });
}

/// The deepest thing that ordinary code does: a panic that prints its backtrace, from some depth.
fn panic_with_a_backtrace() {
    #[inline(never)]
    fn deep(n: u32) -> String {
        if n == 0 {
            panic!("deep down: {}", format_args!("{:?}", vec![1.5; 3]));
        }
        let text = deep(n - 1);
        std::hint::black_box(text)
    }
    let config = StackConfig::default();
    let stacks = Stacks::new(StackConfig {
        stack_bytes: config.stack_bytes / 2,
        ..config
    })
    .unwrap();
    let seed = stacks.fiber("panicking", |cx: &Cx<()>| {
        cx.sleep(ms(1))?;
        deep(30);
        Ok(())
    });
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rotor_fsm::run::<Fiber<()>>((), seed.unwrap())
    }));
    assert!(outcome.is_err());
    eprintln!("survived");
}

#[test]
fn an_overflow_aborts_with_the_fibers_name() {
    for scenario in ["fiber", "protected", "foreign"] {
        let text = stderr_of(scenario, libc::SIGABRT);
        let expected = "fiber 'greedy one' overflowed its stack of 65536 bytes";
        assert!(text.contains(expected), "{scenario}: {text}");
    }
}

#[test]
fn it_names_the_right_one_of_many() {
    let text = stderr_of("many", libc::SIGABRT);
    assert!(text.contains("fiber 'the 617th' overflowed"), "{text}");
}

#[test]
fn a_threads_overflow_is_still_reported_by_the_standard_library() {
    let text = stderr_of("thread", libc::SIGABRT);
    assert!(text.contains("a thread of std"), "{text}");
    assert!(text.contains("overflowed its stack"), "{text}");
    assert!(!text.contains("fiber '"), "{text}");
}

#[test]
fn other_faults_end_the_process_as_ever() {
    for scenario in ["null", "sent"] {
        let text = stderr_of(scenario, libc::SIGSEGV);
        assert!(!text.contains("overflowed"), "{scenario}: {text}");
    }
}

#[test]
fn a_panic_with_a_full_backtrace_fits_on_half_a_default_stack() {
    let output = run("panic");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("deep down") && text.contains("survived"),
        "{text}"
    );
    assert!(
        text.contains("panic_with_a_backtrace"),
        "a backtrace: {text}"
    );
}
