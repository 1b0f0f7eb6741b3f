//! The error enums of a crate, as its source has them.

use super::matches::{Outcome, outcomes_by_variant};
use crate::command::Failure;
use quote::ToTokens as _;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use syn::{Attribute, Expr, Fields, ImplItem, Item, ItemEnum, Lit, Meta, Token, Type, Visibility};

/// The errors of a crate.
#[derive(Default)]
pub(super) struct Source {
    /// The kinds, with what they mean.
    pub(super) kinds: Vec<(String, String)>,
    /// The enums: those that sort their variants into kinds first.
    pub(super) enums: Vec<ErrorEnum>,
}

pub(super) struct ErrorEnum {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) has_kinds: bool,
    pub(super) has_codes: bool,
    pub(super) variants: Vec<Variant>,
}

pub(super) struct Variant {
    /// With the fields, as it is written in a pattern.
    pub(super) signature: String,
    pub(super) message: String,
    /// The first sentence of its documentation.
    pub(super) meaning: String,
    /// The rest: what the application does.
    pub(super) remedy: String,
    pub(super) kinds: Vec<Outcome>,
    pub(super) codes: Vec<Outcome>,
}

/// Reads all public error enums of the crate in a directory.
pub(super) fn read(directory: &Path) -> Result<Source, Failure> {
    let mut items = Vec::new();
    for path in files(&directory.join("src"))? {
        let text = fs::read_to_string(&path).map_err(Failure::file(&path))?;
        let file = syn::parse_file(&text)
            .map_err(|error| Failure::message(format!("{}: {error}", path.display())))?;
        flatten(file.items, &mut items);
    }
    let methods = methods(&items);
    let mut source = Source::default();
    for item in &items {
        let Item::Enum(item) = item else { continue };
        if !matches!(item.vis, Visibility::Public(_)) {
            continue;
        }
        if item.ident == "ErrorKind" {
            let kind = |variant: &syn::Variant| (variant.ident.to_string(), documentation(&variant.attrs));
            source.kinds = item.variants.iter().map(kind).collect();
        } else if derives_error(&item.attrs) {
            source.enums.push(error_enum(item, &methods)?);
        }
    }
    source.enums.sort_by_key(|found| (!found.has_kinds, found.name.clone()));
    Ok(source)
}

/// All Rust files below a directory, in a fixed order.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).map_err(Failure::file(directory))?;
    for entry in entries {
        let path = entry.map_err(Failure::file(directory))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The items with those of inline modules, tests apart.
fn flatten(items: Vec<Item>, into: &mut Vec<Item>) {
    for item in items {
        match item {
            Item::Mod(module) if module.ident == "tests" => {}
            Item::Mod(module) => flatten(module.content.map(|(_, items)| items).unwrap_or_default(), into),
            item => into.push(item),
        }
    }
}

/// The bodies of `kind` and `code`, by type and name.
fn methods(items: &[Item]) -> BTreeMap<(String, String), Expr> {
    let mut methods = BTreeMap::new();
    for item in items {
        let Item::Impl(block) = item else { continue };
        let Type::Path(path) = &*block.self_ty else { continue };
        if block.trait_.is_some() {
            continue;
        }
        for item in &block.items {
            if let ImplItem::Fn(function) = item
                && (function.sig.ident == "kind" || function.sig.ident == "code")
                && let [syn::Stmt::Expr(body, None)] = function.block.stmts.as_slice()
            {
                let key = (path.path.to_token_stream().to_string(), function.sig.ident.to_string());
                methods.insert(key, body.clone());
            }
        }
    }
    methods
}

fn derives_error(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("derive")
            && attribute
                .parse_args_with(syn::punctuated::Punctuated::<syn::Path, Token![,]>::parse_terminated)
                .is_ok_and(|derives| {
                    derives.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == "Error"))
                })
    })
}

fn error_enum(item: &ItemEnum, methods: &BTreeMap<(String, String), Expr>) -> Result<ErrorEnum, Failure> {
    let name = item.ident.to_string();
    let names: Vec<String> = item.variants.iter().map(|variant| variant.ident.to_string()).collect();
    let sorted = |method: &str| {
        let Some(body) = methods.get(&(name.clone(), method.to_owned())) else { return Ok(None) };
        outcomes_by_variant(body, &names)
            .map(Some)
            .map_err(|missing| Failure::message(format!("{name}::{method} says nothing of {missing}")))
    };
    let (mut kinds, mut codes) = (sorted("kind")?, sorted("code")?);
    let (has_kinds, has_codes) = (kinds.is_some(), codes.is_some());
    let (mut variants, mut complaints) = (Vec::new(), Vec::new());
    for variant in &item.variants {
        let ident = variant.ident.to_string();
        let text = documentation(&variant.attrs);
        let (meaning, remedy) = text.split_at(first_sentence(&text));
        if remedy.trim().is_empty() {
            complaints.push(format!(
                "{name}::{ident} does not say in a second sentence what the application should do"
            ));
        }
        let message = message(variant).unwrap_or_else(|| {
            complaints.push(format!("{name}::{ident} has no message that could be read"));
            String::new()
        });
        let take = |outcomes: &mut Option<BTreeMap<String, Vec<Outcome>>>| {
            outcomes.as_mut().and_then(|outcomes| outcomes.remove(&ident)).unwrap_or_default()
        };
        variants.push(Variant {
            signature: signature(variant),
            message,
            meaning: meaning.trim().to_owned(),
            remedy: remedy.trim().to_owned(),
            kinds: take(&mut kinds),
            codes: take(&mut codes),
        });
    }
    if !complaints.is_empty() {
        return Err(Failure::message(complaints.join("\n")));
    }
    Ok(ErrorEnum { name, about: documentation(&item.attrs), has_kinds, has_codes, variants })
}

/// The doc comment in one line.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Where the first sentence ends: at a full stop before something that begins a sentence.
fn first_sentence(text: &str) -> usize {
    let begins = |rest: &str| rest.starts_with(|c: char| c.is_uppercase() || c == '`' || c == '[');
    text.match_indices(". ")
        .map(|(at, stop)| at + stop.len())
        .find(|behind| begins(&text[*behind..]))
        .unwrap_or(text.len())
}

fn signature(variant: &syn::Variant) -> String {
    let ident = &variant.ident;
    let fields: Vec<String> = match &variant.fields {
        Fields::Unit => return ident.to_string(),
        Fields::Unnamed(fields) => fields.unnamed.iter().map(|field| type_name(&field.ty)).collect(),
        Fields::Named(fields) => fields
            .named
            .iter()
            .filter_map(|field| Some(format!("{}: {}", field.ident.as_ref()?, type_name(&field.ty))))
            .collect(),
    };
    match &variant.fields {
        Fields::Named(_) => format!("{ident} {{ {} }}", fields.join(", ")),
        _ => format!("{ident}({})", fields.join(", ")),
    }
}

/// A type without the path to it.
fn type_name(ty: &Type) -> String {
    let tokens = ty.to_token_stream().to_string();
    let text = tokens.replace(" <", "<").replace("< ", "<").replace(" >", ">").replace(" ,", ",");
    let text = text.replace("& 'static ", "&'static ");
    text.rsplit(" :: ").next().unwrap_or(&text).to_owned()
}

/// What an error prints, with the names of what is put in.
fn message(variant: &syn::Variant) -> Option<String> {
    let attribute = variant.attrs.iter().find(|attribute| attribute.path().is_ident("error"))?;
    let tokens = &attribute.meta.require_list().ok()?.tokens;
    let types: Vec<String> = variant.fields.iter().map(|field| type_name(&field.ty)).collect();
    if tokens.to_string() == "transparent" {
        return Some(format!("that of the `{}`", types.first()?));
    }
    let mut parts = Vec::new();
    for token in tokens.clone() {
        match &token {
            proc_macro2::TokenTree::Punct(comma) if comma.as_char() == ',' => parts.push(String::new()),
            _ => {
                if parts.is_empty() {
                    parts.push(String::new());
                }
                let last = parts.last_mut()?;
                last.push_str(&token.to_string());
                last.push(' ');
            }
        }
    }
    let template: syn::LitStr = syn::parse_str(parts.first()?.trim()).ok()?;
    let mut arguments = parts.iter().skip(1).map(|argument| first_name(argument));
    let mut out = String::new();
    let text = template.value();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let (placeholder, behind) = behind.split_once('}')?;
        let name = placeholder.split(':').next().unwrap_or_default();
        let name = match (name, name.parse::<usize>()) {
            ("", _) => arguments.next()?,
            (_, Ok(index)) => types.get(index)?.clone(),
            (name, Err(_)) => name.to_owned(),
        };
        out.extend(["{", &name, "}"]);
        rest = behind;
    }
    out.push_str(rest);
    Some(format!("“{out}”"))
}

/// The first identifier of an expression: the field that is printed.
fn first_name(expression: &str) -> String {
    let mut words = expression.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.find(|word| word.starts_with(char::is_alphabetic)).unwrap_or_default().to_owned()
}
