//! What the tests were answered, noted so that `cargo xtask test` can compare it with the hub's description of itself.
//!
//! Each process writes a file of its own, with one line for each answer that differs from its others.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

/// Stands for an id in the path of a request: which it was does not matter, and there would be as many lines as ids.
const ID: &str = "_";

/// One kind of answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Noted {
    pub method: String,
    /// With [`ID`] instead of ids.
    pub path: String,
    pub status: String,
    /// The code of the problem, or nothing.
    pub code: String,
}

struct Notes {
    file: File,
    written: BTreeSet<String>,
}

/// Where the notes are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("answers")
}

/// Notes an answer.
pub fn note(method: &Method, path: &str, status: StatusCode, body: &[u8]) {
    static NOTES: OnceLock<Mutex<Notes>> = OnceLock::new();
    let path: Vec<&str> = path.split('/').map(|segment| if is_id(segment) { ID } else { segment }).collect();
    let line = format!("{method} {} {} {}\n", path.join("/"), status.as_u16(), code(status, body));
    let mut notes = NOTES.get_or_init(|| Mutex::new(begin())).lock().unwrap();
    if notes.written.insert(line.clone()) {
        notes.file.write_all(line.as_bytes()).unwrap();
    }
}

/// Everything that was noted, by any test.
pub fn noted() -> BTreeSet<Noted> {
    let files = std::fs::read_dir(directory()).unwrap();
    let lines = files.flat_map(|file| {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    });
    lines
        .map(|line| {
            let mut words = line.split(' ').map(ToOwned::to_owned);
            let [method, path, status, code] = std::array::from_fn(|_| words.next().unwrap());
            Noted { method, path, status, code }
        })
        .collect()
}

fn begin() -> Notes {
    std::fs::create_dir_all(directory()).unwrap();
    let file = directory().join(format!("{}-{:016x}", std::process::id(), rand::random::<u64>()));
    Notes { file: File::create_new(file).unwrap(), written: BTreeSet::new() }
}

/// The code of a problem. What is refused has one.
fn code(status: StatusCode, body: &[u8]) -> String {
    if status.is_success() || status.is_informational() {
        return String::new();
    }
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or("none").to_owned()
}

fn is_id(segment: &str) -> bool {
    let hexadecimal = segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    hexadecimal && matches!(segment.len(), 36 | 16)
}
