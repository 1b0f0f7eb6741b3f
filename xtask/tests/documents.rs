//! Every `cargo xtask …` that the documents name is a command of this program.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

const PAGES: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "docs/performance.md",
    "docs/reliability.md",
    "docs/operations.md",
    "docs/scaling.md",
    "docs/errors.md",
];

#[test]
fn every_task_that_the_documents_name_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut named = BTreeMap::new();
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for after in text.split("cargo xtask ").skip(1) {
            let is_of_word = |c: char| c.is_ascii_lowercase() || c == '-';
            let task: String = after.chars().take_while(|c| is_of_word(*c)).collect();
            if !task.is_empty() {
                named.insert(task, page);
            }
        }
    }
    for task in ["run", "demo", "test"] {
        assert!(named.contains_key(task), "the README tells how to {task}");
    }
    for (task, page) in named {
        let help = Command::new(env!("CARGO_BIN_EXE_xtask")).args([&task, "--help"]).output().unwrap();
        assert!(help.status.success(), "{page}: cargo xtask {task}");
    }
}
