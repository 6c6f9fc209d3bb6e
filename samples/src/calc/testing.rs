//! Expressions for tests.

use super::expr::{Expr, Op};
use proptest::prelude::*;

/// Any expression that can be written. Its numbers are not negative: those are written as the opposite of others.
pub fn exprs() -> impl Strategy<Value = Expr> {
    let numbers = prop_oneof![
        Just(0.0),
        Just(1.0),
        Just(2.0),
        (0..1000).prop_map(f64::from),
        0.0..1e300,
    ];
    let leaves = prop_oneof![
        numbers.prop_map(Expr::Number),
        prop_oneof![Just("x"), Just("y")].prop_map(|name| Expr::Variable(name.to_owned())),
    ];
    let ops = prop_oneof![
        Just(Op::Add),
        Just(Op::Subtract),
        Just(Op::Multiply),
        Just(Op::Divide),
        Just(Op::Power),
    ];
    leaves.prop_recursive(6, 40, 2, move |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|inner| Expr::Negate(Box::new(inner))),
            (ops.clone(), inner.clone(), inner)
                .prop_map(|(op, left, right)| Expr::binary(op, left, right)),
        ]
    })
}
