//! Room for the write-ahead log.
//!
//! A commit is durable when the log is flushed. A flush that makes the file longer also writes the file system's own journal,
//! and takes nearly twice as long as one that writes over what is there (on ext4 some 200 µs and 115 µs). SQLite lets the log
//! grow page by page, until the first transfer into the database, after which it begins anew; so this is done in advance, with
//! zeros, which are no frames: what is read of a log ends at the first frame whose salt is not the log's.

use rusqlite::Transaction;
use std::{
    fs::OpenOptions,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

/// How long the log is, and is cut to when it begins anew. It is transferred at 1000 pages of 4096 bytes and 24 more each, and
/// by then may have the pages of one more write.
pub(crate) const ROOM: u64 = 1100 * (4096 + 24);

/// After so many writes. Whoever opens the store for a message or two is not to wait for 4 MB of zeros.
const WORTHWHILE: u32 = 16;

/// What this process knows of the log.
#[derive(Debug)]
pub(crate) struct LogSpace {
    log: PathBuf,
    writes: u32,
}

impl LogSpace {
    pub(crate) fn new(log: PathBuf) -> Self {
        Self { log, writes: 0 }
    }

    /// The log was cut.
    pub(crate) fn is_gone(&mut self) {
        self.writes = 0;
    }

    /// To be called once a write, before anything of it. The transaction is the database's writer, so nobody else makes the log
    /// longer. Without the room everything works, so a failure is none of the write's.
    pub(crate) fn reserve(&mut self, _writer: &Transaction<'_>) {
        self.writes = self.writes.saturating_add(1);
        if self.writes == WORTHWHILE {
            drop(self.fill());
        }
    }

    fn fill(&self) -> io::Result<()> {
        let mut log = OpenOptions::new().write(true).open(&self.log)?;
        let length = log.seek(SeekFrom::End(0))?;
        let mut zeros = io::repeat(0).take(ROOM.saturating_sub(length));
        let filled = io::copy(&mut zeros, &mut log);
        if filled.is_err() {
            // On a full disk the space is needed for what counts.
            log.set_len(length)?;
        }
        filled.map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::ROOM;
    use crate::{KeySource, Setting, Store};
    use std::fs;

    #[tokio::test]
    async fn who_writes_often_has_room_in_the_log_and_nothing_is_lost_by_it() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().join("home");
        let store = Store::create(&home, &KeySource::File).unwrap();
        let writer = store.lock().await.unwrap();
        let length = || fs::metadata(home.join("tertulia.db-wal")).unwrap().len();
        let label = |store: &Store| store.read(|r| r.setting(Setting::Label)).unwrap();
        let write = |number: u32| {
            let label = number.to_string();
            store.write(&writer, |w| w.put_setting(Setting::Label, &label)).unwrap();
        };
        write(0);
        assert!(length() < ROOM / 10, "whoever writes once waits for no room");
        (1..50).for_each(write);
        assert_eq!(length(), ROOM);

        // What a process that is killed leaves: the log is read by the next one.
        let copy = home.with_file_name("copy");
        fs::create_dir(&copy).unwrap();
        for name in ["tertulia.db", "tertulia.db-wal", "key", "written"] {
            fs::copy(home.join(name), copy.join(name)).unwrap();
        }
        assert_eq!(label(&Store::open(&copy, &KeySource::File).unwrap()).as_deref(), Some("49"));

        store.erase_log(&writer).unwrap();
        assert_eq!(length(), 0);
        (50..3000).for_each(write);
        assert_eq!(length(), ROOM, "the log began anew before it was longer");
        assert_eq!(label(&store).as_deref(), Some("2999"));
    }
}
