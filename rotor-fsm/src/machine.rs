//! `Machine`: a state type with one synchronous handler per kind of event.

use crate::error::ErrorKind;
use crate::{Io, Response, Result, Scope};
use uv_sys_wrap::HandleId;

/// A message type without values, for machines that take none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

/// A state machine.
///
/// Handlers consume the state and return the next one, so an enum's transitions are plain `match` arms, and a
/// machine that panicked is simply gone. They run on the loop's thread, one at a time, and must not block: blocking
/// work goes through [`Scope::work`]. `Err` ends the machine and reaches the end hook.
///
/// Only `create` is required. The defaults say something: an unhandled I/O event or message ends the machine with a
/// named error, and so does a deadline without `timeout`; an unhandled `finish` ends it quietly.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state machine",
    label = "needs `impl Machine for {Self}`",
    note = "several machine types become one with `rotor_fsm::compose! {{ enum App(Context) {{ A(A), B(B) }} }}`"
)]
pub trait Machine: Sized + 'static {
    /// What all machines of the loop share: `scope.ctx`.
    type Context: 'static;
    /// What other threads and machines may send it; [`Never`] for nothing.
    type Message: Send + 'static;
    /// What a machine is made from: plain data, so that spawning allocates nothing.
    type Seed: 'static;

    /// Makes the machine from its seed. It may also answer `done` or fail; then the machine never was.
    fn create(seed: Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>>;

    /// Something happened on a handle of this machine; `on` names the handle.
    fn io(
        self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let _ = (event, on, scope);
        Err(ErrorKind::UnhandledIo.into())
    }

    /// A message arrived.
    fn wakeup(self, message: Self::Message, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let _ = (message, scope);
        Err(ErrorKind::UnhandledMessage.into())
    }

    /// The deadline passed. It is no longer set.
    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let _ = scope;
        Err(ErrorKind::TimedOut.into())
    }

    /// The loop shuts down. Answering a state goes on until the shutdown's deadline.
    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let _ = scope;
        Ok(Response::done())
    }
}

/// A machine type that can hold a machine of type `M`: itself, or an enum made by
/// [`compose!`](crate::compose) that lists it.
///
/// The functions are plain constructors; they run between reserving a place and filling it.
#[diagnostic::on_unimplemented(
    message = "a loop of `{Self}` cannot hold a machine of type `{M}`",
    label = "`{M}` is not a part of `{Self}`",
    note = "list it in `compose! {{ enum {Self}(Context) {{ … }} }}`"
)]
pub trait Hosts<M: Machine<Context = Self::Context>>: Machine {
    /// The seed of the whole that makes this part.
    fn seed(part: M::Seed) -> Self::Seed;
    /// The message of the whole that reaches this part.
    fn message(part: M::Message) -> Self::Message;
}

impl<M: Machine> Hosts<M> for M {
    fn seed(part: M::Seed) -> M::Seed {
        part
    }

    fn message(part: M::Message) -> M::Message {
        part
    }
}
