//! Shapes: what types look like on the wire, so that two programs notice where they differ before a call is made.
//!
//! ```text
//! derive(Shape) → Form (a kind, names, and the types inside) → digest (all forms that are reachable, as one number)
//! ```
//!
//! A form names the types inside it without looking into them, so recursive types are described as simply as others.

mod digest;
mod std_types;

pub use rotor_net_macros::Shape;

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

/// What a type looks like on the wire. Derive it beside serde's traits; it is there for what is in the standard
/// library and travels well.
///
/// ```
/// use rotor_net::rpc::Shape;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Shape)]
/// enum Expr {
///     Number(i64),
///     Negate(Box<Expr>),
///     Sum { of: Vec<Expr> },
/// }
/// ```
///
/// Two types have the same shape if they have the same structure: kinds of numbers, names and order of fields, names
/// and order of variants. What does not count:
/// - names of types, and type aliases;
/// - what serde looks through: `Box<T>`, `Arc<T>`, and `struct Path(String)`, which are as what is inside;
/// - which collection it is: a `Vec<T>`, a `HashSet<T>` and `bytes::Bytes` are lists, `HashMap`s and `BTreeMap`s maps;
/// - how recursion is written: `enum List { End, More(u8, Box<List>) }` is the same as one that goes through a second type.
///
/// Names of fields do not travel, yet count: who renames one probably gave it another meaning. `#[serde(rename = "…")]`
/// keeps the old name.
///
/// Types whose serde implementations are written by hand are described by hand, with [`Form`].
#[diagnostic::on_unimplemented(
    message = "the shape of `{Self}` on the wire is not known",
    label = "not a `Shape`",
    note = "derive it where the type is declared: `#[derive(Serialize, Deserialize, rotor_net::rpc::Shape)]`",
    note = "for a type of another crate, wrap it in one of yours, or mark the call `#[unchecked]`"
)]
pub trait Shape: 'static {
    /// How serde presents it.
    fn form() -> Form;
}

/// One level of a shape: the kind of thing, its names, and the types directly inside.
///
/// ```
/// use rotor_net::rpc::{Form, Shape};
///
/// struct Point(f64, f64);
///
/// // Its hand-written `Serialize` makes a struct of two fields.
/// impl Shape for Point {
///     fn form() -> Form {
///         Form::record().field::<f64>("x").field::<f64>("y")
///     }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Form {
    /// Kind and names. No two forms that differ have the same label and as many parts.
    label: String,
    parts: Vec<Part>,
}

/// A type inside another one.
#[derive(Clone, Copy, Debug)]
struct Part {
    id: TypeId,
    form: fn() -> Form,
}

impl Form {
    /// What takes no bytes: `()`, and a struct without fields.
    pub fn unit() -> Self {
        Self::leaf("unit")
    }

    /// A tuple, or a struct of unnamed fields; add each with [`item`](Self::item). A struct of **one** unnamed field is
    /// as that field: answer its form.
    pub fn tuple() -> Self {
        Self::leaf("tuple")
    }

    /// The next part of a tuple.
    pub fn item<T: Shape + ?Sized>(self) -> Self {
        self.with_part::<T>()
    }

    /// A struct; add each field with [`field`](Self::field).
    pub fn record() -> Self {
        Self::leaf("record")
    }

    /// The next field of a struct.
    pub fn field<T: Shape + ?Sized>(self, name: &str) -> Self {
        self.with_name(name).with_part::<T>()
    }

    /// An enum; add each variant with [`variant`](Self::variant).
    pub fn choice() -> Self {
        Self::leaf("choice")
    }

    /// The next variant of an enum, and what is in it: a unit, a tuple (also for one unnamed field) or a record.
    pub fn variant(self, name: &str, content: Form) -> Self {
        let mut this = self.with_name(name);
        // The number of parts ends the variant, so that none of them could as well be the next one's.
        let _ = write!(this.label, "={}/{};", content.label, content.parts.len());
        this.parts.extend(content.parts);
        this
    }

    /// There or not.
    pub fn option<T: Shape>() -> Self {
        Self::leaf("option").with_part::<T>()
    }

    /// Any number of the same type.
    pub fn list<T: Shape>() -> Self {
        Self::leaf("list").with_part::<T>()
    }

    /// Any number of pairs.
    pub fn map<K: Shape, V: Shape>() -> Self {
        Self::leaf("map").with_part::<K>().with_part::<V>()
    }

    /// A thing by itself.
    fn leaf(kind: &str) -> Self {
        Self {
            label: kind.to_owned(),
            parts: Vec::new(),
        }
    }

    fn with_part<T: Shape + ?Sized>(mut self) -> Self {
        self.parts.push(Part {
            id: TypeId::of::<T>(),
            form: T::form,
        });
        self
    }

    /// With its length, so that whatever is in a name it ends where it ends.
    fn with_name(mut self, name: &str) -> Self {
        let _ = write!(self.label, ",{}:{name}", name.len());
        self
    }
}

/// The digest of a type's shape. Not 0. It takes as long as there are types inside `T`, once.
pub(crate) fn digest<T: Shape>() -> u64 {
    static KNOWN: LazyLock<Mutex<HashMap<TypeId, u64>>> = LazyLock::new(Mutex::default);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let id = TypeId::of::<T>();
    if let Some(&digest) = known().get(&id) {
        return digest;
    }
    let digest = digest::of(Part { id, form: T::form });
    known().insert(id, digest);
    digest
}

/// A type's name without modules: `Vec<File>`.
pub(crate) fn name<T: 'static>() -> &'static str {
    static KNOWN: LazyLock<Mutex<HashMap<TypeId, &'static str>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(TypeId::of::<T>())
        .or_insert_with(|| without_modules(std::any::type_name::<T>()).leak())
}

/// `alloc::vec::Vec<files::File>` → `Vec<File>`.
fn without_modules(full: &str) -> String {
    let mut short = String::new();
    let mut rest = full;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let word_bytes = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let bytes = word_bytes.max(first.len_utf8());
        let (piece, after) = rest.split_at(bytes);
        rest = after;
        match after.strip_prefix("::") {
            Some(path) if word_bytes > 0 => rest = path,
            _ => short.push_str(piece),
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short() {
        assert_eq!(name::<u8>(), "u8");
        assert_eq!(name::<Vec<Option<String>>>(), "Vec<Option<String>>");
        assert_eq!(name::<Result<(), Part>>(), "Result<(), Part>");
        assert_eq!(
            name::<HashMap<String, [u8; 4]>>(),
            "HashMap<String, [u8; 4]>"
        );
        assert_eq!(
            name::<(&'static str, Box<dyn std::fmt::Debug>)>(),
            "(&str, Box<dyn Debug>)"
        );
        assert_eq!(
            without_modules("a::été<b::C, <d::E as f::G>::H>"),
            "été<C, <E as G>::H>"
        );
        assert_eq!(without_modules("::a::B"), "::B");
    }

    #[test]
    fn a_name_is_made_once() {
        assert!(std::ptr::eq(name::<Part>(), name::<Part>()));
    }
}
