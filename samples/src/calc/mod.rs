//! A calculator over typed RPC: an expression travels as the tree that it is, and is evaluated or simplified by the
//! server.
//!
//! ```text
//! text ─ parse ─→ Expr ── calc::Client ──→ Calculator: evaluate, simplify ──→ f64, Expr ─ Display ─→ text
//! ```

pub mod evaluate;
pub mod expr;
pub mod parse;
pub mod simplify;
#[cfg(test)]
mod testing;

use evaluate::{Problem, evaluate};
use expr::Expr;
use rotor_net::rpc::{CallScope, Reply, Shape, service};
use serde::{Deserialize, Serialize};
use simplify::simplify;

service! {
    /// Expressions and what they come to.
    pub mod calc {
        /// The value of an expression.
        fn evaluate(expr: Expr, variables: Vec<Variable>) -> Result<f64, Problem>;
        /// A simpler expression of the same value.
        fn simplify(expr: Expr) -> Expr;
    }
}

/// A variable's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub value: f64,
}

/// The service. What a frame holds is computed in moments, so it answers at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calculator;

impl calc::Service for Calculator {
    type Context = ();

    fn evaluate(
        &mut self,
        expr: Expr,
        variables: Vec<Variable>,
        reply: Reply<Result<f64, Problem>>,
        _: &mut CallScope<'_, ()>,
    ) {
        reply.ok(evaluate(&expr, &variables));
    }

    fn simplify(&mut self, expr: Expr, reply: Reply<Expr>, _: &mut CallScope<'_, ()>) {
        reply.ok(simplify(expr));
    }
}
