//! Looking for a text in everything under a directory.

use crate::command::Failure;
use std::{
    collections::HashSet,
    fmt, fs,
    path::{Path, PathBuf},
};

/// Where a text was found.
pub(super) enum Finding {
    /// Nowhere, in so many files.
    Nowhere { files: usize },
    /// In this file.
    In(PathBuf),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere { files } => write!(f, "not found ({files} files)"),
            Self::In(path) => {
                write!(f, "found in {}", path.file_name().unwrap_or_default().to_string_lossy())
            }
        }
    }
}

/// Searches the bytes of every file under `directory`.
pub(super) fn search(directory: &Path, what: &[u8]) -> Result<Finding, Failure> {
    search_by(directory, |bytes| bytes.windows(what.len()).any(|window| window == what))
}

/// Searches every file under `directory` for any `length` bytes in a row of `what`.
pub(super) fn search_pieces(directory: &Path, what: &[u8], length: usize) -> Result<Finding, Failure> {
    let pieces: HashSet<&[u8]> = what.windows(length).collect();
    search_by(directory, |bytes| bytes.windows(length).any(|window| pieces.contains(window)))
}

fn search_by(directory: &Path, is_in: impl Fn(&[u8]) -> bool) -> Result<Finding, Failure> {
    let mut directories = vec![directory.to_owned()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(Failure::file(&directory))? {
            let path = entry.map_err(Failure::file(&directory))?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            if !path.is_file() {
                continue; // the socket at which a hub is asked
            }
            let bytes = fs::read(&path).map_err(Failure::file(&path))?;
            files += 1;
            if is_in(&bytes) {
                return Ok(Finding::In(path));
            }
        }
    }
    Ok(Finding::Nowhere { files })
}
