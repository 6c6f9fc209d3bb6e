//! Which thread of the server runs on which core.
//!
//! [`plan`] decides it, from what is asked and what the process may use; it touches nothing. Each thread then pins
//! itself by [`pin_current`] before it allocates, so that its memory is near it. Invariant: a plan names only cores
//! that may be used; whatever cannot be had leaves a thread unpinned, with a warning, and the server runs.

use core_affinity::CoreId;
use rotor_fsm::{Config, Loop, Machine, Response, Scope};

/// Whether and where the server's threads are pinned. Made from `bool` (`true` is [`Auto`](Self::Auto)) or from core
/// numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// Threads run where the system puts them.
    No,
    /// Over all cores that the process may use.
    #[default]
    Auto,
    /// Over these cores, in this order.
    Cores(Vec<usize>),
}

impl From<bool> for Pin {
    fn from(pin: bool) -> Pin {
        if pin { Pin::Auto } else { Pin::No }
    }
}

impl From<Vec<usize>> for Pin {
    fn from(cores: Vec<usize>) -> Pin {
        Pin::Cores(cores)
    }
}

impl<const N: usize> From<[usize; N]> for Pin {
    fn from(cores: [usize; N]) -> Pin {
        Pin::Cores(cores.into())
    }
}

impl From<&[usize]> for Pin {
    fn from(cores: &[usize]) -> Pin {
        Pin::Cores(cores.into())
    }
}

/// A core for each thread; `None` leaves it unpinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub acceptor: Option<usize>,
    /// One entry for each worker.
    pub workers: Vec<Option<usize>>,
    /// What could not be had, each a sentence without its full stop.
    pub warnings: Vec<String>,
}

/// Gives each thread a core. If there are more cores than workers, the first is the acceptor's and the workers begin at
/// the second; else the workers share all of them in turn, and the acceptor, which mostly sleeps, is left unpinned.
pub fn plan(pin: &Pin, workers: usize, available: &[usize]) -> Plan {
    let cores = match pin {
        Pin::No => return unpinned(workers, None),
        Pin::Auto if available.is_empty() => {
            let warning = "the system does not say which cores may be used: no thread is pinned";
            return unpinned(workers, Some(warning));
        }
        Pin::Cores(cores) if cores.is_empty() => {
            return unpinned(
                workers,
                Some("the list of cores is empty: no thread is pinned"),
            );
        }
        Pin::Auto => available,
        Pin::Cores(cores) => cores,
    };
    let (acceptor, shared) = if cores.len() > workers {
        (Some(cores[0]), &cores[1..])
    } else {
        (None, cores)
    };
    let workers: Vec<usize> = shared.iter().copied().cycle().take(workers).collect();
    let allowed = |core: &usize| available.contains(core);
    Plan {
        acceptor: acceptor.filter(allowed),
        workers: workers
            .iter()
            .map(|core| Some(*core).filter(allowed))
            .collect(),
        warnings: refusals(acceptor, &workers, available),
    }
}

/// The cores that the calling thread may use; empty if the system does not say. A new thread inherits what its maker
/// may use, so ask before anything is pinned.
pub fn available() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.into_iter().map(|core| core.id).collect()
}

/// Keeps the calling thread on one core from now on.
///
/// # Errors
/// A sentence that names the core, if the system refuses it.
pub fn pin_current(core: usize) -> Result<(), String> {
    // Beyond the mask of the system, where `core_affinity` would panic.
    if core >= CORES_MAX || !core_affinity::set_for_current(CoreId { id: core }) {
        return Err(format!("pinning a thread to core {core} was refused"));
    }
    Ok(())
}

/// Starts libuv's thread pool, whose threads take over what the thread that first uses it may run on: started by a pinned
/// worker they would all share its core. Call it before anything is pinned.
///
/// # Errors
/// If the system refuses a loop.
pub fn start_thread_pool() -> rotor_fsm::Result<()> {
    let mut first = Loop::<FirstJob>::new(Config::default(), |_| Ok(()))?;
    first.spawn::<FirstJob>(())?;
    first.run()
}

/// A machine that has one job done.
struct FirstJob;

impl Machine for FirstJob {
    type Context = ();
    type Message = ();
    type Seed = ();

    fn create(_: (), scope: &mut Scope<'_, Self>) -> rotor_fsm::Result<Response<Self>> {
        scope.work(|| (), |()| ())?;
        Ok(Response::of(Self))
    }

    fn wakeup(self, _: (), _: &mut Scope<'_, Self>) -> rotor_fsm::Result<Response<Self>> {
        Ok(Response::done())
    }
}

/// The length of the affinity masks that `core_affinity` uses, `CPU_SETSIZE` where there is one.
const CORES_MAX: usize = 1024;

fn unpinned(workers: usize, warning: Option<&str>) -> Plan {
    Plan {
        acceptor: None,
        workers: vec![None; workers],
        warnings: warning.into_iter().map(str::to_owned).collect(),
    }
}

/// One warning for each core that is planned for and may not be used.
fn refusals(acceptor: Option<usize>, workers: &[usize], available: &[usize]) -> Vec<String> {
    let mut refused: Vec<usize> = acceptor
        .into_iter()
        .chain(workers.iter().copied())
        .collect();
    refused.retain(|core| !available.contains(core));
    refused.sort_unstable();
    refused.dedup();
    let warning = |core: usize| {
        let ours = acceptor
            .filter(|&ours| ours == core)
            .map(|_| "the acceptor".to_owned());
        let theirs = (0..).zip(workers).filter(|&(_, &theirs)| theirs == core);
        let threads: Vec<String> = ours
            .into_iter()
            .chain(theirs.map(|(worker, _): (usize, _)| format!("worker {worker}")))
            .collect();
        format!(
            "core {core} may not be used by this process (it may use {}); not pinned: {}",
            list(available),
            threads.join(", ")
        )
    };
    refused.into_iter().map(warning).collect()
}

/// Core numbers in short: `0-3, 8`.
fn list(cores: &[usize]) -> String {
    if cores.is_empty() {
        return "none that is known".to_owned();
    }
    let runs = cores.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_plan_for_each_kind_of_wish() {
        type Case = (
            Pin,
            usize,
            &'static [usize],
            Option<usize>,
            &'static [Option<usize>],
        );
        let cases: [Case; 11] = [
            (Pin::No, 2, &[0, 1, 2], None, &[None, None]),
            // More cores than workers: the first is the acceptor's.
            (Pin::Auto, 2, &[0, 1, 2], Some(0), &[Some(1), Some(2)]),
            (Pin::Auto, 2, &[0, 1, 2, 3], Some(0), &[Some(1), Some(2)]),
            (Pin::Auto, 1, &[4, 6], Some(4), &[Some(6)]),
            // As many, or fewer: the workers take all of them.
            (Pin::Auto, 2, &[0, 1], None, &[Some(0), Some(1)]),
            (Pin::Auto, 3, &[5, 7], None, &[Some(5), Some(7), Some(5)]),
            (Pin::Auto, 1, &[0], None, &[Some(0)]),
            // Named cores keep their order, and may be named twice.
            ([3, 1].into(), 2, &[0, 1, 2, 3], None, &[Some(3), Some(1)]),
            (
                [2, 3, 1].into(),
                2,
                &[0, 1, 2, 3],
                Some(2),
                &[Some(3), Some(1)],
            ),
            ([1, 1].into(), 2, &[0, 1], None, &[Some(1), Some(1)]),
            (Pin::Auto, 0, &[0], Some(0), &[]),
        ];
        for (pin, workers, available, acceptor, planned) in cases {
            let plan = plan(&pin, workers, available);
            assert_eq!(plan.acceptor, acceptor, "{pin:?} {workers} {available:?}");
            assert_eq!(plan.workers, planned, "{pin:?} {workers} {available:?}");
            assert_eq!(plan.warnings, [""; 0], "{pin:?} {workers} {available:?}");
        }
    }

    #[test]
    fn cores_that_may_not_be_used_leave_their_threads_unpinned() {
        let with_acceptor = plan(&[9, 1, 9].into(), 2, &[0, 1, 2, 5]);
        assert_eq!(with_acceptor.acceptor, None);
        assert_eq!(with_acceptor.workers, [Some(1), None]);
        assert_eq!(
            with_acceptor.warnings,
            [
                "core 9 may not be used by this process (it may use 0-2, 5); \
              not pinned: the acceptor, worker 1"
            ]
        );
        let shared = plan(&[1, 8].into(), 4, &[0, 1]);
        assert_eq!(shared.workers, [Some(1), None, Some(1), None]);
        assert!(shared.warnings[0].ends_with("not pinned: worker 1, worker 3"));
        // A core that is named and not needed is no reason to warn.
        assert_eq!(plan(&[0, 1, 77].into(), 1, &[0, 1]).warnings, [""; 0]);
    }

    #[test]
    fn nothing_to_choose_from_is_said() {
        for (pin, available) in [(Pin::Auto, [].as_slice()), (Pin::from([]), &[0])] {
            let plan = plan(&pin, 2, available);
            assert_eq!((plan.acceptor, plan.workers), (None, vec![None; 2]));
            assert_eq!(plan.warnings.len(), 1);
        }
        assert!(plan(&[4].into(), 1, &[]).warnings[0].contains("none that is known"));
    }

    #[test]
    fn a_wish_is_made_from_what_is_at_hand() {
        assert_eq!(Pin::from(true), Pin::Auto);
        assert_eq!(Pin::from(true), Pin::default());
        assert_eq!(Pin::from(false), Pin::No);
        assert_eq!(Pin::from(vec![1, 2]), Pin::from([1, 2]));
        assert_eq!(Pin::from(&[1, 2][..]), Pin::from([1, 2]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pinned_thread_may_use_that_core_alone() {
        let core = *available().last().expect("Linux says");
        let after = std::thread::spawn(move || pin_current(core).map(|()| available()));
        assert_eq!(after.join().unwrap(), Ok(vec![core]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_core_that_is_not_there_is_refused() {
        for core in [CORES_MAX - 1, CORES_MAX, usize::MAX] {
            let refused = std::thread::spawn(move || pin_current(core))
                .join()
                .unwrap();
            assert_eq!(
                refused,
                Err(format!("pinning a thread to core {core} was refused"))
            );
        }
    }

    fn pins() -> impl Strategy<Value = Pin> {
        prop_oneof![
            Just(Pin::No),
            Just(Pin::Auto),
            proptest::collection::vec(0..12_usize, 0..8).prop_map(Pin::Cores),
        ]
    }

    proptest! {
        #[test]
        fn every_plan_is_usable_even_and_says_what_is_missing(
            pin in pins(),
            workers in 0..20_usize,
            available in proptest::collection::btree_set(0..12_usize, 0..8),
        ) {
            let available: Vec<usize> = available.into_iter().collect();
            let plan = plan(&pin, workers, &available);
            prop_assert_eq!(plan.workers.len(), workers);
            let pinned = plan.workers.iter().flatten().chain(&plan.acceptor);
            prop_assert!(pinned.clone().all(|core| available.contains(core)));
            if pin == Pin::No {
                prop_assert_eq!(pinned.count(), 0);
                prop_assert!(plan.warnings.is_empty());
                return Ok(());
            }
            let complete = plan.workers.iter().all(Option::is_some);
            prop_assert!(complete || !plan.warnings.is_empty());
            if let Some(acceptor) = plan.acceptor && pin == Pin::Auto {
                prop_assert!(!plan.workers.contains(&Some(acceptor)));
            }
            if pin == Pin::Auto && complete && workers > 0 {
                let load = |core: &usize| plan.workers.iter().filter(|&&w| w == Some(*core)).count();
                let loads = available.iter().filter(|&&core| plan.acceptor != Some(core)).map(load);
                let (least, most) = (loads.clone().min(), loads.max());
                prop_assert!(most.unwrap_or(0) <= least.unwrap_or(0) + 1, "{:?}", plan);
            }
        }
    }
}
