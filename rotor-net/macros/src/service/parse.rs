//! Reads what is inside `service! { … }`: a module of functions without bodies.

use super::model::{Arg, Call, OlderVersion, Output, Service};
use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, LitInt, LitStr, Path, Result, Token, Type, braced, parenthesized,
    parse_quote, token,
};

impl Parse for Service {
    fn parse(input: ParseStream) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !input.peek(Token![mod]) {
            return Err(input.error(
                "a service is a module: `pub mod files { fn get(path: Path) -> Content; }`",
            ));
        }
        input.parse::<Token![mod]>()?;
        let ident: Ident = input.parse()?;
        let body;
        braced!(body in input);
        let mut service = Service {
            docs: Vec::new(),
            attributes: Vec::new(),
            derives: Vec::new(),
            name: ident.unraw().to_string(),
            visibility,
            ident,
            calls: Vec::new(),
        };
        let mut unchecked = false;
        for attribute in attributes {
            match name_of(&attribute).as_str() {
                "doc" => service.docs.push(attribute),
                "derive" => {
                    let all = attribute
                        .parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)?;
                    service.derives.extend(all);
                }
                "name" => service.name = name_value(&attribute)?,
                "unchecked" => {
                    attribute.meta.require_path_only()?;
                    unchecked = true;
                }
                _ => service.attributes.push(attribute),
            }
        }
        while !body.is_empty() {
            let mut call: Call = body.parse()?;
            call.unchecked |= unchecked;
            service.calls.push(call);
        }
        match input.is_empty() {
            true => Ok(service),
            false => Err(input.error("one `service!` is one module")),
        }
    }
}

impl Parse for Call {
    fn parse(input: ParseStream) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        if input.peek(Token![pub]) {
            return Err(input.error("calls are as public as their module; leave `pub` out"));
        }
        let one_way = parse_oneway(input)?;
        if !input.peek(Token![fn]) {
            return Err(input
                .error("expected a call: `fn name(argument: Type) -> Reply;`, or `oneway fn …`"));
        }
        input.parse::<Token![fn]>()?;
        let ident: Ident = input.parse()?;
        if input.peek(Token![<]) {
            return Err(input
                .error("a call has no generic parameters: its types must be known to both sides"));
        }
        let (args, items) = parse_args(input)?;
        let output = parse_output(input)?;
        if one_way && (items.is_some() || output.is_some()) {
            return Err(Error::new(
                ident.span(),
                "a `oneway` call has neither a reply nor streams",
            ));
        }
        parse_end(input)?;
        let mut call = Call {
            docs: Vec::new(),
            name: ident.unraw().to_string(),
            ident,
            version: 1,
            older: Vec::new(),
            unchecked: false,
            one_way,
            args,
            input: items,
            output: output.unwrap_or_else(|| Output::Reply(parse_quote!(()))),
        };
        for attribute in attributes {
            call.attribute(attribute)?;
        }
        call.older
            .sort_by_key(|older| std::cmp::Reverse(older.number));
        Ok(call)
    }
}

impl Call {
    fn attribute(&mut self, attribute: Attribute) -> Result<()> {
        match name_of(&attribute).as_str() {
            "doc" => self.docs.push(attribute),
            "name" => self.name = name_value(&attribute)?,
            "version" => self.version = number(&attribute.parse_args()?)?,
            "older" => self.older.push(attribute.parse_args()?),
            "unchecked" => {
                attribute.meta.require_path_only()?;
                self.unchecked = true;
            }
            _ => {
                return Err(Error::new_spanned(
                    attribute,
                    "a call has documentation, #[version(2)], #[older(1, Type)], #[name = \"…\"] and #[unchecked]",
                ));
            }
        }
        Ok(())
    }
}

impl Parse for OlderVersion {
    fn parse(input: ParseStream) -> Result<Self> {
        let version = number(&input.parse()?)?;
        input.parse::<Token![,]>()?;
        Ok(Self {
            number: version,
            ty: input.parse()?,
        })
    }
}

fn parse_oneway(input: ParseStream) -> Result<bool> {
    if !input.peek(syn::Ident) {
        return Ok(false);
    }
    let word: Ident = input.parse()?;
    match word == "oneway" {
        true => Ok(true),
        false => Err(Error::new(
            word.span(),
            "expected a call: `fn name(argument: Type) -> Reply;`, or `oneway fn …`",
        )),
    }
}

/// The arguments, and the stream that may be the last of them.
fn parse_args(input: ParseStream) -> Result<(Vec<Arg>, Option<Arg>)> {
    let inside;
    parenthesized!(inside in input);
    let (mut args, mut items) = (Vec::new(), None);
    while !inside.is_empty() {
        if inside.peek(Token![self]) || inside.peek(Token![&]) {
            return Err(inside.error("a call has no `self`: `service!` adds it where it belongs"));
        }
        if let Some(Arg { ident, .. }) = &items {
            return Err(Error::new(
                Ident::span(ident),
                "a stream is the last argument, and there is one at most",
            ));
        }
        let ident: Ident = inside.parse()?;
        inside.parse::<Token![:]>()?;
        let (is_stream, ty) = parse_type(&inside)?;
        let arg = Arg { ident, ty };
        match is_stream {
            true => items = Some(arg),
            false => args.push(arg),
        }
        if !inside.is_empty() {
            inside.parse::<Token![,]>()?;
        }
    }
    Ok((args, items))
}

fn parse_output(input: ParseStream) -> Result<Option<Output>> {
    if !input.peek(Token![->]) {
        return Ok(None);
    }
    input.parse::<Token![->]>()?;
    let (is_stream, ty) = parse_type(input)?;
    Ok(Some(match is_stream {
        true => Output::Items(ty),
        false => Output::Reply(ty),
    }))
}

fn parse_end(input: ParseStream) -> Result<()> {
    if input.peek(token::Brace) {
        return Err(input.error("a call has no body: the server implements it in `impl Service`"));
    }
    if input.peek(Token![where]) {
        return Err(input.error("a call has no `where`: its types must be known to both sides"));
    }
    input.parse::<Token![;]>()?;
    Ok(())
}

/// A type that can travel, and whether `stream` is before it.
fn parse_type(input: ParseStream) -> Result<(bool, Type)> {
    let is_stream = is_stream(input);
    if is_stream {
        input.parse::<Ident>()?;
    }
    let ty: Type = input.parse()?;
    let why_not = match &ty {
        Type::Reference(_) => {
            "a reference cannot travel; use the type that owns it, such as `String` for `&str`"
        }
        Type::ImplTrait(_) | Type::Infer(_) => "both sides must know the type: name it",
        Type::TraitObject(_) => "a trait object cannot travel; use an enum",
        Type::FnPtr(_) | Type::Ptr(_) => "only data can travel",
        Type::Slice(_) => "a slice cannot travel; use a `Vec`",
        Type::Never(_) => "a call that never replies is a `oneway` call",
        _ => return Ok((is_stream, ty)),
    };
    Err(Error::new_spanned(ty, why_not))
}

/// Whether `stream` is a keyword here, rather than a type's name.
fn is_stream(input: ParseStream) -> bool {
    let ahead = input.fork();
    let word = ahead.parse::<Ident>();
    word.is_ok_and(|word| word == "stream")
        && !ahead.is_empty()
        && !ahead.peek(Token![,])
        && !ahead.peek(Token![;])
        && !ahead.peek(Token![::])
        && !ahead.peek(Token![<])
}

fn name_of(attribute: &Attribute) -> String {
    let ident = attribute.path().get_ident();
    ident.map(ToString::to_string).unwrap_or_default()
}

/// Of `#[name = "…"]`.
fn name_value(attribute: &Attribute) -> Result<String> {
    let value = &attribute.meta.require_name_value()?.value;
    let name: LitStr = syn::parse2(quote::quote!(#value))?;
    match name.value() {
        text if (1..=255).contains(&text.len()) => Ok(text),
        _ => Err(Error::new(name.span(), "a name has 1 to 255 bytes")),
    }
}

fn number(literal: &LitInt) -> Result<u16> {
    match literal.base10_parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(Error::new(
            literal.span(),
            "a version is a number from 1 to 65535",
        )),
    }
}
