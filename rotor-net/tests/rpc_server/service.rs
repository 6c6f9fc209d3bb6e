//! The service under test, written by hand, with a call for each thing that a handler may do.

use crate::bench::*;
use rotor_net::prelude::*;
use rotor_net::rpc::{
    Arrived, CallError, CallInfo, CallKind, CallScope, Greeting, Method, NoItems, Older, RawReply,
    Refusal, Serve, ServiceInfo, TypeInfo, UnknownCall, VersionInfo,
};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};

/// The service.
#[derive(Default)]
pub struct Bench {
    credential: Vec<u8>,
}

impl Serve for Bench {
    type Context = Arc<Desk>;

    fn info() -> &'static ServiceInfo {
        static INFO: OnceLock<ServiceInfo> = OnceLock::new();
        INFO.get_or_init(info)
    }

    fn admit(
        &mut self,
        hello: &Greeting<'_>,
        scope: &mut CallScope<'_, Arc<Desk>>,
    ) -> Result<(), Refusal> {
        if scope.ctx.counted {
            crate::counting::count_here(true);
        }
        if hello.credential() == b"wrong" {
            return Err("the credential is wrong".into());
        }
        assert_ne!(hello.credential(), b"panic", "asked to");
        self.credential = hello.credential().to_vec();
        Ok(())
    }

    fn authorise(
        &mut self,
        call: &CallInfo,
        scope: &mut CallScope<'_, Arc<Desk>>,
    ) -> Result<(), Refusal> {
        if scope.meta() == b"forbidden" {
            return Err(format!("no {} for you", call.name).into());
        }
        assert_ne!(scope.meta(), b"panic", "asked to");
        Ok(())
    }

    fn unknown(
        &mut self,
        call: UnknownCall<'_>,
        reply: RawReply,
        scope: &mut CallScope<'_, Arc<Desk>>,
    ) {
        scope.ctx.handled.fetch_add(1, SeqCst);
        let (name, version) = (call.name.unwrap_or("-"), call.version);
        let words = format!("{name} {version} {:?} {:?}", call.rank, call.request);
        match call.request {
            b"fail" => reply.fail(CallError::Remote(words.into())),
            b"drop" => drop(reply),
            _ => reply.ok(words.as_bytes()),
        }
    }

    fn dispatch(
        &mut self,
        call: Arrived<'_>,
        scope: &mut CallScope<'_, Arc<Desk>>,
    ) -> Result<(), CallError> {
        scope.ctx.handled.fetch_add(1, SeqCst);
        let keep = |scope: &mut CallScope<'_, Arc<Desk>>, kept| {
            let _ = scope.ctx.kept.lock().unwrap().send(kept);
        };
        match call.rank() {
            ECHO => {
                let bytes: Vec<u8> = call.request()?;
                call.reply().ok(bytes);
            }
            KEEP => {
                let number = call.request()?;
                keep(scope, Kept::Reply(number, call.reply()));
            }
            PANIC => {
                let _reply = call.reply::<()>();
                panic_quietly();
            }
            DROP => drop(call.reply::<()>()),
            ITEMS => keep(scope, Kept::Items(call.sender())),
            SUM => keep(scope, Kept::Sum(call.receiver(), call.reply())),
            CHAT => keep(scope, Kept::Chat(call.receiver(), call.sender())),
            NOTE => {
                if scope.ctx.counted {
                    return Ok(());
                }
                let _ = scope.ctx.notes.lock().unwrap().send(call.request()?);
            }
            TREE => {
                let mut tree = &call.request::<Tree>()?;
                let mut depth = 0_u32;
                while let Tree::Node(inner) = tree {
                    (tree, depth) = (inner, depth + 1);
                }
                call.reply().ok(depth);
            }
            UNITS => {
                let units: Vec<()> = call.request()?;
                call.reply().ok(units.len() as u64);
            }
            BIG => {
                let bytes: u32 = call.request()?;
                call.reply().ok(vec![b'x'; bytes.min(4 << 20) as usize]);
            }
            POOL => {
                let number: u32 = call.request()?;
                let reply = call.reply::<u32>();
                scope
                    .work(
                        move || {
                            assert_ne!(number, 13, "asked to, in the job");
                            number + 1
                        },
                        |number| {
                            assert_ne!(number, 15, "asked to, after the job");
                            reply.ok(number);
                        },
                    )
                    .map_err(|error| CallError::Remote(error.to_string().into()))?;
            }
            PEEK => {
                let now = scope.now();
                let left = scope
                    .deadline()
                    .map(|deadline| deadline.since(now).as_millis() as u64);
                let port = match scope.peer() {
                    Ok(Addr::Tcp(addr)) => addr.port(),
                    other => panic!("{other:?}"),
                };
                let reply = call.reply();
                assert_eq!(reply.deadline(), scope.deadline());
                assert!(!reply.is_cancelled());
                reply.ok((scope.meta().to_vec(), left, port, self.credential.clone()));
            }
            TWICE => {
                let number: u64 = call.request()?;
                call.reply().ok(number * 2);
                for parked in scope.ctx.parked.lock().unwrap().drain(..) {
                    parked.ok(number);
                }
            }
            TWICE_1 => {
                let number = Twice1::upgrade_request(call.request()?)?;
                call.reply_older::<Twice, Twice1>().ok(number * 2);
            }
            KEEP_AND_PANIC => {
                keep(scope, Kept::Reply(0, call.reply()));
                panic_quietly();
            }
            IGNORE => {}
            ONE_ITEM => {
                let mut items = call.sender::<Vec<u8>>();
                let sent = items.send(b"only".to_vec());
                assert!(sent.is_ok());
                items.end()?;
            }
            KEEP_BIG => keep(scope, Kept::Big(call.reply())),
            PARK => scope.ctx.parked.lock().unwrap().push(call.reply()),
            ELSEWHERE => {
                let number: u32 = call.request()?;
                let reply = call.reply::<u32>();
                let thread = std::thread::spawn(move || {
                    assert!(!reply.is_cancelled());
                    reply.ok(number);
                });
                thread.join().expect("it answers");
            }
            other => panic!("rank {other} is not on the menu"),
        }
        Ok(())
    }
}

/// Without a backtrace, which takes more memory than all else.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("asked to"))
}

fn info() -> ServiceInfo {
    use CallKind::{BothStreams, ClientStream, OneWay, ServerStream, Unary};
    let call = |name, kind, versions: &[u16]| CallInfo {
        name,
        kind,
        versions: versions
            .iter()
            .map(|number| VersionInfo {
                number: *number,
                request: TypeInfo::unchecked::<()>(),
                input: TypeInfo::unchecked::<NoItems>(),
                output: TypeInfo::unchecked::<()>(),
                signature: format!("{name}(…)"),
            })
            .collect(),
    };
    ServiceInfo {
        name: "bench",
        calls: vec![
            call("echo", Unary, &[1]),
            call("keep", Unary, &[1]),
            call("panic", Unary, &[1]),
            call("drop", Unary, &[1]),
            call("items", ServerStream, &[1]),
            call("sum", ClientStream, &[1]),
            call("chat", BothStreams, &[1]),
            call("note", OneWay, &[1]),
            call("tree", Unary, &[1]),
            call("units", Unary, &[1]),
            call("big", Unary, &[1]),
            call("pool", Unary, &[1]),
            call("peek", Unary, &[1]),
            call("twice", Unary, &[2, 1]),
            call("keep_and_panic", Unary, &[1]),
            call("ignore", Unary, &[1]),
            call("one_item", ServerStream, &[1]),
            call("keep_big", Unary, &[1]),
            call("park", Unary, &[1]),
            call("elsewhere", Unary, &[1]),
        ],
    }
}

/// The call `twice`.
pub struct Twice;

impl Method for Twice {
    type Request = u64;
    type Input = NoItems;
    type Output = u64;
    const INDEX: usize = 13;

    fn service() -> &'static ServiceInfo {
        Bench::info()
    }
}

/// Its version 1, which knew only small numbers.
pub struct Twice1;

impl Older<Twice> for Twice1 {
    type Request = (u8,);
    type Input = ();
    type Output = (u8,);

    fn upgrade_request(old: (u8,)) -> Result<u64, CallError> {
        Ok(old.0.into())
    }

    fn downgrade_output(new: u64) -> Result<(u8,), CallError> {
        let small = u8::try_from(new).map_err(|_| CallError::Remote("too much for 1".into()))?;
        Ok((small,))
    }

    fn downgrade_request(_: &u64) -> Result<(u8,), CallError> {
        unreachable!("a client's")
    }

    fn upgrade_output(_: (u8,)) -> Result<u64, CallError> {
        unreachable!("a client's")
    }
}
