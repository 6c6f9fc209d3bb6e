//! The calls of these tests, by hand: what `service!` emits is tested elsewhere.

use crate::wire::{Entry, Welcome};
use rotor_net::rpc::codec::{self, Limits};
use rotor_net::rpc::{
    CallError, CallInfo, CallKind, Method, NoItems, ServiceInfo, TypeInfo, VersionInfo,
};
use std::sync::LazyLock;

/// Ranks on the menu.
pub const DOUBLE: u16 = 0;
pub const COUNT: u16 = 1;
pub const SUM: u16 = 2;
pub const TOUCH: u16 = 4;
pub const POWER_1: u16 = 6;

macro_rules! method {
    ($name:ident, $index:expr, $request:ty, $input:ty, $output:ty $(, $older:item)*) => {
        pub struct $name;
        impl Method for $name {
            type Request = $request;
            type Input = $input;
            type Output = $output;
            const INDEX: usize = $index;
            fn service() -> &'static ServiceInfo {
                &INFO
            }
            $($older)*
        }
    };
}

method!(Double, 0, u32, NoItems, u32);
method!(Count, 1, u32, NoItems, u32);
method!(Sum, 2, u32, u32, u32);
method!(Chat, 3, u32, u32, u32);
method!(Touch, 4, u32, NoItems, ());
// Version 2 has a base and an exponent; version 1 knew squares alone, and its answer was text.
method!(
    Power,
    5,
    (u32, u32),
    NoItems,
    u64,
    fn encode_older(
        version: usize,
        request: &(u32, u32),
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        assert_eq!(version, 1);
        match request {
            (base, 2) => codec::encode(base, limits, out).map_err(CallError::Encode),
            _ => Err(CallError::Remote("version 1 knows squares alone".into())),
        }
    },
    fn decode_older(version: usize, bytes: &[u8], limits: &Limits) -> Result<u64, CallError> {
        assert_eq!(version, 1);
        let text: String = codec::decode(bytes, limits).map_err(CallError::Decode)?;
        text.parse()
            .map_err(|_| CallError::Remote("not a number".into()))
    }
);

static INFO: LazyLock<ServiceInfo> = LazyLock::new(|| {
    let info = |name, digest| TypeInfo { name, digest };
    let version = |number: u16, name: &str, first: u64| VersionInfo {
        number,
        request: info("Request", first),
        input: info("Input", first + 1),
        output: info("Output", first + 2),
        signature: format!("{name}(..)"),
    };
    let call = |name: &'static str, kind, numbers: &[u16]| CallInfo {
        name,
        kind,
        versions: numbers
            .iter()
            .map(|&number| version(number, name, 100 * u64::from(number)))
            .collect(),
    };
    ServiceInfo {
        name: "tests",
        calls: vec![
            call("double", CallKind::Unary, &[1]),
            call("count", CallKind::ServerStream, &[1]),
            call("sum", CallKind::ClientStream, &[1]),
            call("chat", CallKind::BothStreams, &[1]),
            call("touch", CallKind::OneWay, &[1]),
            call("power", CallKind::Unary, &[2, 1]),
        ],
    }
});

pub fn entry(name: &str, version: u16, kind: u32) -> Entry {
    let first = 100 * u64::from(version);
    let digests = [first, first + 1, first + 2];
    (
        name.to_owned(),
        version,
        kind,
        digests,
        format!("{name}(..)"),
    )
}

/// A server of all calls, in all versions.
pub fn welcome() -> Welcome {
    Welcome {
        frame_bytes_max: 10_000,
        window_bytes: 1000,
        in_flight_max: 16,
        meta_bytes_max: 10,
        takes_unknown: false,
        entries: vec![
            entry("double", 1, 0),
            entry("count", 1, 1),
            entry("sum", 1, 2),
            entry("chat", 1, 3),
            entry("touch", 1, 4),
            entry("power", 2, 0),
            entry("power", 1, 0),
        ],
    }
}
