//! What the other tests were answered: every error code was among it, and nothing that the description of the API leaves out.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::{collections::BTreeSet, path::Path};
use support::{
    answers::{Noted, noted},
    hub::Hub,
    open::Client,
};
use tertulia_api::Code;

#[test]
#[ignore = "looks at what the other tests were answered, so `cargo xtask test` runs it after them"]
fn every_error_code_was_reached_by_a_test() {
    let codes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codes");
    let reached: BTreeSet<String> = std::fs::read_dir(codes)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let unreached: Vec<&str> =
        Code::ALL.iter().map(|code| code.as_str()).filter(|code| !reached.contains(*code)).collect();
    assert!(unreached.is_empty(), "no test was answered {unreached:?}");
}

#[tokio::test]
#[ignore = "looks at what the other tests were answered, so `cargo xtask test` runs it after them"]
async fn no_test_was_answered_what_the_description_of_the_api_leaves_out() {
    let noted = noted();
    let hub = Hub::start().await;
    let description: Value = Client::new(&hub).get("/v1/openapi.json").await.done();
    let paths = description["paths"].as_object().unwrap();
    let left_out: BTreeSet<String> = noted.iter().filter_map(|noted| left_out(noted, paths)).collect();
    assert!(left_out.is_empty(), "the description of the API leaves out:\n{}", listed(&left_out));

    // The tests went everywhere, so that the comparison is one.
    let reached: BTreeSet<String> = noted.iter().filter_map(|noted| operation(noted, paths)).collect();
    let methods = |(path, item): (&String, &Value)| {
        item.as_object().unwrap().keys().map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    let unreached: BTreeSet<String> =
        paths.iter().flat_map(methods).filter(|operation| !reached.contains(operation)).collect();
    assert!(unreached.is_empty(), "no test asked for:\n{}", listed(&unreached));
}

fn listed(lines: &BTreeSet<String>) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// What of an answer is not described, in words.
fn left_out(noted: &Noted, paths: &serde_json::Map<String, Value>) -> Option<String> {
    let Noted { method, path, status, code } = noted;
    let Some(operation) = operation(noted, paths) else {
        // What is not there is not described. The description and its page are not part of themselves.
        let (known, described) =
            (template(path, paths).is_some(), path.starts_with("/v1/docs") || path == "/v1/openapi.json");
        let answer = if known { Code::MethodNotAllowed } else { Code::NotFound };
        return (!described && *code != answer.as_str()).then(|| format!("{method} {path}: {status} {code}"));
    };
    let (method, path) = operation.split_once(' ').unwrap();
    let answer = &paths[path][method]["responses"][status];
    let is_described = match answer["description"].as_str() {
        Some(text) => code.is_empty() || text.contains(&format!("`{code}`")),
        None => false,
    };
    (!is_described).then(|| format!("{operation}: {status} {code}"))
}

/// The operation that answered, with its method in small letters as the description has it.
fn operation(noted: &Noted, paths: &serde_json::Map<String, Value>) -> Option<String> {
    let path = template(&noted.path, paths)?;
    let method = noted.method.to_lowercase();
    paths[path].get(&method).map(|_| format!("{method} {path}"))
}

/// The path in the description that this one is of. One without parameters goes before one with them.
fn template<'a>(path: &str, paths: &'a serde_json::Map<String, Value>) -> Option<&'a str> {
    let fits = |template: &str| {
        let (template, path): (Vec<&str>, Vec<&str>) =
            (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template
                .iter()
                .zip(path)
                .all(|(part, given)| *part == given || (part.starts_with('{') && !given.is_empty()))
    };
    let fitting = paths.keys().filter(|template| fits(template));
    fitting.min_by_key(|template| template.matches('{').count()).map(String::as_str)
}
