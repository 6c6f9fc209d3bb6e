//! Any bytes are a value or a named error. A value can be encoded, and then decoded to the same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rich::Rich;
use rotor_net::rpc::codec::{self, Limits};

#[path = "../../tests/rpc_codec/rich.rs"]
mod rich;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = codec::decode::<Rich>(bytes, &Limits::DEFAULT) {
        let again = encoded(&value);
        let value = codec::decode::<Rich>(&again, &Limits::DEFAULT).expect("it was just encoded");
        assert_eq!(encoded(&value), again);
    }
});

fn encoded(value: &Rich) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(value, &Limits::DEFAULT, &mut out).expect("what was decoded can be encoded");
    out
}
