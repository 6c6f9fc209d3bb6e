//! Address-stable storage that is recycled last in, first out.
//!
//! Handles, requests and jobs live here while libuv holds pointers to them. Memory grows in chunks, never
//! moves and is freed only with the arena, so `&T` stays valid for as long as the arena does; everything
//! mutable inside a `T` sits in a `Cell` or `UnsafeCell`. After warm-up nothing is allocated.

use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;

const CHUNK: usize = 64;
const END: u32 = u32::MAX;

/// What lives in an arena: it lends the arena a link for the free list.
pub(crate) trait Place {
    /// Index of the next free place; the arena's alone while the place is free.
    fn link(&self) -> &Cell<u32>;
}

/// Places of one type, up to a limit.
pub(crate) struct Arena<T: Place> {
    chunks: UnsafeCell<Vec<NonNull<T>>>,
    free: Cell<u32>,
    made: Cell<u32>,
    taken: Cell<u32>,
    max: u32,
}

impl<T: Place> Arena<T> {
    pub(crate) fn new(max: usize) -> Self {
        Arena {
            chunks: UnsafeCell::new(Vec::new()),
            free: Cell::new(END),
            made: Cell::new(0),
            taken: Cell::new(0),
            max: u32::try_from(max).unwrap_or(END).min(END - CHUNK as u32),
        }
    }

    /// The place at `index`, taken or free.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        if index >= self.made.get() {
            return None;
        }
        // SAFETY: only `grow` changes the vector, on this thread, and keeps no reference to it; `made`
        // counts whole chunks that are initialised, so the index is inside one.
        unsafe {
            let chunk = (&*self.chunks.get()).get_unchecked(index as usize / CHUNK);
            Some(&*chunk.as_ptr().add(index as usize % CHUNK))
        }
    }

    /// Takes a place: the one given back last, or a new one. `None` at the limit.
    pub(crate) fn take(&self, make: impl Fn(u32) -> T) -> Option<&T> {
        if !self.has_room() {
            return None;
        }
        if self.free.get() == END {
            self.grow(make);
        }
        let place = self.at(self.free.get())?;
        self.free.set(place.link().get());
        self.taken.set(self.taken.get() + 1);
        Some(place)
    }

    /// Makes places up front, until there are as many (at most the limit).
    pub(crate) fn prepare(&self, count: usize, make: impl Fn(u32) -> T) {
        while self.made() < count.min(self.max as usize) {
            self.grow(&make);
        }
    }

    /// Whether a take would succeed.
    pub(crate) fn has_room(&self) -> bool {
        self.taken.get() < self.max
    }

    /// Gives the place at `index` back for reuse.
    pub(crate) fn give_back(&self, index: u32) {
        if let Some(place) = self.at(index) {
            place.link().set(self.free.replace(index));
            self.taken.set(self.taken.get() - 1);
        }
    }

    /// How many places are taken. A retired place stays taken for ever.
    pub(crate) fn taken(&self) -> usize {
        self.taken.get() as usize
    }

    /// How many places there are.
    pub(crate) fn made(&self) -> usize {
        self.made.get() as usize
    }

    /// All places, taken or free.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.made.get()).filter_map(|index| self.at(index))
    }

    fn grow(&self, make: impl Fn(u32) -> T) {
        let first = self.made.get();
        let chunk: Box<[T; CHUNK]> = Box::new(std::array::from_fn(|at| make(first + at as u32)));
        for (place, index) in chunk.iter().zip(first..) {
            let last = index + 1 == first + CHUNK as u32;
            place
                .link()
                .set(if last { self.free.get() } else { index + 1 });
        }
        // SAFETY: single-threaded (the type is !Sync) and no reference to the vector is alive: `at`
        // gives out references into the chunks, never to the vector.
        unsafe { (*self.chunks.get()).push(NonNull::from(Box::leak(chunk)).cast()) };
        self.made.set(first + CHUNK as u32);
        self.free.set(first);
    }
}

impl<T: Place> Drop for Arena<T> {
    fn drop(&mut self) {
        for chunk in self.chunks.get_mut().drain(..) {
            // SAFETY: `grow` leaked exactly this box, and dropping the arena means that neither libuv
            // nor anybody else points into it any more.
            drop(unsafe { Box::from_raw(chunk.cast::<[T; CHUNK]>().as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cellar(Cell<u32>, u32);
    impl Place for Cellar {
        fn link(&self) -> &Cell<u32> {
            &self.0
        }
    }

    fn cellar(index: u32) -> Cellar {
        Cellar(Cell::new(0), index)
    }

    #[test]
    fn places_keep_their_address_and_are_reused_last_in_first_out() {
        let arena = Arena::new(1000);
        let first: *const Cellar = arena.take(cellar).unwrap();
        let all: Vec<u32> = (0..300).map(|_| arena.take(cellar).unwrap().1).collect();
        assert_eq!(all, (1..301).collect::<Vec<u32>>());
        assert!(std::ptr::eq(first, arena.at(0).unwrap()));
        arena.give_back(17);
        arena.give_back(5);
        assert_eq!(arena.take(cellar).unwrap().1, 5);
        assert_eq!(arena.take(cellar).unwrap().1, 17);
        assert_eq!((arena.taken(), arena.made()), (301, 320));
        assert!(arena.at(320).is_none());
    }

    #[test]
    fn places_made_up_front_are_taken_without_growing() {
        let arena = Arena::new(1000);
        arena.prepare(200, cellar);
        assert_eq!(arena.made(), 256);
        assert!((0..256).all(|_| arena.take(|_| unreachable!()).is_some()));
        let small = Arena::new(3);
        small.prepare(usize::MAX, cellar);
        assert_eq!((small.made(), small.taken()), (64, 0));
    }

    #[test]
    fn the_limit_holds_exactly() {
        let arena = Arena::new(3);
        assert_eq!((0..5).filter(|_| arena.take(cellar).is_some()).count(), 3);
        arena.give_back(1);
        assert!(arena.take(cellar).is_some() && arena.take(cellar).is_none());
    }
}
