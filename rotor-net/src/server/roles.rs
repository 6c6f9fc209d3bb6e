//! The types that a server is made of, under one name, so that its machines have one parameter.

use rotor_fsm::{Hosts, Machine};
use std::marker::PhantomData;

/// What the machines of a worker are.
pub trait Roles: 'static {
    /// What the machines of a worker share.
    type Context: 'static;
    /// Serves one connection.
    type Connection: Machine<Context = Self::Context>;
    /// All machines of the program on a worker; often the connection's type itself.
    type App: Machine<Context = Self::Context> + Hosts<Self::Connection>;
    /// What can be broadcast to the workers.
    type Message: Send + 'static;
}

/// Connections served by `M`, on loops of `C`, which hear messages of type `T`.
pub struct Of<M, C, T>(PhantomData<(M, C, T)>);

impl<M, C, T> Roles for Of<M, C, T>
where
    M: Machine,
    C: Machine<Context = M::Context> + Hosts<M>,
    T: Send + 'static,
{
    type Context = M::Context;
    type Connection = M;
    type App = C;
    type Message = T;
}
