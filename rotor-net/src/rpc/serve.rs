//! `Serve`: a service as its session sees it, which is what `service!` emits for an `impl Service`; and what it is
//! given: who greets, and calls as they arrive.

use super::call::{CallInfo, ServiceInfo};
use super::error::CallError;
use super::reply::RawReply;
use super::scope::CallScope;
use super::session::Arrived;
use std::fmt;

/// A service: what a [`Session`](super::Session) calls. Written by hand only for what `service!` cannot say.
///
/// One value serves one connection. Its handlers run on the connection's loop and must not block: what takes time goes
/// to [`CallScope::work`], another machine or a thread, along with the [`Reply`](super::Reply).
///
/// A handler that panics fails its call; the connection lives on, and so does this value, with what the handler had
/// changed by then.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served",
    label = "needs `impl Serve for {Self}`",
    note = "a type that implements a service's `Service` trait is served as `Server(it)`, from the same module"
)]
pub trait Serve: Sized + 'static {
    /// What all machines of the loop share: `scope.ctx`.
    type Context: 'static;

    /// The service's calls. Always the same.
    fn info() -> &'static ServiceInfo;

    /// A client greets, once per connection, before it learns what the service offers. A panic ends the connection.
    ///
    /// # Errors
    /// What is refused is told the client, and the connection ends.
    fn admit(
        &mut self,
        hello: &Greeting<'_>,
        scope: &mut CallScope<'_, Self::Context>,
    ) -> Result<(), Refusal> {
        let _ = (hello, scope);
        Ok(())
    }

    /// A call that is on the menu has arrived; whether this client may make it.
    ///
    /// # Errors
    /// The call fails with [`CallError::Refused`] and these words.
    fn authorise(
        &mut self,
        call: &CallInfo,
        scope: &mut CallScope<'_, Self::Context>,
    ) -> Result<(), Refusal> {
        let _ = (call, scope);
        Ok(())
    }

    /// A call that is not on the menu has arrived, under the policy [`Unknown::Proxy`](super::Unknown::Proxy).
    fn unknown(
        &mut self,
        call: UnknownCall<'_>,
        reply: RawReply,
        scope: &mut CallScope<'_, Self::Context>,
    ) {
        let _ = (call, scope);
        reply.fail(CallError::Unknown);
    }

    /// A call has arrived that may be made: hands it to the handler that its [rank](Arrived::rank) names.
    ///
    /// # Errors
    /// What the call fails with, if nothing has been taken yet that answers it: most often that
    /// [`Arrived::request`] refused.
    fn dispatch(
        &mut self,
        call: Arrived<'_>,
        scope: &mut CallScope<'_, Self::Context>,
    ) -> Result<(), CallError>;
}

/// How a client introduces itself.
#[derive(Clone, Copy)]
pub struct Greeting<'a> {
    pub(crate) credential: &'a [u8],
}

impl Greeting<'_> {
    /// What the client wants to be known by, such as a token ([`ClientConfig::credential`](super::ClientConfig)). Empty
    /// if it sent nothing.
    pub fn credential(&self) -> &[u8] {
        self.credential
    }
}

impl fmt::Debug for Greeting<'_> {
    /// Without the credential, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Greeting({} bytes)", self.credential.len())
    }
}

/// Why a client, or one of its calls, is turned away: words for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub(crate) Box<str>);

impl From<&str> for Refusal {
    fn from(words: &str) -> Self {
        Self(words.into())
    }
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A call that is not on the menu, as it came.
#[derive(Clone, Copy, Debug)]
pub struct UnknownCall<'a> {
    /// Its name, if the client knew that it is not on the menu.
    pub name: Option<&'a str>,
    /// Its version; 0 if it came without a name.
    pub version: u16,
    /// The rank that the menu does not have, if it came without a name.
    pub rank: Option<u16>,
    /// The request's bytes.
    pub request: &'a [u8],
}
