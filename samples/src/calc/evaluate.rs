//! Evaluates an expression. As deep as a tree can travel, so recursion is safe.

use super::Variable;
use super::expr::{Expr, Op};
use crate::cli::plain;
use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Problem {
    /// Nobody said what this variable stands for.
    NoValue(String),
    /// Something is divided by zero.
    DivisionByZero,
    /// It is too large, or no real number. Says which part.
    NotANumber(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue(name) => write!(f, "{} has no value", plain(name)),
            Self::DivisionByZero => f.write_str("division by zero"),
            Self::NotANumber(part) => {
                write!(f, "{} is too large, or no real number", plain(part))
            }
        }
    }
}

impl std::error::Error for Problem {}

/// The value of an expression. Every part of it is a finite number. Of variables that are named twice, the last counts.
///
/// # Errors
/// [`Problem`].
pub fn evaluate(expr: &Expr, variables: &[Variable]) -> Result<f64, Problem> {
    let values = variables
        .iter()
        .map(|variable| (variable.name.as_str(), variable.value))
        .collect();
    value_of(expr, &values)
}

fn value_of(expr: &Expr, values: &HashMap<&str, f64>) -> Result<f64, Problem> {
    let value = match expr {
        Expr::Number(number) => *number,
        Expr::Variable(name) => match values.get(name.as_str()) {
            Some(value) => *value,
            None => return Err(Problem::NoValue(name.clone())),
        },
        Expr::Negate(inner) => -value_of(inner, values)?,
        Expr::Binary(op, left, right) => {
            return apply(*op, value_of(left, values)?, value_of(right, values)?);
        }
    };
    finite(value, || expr.to_string())
}

/// What an operation gives.
///
/// # Errors
/// If that is no finite number.
pub(super) fn apply(op: Op, left: f64, right: f64) -> Result<f64, Problem> {
    let value = match op {
        Op::Add => left + right,
        Op::Subtract => left - right,
        Op::Multiply => left * right,
        Op::Divide if right == 0.0 => return Err(Problem::DivisionByZero),
        Op::Divide => left / right,
        Op::Power => left.powf(right),
    };
    let part = || Expr::binary(op, Expr::Number(left), Expr::Number(right)).to_string();
    finite(value, part)
}

fn finite(value: f64, part: impl Fn() -> String) -> Result<f64, Problem> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(Problem::NotANumber(part())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn value(text: &str) -> Result<f64, Problem> {
        let variables = [("x", 4.0), ("y", -2.0), ("x", 3.0)].map(|(name, value)| Variable {
            name: name.to_owned(),
            value,
        });
        evaluate(&parse(text).unwrap(), &variables)
    }

    #[test]
    fn expressions_have_values() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2", -4.0),
            ("10 - 4 - 3", 3.0),
            ("x * y", -6.0),
            ("(x + 1) / 2", 2.0),
            ("4 ^ 0.5", 2.0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_says_why() {
        for (text, expected) in [
            ("z + 1", "z has no value"),
            ("1 / (x - 3)", "division by zero"),
            ("10 ^ 400", "10 ^ 400 is too large, or no real number"),
            ("0 * y ^ 0.5", "(-2) ^ 0.5 is too large, or no real number"),
            ("0 ^ -1", "0 ^ (-1) is too large, or no real number"),
        ] {
            assert_eq!(value(text).unwrap_err().to_string(), expected);
        }
        let infinite = Expr::Number(f64::INFINITY);
        assert!(matches!(
            evaluate(&infinite, &[]),
            Err(Problem::NotANumber(_))
        ));
    }

    /// Servers say it, and may be any.
    #[test]
    fn a_problem_does_not_move_the_terminal() {
        for problem in [Problem::NoValue, Problem::NotANumber] {
            let shown = problem("x\x1b[2J".to_owned()).to_string();
            assert!(shown.starts_with("x\\u{1b}[2J "), "{shown}");
        }
    }
}
