//! What looks as if the hub did not do as it should, told to people and kept for them.

use crate::{Client, Result, client::now, coming_in::Caution};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};
use tertulia_api::policy::decode;
use tertulia_domain::{ConversationId, DeviceAddress, DeviceId, Protocol, RoleName, UserId};
use tertulia_mls::{ClientId, TransactionContext};
use tertulia_store::{ReadTx, StoreError, SuspicionRecord, WriteTx};

/// In milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

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
    /// The hub has taken a commit that this device cannot follow: its sender made it so, in a part that no hub can check, or the hub has
    /// damaged it. This device joins anew, and after some within an hour only when its user wants something of the conversation.
    UnfitCommit {
        /// Whose commit it is, as the hub says.
        user: UserId,
    },
    /// The hub delivered something that presupposes what it has not delivered. This device joins anew.
    Withheld,
    /// The hub does not keep any more what it accepted up to a time, and this device was away for so long that it has not had it. What
    /// was said then is missing here; if that is not so, the hub has withheld it.
    Missed {
        /// When the last was accepted that is here, milliseconds since 1970; none if nothing is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<i64>,
        /// When the last was accepted that is missing, milliseconds since 1970.
        until: i64,
    },
    /// What the hub gave of the log from before this device came cannot be read to its end with what members gave: one of them has
    /// left something out or made something up. What could be read is shown.
    FalseHistory {
        /// What does not fit.
        reason: String,
    },
    /// The hub passed on a proposal that the conversation's rules let nobody carry out, as to add the device of somebody who is not a
    /// member; where the hub cannot read proposals, a member may have made it. This device's commits leave it out.
    ForbiddenProposal {
        /// Which rule it breaks.
        reason: String,
    },
    /// This device has come into a group again and finds a member who was not one when it was last in it, or not with this role. It
    /// did not see how that came about, and nobody whose device it knows from elsewhere vouches for it. Who it is can be asked of
    /// the other members.
    UnseenMember {
        /// The member.
        user: UserId,
        /// The role.
        role: RoleName,
    },
    /// This device has come into a group again and finds that others may add members than when it was last in it, or that there is
    /// another join link, or that it is open. It did not see who has made it so.
    UnseenAccess,
    /// The hub delivered as the new name of a conversation what its author did not write as that, or may not set. The name stays as
    /// it was.
    ForgedName {
        /// The author.
        user: UserId,
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
    /// A relay has put a change of this device's into another place than it had said: others may see another order. What stands in the
    /// topic counts.
    Reordered,
    /// Somebody has added this user to a group that travels by a relay which is none of this home's. It was not entered: nobody goes to
    /// a server because a message says so.
    UnknownRelay {
        /// Its address.
        relay: String,
    },
    /// A user who is a member has a further device in the group. It is as it should be if that user has a new device: the hub
    /// vouches for it alone.
    NewDevice {
        /// The member.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// A [new device](Self::NewDevice) has changed who is in the conversation, with which role, or who else comes in, by the rights
    /// of its user. It is as it should be if that user has this device; if not, the hub has done it. It is told once of a device.
    ChangedByNewDevice {
        /// The member.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// All admins are gone, as the hub says, so that the member who has been in the conversation longest is admin by rule. It is as it
    /// should be if the accounts of the admins were deleted: the hub can remove, and nobody has signed that they are gone.
    Succession {
        /// The member who is admin now.
        user: UserId,
    },
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForbiddenCommit { reason } => write!(f, "the hub let a forbidden change pass: {reason}"),
            Self::ForbiddenGroup { reason } => write!(f, "the hub offered a forbidden group: {reason}"),
            Self::UnfitCommit { user } => {
                write!(f, "user {} changed the group in a way that this device cannot follow", user.short())
            }
            Self::Withheld => f.write_str("the hub has withheld something"),
            Self::Missed { since, until } => {
                match since.map(|since| until.saturating_sub(since) / DAY) {
                    Some(days) if days > 0 => write!(f, "what was said during {days} days is missing")?,
                    _ => f.write_str("something that was said is missing")?,
                }
                f.write_str(": this device was away for longer than the hub keeps it")
            }
            Self::FalseHistory { reason } => write!(f, "the older messages are not all there: {reason}"),
            Self::ForbiddenProposal { reason } => {
                write!(f, "the hub passed on a forbidden proposal: {reason}")
            }
            Self::UnseenMember { user, role } => {
                write!(f, "user {} is in the group as {role}, and this device did not see how", user.short())
            }
            Self::UnseenAccess => {
                f.write_str("who can come into the group was changed, and this device did not see by whom")
            }
            Self::ForgedName { user } => {
                write!(f, "the hub passed something by user {} off as a new name", user.short())
            }
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
            Self::Reordered => f.write_str("a relay has changed the order of what it was given"),
            Self::UnknownRelay { relay } => {
                write!(f, "a group travels by the relay {relay}, which is none of this home's")
            }
            Self::NewDevice { user, device } => {
                write!(f, "user {} has the further device {device}", user.short())
            }
            Self::ChangedByNewDevice { user, device } => write!(
                f,
                "the device {device}, of which only the hub says that it is user {}'s, has changed who is in the group or what \
                 they may",
                user.short()
            ),
            Self::Succession { user } => {
                write!(f, "the hub says that all admins are gone, and so user {} is admin", user.short())
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
        self.ready_with(id, Caution::Trust).await
    }

    /// Notes something outside the application of events.
    pub(crate) async fn notice(&self, id: ConversationId, suspicion: Suspicion) -> Result<()> {
        tracing::warn!(conversation = %id.short(), %suspicion, "noticed");
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| note(w, id, &suspicion))?;
        Ok(tx.finish().await?)
    }
}

/// Of the devices that a commit has added to the group, those whose users were in it already. Only the hub says that they are
/// theirs. Nobody was in a group that is begun.
pub(crate) async fn further_devices(
    tx: &mut TransactionContext,
    group: &tertulia_mls::ConversationId,
    (added, removed): (&[ClientId], &[ClientId]),
    own: &DeviceAddress,
) -> Result<Vec<Suspicion>> {
    if added.is_empty() || !tx.conversation_exists(group)? {
        return Ok(Vec::new());
    }
    let mut guard = tx.conversation(group).await?;
    if guard.epoch()? == 1 {
        return Ok(Vec::new());
    }
    let members = guard.client_ids()?;
    let new: BTreeSet<&ClientId> = added.iter().collect();
    let stayed = members.iter().filter(|client| !new.contains(client));
    let before: BTreeSet<UserId> = stayed
        .chain(removed)
        .filter_map(|client| DeviceAddress::from_identity(client.as_bytes()).ok())
        .map(|address| address.user)
        .collect();
    let addresses = added
        .iter()
        .filter(|client| !removed.contains(client))
        .filter_map(|client| DeviceAddress::from_identity(client.as_bytes()).ok());
    Ok(addresses
        .filter(|address| address != own && before.contains(&address.user))
        .map(|DeviceAddress { user, device, .. }| Suspicion::NewDevice { user, device })
        .collect())
}

/// Who is admin by rule in a policy, which follows from the last one that is known.
pub(crate) fn succession(last: Option<&[u8]>, policy: Option<&[u8]>) -> Option<Suspicion> {
    let [last, policy] = [last, policy].map(|policy| decode(Some(policy?)).ok());
    policy?.successor_since(&last?).map(|user| Suspicion::Succession { user })
}

/// Whether this was noticed in a conversation, as far as it is kept.
pub(crate) fn was_noticed(
    r: &ReadTx<'_>,
    id: ConversationId,
    suspicion: &Suspicion,
) -> Result<bool, StoreError> {
    let mut rows = r.suspicions_after(0)?.into_iter().filter_map(noticed);
    Ok(rows.any(|noticed| noticed.conversation == id && noticed.suspicion == *suspicion))
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
