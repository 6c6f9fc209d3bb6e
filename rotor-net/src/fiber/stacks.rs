//! `Stacks`: the stacks of one loop's fibers, and what fibers leave for the next ones.
//!
//! A fiber takes a stack when it is made and gives it back when it has ended; the one given back last is the next to
//! be taken. In the steady state neither allocates nor enters the kernel.

mod free;
mod mapping;

use self::free::FreeList;
use self::mapping::{Mapping, page_bytes};
use super::config::{FiberLimits, StackConfig};
use super::error::NoStack;
use super::wire::Wire;
use crate::feed::{Held, Spares};
use corosensei::stack::valgrind::ValgrindStackRegistration;
use std::cell::RefCell;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

/// A pool of stacks, from which fibers are made: kept in a loop's context. Clones share it. Neither `Send` nor `Sync`:
/// a fiber never leaves its thread.
#[derive(Clone)]
pub struct Stacks(Rc<Pool>);

struct Pool {
    // Dropped first: it speaks of the mapping.
    registrations: RefCell<Vec<ValgrindStackRegistration>>,
    mapping: Mapping,
    free: RefCell<FreeList>,
    limits: FiberLimits,
    stack_bytes: usize,
    spare_input: RefCell<Vec<SpareInput>>,
    spare_wires: RefCell<Vec<Rc<Wire>>>,
    spare_lists: RefCell<Vec<Wires>>,
}

type SpareInput = Box<Held>;
/// The streams of one fiber.
pub(super) type Wires = Vec<Rc<Wire>>;

/// What a pool holds.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackStats {
    /// Stacks that fibers have now.
    pub in_use: usize,
    /// Free stacks that keep their memory.
    pub warm: usize,
    /// The most that were ever in use at once.
    pub in_use_max: usize,
    /// The most that can be.
    pub stacks_max: usize,
    /// Bytes of one stack.
    pub stack_bytes: usize,
    /// Address space reserved.
    pub reserved_bytes: usize,
}

const STACK_BYTES_MIN: usize = 16 << 10;
/// What is kept of what fibers leave; an input buffer that has grown larger is not.
const SPARES_MAX: usize = 1024;
const SPARE_INPUT_MAX: usize = 64;
const SPARE_INPUT_BYTES_MAX: usize = 64 << 10;

impl Stacks {
    /// Reserves address space for a loop's stacks. Commits nothing yet. Also sees to it that an overflow is reported
    /// on this thread, which is the one that uses the pool.
    ///
    /// # Errors
    /// [`NoStack::System`] if the address space is limited (`ulimit -v`) to less than asked for; [`NoStack::Config`].
    pub fn new(config: StackConfig) -> Result<Self, NoStack> {
        let page_bytes = page_bytes();
        let stack_bytes = config
            .stack_bytes
            .max(STACK_BYTES_MIN)
            .checked_next_multiple_of(page_bytes)
            .ok_or(NoStack::Config(
                "`stack_bytes` is more than an address space holds",
            ))?;
        let mapping = Mapping::reserve(config.stacks_max, stack_bytes, config.guards)?;
        let max = u32::try_from(mapping.slots()).unwrap_or(u32::MAX);
        let warm_max = config.free_bytes_max / stack_bytes;
        Ok(Self(Rc::new(Pool {
            registrations: RefCell::default(),
            mapping,
            free: RefCell::new(FreeList::new(max, warm_max)),
            limits: config.limits.fitted(),
            stack_bytes,
            spare_input: RefCell::default(),
            spare_wires: RefCell::default(),
            spare_lists: RefCell::default(),
        })))
    }

    /// The limits of its fibers.
    pub fn limits(&self) -> &FiberLimits {
        &self.0.limits
    }

    /// What the pool holds now.
    pub fn stats(&self) -> StackStats {
        let free = self.0.free.borrow();
        StackStats {
            in_use: free.in_use(),
            warm: free.warm(),
            in_use_max: free.opened(),
            stacks_max: free.max() as usize,
            stack_bytes: self.0.stack_bytes,
            reserved_bytes: self.0.mapping.reserved_bytes(),
        }
    }

    /// Gives the memory of all free stacks back to the system: after a rush that will not come again soon.
    pub fn trim(&self) {
        while let Some(index) = self.cool() {
            self.discard(index);
        }
    }

    fn cool(&self) -> Option<u32> {
        self.0.free.borrow_mut().cool()
    }

    #[allow(unsafe_code)]
    fn discard(&self, index: u32) {
        // SAFETY: the stack is free, and nobody takes it meanwhile.
        unsafe { self.0.mapping.discard(index) };
    }

    pub(super) fn stack_bytes(&self) -> usize {
        self.0.stack_bytes
    }

    /// A stack of one's own.
    pub(super) fn take(&self) -> Result<Slot, NoStack> {
        let taken = self.0.free.borrow_mut().take();
        let Some(taken) = taken else {
            let stacks_max = self.0.mapping.slots();
            return Err(NoStack::Limit { stacks_max });
        };
        if taken.is_new {
            if let Err(error) = self.0.mapping.open(taken.index) {
                self.0.free.borrow_mut().undo(taken);
                return Err(error);
            }
            let (start, end) = self.0.mapping.slot(taken.index);
            let bytes = end.as_ptr() as usize - start.as_ptr() as usize;
            let registration = ValgrindStackRegistration::new(start.as_ptr(), bytes);
            self.0.registrations.borrow_mut().push(registration);
        }
        Ok(Slot {
            stacks: self.clone(),
            index: taken.index,
        })
    }

    /// A stream's state, as new.
    pub(super) fn wire(&self) -> Rc<Wire> {
        let spare = self.0.spare_wires.borrow_mut().pop();
        spare.unwrap_or_default()
    }

    /// Takes a stream's state back, if nobody else has it.
    pub(super) fn recycle(&self, mut wire: Rc<Wire>) {
        let Some(own) = Rc::get_mut(&mut wire) else {
            return;
        };
        if let Some(held) = own.reset() {
            self.put_back(held);
        }
        keep(&self.0.spare_wires, wire);
    }

    pub(super) fn list(&self) -> Wires {
        let spare = self.0.spare_lists.borrow_mut().pop();
        spare.unwrap_or_default()
    }

    pub(super) fn recycle_list(&self, wires: Wires) {
        debug_assert!(wires.is_empty());
        if wires.capacity() > 0 {
            keep(&self.0.spare_lists, wires);
        }
    }
}

fn keep<T>(spares: &RefCell<Vec<T>>, one: T) {
    let mut spares = spares.borrow_mut();
    if spares.len() < SPARES_MAX {
        spares.push(one);
    }
}

impl Spares for Stacks {
    fn take(&self) -> Box<Held> {
        let spare = self.0.spare_input.borrow_mut().pop();
        spare.unwrap_or_default()
    }

    fn put_back(&self, mut held: Box<Held>) {
        let mut spares = self.0.spare_input.borrow_mut();
        if held.capacity() <= SPARE_INPUT_BYTES_MAX && spares.len() < SPARE_INPUT_MAX {
            held.clear();
            spares.push(held);
        }
    }
}

/// A stack in use; given back when dropped.
pub(super) struct Slot {
    stacks: Stacks,
    index: u32,
}

impl Slot {
    /// Where its memory begins (with the guard), and where it ends.
    pub fn range(&self) -> (NonNull<u8>, NonNull<u8>) {
        self.stacks.0.mapping.slot(self.index)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let coldest = self.stacks.0.free.borrow_mut().give_back(self.index);
        if let Some(coldest) = coldest {
            self.stacks.discard(coldest);
        }
    }
}

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        write!(f, "Stacks({} of {})", stats.in_use, stats.stacks_max)
    }
}
