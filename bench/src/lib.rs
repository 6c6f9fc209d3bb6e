//! What the benchmark programs share: command lines, medians, plain postcard, and what the kernel knows of processes.
//!
//! Nothing here is measured itself. The servers in `src/bin` are the yardsticks that our samples
//! are held against; `run.sh` beside this crate starts them, measures, and says PASS or FAIL.

pub mod args;
pub mod cpu;
pub mod plain;
pub mod process;
pub mod rate;
