//! The store of a device: one encrypted SQLite database for everything that it must not lose.
//!
//! Owns the database file and its key, the order among its writers, and the operations on what is stored: the records of
//! the MLS engine and of the pairwise sessions, the event cursor, connections, conversations, messages, the outbox. One [`WriteTx`] is one durable
//! transaction over all of them, which is what lets a decrypted message, the key that was used up for it and the cursor
//! move together. Leaves to others what the records of the engine mean (`tertulia-mls`, `tertulia-ratchet`) and when anything is written
//! (`tertulia`).
//!
//! The file is encrypted with SQLCipher. Its 32-byte key is in a file beside it with mode 0600, or stored nowhere: derived
//! from a passphrase, or given by the application ([`KeySource`]). What is deleted is overwritten in the database; in its write-ahead log, encrypted like
//! the rest, it stays until it is written over, which is after some 8 MB of writes if no read is under way (the log begins anew
//! every 4 MB, and is then cut to 4.5 MB), or until the last process closes the store; [`Store::erase_log`] does it at once. SQLite's memory is locked and wiped, which makes a read of 20 KB some 50 µs slower.
//!
//! - [`Store::rekey`] gives a store another key in place. It opens with one of the two keys wherever a crash comes.
//! - [`Store::export`] makes a consistent copy elsewhere, under a key of its own, while the store is used.
//! - [`Store::incarnation`] tells that this is a copy, or an older state that was put back.
//!
//! A home holds `tertulia.db` (and SQLite's `-wal` and `-shm`), `key` or `key.json`, `written` with the count of writes, and the
//! lock files `lock` and `opening`; `next-key` or `next-key.json` while the key is changed.
//!
//! ```
//! use tertulia_store::{KeySource, Setting, Store, StoreError};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let home = dir.path().join("home");
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let store = Store::create(&home, &KeySource::File)?;
//! let writer = store.lock().await?;
//! store.write(&writer, |w| w.put_setting(Setting::Handle, "alice"))?;
//! assert_eq!(store.read(|r| r.setting(Setting::Handle))?.as_deref(), Some("alice"));
//! # Ok::<(), StoreError>(())
//! # }).unwrap();
//! ```

/// A place where a test can make the operation fail with this error, or do something else. See [`fail_points`].
#[cfg(feature = "failpoints")]
macro_rules! fail_point {
    ($name:ident) => {
        ::fail::fail_point!($crate::fail_points::$name)
    };
    ($name:ident, $error:expr) => {
        ::fail::fail_point!($crate::fail_points::$name, |_| Err($error.into()))
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! fail_point {
    ($($point:tt)*) => {};
}

mod database;
mod error;
mod export;
#[cfg(feature = "failpoints")]
pub mod fail_points;
mod home;
mod incarnation;
mod key;
mod lock;
mod log_space;
mod rekey;
mod store;
mod tables;

pub use error::{ErrorKind, Opaque, StoreError};
pub use export::ExportProgress;
pub use key::KeySource;
pub use lock::WriterGuard;
pub use store::{ReadTx, Store, WriteTx};
pub use tables::{
    BundleRecord, ConnectionRecord, ContentRow, ConversationRecord, ConversationRow, ConversationSettings,
    CredentialRecord, EnvelopeRow, EnvelopedRecord, Expiry, GroupStateRecord, HintsRecord, HistoryMark,
    IdentityRecord, InboxKeyRecord, InvitationHead, InvitationRecord, JoinRecord, JournalEntry,
    KeyPackageRecord, MemberRecord, MessageRow, NewEnvelope, NewMessage, NewOutboxMessage, OutboxKind,
    OutboxMessage, OwnSettingRow, OwnTypeRecord, PairwiseAccountRecord, PairwisePeerRecord,
    PairwiseSessionRecord, ReceiptRow, RecordKey, ResetRow, Setting, SuspicionRecord, UnsupportedEnvelope,
};
