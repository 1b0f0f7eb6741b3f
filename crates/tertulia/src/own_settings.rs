//! What a user sets of a conversation for themselves: muted, archived, hidden. Their devices tell each other in the user's
//! conversation with themselves, encrypted like every message; the hub learns nothing of it (decision 17).

use crate::{Client, Error, OwnFlag, Result, SyncReport, client::now};
use serde::{Deserialize, Serialize};
use tertulia_content::{Disposition, MimiContent, Part, PartContent};
use tertulia_domain::{ConversationId, OwnSetting, Sequence};
use tertulia_store::{NewOutboxMessage, OutboxKind, OwnSettingRow};

/// The media type of what is set.
const MEDIA_TYPE: &str = "application/vnd.tertulia.conversation-settings+json";

/// Most settings in one message: with the longest references they fit a message by far.
const AT_ONCE: usize = 200;

/// Settings on their way to the user's other devices.
#[derive(Serialize, Deserialize)]
struct Told {
    settings: Vec<ToldSetting>,
}

#[derive(Serialize, Deserialize)]
struct ToldSetting {
    conversation: ConversationId,
    setting: OwnSetting,
    is_set: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Where it was decided, when it is told again; absent where it is decided by being told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided: Option<u64>,
}

impl Client {
    /// Sets or takes back something of a conversation for this user alone: on this device at once, and on the user's others,
    /// also those that log in later, when they hear of it. Of two devices that disagree, the later one in the order of the
    /// user's conversation with themselves is right. Nobody else learns of it, the hub neither.
    ///
    /// The `reference` is for the application, at most 256 bytes: until when it is muted, say.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTarget`], [`Error::PayloadTooLong`]. When the hub cannot be reached, the next [`sync`](Self::sync) tells
    /// the other devices.
    pub async fn set_own(
        &self,
        id: ConversationId,
        setting: OwnSetting,
        is_set: bool,
        reference: Option<&str>,
    ) -> Result<()> {
        self.set_own_offline(id, setting, is_set, reference).await?;
        let telling = async {
            self.queue_own_settings().await?;
            self.flush_outbox(&mut SyncReport::default()).await
        };
        if let Err(error) = telling.await {
            tracing::info!(code = error.code(), "the other devices are told by the next synchronisation");
        }
        Ok(())
    }

    /// The same without the network: the next [`sync`](Self::sync) tells the user's other devices.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTarget`], [`Error::PayloadTooLong`].
    pub async fn set_own_offline(
        &self,
        id: ConversationId,
        setting: OwnSetting,
        is_set: bool,
        reference: Option<&str>,
    ) -> Result<()> {
        let size = reference.map_or(0, str::len);
        if size > OwnSetting::MAX_REFERENCE {
            return Err(Error::PayloadTooLong { size, max: OwnSetting::MAX_REFERENCE });
        }
        if self.inner().store.read(|r| r.conversation(id))?.is_none() {
            return Err(Error::UnknownTarget { target: id.to_string() });
        }
        let reference = reference.map(str::to_owned);
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.set_own(id, setting, is_set, reference.as_deref()))?;
        Ok(tx.finish().await?)
    }

    /// [Sets](Self::set_own) whether a conversation is muted: whether the application asks for attention when something arrives.
    ///
    /// # Errors
    ///
    /// As [`set_own`](Self::set_own).
    pub async fn set_muted(&self, id: ConversationId, muted: bool, reference: Option<&str>) -> Result<()> {
        self.set_own(id, OwnSetting::Muted, muted, reference).await
    }

    /// [Sets](Self::set_own) whether a conversation is archived.
    ///
    /// # Errors
    ///
    /// As [`set_own`](Self::set_own).
    pub async fn set_archived(
        &self,
        id: ConversationId,
        archived: bool,
        reference: Option<&str>,
    ) -> Result<()> {
        self.set_own(id, OwnSetting::Archived, archived, reference).await
    }

    /// [Sets](Self::set_own) whether a conversation is hidden: whether [`conversations`](Self::conversations) leaves it out.
    ///
    /// # Errors
    ///
    /// As [`set_own`](Self::set_own).
    pub async fn set_hidden(&self, id: ConversationId, hidden: bool, reference: Option<&str>) -> Result<()> {
        self.set_own(id, OwnSetting::Hidden, hidden, reference).await
    }

    /// Puts into the outbox what the user's other devices are to be told.
    pub(crate) async fn queue_own_settings(&self) -> Result<()> {
        let pending = self.inner().store.read(|r| r.pending_own_settings())?;
        // Without an account there are no other devices.
        if pending.is_empty() || self.inner().hub.is_none() {
            return Ok(());
        }
        self.know_own_conversation().await?;
        for some in pending.chunks(AT_ONCE) {
            let message = self.telling(some, false)?;
            let sent = some.to_vec();
            let mut tx = self.inner().session.new_transaction().await?;
            tx.store_write(move |w| {
                w.put_into_outbox(&message)?;
                w.own_settings_sent(&sent)
            })?;
            tx.finish().await?;
        }
        Ok(())
    }

    /// Puts into the outbox all that a device of the user that is new is to know.
    pub(crate) async fn queue_all_own_settings(&self) -> Result<()> {
        let decided = self.inner().store.read(|r| r.decided_own_settings())?;
        for some in decided.chunks(AT_ONCE) {
            let message = self.telling(some, true)?;
            let mut tx = self.inner().session.new_transaction().await?;
            tx.store_write(move |w| w.put_into_outbox(&message).map(drop))?;
            tx.finish().await?;
        }
        Ok(())
    }

    /// The message that tells these, as news or `again`.
    fn telling(&self, rows: &[OwnSettingRow], again: bool) -> Result<NewOutboxMessage> {
        let told = |row: &OwnSettingRow| ToldSetting {
            conversation: row.conversation,
            setting: row.setting,
            is_set: row.is_set,
            reference: row.reference.clone(),
            decided: again.then_some(row.decided.get()),
        };
        let told = Told { settings: rows.iter().map(told).collect() };
        let payload = serde_json::to_vec(&told).expect("ids, texts and flags are always JSON");
        let conversation = self.own_conversation();
        let (sender, room) = self.uris(self.me().user, conversation);
        let part = Part::single(Disposition::UNSPECIFIED, MEDIA_TYPE, payload);
        let content = MimiContent::new(part).with_origin(&sender, &room).encode()?;
        Ok(NewOutboxMessage { conversation, kind: OutboxKind::Message, content, created_at: now() })
    }
}

/// What a message in the user's conversation with themselves sets, if it sets anything. `sequence` is its place there.
pub(crate) fn told_settings(content: &MimiContent, sequence: u64) -> Vec<OwnSettingRow> {
    let PartContent::Single { content_type, content: payload } = &content.body.content else {
        return Vec::new();
    };
    if content_type != MEDIA_TYPE {
        return Vec::new();
    }
    // What a later version says that this one does not know is for that one.
    let Ok(Told { settings }) = serde_json::from_slice(payload) else { return Vec::new() };
    let row = |told: ToldSetting| OwnSettingRow {
        conversation: told.conversation,
        setting: told.setting,
        is_set: told.is_set,
        reference: told.reference.filter(|text| text.len() <= OwnSetting::MAX_REFERENCE),
        // Nothing was decided later than it was told.
        decided: Sequence::new(told.decided.unwrap_or(sequence).min(sequence)),
    };
    settings.into_iter().map(row).collect()
}

/// One of these, if it is set.
pub(crate) fn flag(rows: &[OwnSettingRow], setting: OwnSetting) -> Option<OwnFlag> {
    let row = rows.iter().find(|row| row.setting == setting && row.is_set)?;
    Some(OwnFlag { reference: row.reference.clone() })
}
