//! What the benchmark programs share: command lines, medians, and a look into `/proc`.
//!
//! Nothing here is measured itself. The servers in `src/bin` are the yardsticks that our samples
//! are held against; `run.sh` beside this crate starts them, measures, and says PASS or FAIL.

pub mod args;
pub mod process;
pub mod rate;
