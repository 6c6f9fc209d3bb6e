//! What must not compile, and that the compiler's words about it help. `TRYBUILD=overwrite` rewrites the expectations.

#[test]
fn what_must_not_compile_does_not() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
