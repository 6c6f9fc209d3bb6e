//! The rules of machines and loops (R1 to R16) on the libuv loop, each test named after the rule that it would see
//! broken. The simulator has tests of its own, and so have allocations (a program with its own allocator).

mod asking;
mod common;
mod composition;
mod deadlines;
mod faults;
mod handing;
mod leases;
mod limits;
mod messages;
mod panics;
mod permits;
mod races;
mod responses;
mod sockets;
mod spawning;
mod teardown;
mod threads;
mod turns;
mod waking;
mod world;
