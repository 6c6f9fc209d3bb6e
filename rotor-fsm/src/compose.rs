//! `compose!`: several machine types, one enum that is a machine.

/// Turns an enum of machines into a machine, so that one loop runs them all.
///
/// ```
/// use rotor_fsm::prelude::*;
/// # struct Boss; struct Worker(u64);
/// # impl Machine for Boss { type Context = (); type Message = Never; type Seed = ();
/// #     fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> { Ok(Response::done()) } }
/// # impl Machine for Worker { type Context = (); type Message = u64; type Seed = u64;
/// #     fn create(n: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> { Ok(Response::of(Worker(n))) } }
/// rotor_fsm::compose! { pub enum App(()) { Boss(Boss), Worker(Worker) } }
/// ```
///
/// All parts share the context type named in parentheses. A part may itself be composed, and the enum may be generic:
/// `enum App<C: 'static>(C) { … }`. The message and seed types stay hidden; what one uses are the parts' own, through
/// [`Spawner`](crate::Spawner)s and [`Notifier`](crate::Notifier)s, so a message for the wrong part does not compile.
/// Dispatching to a part costs one `match` and no allocation.
#[macro_export]
macro_rules! compose {
    ($(#[$attr:meta])* $vis:vis enum $name:ident ($ctx:ty) { $($part:ident($machine:ty)),+ $(,)? }) => {
        $crate::compose!(@ [$(#[$attr])*] [$vis] $name [] [] ($ctx) { $($part($machine)),+ });
    };
    ($(#[$attr:meta])* $vis:vis enum $name:ident < $($param:ident $(: $bound:tt $(+ $more:tt)*)?),+ > ($ctx:ty)
        { $($part:ident($machine:ty)),+ $(,)? }) => {
        $crate::compose!(@ [$(#[$attr])*] [$vis] $name [$($param $(: $bound $(+ $more)*)?),+] [$($param),+] ($ctx)
            { $($part($machine)),+ });
    };
    (@ [$(#[$attr:meta])*] [$vis:vis] $name:ident [$($generics:tt)*] [$($params:ident),*] ($ctx:ty)
        { $($part:ident($machine:ty)),+ }) => {
        $(#[$attr])*
        #[allow(missing_docs)]
        $vis enum $name<$($generics)*> { $($part($machine)),+ }

        const _: () = {
            #[allow(missing_docs)]
            pub enum Seed<$($generics)*> { $($part(<$machine as $crate::Machine>::Seed)),+ }
            #[allow(missing_docs)]
            pub enum Message<$($generics)*> { $($part(<$machine as $crate::Machine>::Message)),+ }

            impl<$($generics)*> $crate::Machine for $name<$($params),*> {
                type Context = $ctx;
                type Message = Message<$($params),*>;
                type Seed = Seed<$($params),*>;

                fn create(seed: Self::Seed, scope: &mut $crate::Scope<'_, Self>)
                    -> $crate::Result<$crate::Response<Self>> {
                    match seed { $(
                        Seed::$part(seed) => scope
                            .part::<$machine>(|scope| $crate::Machine::create(seed, scope))
                            .map(|response| response.map(Self::$part)),
                    )+ }
                }

                fn io(self, event: $crate::Io<'_>, on: $crate::HandleId, scope: &mut $crate::Scope<'_, Self>)
                    -> $crate::Result<$crate::Response<Self>> {
                    match self { $(
                        Self::$part(machine) => scope
                            .part::<$machine>(|scope| machine.io(event, on, scope))
                            .map(|response| response.map(Self::$part)),
                    )+ }
                }

                #[allow(unreachable_patterns)]
                fn wakeup(self, message: Self::Message, scope: &mut $crate::Scope<'_, Self>)
                    -> $crate::Result<$crate::Response<Self>> {
                    match (self, message) {
                        $( (Self::$part(machine), Message::$part(message)) => scope
                            .part::<$machine>(|scope| machine.wakeup(message, scope))
                            .map(|response| response.map(Self::$part)), )+
                        _ => Err($crate::ErrorKind::Misrouted.into()),
                    }
                }

                fn timeout(self, scope: &mut $crate::Scope<'_, Self>) -> $crate::Result<$crate::Response<Self>> {
                    match self { $(
                        Self::$part(machine) => scope
                            .part::<$machine>(|scope| machine.timeout(scope))
                            .map(|response| response.map(Self::$part)),
                    )+ }
                }

                fn finish(self, scope: &mut $crate::Scope<'_, Self>) -> $crate::Result<$crate::Response<Self>> {
                    match self { $(
                        Self::$part(machine) => scope
                            .part::<$machine>(|scope| machine.finish(scope))
                            .map(|response| response.map(Self::$part)),
                    )+ }
                }
            }

            $crate::compose!(@hosts $name [$($generics)*] [$($params),*] $($part($machine))+);
        };
    };
    (@hosts $name:ident $generics:tt $params:tt $($part:ident($machine:ty))+) => {
        $( $crate::compose!(@host $name $generics $params $part($machine)); )+
    };
    (@host $name:ident [$($generics:tt)*] [$($params:ident),*] $part:ident($machine:ty)) => {
        impl<$($generics)*> $crate::Hosts<$machine> for $name<$($params),*> {
            fn seed(part: <$machine as $crate::Machine>::Seed) -> Seed<$($params),*> {
                Seed::$part(part)
            }

            fn message(part: <$machine as $crate::Machine>::Message) -> Message<$($params),*> {
                Message::$part(part)
            }
        }
    };
}
