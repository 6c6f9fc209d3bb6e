//! `serve`: the one-line server.

use crate::accept::{Accept, AcceptSeed};
use crate::stream::Stream;
use crate::streams::Streams;
use crate::{Limits, Protocol};
use rotor_fsm::{Addr, Config, EndHook, Loop, MachineId, Reason, Result, Verdict};
use std::sync::{Arc, OnceLock};

rotor_fsm::compose! {
    /// A listener and its connections: what [`serve`] runs.
    pub enum Service<P: Protocol>(P::Context) { Accept(Accept<P>), Stream(Stream<P>) }
}

/// Serves `P` at `at` (`IP:PORT`, `[IPv6]:PORT` or `unix:PATH`) on this thread, until SIGTERM or SIGINT: then it takes
/// no more connections, tells every protocol to [`finish`](Protocol::finish), and returns when all have, or after 10
/// seconds. Prints nothing.
///
/// # Errors
/// An address that cannot be read or listened at; what the system refuses. The end of a connection is no error.
pub fn serve<P>(at: &str, limits: Limits, context: P::Context) -> Result<()>
where
    P: Protocol<Seed: Default>,
{
    serve_with::<P>(at, limits, Config::default(), context, |_| ())
}

/// The same with a loop's configuration, and a function that is told the address once connections are taken.
///
/// An end hook in `config` hears of every machine's end, as usual; a listener that fails stops the loop in any case.
///
/// # Errors
/// As [`serve`].
pub fn serve_with<P>(
    at: &str,
    limits: Limits,
    mut config: Config,
    context: P::Context,
    listening: impl FnOnce(&Addr) + 'static,
) -> Result<()>
where
    P: Protocol<Seed: Default>,
{
    let at: Addr = at.parse()?;
    let streams = Streams::new(limits);
    let output_bytes_max = streams.limits().output_bytes_max;
    config.output_bytes_max = config.output_bytes_max.max(output_bytes_max);
    let listener = Arc::new(OnceLock::new());
    config.on_end = Some(stop_with(listener.clone(), config.on_end.take()));

    let mut spawner = None;
    let mut main_loop = Loop::<Service<P>>::new(config, |setup| {
        spawner = Some(setup.spawner::<Stream<P>>());
        Ok(context)
    })?;
    main_loop.shutdown_on_signals()?;
    if let Some(spawner) = spawner {
        let seed = AcceptSeed::new(at, &streams, &spawner, |_| P::Seed::default());
        let accept = main_loop.spawn::<Accept<P>>(seed.on_listening(listening))?;
        let _ = listener.set(accept.id());
    }
    main_loop.run()
}

/// Stops the loop if this machine fails; all else is for the other hook to decide.
pub(crate) fn stop_with(machine: Arc<OnceLock<MachineId>>, mut other: Option<EndHook>) -> EndHook {
    Box::new(move |id, reason| {
        let verdict = other
            .as_mut()
            .map_or(Verdict::Continue, |hook| hook(id, reason));
        match reason {
            Reason::Failed(_) | Reason::Panicked(_) if machine.get() == Some(&id) => Verdict::Stop,
            _ => verdict,
        }
    })
}
