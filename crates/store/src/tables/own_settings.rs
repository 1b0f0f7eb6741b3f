//! What the user has set of conversations for themselves, which their devices tell each other.

use super::{all, execute, named, number, stored, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use std::fmt;
use tertulia_domain::{ConversationId, OwnSetting, Sequence};

/// One of a user's own settings of a conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnSettingRow {
    /// The conversation.
    pub conversation: ConversationId,
    /// Which.
    pub setting: OwnSetting,
    /// Whether it is set.
    pub is_set: bool,
    /// What the application wants to know of it.
    pub reference: Option<String>,
    /// The number of the message that brought it, in the user's conversation with themselves: the larger one counts. 0 for one
    /// of this device that no other knows yet.
    pub decided: Sequence,
}

impl fmt::Debug for OwnSettingRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSettingRow")
            .field("conversation", &self.conversation.short())
            .field("setting", &self.setting)
            .finish_non_exhaustive()
    }
}

const SETTING: &str = "SELECT conversation, setting, is_set, reference, decided FROM own_settings";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<OwnSettingRow> {
    Ok(OwnSettingRow {
        conversation: uuid(row, 0)?,
        setting: named(row, 1)?,
        is_set: row.get(2)?,
        reference: row.get(3)?,
        decided: Sequence::new(number(row, 4)?),
    })
}

impl ReadTx<'_> {
    /// The user's own settings of a conversation.
    pub fn own_settings(&self, conversation: ConversationId) -> Result<Vec<OwnSettingRow>, StoreError> {
        let sql = format!("{SETTING} WHERE conversation = ?1 ORDER BY setting");
        all(&self.tx, &sql, [conversation.as_uuid()], row)
    }

    /// Those that the user's other devices are to be told.
    pub fn pending_own_settings(&self) -> Result<Vec<OwnSettingRow>, StoreError> {
        all(&self.tx, &format!("{SETTING} WHERE pending ORDER BY conversation, setting"), [], row)
    }

    /// Those that have their place in the order that is the same on all of the user's devices.
    pub fn decided_own_settings(&self) -> Result<Vec<OwnSettingRow>, StoreError> {
        let sql = format!("{SETTING} WHERE decided > 0 AND NOT pending ORDER BY conversation, setting");
        all(&self.tx, &sql, [], row)
    }
}

impl WriteTx<'_> {
    /// Sets something on this device, for the others to be told.
    pub fn set_own(
        &mut self,
        conversation: ConversationId,
        setting: OwnSetting,
        is_set: bool,
        reference: Option<&str>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO own_settings (conversation, setting, is_set, reference, decided, pending) \
                   VALUES (?1, ?2, ?3, ?4, 0, 1) ON CONFLICT DO UPDATE \
                   SET is_set = excluded.is_set, reference = excluded.reference, pending = 1";
        execute(&self.tx, sql, (conversation.as_uuid(), setting.as_str(), is_set, reference)).map(drop)
    }

    /// Notes that these are on their way to the user's other devices, unless they were set anew meanwhile.
    pub fn own_settings_sent(&mut self, sent: &[OwnSettingRow]) -> Result<(), StoreError> {
        let sql = "UPDATE own_settings SET pending = 0 WHERE conversation = ?1 AND setting = ?2 \
                   AND is_set = ?3 AND reference IS ?4";
        sent.iter().try_for_each(|row| {
            let key = (row.conversation.as_uuid(), row.setting.as_str(), row.is_set, &row.reference);
            execute(&self.tx, sql, key).map(drop)
        })
    }

    /// Takes over what a device of the user has told. What was decided later stays, and so does what this device has yet to
    /// tell, which will be later still.
    pub fn put_own_setting(&mut self, row: &OwnSettingRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO own_settings (conversation, setting, is_set, reference, decided, pending) \
                   VALUES (?1, ?2, ?3, ?4, ?5, 0) ON CONFLICT DO UPDATE \
                   SET is_set = excluded.is_set, reference = excluded.reference, decided = excluded.decided \
                   WHERE NOT pending AND decided < excluded.decided";
        let decided = stored(row.decided.get(), "a sequence number")?;
        let OwnSettingRow { conversation, setting, is_set, reference, .. } = row;
        let key = (conversation.as_uuid(), setting.as_str());
        execute(&self.tx, sql, (key.0, key.1, is_set, reference, decided)).map(drop)
    }
}
