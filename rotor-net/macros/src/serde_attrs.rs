//! Serde's attributes, as far as they matter to a shape. Invariant: what would make the shape wrong is an error; it is
//! never passed over.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, LitStr, Result, Token, Type};

/// What the attributes of a type, a variant or a field say.
#[derive(Default)]
pub struct Attrs {
    /// `#[serde(skip)]`.
    pub skip: bool,
    /// `#[serde(transparent)]`.
    pub transparent: bool,
    /// `#[serde(rename = "…")]`.
    pub rename: Option<String>,
    /// The type that travels instead: `#[shape(as = Type)]`, or `#[serde(from = "Type", into = "Type")]`.
    pub instead: Option<Type>,
}

/// These change nothing on the wire, or only names that are given from elsewhere and do not travel.
const HARMLESS: [&str; 9] = [
    "alias",
    "borrow",
    "bound",
    "crate",
    "default",
    "deny_unknown_fields",
    "expecting",
    "rename_all",
    "rename_all_fields",
];

/// With these, code decides what travels.
const BY_CODE: [&str; 4] = ["with", "serialize_with", "deserialize_with", "getter"];

/// What is said in pieces, some of which are only good together.
#[derive(Default)]
struct Pieces {
    skip_serializing: Option<Error>,
    skip_deserializing: Option<Error>,
    from: Option<Type>,
    into: Option<Type>,
    half_way: Option<Error>,
    by_code: Option<Error>,
}

impl Attrs {
    pub fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut attrs = Self::default();
        let mut pieces = Pieces::default();
        for attribute in attributes {
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| attrs.serde(&mut pieces, &meta))?;
            } else if attribute.path().is_ident("shape") {
                attribute.parse_nested_meta(|meta| attrs.shape(&meta))?;
            }
        }
        attrs.join(pieces)
    }

    fn serde(&mut self, pieces: &mut Pieces, meta: &ParseNestedMeta) -> Result<()> {
        let name = meta
            .path
            .get_ident()
            .map(ToString::to_string)
            .unwrap_or_default();
        let error = |words: &str| Err(meta.error(format_args!("#[serde({name})] {words}")));
        match name.as_str() {
            "skip" => self.skip = true,
            "skip_serializing" | "skip_deserializing" => {
                let half = meta.error(format_args!(
                    "#[serde({name})] makes one side send what the other does not expect; use #[serde(skip)]"
                ));
                match name.as_str() {
                    "skip_serializing" => pieces.skip_serializing = Some(half),
                    _ => pieces.skip_deserializing = Some(half),
                }
            }
            "transparent" => self.transparent = true,
            "rename" if meta.input.peek(Token![=]) => {
                self.rename = Some(meta.value()?.parse::<LitStr>()?.value());
            }
            "rename" => return error("with two names: a shape has one name for both directions"),
            "from" | "try_from" | "into" => {
                let there: Type = meta.value()?.parse::<LitStr>()?.parse()?;
                pieces.half_way = Some(meta.error(
                    "what is sent and what is received must be the same type: \
                     give `into` and `from` (or `try_from`) the same one, or say #[shape(as = Type)]",
                ));
                match name.as_str() {
                    "into" => pieces.into = Some(there),
                    _ => pieces.from = Some(there),
                }
            }
            name if HARMLESS.contains(&name) => pass_over(meta)?,
            name if BY_CODE.contains(&name) => {
                pieces.by_code = Some(meta.error(format_args!(
                    "what #[serde({name})] makes of the wire cannot be seen; say what it is: #[shape(as = Type)]"
                )));
                pass_over(meta)?;
            }
            "flatten" | "untagged" | "tag" | "content" | "skip_serializing_if" => {
                return error("does not work in a format that does not describe itself");
            }
            _ => {
                return error(
                    "is not known to derive(Shape), which would rather not guess what it does",
                );
            }
        }
        Ok(())
    }

    fn shape(&mut self, meta: &ParseNestedMeta) -> Result<()> {
        if !meta.path.is_ident("as") {
            return Err(meta.error("expected #[shape(as = Type)]"));
        }
        self.instead = Some(meta.value()?.parse()?);
        Ok(())
    }

    fn join(mut self, pieces: Pieces) -> Result<Self> {
        match (pieces.skip_serializing, pieces.skip_deserializing) {
            (Some(_), Some(_)) => self.skip = true,
            (Some(half), None) | (None, Some(half)) => return Err(half),
            (None, None) => {}
        }
        if self.instead.is_some() {
            return Ok(self);
        }
        if let Some(error) = pieces.by_code {
            return Err(error);
        }
        match (pieces.from, pieces.into, pieces.half_way) {
            (Some(from), Some(into), _) if same(&from, &into) => self.instead = Some(into),
            (_, _, Some(error)) => return Err(error),
            (_, _, None) => {}
        }
        Ok(self)
    }
}

/// Whether two types are written alike.
fn same(a: &Type, b: &Type) -> bool {
    quote::quote!(#a).to_string() == quote::quote!(#b).to_string()
}

/// Over the value of an attribute, if it has one: `= …` or `(…)`.
fn pass_over(meta: &ParseNestedMeta) -> Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<syn::Lit>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.input.parse::<proc_macro2::Group>()?;
    }
    Ok(())
}
