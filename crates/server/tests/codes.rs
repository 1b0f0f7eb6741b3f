//! Every error code that clients are told of is the answer to a request of some test.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::Path};
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
