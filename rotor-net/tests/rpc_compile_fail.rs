//! What the macros of typed RPC must not take, and that the words about it help. `TRYBUILD=overwrite` rewrites the
//! expectations.

#![cfg(feature = "rpc")]

#[test]
fn what_must_not_compile_does_not() {
    trybuild::TestCases::new().compile_fail("tests/rpc_compile_fail/*.rs");
}
