//! Shapes of types of the standard library, of `bytes`, and of the codec's own: as serde presents them.

use super::{Form, Shape};
use crate::rpc::NoItems;
use crate::rpc::codec::{Arena, Index};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::OsString;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Types that are one thing by themselves, under the name of what serde makes of them.
macro_rules! leaves {
    ($($kind:literal: $($ty:ty),+;)+) => {
        $($(impl Shape for $ty {
            fn form() -> Form {
                Form::leaf($kind)
            }
        })+)+
    };
}

leaves! {
    "bool": bool;
    "char": char;
    "str": str, String;
    // A path that is not UTF-8 does not travel so; an `OsString` does.
    "str": PathBuf;
    "i8": i8, num::NonZeroI8;
    "i16": i16, num::NonZeroI16;
    "i32": i32, num::NonZeroI32;
    "i64": i64, num::NonZeroI64, isize, num::NonZeroIsize;
    "i128": i128, num::NonZeroI128;
    "u8": u8, num::NonZeroU8;
    "u16": u16, num::NonZeroU16;
    "u32": u32, num::NonZeroU32;
    "u64": u64, num::NonZeroU64, usize, num::NonZeroUsize;
    "u128": u128, num::NonZeroU128;
    "f32": f32;
    "f64": f64;
    "unit": ();
}

impl<T: 'static> Shape for PhantomData<T> {
    fn form() -> Form {
        Form::unit()
    }
}

/// What serde looks through.
macro_rules! wrappers {
    ($($wrapper:ident)+) => {
        $(impl<T: Shape + ?Sized> Shape for $wrapper<T> {
            fn form() -> Form {
                T::form()
            }
        })+
    };
}

wrappers!(Box Rc Arc);

impl<T: Shape + ToOwned + ?Sized> Shape for Cow<'static, T> {
    fn form() -> Form {
        T::form()
    }
}

/// Sequences. A set says no more on the wire than that its elements come one after the other.
macro_rules! lists {
    ($($list:ident<T $(, $other:ident)?>)+) => {
        $(impl<T: Shape $(, $other: 'static)?> Shape for $list<T $(, $other)?> {
            fn form() -> Form {
                Form::list::<T>()
            }
        })+
    };
}

lists!(Vec<T> VecDeque<T> LinkedList<T> BinaryHeap<T> BTreeSet<T> HashSet<T, S>);

impl<T: Shape> Shape for [T] {
    fn form() -> Form {
        Form::list::<T>()
    }
}

/// Bytes travel as a list of bytes does.
impl Shape for bytes::Bytes {
    fn form() -> Form {
        Form::list::<u8>()
    }
}

impl Shape for bytes::BytesMut {
    fn form() -> Form {
        Form::list::<u8>()
    }
}

impl<K: Shape, V: Shape> Shape for BTreeMap<K, V> {
    fn form() -> Form {
        Form::map::<K, V>()
    }
}

impl<K: Shape, V: Shape, S: 'static> Shape for HashMap<K, V, S> {
    fn form() -> Form {
        Form::map::<K, V>()
    }
}

impl<T: Shape> Shape for Option<T> {
    fn form() -> Form {
        Form::option::<T>()
    }
}

impl<T: Shape, E: Shape> Shape for Result<T, E> {
    fn form() -> Form {
        Form::choice()
            .variant("Ok", Form::tuple().item::<T>())
            .variant("Err", Form::tuple().item::<E>())
    }
}

/// Serde has arrays of up to 32 elements, and presents them as tuples.
impl<T: Shape, const N: usize> Shape for [T; N] {
    fn form() -> Form {
        (0..N).fold(Form::tuple(), |tuple, _| tuple.item::<T>())
    }
}

macro_rules! tuples {
    ($($first:ident $($rest:ident)*)?) => {
        $(impl<$first: Shape $(, $rest: Shape)*> Shape for ($first, $($rest,)*) {
            fn form() -> Form {
                Form::tuple().item::<$first>()$(.item::<$rest>())*
            }
        }
        tuples!($($rest)*);)?
    };
}

tuples!(A B C D E F G H I J K L);

impl Shape for Duration {
    fn form() -> Form {
        Form::record().field::<u64>("secs").field::<u32>("nanos")
    }
}

impl Shape for SystemTime {
    fn form() -> Form {
        Form::record()
            .field::<u64>("secs_since_epoch")
            .field::<u32>("nanos_since_epoch")
    }
}

/// Bytes on Unix, 16-bit units on Windows: each reads only its own.
impl Shape for OsString {
    fn form() -> Form {
        Form::choice()
            .variant("Unix", Form::tuple().item::<Vec<u8>>())
            .variant("Windows", Form::tuple().item::<Vec<u16>>())
    }
}

impl Shape for Ipv4Addr {
    fn form() -> Form {
        <[u8; 4]>::form()
    }
}

impl Shape for Ipv6Addr {
    fn form() -> Form {
        <[u8; 16]>::form()
    }
}

impl Shape for IpAddr {
    fn form() -> Form {
        Form::choice()
            .variant("V4", Form::tuple().item::<Ipv4Addr>())
            .variant("V6", Form::tuple().item::<Ipv6Addr>())
    }
}

impl Shape for SocketAddrV4 {
    fn form() -> Form {
        <(Ipv4Addr, u16)>::form()
    }
}

impl Shape for SocketAddrV6 {
    fn form() -> Form {
        <(Ipv6Addr, u16)>::form()
    }
}

impl Shape for SocketAddr {
    fn form() -> Form {
        Form::choice()
            .variant("V4", Form::tuple().item::<SocketAddrV4>())
            .variant("V6", Form::tuple().item::<SocketAddrV6>())
    }
}

/// As a list, and yet another thing: what is read as an arena has its indices checked.
impl<T: Shape> Shape for Arena<T> {
    fn form() -> Form {
        Form::leaf("arena").with_part::<T>()
    }
}

/// Says what it is an index of.
impl<T: Shape> Shape for Index<T> {
    fn form() -> Form {
        Form::leaf("index").with_part::<T>()
    }
}

impl Shape for NoItems {
    fn form() -> Form {
        Form::choice()
    }
}
