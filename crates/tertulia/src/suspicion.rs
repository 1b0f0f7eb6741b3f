//! What looks as if the hub did not do as it should, told to people and kept for them.

use crate::{Client, Result, client::now};
use serde::{Deserialize, Serialize};
use std::fmt;
use tertulia_domain::{ConversationId, DeviceId, Protocol, UserId};
use tertulia_store::{StoreError, SuspicionRecord, WriteTx};

/// Something that an honest hub does not do, or that people may want to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Suspicion {
    /// The hub delivered a commit that the conversation's rules forbid, as adding somebody without the right to. It was not
    /// applied, and this device keeps out of the conversation until [`Client::trust`].
    ForbiddenCommit {
        /// Which rule it breaks.
        reason: String,
    },
    /// The hub let this device into a group that the rules forbid. It is not in it.
    ForbiddenGroup {
        /// Which rule it breaks.
        reason: String,
    },
    /// Of a group whose commits the hub cannot read: a member's commit leads nowhere, or the hub has damaged it. This device joins
    /// anew.
    UnfitCommit {
        /// Whose commit it is, as the hub says.
        user: UserId,
    },
    /// The hub delivered something that presupposes what it has not delivered. This device joins anew.
    Withheld,
    /// What the hub gave of the log from before this device came cannot be read to its end with what members gave: one of them has
    /// left something out or made something up. What could be read is shown.
    FalseHistory {
        /// What does not fit.
        reason: String,
    },
    /// The hub delivered an old commit as if it were new. It was not applied.
    Replayed {
        /// The epoch that the hub says it made.
        epoch: u64,
    },
    /// The hub offered to join an old state of the group. It was not joined.
    OldGroupInfo {
        /// The epoch of what it offered.
        epoch: u64,
        /// The epoch that the group is known to have reached.
        known: u64,
    },
    /// The hub says that a member's role is another than the group's policy says. The policy counts.
    ForgedRole {
        /// The member.
        user: UserId,
    },
    /// The hub delivered a pairwise message in another place than the one that it was written for, or as that of another device. It
    /// was not shown.
    Misplaced {
        /// What does not fit.
        reason: String,
    },
    /// The hub says that a conversation has gone back to an earlier protocol. It goes on with the one that it had.
    TurnedBack {
        /// The one that the hub says.
        protocol: Protocol,
    },
    /// The hub says that a user asks to be let in, and what it shows does not prove that they have the conversation's join link. They
    /// are not let in.
    ForgedJoin {
        /// The user.
        user: UserId,
    },
    /// A user who is a member has a further device in the group. It is as it should be if that user has a new device: the hub
    /// vouches for it alone.
    NewDevice {
        /// The member.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForbiddenCommit { reason } => write!(f, "the hub let a forbidden change pass: {reason}"),
            Self::ForbiddenGroup { reason } => write!(f, "the hub offered a forbidden group: {reason}"),
            Self::UnfitCommit { user } => {
                write!(f, "user {} changed the group in a way that nobody can follow", user.short())
            }
            Self::Withheld => f.write_str("the hub has withheld something"),
            Self::FalseHistory { reason } => write!(f, "the older messages are not all there: {reason}"),
            Self::Replayed { epoch } => write!(f, "the hub delivered an old commit as that of epoch {epoch}"),
            Self::OldGroupInfo { epoch, known } => {
                write!(f, "the hub offered the group as of epoch {epoch}, which has reached {known}")
            }
            Self::ForgedRole { user } => write!(f, "the hub gives user {} another role", user.short()),
            Self::Misplaced { reason } => write!(f, "the hub delivered a message in a wrong place: {reason}"),
            Self::TurnedBack { protocol } => write!(f, "the hub says that the protocol is {protocol} again"),
            Self::ForgedJoin { user } => {
                write!(f, "the hub wants user {} let in, who does not have the join link", user.short())
            }
            Self::NewDevice { user, device } => {
                write!(f, "user {} has the further device {device}", user.short())
            }
        }
    }
}

/// A [`Suspicion`] with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Noticed {
    /// The conversation.
    pub conversation: ConversationId,
    /// When it was noticed, milliseconds since 1970.
    pub at: i64,
    /// What.
    pub suspicion: Suspicion,
}

impl Client {
    /// What this home has noticed of the hub, oldest first; at most the last 1000.
    ///
    /// # Errors
    ///
    /// Those of the store.
    #[allow(clippy::unused_async)] // an application need not know which calls wait
    pub async fn suspicions(&self) -> Result<Vec<Noticed>> {
        let rows = self.inner().store.read(|r| r.suspicions_after(0))?;
        Ok(rows.into_iter().filter_map(noticed).collect())
    }

    /// Goes back into a conversation that this device keeps out of since the hub let a forbidden change pass. The conversation is
    /// then taken as the hub has it now, with whoever is in it.
    ///
    /// # Errors
    ///
    /// As those of [`sync`](Self::sync).
    pub async fn trust(&self, id: ConversationId) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        self.wipe(&mut tx, id)?;
        tx.store_write(move |w| {
            w.set_distrusted(id, false)?;
            w.set_joined(id, false)
        })?;
        tx.finish().await?;
        self.ready(id).await
    }

    /// Notes something outside the application of events.
    pub(crate) async fn notice(&self, id: ConversationId, suspicion: Suspicion) -> Result<()> {
        tracing::warn!(conversation = %id.short(), %suspicion, "noticed");
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| note(w, id, &suspicion))?;
        Ok(tx.finish().await?)
    }
}

/// Writes a suspicion down.
pub(crate) fn note(w: &mut WriteTx<'_>, id: ConversationId, suspicion: &Suspicion) -> Result<(), StoreError> {
    let what = serde_json::to_string(suspicion).expect("names and numbers are always JSON");
    w.insert_suspicion(id, now(), &what)
}

/// What a row says; none if it is of a later version.
pub(crate) fn noticed(row: SuspicionRecord) -> Option<Noticed> {
    let SuspicionRecord { conversation, noticed_at, what, .. } = row;
    let suspicion = serde_json::from_str(&what).ok()?;
    Some(Noticed { conversation, at: noticed_at, suspicion })
}
