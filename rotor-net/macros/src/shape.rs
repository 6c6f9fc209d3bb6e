//! `derive(Shape)`: a type's form, as serde's derives present it.

use crate::serde_attrs::Attrs;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericParam, Result, Type, Variant, parse_quote,
};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let form = form(input)?;
    let mut generics = input.generics.clone();
    for param in &mut generics.params {
        match param {
            GenericParam::Type(param) => param.bounds.push(parse_quote!(::rotor_net::rpc::Shape)),
            GenericParam::Lifetime(lifetime) => {
                return Err(Error::new_spanned(
                    lifetime,
                    "what travels owns what it holds; a type with a lifetime has no shape",
                ));
            }
            GenericParam::Const(_) => {}
        }
    }
    let (impl_generics, type_generics, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::rotor_net::rpc::Shape for #name #type_generics #bounds {
            fn form() -> ::rotor_net::rpc::Form {
                #form
            }
        }
    })
}

fn form(input: &DeriveInput) -> Result<TokenStream> {
    let attrs = Attrs::of(&input.attrs)?;
    if let Some(instead) = attrs.instead {
        return Ok(form_of(&instead));
    }
    match &input.data {
        Data::Struct(data) if attrs.transparent => transparent(&input.ident, &data.fields),
        Data::Struct(data) => match &data.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => newtype(&fields.unnamed[0]),
            fields => content(fields),
        },
        Data::Enum(data) => {
            let variants: Vec<_> = data.variants.iter().map(variant).collect::<Result<_>>()?;
            Ok(quote!(::rotor_net::rpc::Form::choice() #(#variants)*))
        }
        Data::Union(_) => Err(Error::new_spanned(&input.ident, "a union has no shape")),
    }
}

fn form_of(ty: &Type) -> TokenStream {
    quote_spanned!(ty.span()=> <#ty as ::rotor_net::rpc::Shape>::form())
}

/// `struct Path(String)` travels as what is inside.
fn newtype(field: &Field) -> Result<TokenStream> {
    let attrs = Attrs::of(&field.attrs)?;
    if attrs.skip {
        return Err(Error::new_spanned(
            field,
            "serde does not skip the only field of a struct",
        ));
    }
    Ok(form_of(attrs.instead.as_ref().unwrap_or(&field.ty)))
}

/// `#[serde(transparent)]`: the one field that travels.
fn transparent(name: &syn::Ident, fields: &Fields) -> Result<TokenStream> {
    let mut inside = Vec::new();
    for field in fields {
        let attrs = Attrs::of(&field.attrs)?;
        if !attrs.skip && !is_phantom(&field.ty) {
            inside.push(attrs.instead.unwrap_or_else(|| field.ty.clone()));
        }
    }
    match &inside[..] {
        [ty] => Ok(form_of(ty)),
        _ => Err(Error::new_spanned(
            name,
            "#[serde(transparent)] needs exactly one field that is not skipped",
        )),
    }
}

fn is_phantom(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let last = path.path.segments.last();
    last.is_some_and(|last| last.ident == "PhantomData")
}

fn variant(variant: &Variant) -> Result<TokenStream> {
    let attrs = Attrs::of(&variant.attrs)?;
    if attrs.skip {
        return Err(Error::new_spanned(
            variant,
            "serde counts variants differently when it writes and when it reads if one is skipped",
        ));
    }
    if let Some(instead) = attrs.instead {
        return Err(Error::new_spanned(
            instead,
            "#[shape(as = …)] belongs on a field or a type",
        ));
    }
    let name = wire_name(attrs.rename, &variant.ident);
    let content = content(&variant.fields)?;
    Ok(quote!(.variant(#name, #content)))
}

/// Of a struct with other than one unnamed field, or of a variant.
fn content(fields: &Fields) -> Result<TokenStream> {
    let mut parts = Vec::new();
    for field in fields {
        let attrs = Attrs::of(&field.attrs)?;
        if attrs.skip {
            continue;
        }
        let ty = attrs.instead.as_ref().unwrap_or(&field.ty);
        parts.push(match &field.ident {
            Some(ident) => {
                let name = wire_name(attrs.rename, ident);
                quote_spanned!(ty.span()=> .field::<#ty>(#name))
            }
            None => quote_spanned!(ty.span()=> .item::<#ty>()),
        });
    }
    Ok(match fields {
        Fields::Named(_) => quote!(::rotor_net::rpc::Form::record() #(#parts)*),
        // Serde makes a unit of a variant whose only unnamed field is skipped.
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 && parts.is_empty() => {
            quote!(::rotor_net::rpc::Form::unit())
        }
        Fields::Unnamed(_) => quote!(::rotor_net::rpc::Form::tuple() #(#parts)*),
        Fields::Unit => quote!(::rotor_net::rpc::Form::unit()),
    })
}

fn wire_name(rename: Option<String>, ident: &syn::Ident) -> String {
    rename.unwrap_or_else(|| ident.unraw().to_string())
}
