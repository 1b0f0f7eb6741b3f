//! Who may change a conversation: what the hub asks of a commit, asked again by this device.
//!
//! A group or channel has its policy in the group's signed context, and [`policy::check`] decides about every commit. A 1:1
//! has no policy and needs none: its id is derived from its two users, and nobody else's device can be in it. Neither has the
//! conversation of a user's own devices, whose id is the user's. A history client is nobody's device and so no matter of the
//! policy: whoever may read a conversation may pass on what they read. A subconversation is for those who are in its parent.

use crate::{
    Client, Me,
    link::{conversation_of, group_id},
};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::{
    join_link::by_link,
    policy::{PolicyFormatError, decode, encode},
};
use tertulia_conversation::inbox::KEY_DOMAIN;
use tertulia_domain::{
    ConversationId, DeviceAddress, Domain, UserId,
    policy::{self, Change, Committer, Policy, Proposer, Violation},
};
use tertulia_mls::{ClientId, GroupChange, GroupRules, JoinedGroup, RuleViolation, Wish};
use tertulia_store::{Store, StoreError};

/// Most devices of one user in two people's conversation that no hub carries.
const MOST_DEVICES: usize = 8;

/// Why a commit is refused, or a group not joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The policy does not allow it.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The policy cannot be read.
    #[error(transparent)]
    Format(#[from] PolicyFormatError),
    /// A member is no device of a user of this hub.
    #[error("{0} is not a device of a user of this hub")]
    Stranger(ClientId),
    /// Somebody is in a 1:1, or among a user's own devices, who cannot be.
    #[error("user {} does not belong in this conversation", .0.short())]
    ThirdParty(UserId),
    /// A user has more devices in a 1:1 than a person has.
    #[error("user {} has more than {} devices in this conversation", .0.short(), MOST_DEVICES)]
    TooManyDevices(UserId),
    /// The group is not that of a conversation, or of another one than its policy says.
    #[error("the group is not that of the conversation")]
    WrongGroup,
    /// The home could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The rules of the conversations of one user.
pub(crate) struct ConversationRules {
    me: UserId,
    domain: Domain,
    store: Store,
}

impl GroupRules for ConversationRules {
    fn data_after(&self, change: &GroupChange) -> Result<Option<Vec<u8>>, RuleViolation> {
        self.follow(change).map_err(RuleViolation::new)
    }

    fn is_void(&self, change: &GroupChange, added: &ClientId, by: &tertulia_mls::Proposer) -> bool {
        let (group, data) = (&change.conversation, change.data_before.as_deref());
        self.check_wish(group, data, added, by).is_err()
            || self.users(change).is_ok_and(|users| self.user(added).is_ok_and(|user| users.leaves(user)))
    }

    /// No client proposes to add or to remove: what others propose so, nobody has checked, this device's rules and the hub's keys
    /// neither.
    ///
    /// Where there is no hub a member leaves by proposing it.
    fn carries_out(&self, wish: Wish) -> bool {
        wish == Wish::Renewal || wish == Wish::Departure && self.domain.as_str() == KEY_DOMAIN
    }

    fn check(&self, change: &GroupChange) -> Result<(), RuleViolation> {
        self.check_change(change).map_err(RuleViolation::new)
    }

    fn check_joined(&self, group: &JoinedGroup) -> Result<(), RuleViolation> {
        self.check_group(group).map_err(RuleViolation::new)
    }
}

impl Client {
    /// The rules of this user's conversations.
    pub(crate) fn rules(&self) -> ConversationRules {
        ConversationRules::of(self.me(), &self.inner().store)
    }
}

impl ConversationRules {
    pub(crate) fn of(me: &Me, store: &Store) -> Self {
        Self { me: me.user, domain: me.domain.clone(), store: store.clone() }
    }

    /// The policy that follows from a change of this device.
    fn follow(&self, change: &GroupChange) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(wanted) = &change.data_after else { return Ok(None) };
        let id = conversation_of(&change.conversation).ok_or(Refusal::WrongGroup)?;
        let members: BTreeSet<UserId> =
            self.store.read(|r| r.members(id))?.into_iter().map(|member| member.user).collect();
        let policy = decode(Some(wanted))?.after(&self.users(change)?, |user| members.contains(&user));
        Ok(Some(encode(&policy)))
    }

    /// Whether anybody can carry out somebody's wish to have this client added, in a group with these data. An honest hub passes no
    /// other on; a commit with one is refused by all.
    pub(crate) fn check_wish(
        &self,
        group: &tertulia_mls::ConversationId,
        data: Option<&[u8]>,
        added: &ClientId,
        by: &tertulia_mls::Proposer,
    ) -> Result<(), Refusal> {
        if added.is_history_client() {
            return Ok(()); // no matter of the policy
        }
        let user = self.user(added)?;
        if data.is_none() {
            return self.check_pair(group, BTreeSet::from([user]));
        }
        let policy = policy_of(group, data)?;
        match by {
            tertulia_mls::Proposer::Client(by) if policy.grants_wish(self.user(by)?, user) => Ok(()),
            _ => Err(Refusal::ThirdParty(user)),
        }
    }

    fn check_change(&self, change: &GroupChange) -> Result<(), Refusal> {
        let users = self.users(change)?;
        match (&change.data_before, &change.data_after) {
            (None, None) => self.check_pair(&change.conversation, users.present()),
            (before, after) => {
                let before = policy_of(&change.conversation, before.as_deref())?;
                let after = decode(after.as_deref())?;
                if before.pair().is_some() {
                    self.check_pair_without_hub(&clients_after(change))?;
                }
                let added = users.added.iter().map(|(user, _)| *user);
                let by_link = by_link(&before, &after, added, &self.domain);
                Ok(policy::check(&before, &after, &Change { by_link, ..users })?)
            }
        }
    }

    fn check_group(&self, group: &JoinedGroup) -> Result<(), Refusal> {
        let devices = group.members.iter().filter(|client| !client.is_history_client());
        let present = devices.map(|client| self.user(client)).collect::<Result<BTreeSet<_>, _>>()?;
        if group.data.is_none() {
            return self.check_pair(&group.conversation, present);
        }
        let policy = policy_of(&group.conversation, group.data.as_deref())?;
        if policy.pair().is_some() {
            self.check_pair_without_hub(&group.members)?;
        }
        match policy.stranger(&present) {
            Some(user) => Err(Violation::Unaccounted { user }.into()),
            None => Ok(()),
        }
    }

    /// Two people's conversation with a policy: no hub carries it, and neither has more devices in it than a person has.
    fn check_pair_without_hub(&self, members: &[ClientId]) -> Result<(), Refusal> {
        if self.domain.as_str() != KEY_DOMAIN {
            return Err(Refusal::WrongGroup);
        }
        let mut devices: BTreeMap<UserId, usize> = BTreeMap::new();
        for client in members {
            let user = self.user(client)?;
            let count = devices.entry(user).or_default();
            *count += 1;
            if *count > MOST_DEVICES {
                return Err(Refusal::TooManyDevices(user));
            }
        }
        Ok(())
    }

    /// Whose devices can be in a conversation without a policy.
    fn check_pair(
        &self,
        group: &tertulia_mls::ConversationId,
        present: BTreeSet<UserId>,
    ) -> Result<(), Refusal> {
        let id = conversation_of(group).ok_or(Refusal::WrongGroup)?;
        // What the id says comes first: no other conversation becomes a subconversation by being called one.
        if id.is_subconversation()
            && let Some(row) = self.store.read(|r| r.conversation(id))?
            && let Some((parent, name)) = row.subconversation
            && ConversationId::subconversation(parent, &name) == id
        {
            return self.check_under(parent, present);
        }
        let own = id.as_bytes() == self.me.as_bytes();
        let belongs = |user: UserId| {
            let pair = || ConversationId::one_to_one((&self.me, &self.domain), (&user, &self.domain)).id;
            user == self.me || !own && pair() == id
        };
        match present.into_iter().find(|user| !belongs(*user)) {
            Some(user) => Err(Refusal::ThirdParty(user)),
            None => Ok(()),
        }
    }

    /// Whose devices can be in a subconversation of this one: those of the parent's members, by its policy or its nature.
    fn check_under(&self, parent: ConversationId, present: BTreeSet<UserId>) -> Result<(), Refusal> {
        let above = self.store.read(|r| r.conversation(parent))?;
        let Some(policy) = above.and_then(|above| above.policy) else {
            return self.check_pair(&group_id(parent, 0), present);
        };
        let policy = decode(Some(&policy))?;
        match policy.stranger(&present) {
            Some(user) => Err(Refusal::ThirdParty(user)),
            None => Ok(()),
        }
    }

    /// What the commit does, by users. Who comes by the join link is to be added.
    fn users(&self, change: &GroupChange) -> Result<Change, Refusal> {
        let committer = match &change.committer {
            tertulia_mls::Committer::Member(client) => Committer::Member(self.user(client)?),
            tertulia_mls::Committer::Joiner(client) => Committer::Joiner(self.user(client)?),
            _ => return Err(Refusal::WrongGroup),
        };
        let gone: BTreeSet<&ClientId> = change.removed.iter().map(|(client, _)| client).collect();
        let kept =
            change.members.iter().filter(|client| !gone.contains(client) && !client.is_history_client());
        Ok(Change {
            committer,
            added: self.proposed(&change.added)?,
            removed: self.proposed(&change.removed)?,
            kept: kept.map(|client| self.user(client)).collect::<Result<_, _>>()?,
            by_link: BTreeSet::new(),
        })
    }

    fn proposed(
        &self,
        proposals: &[(ClientId, tertulia_mls::Proposer)],
    ) -> Result<Vec<(UserId, Proposer)>, Refusal> {
        let one = |(client, by): &(ClientId, tertulia_mls::Proposer)| {
            let by = match by {
                tertulia_mls::Proposer::Client(client) => Proposer::User(self.user(client)?),
                tertulia_mls::Proposer::ExternalSender(0) => Proposer::Hub,
                _ => return Err(Refusal::Stranger(client.clone())),
            };
            Ok((self.user(client)?, by))
        };
        proposals.iter().filter(|(client, _)| !client.is_history_client()).map(one).collect()
    }

    fn user(&self, client: &ClientId) -> Result<UserId, Refusal> {
        match DeviceAddress::from_identity(client.as_bytes()) {
            Ok(address) if address.domain == self.domain => Ok(address.user),
            _ => Err(Refusal::Stranger(client.clone())),
        }
    }
}

/// Who is in the group after a change, one by device.
fn clients_after(change: &GroupChange) -> Vec<ClientId> {
    let gone: BTreeSet<&ClientId> = change.removed.iter().map(|(client, _)| client).collect();
    let kept = change.members.iter().filter(|client| !gone.contains(client)).cloned();
    kept.chain(change.added.iter().map(|(client, _)| client.clone())).collect()
}

/// The policy of this group, which says so itself.
fn policy_of(group: &tertulia_mls::ConversationId, data: Option<&[u8]>) -> Result<Policy, Refusal> {
    let policy = decode(data)?;
    if conversation_of(group) == Some(policy.conversation()) { Ok(policy) } else { Err(Refusal::WrongGroup) }
}

#[cfg(test)]
mod tests;
