//! A service as it was written.

use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Attribute, Path, Type, Visibility};

pub struct Service {
    pub docs: Vec<Attribute>,
    /// For the module, such as `#[cfg(…)]`.
    pub attributes: Vec<Attribute>,
    /// For requests, `Req` and `Rep`.
    pub derives: Vec<Path>,
    /// How peers know it.
    pub name: String,
    pub visibility: Visibility,
    pub ident: Ident,
    pub calls: Vec<Call>,
}

pub struct Call {
    pub docs: Vec<Attribute>,
    pub ident: Ident,
    /// How peers know it.
    pub name: String,
    pub version: u16,
    /// The newest first.
    pub older: Vec<OlderVersion>,
    /// Its types have no shapes, and are not compared.
    pub unchecked: bool,
    pub one_way: bool,
    pub args: Vec<Arg>,
    /// The client's items.
    pub input: Option<Arg>,
    pub output: Output,
}

pub struct OlderVersion {
    pub number: u16,
    /// Implements `Older`.
    pub ty: Type,
}

pub struct Arg {
    pub ident: Ident,
    pub ty: Type,
}

pub enum Output {
    Reply(Type),
    Items(Type),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unary,
    ServerStream,
    ClientStream,
    BothStreams,
    OneWay,
}

impl Service {
    /// Whether every call has shapes, so that `Req` and `Rep` have.
    pub fn is_checked(&self) -> bool {
        self.calls.iter().all(|call| !call.unchecked)
    }

    pub fn unary(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.kind() == Kind::Unary)
    }
}

impl Call {
    pub fn kind(&self) -> Kind {
        match (&self.input, &self.output) {
            _ if self.one_way => Kind::OneWay,
            (None, Output::Reply(_)) => Kind::Unary,
            (None, Output::Items(_)) => Kind::ServerStream,
            (Some(_), Output::Reply(_)) => Kind::ClientStream,
            (Some(_), Output::Items(_)) => Kind::BothStreams,
        }
    }

    /// `list_all` → `ListAll`: the struct of its arguments.
    pub fn request(&self) -> Ident {
        let name = self.ident.unraw().to_string();
        let words = name.split('_').filter(|word| !word.is_empty());
        let camel: String = words
            .map(|word| {
                let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
                first.to_uppercase() + rest
            })
            .collect();
        // One that could not be a type's name is refused by `check`, under this name.
        let is_name = camel.starts_with(char::is_alphabetic) && camel != "Self";
        let camel = if is_name { camel } else { format!("_{camel}") };
        format_ident!("{camel}", span = self.ident.span())
    }

    pub fn output_type(&self) -> &Type {
        match &self.output {
            Output::Reply(ty) | Output::Items(ty) => ty,
        }
    }

    /// A name for a parameter beside the arguments.
    pub fn free_name(&self, wanted: &str) -> Ident {
        let mut name = wanted.to_owned();
        while self.all_args().any(|arg| arg.ident == name) {
            name.push('_');
        }
        format_ident!("{name}")
    }

    /// The arguments, and the stream among them.
    pub fn all_args(&self) -> impl Iterator<Item = &Arg> {
        self.args.iter().chain(&self.input)
    }
}
