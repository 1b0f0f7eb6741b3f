//! The logs of the conversations. An entry is stored once, however many devices read it.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{Position, Sql, StorageError, WriteTx};
use crate::error::ApiError;
use rusqlite::{ToSql, types::ToSqlOutput};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use tertulia_api::{Base64, UserDevice, conversation::Member, pairwise::DeviceMismatch, setting::Setting};
use tertulia_domain::{
    ConversationId, Protocol, RoleName, UserId,
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
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Message,
        Self::Name,
        Self::Pairwise,
        Self::Commit,
        Self::Proposal,
        Self::Reset,
        Self::Members,
        Self::Role,
        Self::Protocol,
        Self::Access,
        Self::JoinRequest,
        Self::JoinWithdrawn,
        Self::Renamed,
        Self::Setting,
    ];

    /// The name that is stored.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Name => "name",
            Self::Pairwise => "pairwise",
            Self::Commit => "commit",
            Self::Proposal => "proposal",
            Self::Reset => "reset",
            Self::Members => "members",
            Self::Role => "role",
            Self::Protocol => "protocol",
            Self::Access => "access",
            Self::JoinRequest => "join-request",
            Self::JoinWithdrawn => "join-withdrawn",
            Self::Renamed => "renamed",
            Self::Setting => "setting",
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
             WHERE conversation = ?1 AND kind = 'proposal' AND sender_user IS NOT NULL AND position > coalesce(
                 (SELECT position FROM log WHERE conversation = ?1 AND kind IN ('commit', 'reset')
                  ORDER BY position DESC LIMIT 1), 0)",
        )?
        .query_row([Sql(conversation)], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
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
    let position = tx.next_position();
    let sequence: i64 = tx
        .prepare_cached(
            "UPDATE conversations SET last_sequence = last_sequence + 1, last_position = ?2 WHERE id = ?1
             RETURNING last_sequence",
        )?
        .query_row(params![Sql(conversation), position], |row| row.get(0))?;
    let extra = entry.extra.as_ref().map(serde_json::to_string).transpose().map_err(ApiError::internal)?;
    tx.prepare_cached(
        "INSERT INTO log (position, conversation, sequence, kind, epoch, sender_user, sender_device, sent_at,
                          body, welcome, message, extra, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        position,
        Sql(conversation),
        sequence,
        kind,
        entry.epoch.map(u64::cast_signed),
        entry.sender.map(|sender| Sql(sender.user)),
        entry.sender.map(|sender| Sql(sender.device)),
        entry.sent_at,
        entry.body,
        entry.welcome,
        entry.message,
        extra,
        entry.digest.as_ref().map(|digest| digest.0.as_slice()),
    ])?;
    tx.wake_followers(conversation);
    Ok(Place { position, sequence: sequence.cast_unsigned() })
}

/// The entry that was made of the same bytes, if there is one.
pub(crate) fn known(
    connection: &Connection,
    conversation: ConversationId,
    digest: Digest,
) -> Result<Option<Known>, ApiError> {
    let known = connection
        .prepare_cached("SELECT sequence, sent_at, epoch FROM log WHERE conversation = ?1 AND digest = ?2")?
        .query_row(params![Sql(conversation), digest.0.as_slice()], |row| {
            Ok(Known {
                sequence: row.get::<i64>(0)?.cast_unsigned(),
                sent_at: row.get(1)?,
                epoch: row.get::<Option<i64>>(2)?.unwrap_or_default().cast_unsigned(),
            })
        })
        .optional()?;
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
    use tertulia_domain::{AccountKind, DeviceId};

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
