//! Simplifies an expression.
//!
//! Invariant: where an expression has a value, what it is simplified to has the same. (The other way round it may have one
//! where there was none: `x / x` becomes 1, also where `x` is 0.)

use super::evaluate::apply;
use super::expr::{Expr, Op};

/// The same in fewer words, if a rule of it fits. Never larger than it was.
pub fn simplify(expr: Expr) -> Expr {
    match expr {
        Expr::Number(_) | Expr::Variable(_) => expr,
        Expr::Negate(inner) => negate(simplify(*inner)),
        Expr::Binary(op, left, right) => combine(op, simplify(*left), simplify(*right)),
    }
}

fn negate(inner: Expr) -> Expr {
    match inner {
        Expr::Number(number) => Expr::Number(-number),
        Expr::Negate(inner) => *inner,
        other => Expr::Negate(Box::new(other)),
    }
}

/// Of parts that are simple already.
fn combine(op: Op, left: Expr, right: Expr) -> Expr {
    if let (Expr::Number(a), Expr::Number(b)) = (&left, &right) {
        // What has no value stays as it is, for the one who evaluates it to be told.
        return match apply(op, *a, *b) {
            Ok(value) => Expr::Number(value),
            Err(_) => Expr::binary(op, left, right),
        };
    }
    match (op, left, right) {
        (Op::Add | Op::Subtract, left, Expr::Number(0.0)) => left,
        (Op::Add, Expr::Number(0.0), right) => right,
        (Op::Subtract, Expr::Number(0.0), right) => negate(right),
        (Op::Add, left, Expr::Negate(right)) => combine(Op::Subtract, left, *right),
        (Op::Subtract, left, Expr::Negate(right)) => combine(Op::Add, left, *right),
        (Op::Subtract, left, right) if left == right => Expr::Number(0.0),

        (Op::Multiply | Op::Divide | Op::Power, left, Expr::Number(1.0)) => left,
        (Op::Multiply, Expr::Number(1.0), right) => right,
        (Op::Multiply, Expr::Number(0.0), _) | (Op::Multiply, _, Expr::Number(0.0)) => {
            Expr::Number(0.0)
        }
        (Op::Divide, Expr::Number(0.0), _) => Expr::Number(0.0),
        (Op::Divide, left, right) if left == right => Expr::Number(1.0),

        (Op::Power, _, Expr::Number(0.0)) | (Op::Power, Expr::Number(1.0), _) => Expr::Number(1.0),
        (op, left, right) => Expr::binary(op, left, right),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Variable;
    use super::super::evaluate::evaluate;
    use super::super::parse::parse;
    use super::super::testing::exprs;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_apply_from_the_inside_out() {
        for (text, simpler) in [
            ("2 * (x + 3) + 0 * y", "2 * (x + 3)"),
            ("2 * 3 + 4", "10"),
            ("(x + y) - (x + y)", "0"),
            ("(a * b) / (a * b)", "1"),
            ("x ^ 1 + y ^ 0", "x + 1"),
            ("0 - x", "-x"),
            ("-(-x)", "x"),
            ("-(2)", "-2"),
            ("x - -y", "x + y"),
            ("x + -x", "0"),
            ("1 / 0", "1 / 0"),
            ("0 / 0", "0 / 0"),
            ("10 ^ 400 + 0", "10 ^ 400"),
            ("x + y", "x + y"),
        ] {
            assert_eq!(
                simplify(parse(text).unwrap()).to_string(),
                simpler,
                "{text}"
            );
        }
    }

    fn size(expr: &Expr) -> usize {
        1 + match expr {
            Expr::Number(_) | Expr::Variable(_) => 0,
            Expr::Negate(inner) => size(inner),
            Expr::Binary(_, left, right) => size(left) + size(right),
        }
    }

    proptest! {
        #[test]
        fn values_stay_and_nothing_grows(
            expr in exprs(),
            x in prop_oneof![Just(0.0), Just(1.0), Just(-2.0), -100.0..100.0],
            y in prop_oneof![Just(0.0), Just(-1.0), -1e200..1e200],
        ) {
            let variables = [("x", x), ("y", y)].map(|(name, value)| Variable { name: name.into(), value });
            let simpler = simplify(expr.clone());
            if let Ok(value) = evaluate(&expr, &variables) {
                prop_assert_eq!(evaluate(&simpler, &variables), Ok(value), "{} as {}", expr, simpler);
            }
            prop_assert!(size(&simpler) <= size(&expr) && simpler.depth() <= expr.depth());
            prop_assert_eq!(simplify(simpler.clone()), simpler);
        }
    }
}
