//! The logs of the conversations. An entry is stored once, however many devices read it.

use super::sql::{Connection, params};
use super::{Position, Sql, StorageError, WriteTx, quotas};
use crate::error::ApiError;
use rusqlite::{ToSql, types::ToSqlOutput};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::{Base64, UserDevice, conversation::Member, pairwise::DeviceMismatch, setting::Setting};
use tertulia_domain::{
    ConversationId, DeviceId, Protocol, RoleName, UserId,
    access::{AccessMode, AccessRole},
};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An application message.
    Message,
    /// An application message that announces the conversation's name.
    Name,
    /// An application message with a ciphertext for each device.
    Pairwise,
    /// A commit.
    Commit,
    /// A proposal.
    Proposal,
    /// All proposals of the epoch are withdrawn.
    Withdrawn,
    /// A new group, whose id is the body.
    Reset,
    /// Users who joined or left.
    Members,
    /// A changed role.
    Role,
    /// A changed protocol.
    Protocol,
    /// Who is admitted has changed.
    Access,
    /// Somebody asks to come in.
    JoinRequest,
    /// Somebody who asked to come in has taken that back.
    JoinWithdrawn,
    /// Another name of a channel.
    Renamed,
    /// Something that is set otherwise.
    Setting,
    /// The conversation was deleted.
    Deleted,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Message,
        Self::Name,
        Self::Pairwise,
        Self::Commit,
        Self::Proposal,
        Self::Withdrawn,
        Self::Reset,
        Self::Members,
        Self::Role,
        Self::Protocol,
        Self::Access,
        Self::JoinRequest,
        Self::JoinWithdrawn,
        Self::Renamed,
        Self::Setting,
        Self::Deleted,
    ];

    /// The name that is stored.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Name => "name",
            Self::Pairwise => "pairwise",
            Self::Commit => "commit",
            Self::Proposal => "proposal",
            Self::Withdrawn => "withdrawn",
            Self::Reset => "reset",
            Self::Members => "members",
            Self::Role => "role",
            Self::Protocol => "protocol",
            Self::Access => "access",
            Self::JoinRequest => "join-request",
            Self::JoinWithdrawn => "join-withdrawn",
            Self::Renamed => "renamed",
            Self::Setting => "setting",
            Self::Deleted => "deleted",
        }
    }

    /// Reads the name that is stored.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// The first 16 bytes of SHA-256 of what a device sent and as what, to know it when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 16]);

impl Digest {
    /// Of a request's body.
    pub(crate) fn of(kind: Kind, body: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(kind.as_str()).chain_update([0]).chain_update(body).finalize();
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        Self(digest)
    }
}

/// How many proposals members have sent since the conversation's last commit, or since its group was begun anew.
pub(crate) fn proposals_of_members(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<usize, ApiError> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM log
             WHERE conversation = ?1 AND kind = 'proposal' AND digest IS NOT NULL AND position > coalesce(
                 (SELECT position FROM log WHERE conversation = ?1 AND kind IN ('commit', 'reset')
                  ORDER BY position DESC LIMIT 1), 0)",
        )?
        .query_row([Sql(conversation)], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Whether one of the last so many commits of a group has added a device.
pub(crate) fn was_added_lately(
    connection: &Connection,
    conversation: ConversationId,
    device: UserDevice,
    commits: u64,
) -> Result<bool, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT extra FROM log WHERE conversation = ?1 AND kind IN ('commit', 'proposal') AND kind = 'commit'
         ORDER BY position DESC LIMIT ?2",
    )?;
    let commits = i64::try_from(commits).unwrap_or(i64::MAX);
    let mut found = statement.query_map(params![Sql(conversation), commits], |row| row.get(0))?;
    found.try_fold(false, |was_added, extra| {
        let extra: String = extra?;
        match serde_json::from_str(&extra) {
            Ok(Extra::Commit { added }) => Ok(was_added || added.contains(&device)),
            _ => Err(StorageError::Damaged("an entry of the log cannot be read").into()),
        }
    })
}

/// What an entry says beyond its MLS messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Extra {
    /// Of a commit.
    Commit {
        /// The devices that join by its Welcome.
        added: Vec<UserDevice>,
    },
    /// Of a changed role.
    Role { user: UserId, role: RoleName },
    /// Of users who joined or left.
    Members { joined: Vec<Member>, left: Vec<UserId> },
    /// Of a pairwise message.
    Pairwise {
        announces_name: bool,
        /// What the sender was told, to be told again.
        mismatch: DeviceMismatch,
    },
    /// Of a changed protocol.
    Protocol { protocol: Protocol },
    /// Of who is admitted.
    Access { access: BTreeSet<AccessMode>, access_roles: BTreeSet<AccessRole> },
    /// Of who asks to come in.
    JoinRequest {
        user: UserId,
        handle: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Base64>,
    },
    /// Of who has taken back that they asked.
    JoinWithdrawn { withdrawn: UserId },
    /// Of a channel's name.
    Renamed { name: String },
    /// Of proposals that are withdrawn: the references of those that are void.
    Withdrawn { void: Vec<Base64> },
    /// Of something that is set otherwise.
    Setting {
        #[serde(flatten)]
        setting: Setting,
    },
}

/// An entry to be appended.
#[derive(Debug, Default)]
pub(crate) struct Entry<'a> {
    /// Of a commit, the epoch that it made; otherwise the one that the message was sent in.
    pub(crate) epoch: Option<u64>,
    /// Absent where the hub is the sender.
    pub(crate) sender: Option<UserDevice>,
    /// Milliseconds since 1970.
    pub(crate) sent_at: i64,
    /// The message, commit or proposal.
    pub(crate) body: Option<&'a [u8]>,
    /// Of a commit.
    pub(crate) welcome: Option<&'a [u8]>,
    /// The application message that came with a commit.
    pub(crate) message: Option<&'a [u8]>,
    pub(crate) extra: Option<Extra>,
    pub(crate) digest: Option<Digest>,
    /// Bytes that were sent with it and stand elsewhere, or nowhere: what they are counted for tells nobody which.
    pub(crate) beside: usize,
}

impl Entry<'_> {
    /// The bytes that are counted for its sender.
    pub(crate) fn counted(&self) -> i64 {
        let parts = [self.body, self.welcome, self.message];
        let bytes = self.beside + parts.iter().flatten().map(|part| part.len()).sum::<usize>();
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) sequence: u64,
}

/// An entry that was stored before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) sequence: u64,
    pub(crate) sent_at: i64,
    pub(crate) epoch: u64,
}

/// Appends an entry to a conversation's log, and wakes who follows it.
pub(crate) fn append(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    kind: Kind,
    entry: &Entry<'_>,
) -> Result<Place, ApiError> {
    let places = append_all(tx, &[(conversation, kind, entry)])?;
    places.first().copied().ok_or_else(|| StorageError::Damaged("an entry has no place").into())
}

/// Appends these entries to their conversations' logs in this order, and wakes who follows them.
pub(crate) fn append_all(
    tx: &WriteTx<'_>,
    entries: &[(ConversationId, Kind, &Entry<'_>)],
) -> Result<Vec<Place>, ApiError> {
    let positions: Vec<Position> = entries.iter().map(|_| tx.next_position()).collect();
    // Of each conversation how many there are, and the position of the last.
    let mut logs: BTreeMap<ConversationId, (i64, Position)> = BTreeMap::new();
    for (&(conversation, ..), &position) in entries.iter().zip(&positions) {
        let log = logs.entry(conversation).or_default();
        *log = (log.0 + 1, position);
    }
    let updates: Vec<_> = logs.iter().map(|(&log, &(count, position))| (Sql(log), position, count)).collect();
    let last = tx
        .prepare_cached(
            "UPDATE conversations SET last_sequence = last_sequence + ?3, last_position = ?2 WHERE id = ?1
             RETURNING last_sequence",
        )?
        .query_each(
            updates.iter().map(|(log, position, count)| [log as &dyn ToSql, position, count]),
            |row| row.get::<i64>(0),
        )?;
    let mut next = BTreeMap::new();
    for ((log, _, count), last) in updates.iter().zip(last) {
        next.insert(log.0, last.ok_or(StorageError::Damaged("a log without its conversation"))? - count);
    }

    let mut rows = Vec::with_capacity(entries.len());
    for (&(conversation, kind, entry), &position) in entries.iter().zip(&positions) {
        let sequence = next.entry(conversation).or_default();
        *sequence += 1;
        rows.push(LogRow::new(position, conversation, *sequence, kind, entry)?);
        tx.wake_followers(conversation);
    }
    tx.prepare_cached(
        "INSERT INTO log (position, conversation, sequence, kind, epoch, sender_user, sender_device, sent_at,
                          body, welcome, message, extra, digest, counted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute_each(rows.iter().map(LogRow::params))?;
    let sent = entries.iter().filter_map(|(.., entry)| Some((entry.sender?.user, entry.counted())));
    quotas::note_stored(tx, sent)?;
    let place = |row: &LogRow<'_>| Place { position: row.position, sequence: row.sequence.cast_unsigned() };
    Ok(rows.iter().map(place).collect())
}

/// A row of the log, as it is stored.
struct LogRow<'a> {
    position: Position,
    conversation: Sql<ConversationId>,
    sequence: i64,
    kind: Kind,
    epoch: Option<i64>,
    sender_user: Option<Sql<UserId>>,
    sender_device: Option<Sql<DeviceId>>,
    sent_at: i64,
    body: Option<&'a [u8]>,
    welcome: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
    extra: Option<String>,
    digest: Option<&'a [u8]>,
    counted: i64,
}

impl<'a> LogRow<'a> {
    fn new(
        position: Position,
        conversation: ConversationId,
        sequence: i64,
        kind: Kind,
        entry: &'a Entry<'_>,
    ) -> Result<Self, ApiError> {
        let extra =
            entry.extra.as_ref().map(serde_json::to_string).transpose().map_err(ApiError::internal)?;
        Ok(Self {
            position,
            conversation: Sql(conversation),
            sequence,
            kind,
            epoch: entry.epoch.map(u64::cast_signed),
            sender_user: entry.sender.map(|sender| Sql(sender.user)),
            sender_device: entry.sender.map(|sender| Sql(sender.device)),
            sent_at: entry.sent_at,
            body: entry.body,
            welcome: entry.welcome,
            message: entry.message,
            extra,
            digest: entry.digest.as_ref().map(|digest| digest.0.as_slice()),
            counted: entry.counted(),
        })
    }

    fn params(&self) -> [&dyn ToSql; 14] {
        [
            &self.position,
            &self.conversation,
            &self.sequence,
            &self.kind,
            &self.epoch,
            &self.sender_user,
            &self.sender_device,
            &self.sent_at,
            &self.body,
            &self.welcome,
            &self.message,
            &self.extra,
            &self.digest,
            &self.counted,
        ]
    }
}

/// The entry that was made of the same bytes, if there is one.
pub(crate) fn known(
    connection: &Connection,
    conversation: ConversationId,
    digest: Digest,
) -> Result<Option<Known>, ApiError> {
    Ok(known_each(connection, &[(conversation, digest)])?.pop().flatten())
}

/// The entries that were made of the same bytes, where there are any.
pub(crate) fn known_each(
    connection: &Connection,
    sent: &[(ConversationId, Digest)],
) -> Result<Vec<Option<Known>>, ApiError> {
    let keys: Vec<_> = sent.iter().map(|(log, digest)| (Sql(*log), digest.0.as_slice())).collect();
    let known = connection
        .prepare_cached("SELECT sequence, sent_at, epoch FROM log WHERE conversation = ?1 AND digest = ?2")?
        .query_each(keys.iter().map(|(log, digest)| [log as &dyn ToSql, digest]), |row| {
            Ok(Known {
                sequence: row.get::<i64>(0)?.cast_unsigned(),
                sent_at: row.get(1)?,
                epoch: row.get::<Option<i64>>(2)?.unwrap_or_default().cast_unsigned(),
            })
        })?;
    Ok(known)
}

/// The same with what the entry says beyond its messages.
pub(crate) fn known_with_extra(
    connection: &Connection,
    conversation: ConversationId,
    digest: Digest,
) -> Result<Option<(Known, Extra)>, ApiError> {
    let Some(known) = known(connection, conversation, digest)? else { return Ok(None) };
    let extra: String = connection
        .prepare_cached("SELECT extra FROM log WHERE conversation = ?1 AND digest = ?2")?
        .query_row(params![Sql(conversation), digest.0.as_slice()], |row| row.get(0))?;
    let damaged = StorageError::Damaged("an entry of the log cannot be read");
    let extra = serde_json::from_str(&extra).map_err(|_| damaged)?;
    Ok(Some((known, extra)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tertulia_domain::AccountKind;

    #[test]
    fn what_is_stored_beside_the_messages_keeps_its_form() {
        let user = UserId::from_bytes([7; 16]);
        let member = Member { user, handle: "ana".into(), role: RoleName::MEMBER, kind: AccountKind::Person };
        let stored = [
            Extra::Commit { added: vec![UserDevice { user, device: DeviceId::new(1) }] },
            Extra::Role { user, role: RoleName::ADMIN },
            Extra::Members { joined: vec![member], left: vec![user] },
            Extra::Pairwise {
                announces_name: false,
                mismatch: DeviceMismatch {
                    deleted: vec![UserDevice { user, device: DeviceId::new(1) }],
                    ..DeviceMismatch::default()
                },
            },
            Extra::Protocol { protocol: Protocol::Mixed },
            Extra::Access {
                access: [AccessMode::Invite, AccessMode::Code].into(),
                access_roles: [AccessRole::TeamMember].into(),
            },
            Extra::JoinRequest { user, handle: "ana".into(), proof: Some(Base64(vec![1, 2])) },
            Extra::JoinRequest { user, handle: "ana".into(), proof: None },
            Extra::JoinWithdrawn { withdrawn: user },
            Extra::Renamed { name: "Announcements".into() },
            Extra::Withdrawn { void: vec![Base64(vec![1, 2])] },
            Extra::Setting { setting: Setting::MessageTimer(None) },
            Extra::Setting { setting: Setting::History(tertulia_domain::History::Unlimited) },
        ]
        .map(|extra| serde_json::to_string(&extra).unwrap());
        insta::assert_snapshot!(stored.join("\n"), @r#"
        {"added":[{"user":"07070707-0707-0707-0707-070707070707","device":"0000000000000001"}]}
        {"user":"07070707-0707-0707-0707-070707070707","role":"admin"}
        {"joined":[{"user":"07070707-0707-0707-0707-070707070707","handle":"ana","role":"member"}],"left":["07070707-0707-0707-0707-070707070707"]}
        {"announces_name":false,"mismatch":{"deleted":[{"user":"07070707-0707-0707-0707-070707070707","device":"0000000000000001"}]}}
        {"protocol":"mixed"}
        {"access":["invite","code"],"access_roles":["team_member"]}
        {"user":"07070707-0707-0707-0707-070707070707","handle":"ana","proof":"AQI="}
        {"user":"07070707-0707-0707-0707-070707070707","handle":"ana"}
        {"withdrawn":"07070707-0707-0707-0707-070707070707"}
        {"name":"Announcements"}
        {"void":["AQI="]}
        {"setting":"message_timer","value":null}
        {"setting":"history","value":"unlimited"}
        "#);
        for text in stored {
            let read: Extra = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(Kind::ALL.into_iter().all(|kind| Kind::parse(kind.as_str()) == Some(kind)));
        assert_eq!(Kind::parse("other"), None);
    }

    #[test]
    fn the_same_bytes_sent_as_something_else_are_something_else() {
        let body = b"the same bytes";
        assert_eq!(Digest::of(Kind::Message, body), Digest::of(Kind::Message, body));
        assert_ne!(Digest::of(Kind::Message, body), Digest::of(Kind::Name, body));
        assert_ne!(Digest::of(Kind::Message, body), Digest::of(Kind::Message, b"others"));
    }
}
