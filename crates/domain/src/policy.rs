//! The policy of a group or channel: who is in it, with which role, and what the roles allow.
//!
//! With MLS it stands in the group's signed context, so that every member checks by it what the hub checks: [`check`] is
//! the one function that both ask of every commit. A hub that lies cannot add whom no member with the right to do so has
//! added, nor give anybody a role but by the rule of who follows the last admin. Whose a device is, is not a matter of the policy.
//!
//! # What a commit may do
//!
//! | what changes | who may |
//! |---|---|
//! | a user's devices are added, and the user is not a member | [`Action::AddMember`](crate::role::Action::AddMember), or everybody if [`AddPermission::Everyone`], and then with the role `member` only |
//! | a further device of a member is added | every member |
//! | a user's devices are removed | the hub, for who has left; that user; [`Action::RemoveMember`](crate::role::Action::RemoveMember) |
//! | a device joins by external commit | a device of a member, and nothing else changes |
//! | a member's role | [`Action::ModifyOtherMember`](crate::role::Action::ModifyOtherMember), never one's own |
//! | who may add | [`Action::ModifyAddPermission`](crate::role::Action::ModifyAddPermission) |
//! | whether members tell what they have read, where no hub carries it | [`Action::ModifyReceiptMode`](crate::role::Action::ModifyReceiptMode) |
//! | the join link, and whether it is open | [`Action::ModifyAccess`](crate::role::Action::ModifyAccess) |
//! | a user is added with the role `member` who proves to have the join link, or while the conversation is open | every member |
//!
//! Two people's conversation that no hub carries has a policy too, with a [`Pair`]: it never changes, each of the two adds and removes devices of
//! their own, and who begins it brings the other in.
//!
//! Whether somebody has the join link is a matter of signatures, and so of the callers: [`Change::by_link`].
//!
//! A role is given by who has all its actions. An admin remains; when the hub removes the last one, whose account was
//! deleted, the member who has been in it longest is the next.

mod check;
mod next;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

pub use self::{
    check::{Change, Committer, Proposer, Violation, check},
    unseen::Unseen,
};
use crate::{
    conversation::ConversationType,
    ids::{ConversationId, UserId},
    role::{ActionSet, Role, RoleName},
    settings::ReceiptMode,
    text::named,
};

/// Who may add members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum AddPermission {
    /// Those whose role allows it.
    #[default]
    Admins,
    /// Every member. Whose role does not allow it, adds with the role `member` only.
    Everyone,
}

named!(AddPermission, "add permission", {
    Admins => "admins",
    Everyone => "everyone",
});

/// A conversation's policy. It is well-formed by construction: every user is in it once, every role is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    conversation: ConversationId,
    conversation_type: ConversationType,
    add_permission: AddPermission,
    /// In the order in which they joined.
    members: IndexMap<UserId, RoleName>,
    /// What the roles allow that are not predefined. Exactly those that somebody has.
    roles: BTreeMap<RoleName, ActionSet>,
    entrance: Entrance,
    /// Where no hub carries it: by whose names it travels, for good. The first orders the commits.
    carriers: Vec<String>,
    /// Where no hub carries it: whether members tell each other what they have read.
    receipt_mode: ReceiptMode,
    /// Of two people's conversation that no hub carries, what it goes on with.
    pair: Option<Pair>,
}

/// What two people's conversation goes on with that no hub carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The conversation of the two in which they met. What is said is shown there.
    pub continues: ConversationId,
    /// How often the two have begun to go on with it, this time counted.
    pub times: u32,
}

/// How people come into a conversation whom nobody invites.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entrance {
    /// The public key of the join link, if there is one: who has the link proves it by a signature.
    pub link: Option<LinkKey>,
    /// Whether members add everybody who asks. Nothing proves then that they have asked but the hub's word.
    pub open: bool,
    /// Whom the commit that made this policy added by the link, with what proved that they have it. The next commit drops it.
    pub admitted: BTreeMap<UserId, JoinProof>,
}

/// An Ed25519 public key.
pub type LinkKey = [u8; 32];
/// An Ed25519 signature.
pub type JoinProof = [u8; 64];

/// Why something is not a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Conversations of this type have the members that they have by nature.
    #[error("a conversation of type {0} has no policy")]
    Type(ConversationType),
    /// A user is named twice.
    #[error("a user is in it twice")]
    MemberTwice,
    /// The roles that are described are not those that the members have.
    #[error("the roles that it describes are not those that its members have")]
    Roles,
}

impl Policy {
    /// A policy with its creator as admin.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Type`] unless it is a group or channel.
    pub fn new(
        conversation: ConversationId,
        conversation_type: ConversationType,
        creator: UserId,
    ) -> Result<Self, PolicyError> {
        let members = [(creator, RoleName::ADMIN)];
        Self::of(conversation, conversation_type, AddPermission::default(), members, BTreeMap::new())
    }

    /// A policy from its parts: the members in the order in which they joined, and the actions of those of their roles that
    /// are not predefined.
    ///
    /// # Errors
    ///
    /// What is not one policy only: see [`PolicyError`].
    pub fn of(
        conversation: ConversationId,
        conversation_type: ConversationType,
        add_permission: AddPermission,
        members: impl IntoIterator<Item = (UserId, RoleName)>,
        roles: BTreeMap<RoleName, ActionSet>,
    ) -> Result<Self, PolicyError> {
        if !conversation_type.is_managed() {
            return Err(PolicyError::Type(conversation_type));
        }
        let mut by_user = IndexMap::new();
        for (user, role) in members {
            if by_user.insert(user, role).is_some() {
                return Err(PolicyError::MemberTwice);
            }
        }
        let members = by_user;
        let used: BTreeSet<&RoleName> = members.values().filter(|role| !role.is_predefined()).collect();
        if !used.into_iter().eq(roles.keys()) {
            return Err(PolicyError::Roles);
        }
        Ok(Self {
            conversation,
            conversation_type,
            add_permission,
            members,
            roles,
            entrance: Entrance::default(),
            carriers: Vec::new(),
            receipt_mode: ReceiptMode::default(),
            pair: None,
        })
    }

    /// The policy of two people's conversation that no hub carries, for good.
    ///
    /// # Errors
    ///
    /// [`PolicyError::MemberTwice`].
    pub fn of_two(conversation: ConversationId, pair: Pair, users: [UserId; 2]) -> Result<Self, PolicyError> {
        if users[0] == users[1] {
            return Err(PolicyError::MemberTwice);
        }
        Ok(Self {
            conversation,
            conversation_type: ConversationType::OneToOne,
            add_permission: AddPermission::default(),
            members: users.into_iter().map(|user| (user, RoleName::ADMIN)).collect(),
            roles: BTreeMap::new(),
            entrance: Entrance::default(),
            carriers: Vec::new(),
            receipt_mode: ReceiptMode::default(),
            pair: Some(pair),
        })
    }

    /// The conversation.
    pub const fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// Its type, for good.
    pub const fn conversation_type(&self) -> ConversationType {
        self.conversation_type
    }

    /// Who may add members.
    pub const fn add_permission(&self) -> AddPermission {
        self.add_permission
    }

    /// The members with their roles, in the order in which they joined.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (UserId, &RoleName)> {
        self.members.iter().map(|(user, role)| (*user, role))
    }

    /// What the roles allow that are not predefined.
    pub const fn roles(&self) -> &BTreeMap<RoleName, ActionSet> {
        &self.roles
    }

    /// How people come into it whom nobody invites.
    pub const fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// The names of the carriers that it travels by, where no hub carries it. The first orders the commits.
    pub fn carriers(&self) -> &[String] {
        &self.carriers
    }

    /// Whether members tell each other what they have read, where no hub carries it.
    pub const fn receipt_mode(&self) -> ReceiptMode {
        self.receipt_mode
    }

    /// Of two people's conversation that no hub carries, what it goes on with.
    pub const fn pair(&self) -> Option<Pair> {
        self.pair
    }

    /// Whether the user is a member.
    pub fn has(&self, user: UserId) -> bool {
        self.members.contains_key(&user)
    }

    /// The first of these users who is not a member.
    pub fn stranger<'a>(&self, users: impl IntoIterator<Item = &'a UserId>) -> Option<UserId> {
        users.into_iter().copied().find(|user| !self.has(*user))
    }

    /// The member's role.
    pub fn role_of(&self, user: UserId) -> Option<Role> {
        self.role(self.members.get(&user)?)
    }

    /// The role of this name, if it is predefined or a member has it.
    pub fn role(&self, name: &RoleName) -> Option<Role> {
        Role::predefined(name).or_else(|| Role::defined(name.clone(), *self.roles.get(name)?).ok())
    }

    /// How many admins it has.
    pub fn admins(&self) -> usize {
        self.members.values().filter(|role| **role == RoleName::ADMIN).count()
    }
}
