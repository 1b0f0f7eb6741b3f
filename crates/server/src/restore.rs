//! Hubs made of backups.
//!
//! A hub that is restored knows that devices may know more than it does: see `docs/decisions/0021-a-restored-hub.md`.
//!
//! A restore is made ready in a directory of its own among the data. It has happened once that directory has its last name,
//! `restored-` and a number. From then on what was there before is moved into `replaced-` with the same number, and the new files to
//! where a hub looks for them. Whoever takes the data directory next [finishes](finish) that. So a crash at any moment leaves either
//! the old hub or the new one.

use crate::{
    ServerError,
    backup::{
        BackupError, BackupInfo, DATABASE, KEY, PARTIAL, Partial, at, check_is_data, info, sync_directory,
        unusable, write_copy,
    },
    delivery::resets,
    error::ApiError,
    files,
    server::lock,
    state::{AppState, now_ms},
    storage::backup,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files that belong to a database while it is used.
const BESIDE: [&str; 2] = ["hub.db-wal", "hub.db-shm"];

/// What a hub's data are in that are restored and not yet where a hub looks for them.
const READY: &str = "restored-";
/// What the data are in that were there before.
const ASIDE: &str = "replaced-";

/// Groups that are begun anew in one transaction, after a restore.
const STEP: usize = 64;

/// Makes the data directory of a hub from a backup. If there is a hub's data already it is refused or, with `replace`, put
/// aside into a directory in it. Blocks until it is durable. If it is interrupted, there is the old hub as it was, or the new one
/// as soon as something uses the directory.
///
/// # Errors
///
/// [`BackupError`] says which. A hub must not run on the data.
pub fn restore(from: &Path, data: &Path, replace: bool) -> Result<BackupInfo, BackupError> {
    check_is_data(from)?;
    let lock = lock(data)?;
    let present =
        [DATABASE, KEY].into_iter().chain(BESIDE).map(|name| data.join(name)).find(|path| is_there(path));
    if let (false, Some(path)) = (replace, &present) {
        return Err(BackupError::Taken { path: path.clone() });
    }
    let number = now_ms();
    let ready = data.join(format!("{READY}{number}"));
    // All that can fail is done beside, before anything that is there is touched.
    let partial = Partial::beside(&ready)?;
    let contents = write_copy(from, &partial.path)?;
    let database = partial.path.join(DATABASE);
    backup::begin_again(&database, now_ms()).map_err(unusable(from))?;
    File::open(&database).and_then(|file| file.sync_all()).map_err(at(&database))?;
    sync_directory(&partial.path)?;
    fs::rename(&partial.path, &ready).map_err(at(&ready))?;
    sync_directory(data)?;
    finish(data)?;
    drop(lock);
    info(data, contents, present.map(|_| data.join(format!("{ASIDE}{number}"))))
}

/// Whether a restore in this data directory was interrupted.
pub(crate) fn is_unfinished(data: &Path) -> bool {
    let is_left = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(READY));
    fs::read_dir(data)
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| is_left(&entry.file_name()))))
}

/// Finishes a restore that was interrupted in a data directory that was taken, if one was.
pub(crate) fn finish(data: &Path) -> Result<(), ServerError> {
    let failed = |source| ServerError::File { path: data.to_owned(), source };
    for entry in fs::read_dir(data).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(number) = path.file_name().and_then(|name| name.to_str()?.strip_prefix(READY)) else {
            continue;
        };
        let result = if number.contains(PARTIAL) {
            fs::remove_dir_all(&path) // it did not come to anything
        } else {
            put_in_place(data, &path, &data.join(format!("{ASIDE}{number}")))
        };
        result.map_err(|source| ServerError::File { path, source })?;
    }
    Ok(())
}

fn put_in_place(data: &Path, ready: &Path, aside: &Path) -> io::Result<()> {
    let moves = moves(data, ready, aside);
    if moves.iter().any(|(_, to)| to.starts_with(aside)) {
        files::create_private_dir(aside)?;
    }
    for (from, to) in moves {
        fs::rename(&from, &to)?;
        // One after the other also on the disk: a log of the old database must not be found beside the new one.
        for path in [&from, &to] {
            File::open(path.parent().unwrap_or(data))?.sync_all()?;
        }
    }
    fs::remove_dir(ready)?;
    File::open(data)?.sync_all()
}

/// What is still to be moved where, in this order: of a file that is not ready any more, everything was.
fn moves(data: &Path, ready: &Path, aside: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut moves = Vec::new();
    for (new, beside) in [(KEY, &[][..]), (DATABASE, &BESIDE)] {
        if !is_there(&ready.join(new)) {
            continue;
        }
        let old = beside.iter().copied().chain([new]).filter(|name| is_there(&data.join(name)));
        moves.extend(old.map(|name| (data.join(name), aside.join(name))));
        moves.push((ready.join(new), data.join(new)));
    }
    moves
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Begins the groups anew whose members may be ahead of this hub, because it was restored. Before it serves anybody.
pub(crate) async fn after_restore(state: &AppState) -> Result<(), ApiError> {
    let mut begun = 0;
    loop {
        // Another node may find the same, and be the first to begin them anew.
        let conversations = state.storage.read(|db| backup::groups_to_renew(db, STEP)).await?;
        if conversations.is_empty() {
            break;
        }
        let observer = Arc::clone(&state.observer);
        let replace = state.storage.write(move |tx| {
            conversations.into_iter().try_fold(0_usize, |begun, conversation| {
                let is_begun = resets::after_restore(tx, &observer, conversation, now_ms())?;
                Ok(begun + usize::from(is_begun))
            })
        });
        begun += replace.await?;
    }
    if begun > 0 {
        tracing::warn!(groups = begun, "this hub was restored; its groups were begun anew");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    const OLD: [&str; 4] = [KEY, DATABASE, BESIDE[0], BESIDE[1]];

    /// A data directory in which a restore has happened and nothing was moved yet.
    fn restored() -> (tempfile::TempDir, [PathBuf; 2]) {
        let data = tempfile::tempdir().unwrap();
        let [ready, aside] = ["restored-7", "replaced-7"].map(|name| data.path().join(name));
        fs::create_dir(&ready).unwrap();
        for name in OLD {
            fs::write(data.path().join(name), format!("old {name}")).unwrap();
        }
        for name in [KEY, DATABASE] {
            fs::write(ready.join(name), format!("new {name}")).unwrap();
        }
        (data, [ready, aside])
    }

    fn found(directory: &Path) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let files = files.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }

    fn named<'a>(age: &str, names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Vec<u8>> {
        names.into_iter().map(|name| (name.to_owned(), format!("{age} {name}").into_bytes())).collect()
    }

    #[test]
    fn whatever_was_moved_before_a_crash_the_rest_is_moved_after_it() {
        let (first, [ready, aside]) = restored();
        let all = moves(first.path(), &ready, &aside).len();
        assert_eq!(all, 6);
        for done in 0..=all {
            let (data, [ready, aside]) = restored();
            fs::create_dir(&aside).unwrap();
            for (from, to) in moves(data.path(), &ready, &aside).into_iter().take(done) {
                fs::rename(from, to).unwrap();
            }
            // What a restore leaves behind that was interrupted before it had happened, goes.
            fs::create_dir(data.path().join("restored-9.partial-0a0b0c0d")).unwrap();
            finish(data.path()).unwrap();
            assert_eq!(found(data.path()), named("new", [KEY, DATABASE]), "after {done} moves");
            assert_eq!(found(&aside), named("old", OLD), "after {done} moves");
            assert_eq!(fs::read_dir(data.path()).unwrap().count(), 3, "after {done} moves");
            finish(data.path()).unwrap();
            assert_eq!(found(data.path()), named("new", [KEY, DATABASE]), "done again");
        }
    }

    #[test]
    fn the_log_of_the_old_database_is_never_beside_the_new_one() {
        let (data, [ready, aside]) = restored();
        fs::create_dir(&aside).unwrap();
        for (from, to) in moves(data.path(), &ready, &aside) {
            fs::rename(from, to).unwrap();
            let there = found(data.path());
            let is_new = there.get(DATABASE).is_some_and(|bytes| bytes.starts_with(b"new"));
            assert!(!is_new || BESIDE.iter().all(|name| !there.contains_key(*name)), "{there:?}");
        }
    }
}
