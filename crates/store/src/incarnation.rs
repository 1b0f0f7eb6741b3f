//! Whether this database is the one that was written last, or a copy of it, or an older state that was put back.
//!
//! A device that goes on with an older state would use keys a second time. Two things beside what is stored tell:
//!
//! - *Which file it is.* The database holds what the file system says of its own file: inode and time of birth (or device,
//!   where there is none). A copy, a file from a backup and a file on another disk are another file. A renamed home is not.
//! - *How far it was written.* Every write counts, in the database and then, outside of it, in the file `written`. What was
//!   put back into the same file counts less than `written` says.
//!
//! If one of them does not fit, the number of the incarnation is raised, once: to the next count, which is higher than the
//! number of any incarnation that this file was before, also of one that was put back since. A false alarm (a home moved to another disk,
//! `written` deleted) costs the engine some work and nothing else.

use crate::{StoreError, error::io_error, home::private_file};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::UNIX_EPOCH,
};

/// The file with the count of writes.
pub(crate) const WRITTEN: &str = "written";
/// The bytes of its content: the digits of a 64-bit number and the end of the line.
const LENGTH: u64 = 20;

/// The count outside of the database.
#[derive(Debug)]
pub(crate) struct Anchor(File);

impl Anchor {
    fn open(home: &Path) -> Result<Self, StoreError> {
        private_file(&home.join(WRITTEN)).map(Self)
    }

    /// What it says. An empty one has never been written; a damaged one says more than any database.
    fn count(&mut self) -> std::io::Result<Option<i64>> {
        let mut text = String::new();
        self.0.seek(SeekFrom::Start(0))?;
        let read = (&self.0).take(LENGTH).read_to_string(&mut text);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(text.trim_end().parse().unwrap_or(i64::MAX))),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(Some(i64::MAX)),
            Err(error) => Err(error),
        }
    }

    fn set(&mut self, count: i64) -> std::io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        // Always as long, so that it is overwritten as a whole.
        self.0.write_all(format!("{count:019}\n").as_bytes())
    }

    /// Notes that a write is durable. It comes after it, so that a crash between the two leaves a count that is too low,
    /// which is no alarm. It is not flushed for the same reason: a lost power supply costs an alarm, not the cost of a flush
    /// for each message. For the write itself it comes too late to fail.
    pub(crate) fn note(&mut self, count: i64) {
        drop(self.set(count));
    }
}

/// Counts a write in its transaction.
pub(crate) fn count(tx: &Transaction<'_>) -> Result<i64, StoreError> {
    // Not with RETURNING, for which SQLite makes a temporary table, and not without its key, for which it notes how to undo
    // several rows: they would be a third of the whole write.
    tx.prepare_cached("UPDATE incarnation SET written = written + 1 WHERE id = 1")?.execute([])?;
    Ok(tx.prepare_cached("SELECT written FROM incarnation")?.query_row([], |row| row.get(0))?)
}

/// Compares, raises the number of the incarnation if something does not fit, and says which it is. To be called by one at a
/// time.
pub(crate) fn check(
    home: &Path,
    database: &Path,
    connection: &mut Connection,
) -> Result<(Anchor, u64), StoreError> {
    let path = home.join(WRITTEN);
    let mut anchor = Anchor::open(home)?;
    // Before the database is read: another process that writes counts there first.
    let outside = anchor.count().map_err(io_error(&path))?;
    let file = identity(database)?;
    let (number, recorded, inside) =
        connection.query_row("SELECT number, file, written FROM incarnation", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, i64>(2)?))
        })?;
    let is_first = recorded.is_none() && outside.is_none();
    let fits = recorded.as_ref() == Some(&file) && outside.is_some_and(|outside| outside <= inside);
    if fits {
        return Ok((anchor, number.cast_unsigned()));
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = "UPDATE incarnation SET number = iif(?1, number, max(written, ?3) + 1), file = ?2, \
               written = max(written, ?3) + 1 RETURNING number, written";
    // A damaged count is nothing to go on from.
    let outside = outside.filter(|outside| (0..i64::MAX / 2).contains(outside)).unwrap_or_default();
    let (number, written) = tx.query_row(sql, (is_first, &file, outside), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    tx.commit()?;
    anchor.set(written).map_err(io_error(&path))?;
    Ok((anchor, number.cast_unsigned()))
}

/// What the file system says of a file, and of no other one. An inode's number is used again when its file is deleted, and the
/// number of a device can change when the machine starts; the time of birth tells files apart and stays.
fn identity(path: &Path) -> Result<String, StoreError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt as _;
        match born {
            Some(born) => format!("inode {} born {}", metadata.ino(), born.as_nanos()),
            None => format!("inode {} device {}", metadata.ino(), metadata.dev()),
        }
    };
    #[cfg(not(unix))]
    let identity = format!("born {}", born.unwrap_or_default().as_nanos());
    Ok(identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_count_is_read_as_it_was_written_and_a_damaged_one_is_higher_than_any() {
        let home = tempfile::tempdir().unwrap();
        let mut anchor = Anchor::open(home.path()).unwrap();
        assert_eq!(anchor.count().unwrap(), None);
        for count in [7, i64::MAX - 1, 0] {
            anchor.set(count).unwrap();
            assert_eq!(Anchor::open(home.path()).unwrap().count().unwrap(), Some(count));
        }
        for damaged in [&b"seven"[..], b"\xff\xfe", b"\n", &[b'9'; 100]] {
            fs::write(home.path().join(WRITTEN), damaged).unwrap();
            assert_eq!(anchor.count().unwrap(), Some(i64::MAX), "{damaged:?}");
        }
    }

    #[test]
    fn a_copy_is_another_file_and_a_renamed_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = |name| home.path().join(name);
        fs::write(path("first"), "content").unwrap();
        let first = identity(&path("first")).unwrap();
        fs::copy(path("first"), path("second")).unwrap();
        assert_ne!(identity(&path("second")).unwrap(), first);
        fs::rename(path("first"), path("third")).unwrap();
        assert_eq!(identity(&path("third")).unwrap(), first);
    }
}
