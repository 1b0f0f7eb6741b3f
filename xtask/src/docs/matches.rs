//! What a `match self` says of each variant.

use quote::ToTokens as _;
use std::collections::BTreeMap;
use syn::{Expr, Pat};

/// A value that a variant has, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The last name of a path, or a text; none when it is what the error inside says.
    pub(super) value: Option<String>,
    /// The pattern or guard under which it has it, if not always.
    pub(super) condition: Option<String>,
}

/// The outcomes of each of these variants by a body that is a `match self`. The error names one that is not in it.
pub(super) fn outcomes_by_variant(
    body: &Expr,
    variants: &[String],
) -> Result<BTreeMap<String, Vec<Outcome>>, String> {
    let mut found: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    if let Expr::Match(body) = body {
        for arm in &body.arms {
            let (pattern, guard) = without_guard(&arm.pat);
            for pattern in alternatives(pattern) {
                let Some((variant, inner)) = variant_of(pattern) else { continue };
                let condition = join(inner, guard.clone());
                found.entry(variant).or_default().extend(outcomes(&arm.body, condition.as_ref()));
            }
        }
    }
    match variants.iter().find(|variant| !found.contains_key(*variant)) {
        Some(missing) => Err(missing.clone()),
        None => Ok(found),
    }
}

fn alternatives(pattern: &Pat) -> Vec<&Pat> {
    match pattern {
        Pat::Or(or) => or.cases.iter().flat_map(alternatives).collect(),
        Pat::Paren(paren) => alternatives(&paren.pat),
        other => vec![other],
    }
}

/// The variant that a pattern names, with what it demands of its fields.
fn variant_of(pattern: &Pat) -> Option<(String, Option<String>)> {
    let (path, fields): (_, Vec<&Pat>) = match pattern {
        Pat::Path(path) => (&path.path, Vec::new()),
        Pat::TupleStruct(tuple) => (&tuple.path, tuple.elems.iter().collect()),
        Pat::Struct(fields) => (&fields.path, fields.fields.iter().map(|field| &*field.pat).collect()),
        _ => return None,
    };
    let demanding =
        fields.into_iter().filter(|field| !matches!(field, Pat::Ident(_) | Pat::Wild(_) | Pat::Rest(_)));
    let demands: Vec<String> = demanding.map(pattern_text).collect();
    Some((path.segments.last()?.ident.to_string(), (!demands.is_empty()).then(|| demands.join(", "))))
}

/// What an expression can give.
fn outcomes(expression: &Expr, condition: Option<&String>) -> Vec<Outcome> {
    let one = |value: Option<String>| vec![Outcome { value, condition: condition.cloned() }];
    match expression {
        // A lone name is a variable: a part of the error itself.
        Expr::Path(path) if path.path.segments.len() > 1 => {
            one(path.path.segments.last().map(|last| last.ident.to_string()))
        }
        Expr::Lit(literal) => match &literal.lit {
            syn::Lit::Str(text) => one(Some(text.value())),
            _ => one(None),
        },
        // `Code::LastAdmin.as_str()`: the name as it is written outside.
        Expr::MethodCall(call) if call.method == "as_str" => match &*call.receiver {
            Expr::Path(path) => one(path.path.segments.last().map(|last| kebab(&last.ident.to_string()))),
            _ => one(None),
        },
        Expr::Block(block) => match block.block.stmts.last() {
            Some(syn::Stmt::Expr(last, None)) => outcomes(last, condition),
            _ => one(None),
        },
        Expr::Match(inner) => {
            let mut all = Vec::new();
            for arm in &inner.arms {
                let (pattern, guard) = without_guard(&arm.pat);
                let own = match pattern {
                    Pat::Wild(_) => "otherwise".to_owned(),
                    _ => alternatives(pattern).into_iter().map(pattern_text).collect::<Vec<_>>().join(", "),
                };
                let condition = join(condition.cloned(), join(Some(own), guard));
                all.extend(outcomes(&arm.body, condition.as_ref()));
            }
            // What an error inside says needs no second table here.
            let same_names = all.iter().all(|outcome| {
                let last = outcome.condition.as_deref().map(|text| text.rsplit("::").next().unwrap_or(text));
                last == outcome.value.as_deref() || last == Some("otherwise")
            });
            if same_names { one(None) } else { all }
        }
        _ => one(None),
    }
}

fn without_guard(pattern: &Pat) -> (&Pat, Option<String>) {
    match pattern {
        Pat::Guard(guarded) => {
            (&guarded.pat, Some(format!("if {}", spaced(&guarded.guard.to_token_stream().to_string()))))
        }
        other => (other, None),
    }
}

fn join(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first} {second}")),
        (first, second) => first.or(second),
    }
}

/// A pattern without its fields.
fn pattern_text(pattern: &Pat) -> String {
    let text = spaced(&pattern.to_token_stream().to_string());
    text.split([' ', '(']).next().unwrap_or(&text).to_owned()
}

fn spaced(tokens: &str) -> String {
    tokens.replace(" :: ", "::").replace(" . ", ".").replace(" (", "(").replace("( ", "(")
}

/// `LastAdmin` as `last-admin`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str, variants: &[&str]) -> Result<BTreeMap<String, Vec<Outcome>>, String> {
        let variants: Vec<String> = variants.iter().map(|&name| name.to_owned()).collect();
        outcomes_by_variant(&syn::parse_str(body).expect("the test's own Rust"), &variants)
    }

    fn outcome(value: Option<&str>, condition: Option<&str>) -> Outcome {
        Outcome { value: value.map(str::to_owned), condition: condition.map(str::to_owned) }
    }

    #[test]
    fn each_variant_has_its_outcomes_with_their_conditions() {
        let body = "match self {
            Self::A | Self::B(_) | Self::C(Why::Late { .. }) => Kind::Misuse,
            Self::C(Why::Early) => Kind::Peer,
            Self::D { source, .. } => match source.kind() { io::ErrorKind::Full => Kind::Transient, _ => Kind::Misuse },
            Self::E(error) => inner(error),
            Self::F => Code::LastAdmin.as_str(),
        }";
        let found = of(body, &["A", "B", "C", "D", "E", "F"]).expect("all are there");
        assert_eq!(found["A"], [outcome(Some("Misuse"), None)]);
        assert_eq!(found["B"], found["A"]);
        assert_eq!(
            found["C"],
            [outcome(Some("Misuse"), Some("Why::Late")), outcome(Some("Peer"), Some("Why::Early"))]
        );
        assert_eq!(
            found["D"],
            [
                outcome(Some("Transient"), Some("io::ErrorKind::Full")),
                outcome(Some("Misuse"), Some("otherwise"))
            ]
        );
        assert_eq!(found["E"], [outcome(None, None)]);
        assert_eq!(found["F"], [outcome(Some("last-admin"), None)]);
    }

    #[test]
    fn a_variant_that_is_left_out_is_named() {
        assert_eq!(
            of("match self { Self::A => Kind::Peer, _ => Kind::Misuse }", &["A", "B"]),
            Err("B".to_owned())
        );
    }
}
