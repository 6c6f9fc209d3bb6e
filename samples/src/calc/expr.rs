//! `Expr`: an expression as a tree, and how it is written.

use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An expression. It travels as it is, so it can be nested as deeply as the codec allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// What stands for a number.
    Variable(String),
    /// The opposite.
    Negate(Box<Expr>),
    /// Two parts and what is done with them.
    Binary(Op, Box<Expr>, Box<Expr>),
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Op {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`
    Divide,
    /// `a ^ b`
    Power,
}

impl Op {
    /// How it is written.
    pub fn symbol(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
            Self::Power => '^',
        }
    }

    /// How closely it binds.
    pub(super) fn strength(self) -> u8 {
        match self {
            Self::Add | Self::Subtract => SUM,
            Self::Multiply | Self::Divide => PRODUCT,
            Self::Power => POWER,
        }
    }
}

pub(super) const SUM: u8 = 1;
pub(super) const PRODUCT: u8 = 2;
/// A sign binds less than a power: `-2 ^ 2` is -4.
pub(super) const SIGN: u8 = 3;
pub(super) const POWER: u8 = 4;
const ATOM: u8 = 5;

impl Expr {
    /// Two parts and what is done with them.
    pub fn binary(op: Op, left: Self, right: Self) -> Self {
        Self::Binary(op, Box::new(left), Box::new(right))
    }

    /// How deeply it is nested. A number is 1.
    pub fn depth(&self) -> usize {
        1 + match self {
            Self::Number(_) | Self::Variable(_) => 0,
            Self::Negate(inner) => inner.depth(),
            Self::Binary(_, left, right) => left.depth().max(right.depth()),
        }
    }

    fn strength(&self) -> u8 {
        match self {
            Self::Number(number) if number.is_sign_negative() => SIGN,
            Self::Number(_) | Self::Variable(_) => ATOM,
            Self::Negate(_) => SIGN,
            Self::Binary(op, ..) => op.strength(),
        }
    }

    /// Writes it, in parentheses if it binds less than this.
    fn write(&self, strength_min: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.strength() < strength_min {
            write!(f, "({self})")
        } else {
            write!(f, "{self}")
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write_number(*number, f),
            Self::Variable(name) => write!(f, "{}", name.escape_debug()),
            Self::Negate(inner) => {
                f.write_str("-")?;
                // Two signs would read as one that is a typing error.
                inner.write(SIGN + 1, f)
            }
            Self::Binary(op, left, right) => {
                let strength = op.strength();
                // All but powers belong together from the left.
                let (left_min, right_min) = match op {
                    Op::Power => (strength + 1, strength),
                    _ => (strength, strength + 1),
                };
                left.write(left_min, f)?;
                write!(f, " {} ", op.symbol())?;
                right.write(right_min, f)
            }
        }
    }
}

/// As people write numbers, and so that reading it gives the same.
fn write_number(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_handy = number == 0.0 || (1e-6..1e16).contains(&number.abs());
    match is_handy {
        true => write!(f, "{number}"),
        false => write!(f, "{number:e}"),
    }
}
