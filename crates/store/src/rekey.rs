//! Another key for a store, in place, and what a crash leaves of that.
//!
//! | step | on disk | a store that is opened then |
//! |---|---|---|
//! | 1 | the next key beside the current one | has the current key, and forgets the next |
//! | 2 | the database under the next key, by one transaction | finds that the next key fits, and goes on with 3 |
//! | 3 | the current key replaced by the next | has the next key |

use crate::{
    KeySource, Store, StoreError, WriterGuard,
    database::{self, Access},
    key::{Slot, StoreKey},
    lock,
};
use rusqlite::Connection;
use std::path::Path;

impl Store {
    /// Gives the store another key: a new random one in a file, one that is derived from a passphrase, or one that the
    /// application gives. Also when the old one is of the same kind.
    ///
    /// Everything is encrypted anew, which takes about as long as copying it and needs as much free space as the database
    /// takes. Other reads and opening wait meanwhile. A crash at any instruction leaves a store that opens with the old key
    /// or with the new one. Other stores of this home, in this process or another, fail with [`StoreError::KeyChanged`]
    /// from then on and have to be opened again.
    ///
    /// When it returns, nothing on disk is under the old key, unless a read was under way for longer than a second: then
    /// [`erase_log`](Self::erase_log) finishes that. Copies and backups made before keep the old key.
    ///
    /// Blocks for key derivation and disk.
    ///
    /// # Errors
    ///
    /// After each of them the store has its old key, or, if the disk fails after the change, the new one, which is found out
    /// when it is opened next: [`StoreError::NotRekeyed`], [`StoreError::KeyChanged`],
    /// [`StoreError::WrongGuard`], [`StoreError::Io`].
    pub fn rekey(&self, guard: &WriterGuard, source: &KeySource) -> Result<(), StoreError> {
        self.check_guard(guard)?;
        let home = self.home();
        let _opening = lock::opening(home)?;
        let mut writer = self.writer();
        let mut keyed = self.keyed_mut();
        // What another process left is not ours to undo before it is clear that our key is still the current one.
        database::take_view(&writer.connection.transaction()?)
            .map_err(|error| database::explained(error, home, keyed.key()))?;
        let key = StoreKey::create(home, Slot::Next, source)?;
        match database::rekey(home, keyed.key(), &key) {
            Ok(connection) => {
                // If the files cannot be renamed now, whoever opens the store next does it.
                drop(StoreKey::promote(home));
                writer.connection = connection;
                keyed.change(key);
                self.forget_readers();
                // Pages under the old key go now or, while a read needs them, later.
                drop(writer.empty_log());
                Ok(())
            }
            Err(error) => {
                // Whether it failed is known when the old key opens the database; until then nobody may delete the new one.
                // What is not removed now, whoever opens the store next sees to.
                if database::connect(home, keyed.key(), Access::Write).is_ok() {
                    drop(Slot::Next.clear(home));
                }
                Err(error)
            }
        }
    }
}

/// Opens the database with the key that it has, and finishes a change of the key that was interrupted. To be called by one at
/// a time.
pub(crate) fn open(home: &Path, source: &KeySource) -> Result<(StoreKey, Connection), StoreError> {
    if !Slot::Next.is_filled(home) {
        return fit(home, Slot::Current, source);
    }
    let mut refusal = StoreError::WrongKey { home: home.to_owned() };
    for slot in [Slot::Current, Slot::Next].into_iter().filter(|slot| slot.is_filled(home)) {
        match fit(home, slot, source) {
            Ok(opened) => {
                settle(home, slot)?;
                return Ok(opened);
            }
            Err(StoreError::WrongKey { .. }) => {}
            Err(StoreError::NoPassphraseWanted { home }) => {
                // The file tells whether that is so.
                if fit(&home, slot, &KeySource::File).is_ok() {
                    settle(&home, slot)?;
                    return Err(StoreError::NoPassphraseWanted { home });
                }
            }
            // It may be that of the other key that counts.
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn fit(home: &Path, slot: Slot, source: &KeySource) -> Result<(StoreKey, Connection), StoreError> {
    let key = StoreKey::open(home, slot, source)?;
    let connection = database::connect(home, &key, Access::Write)?;
    Ok((key, connection))
}

/// Keeps the key that fits and forgets the other.
fn settle(home: &Path, fitting: Slot) -> Result<(), StoreError> {
    match fitting {
        Slot::Current => Slot::Next.clear(home),
        Slot::Next => StoreKey::promote(home),
    }
}
