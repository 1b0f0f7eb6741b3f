//! Who is admitted to a conversation: in which ways one can come into it, and of which classes of users.
//!
//! | mode | how somebody comes in |
//! |---|---|
//! | `private` | nobody does; it stands alone |
//! | `invite` | a member who may adds them |
//! | `code` | they have the conversation's join link |
//! | `link` | they ask, knowing the conversation's id only |
//!
//! In each of these ways the conversation has to admit the user's class as well. When it no longer admits a class, the
//! members of that class are removed: [`Access::narrowed`].

use std::collections::BTreeSet;

use crate::{
    account::AccountKind,
    conversation::ConversationType,
    ids::UserId,
    permission::{Membership, PermissionError, authorise},
    role::Action,
    text::named,
};

/// A way into a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AccessMode {
    /// None at all.
    Private,
    /// Being added by a member.
    Invite,
    /// Asking, with nothing but the conversation's id.
    Link,
    /// The conversation's join link, with its password if it has one.
    Code,
}

named!(AccessMode, "access mode", {
    Private => "private",
    Invite => "invite",
    Link => "link",
    Code => "code",
});

/// A class of users as a conversation sees them. Every user is of exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AccessRole {
    /// Somebody of the conversation's team.
    TeamMember,
    /// A person of another team or of none. Of a conversation that belongs to no team, every person.
    NonTeamMember,
    /// Somebody with an account for the time being.
    Guest,
    /// A program.
    Service,
}

named!(AccessRole, "access role", {
    TeamMember => "team_member",
    NonTeamMember => "non_team_member",
    Guest => "guest",
    Service => "service",
});

impl AccessRole {
    /// The class of a user with this kind of account, who is in the conversation's team or not. What kind of account it is
    /// counts before the team.
    pub const fn of(kind: AccountKind, is_team_mate: bool) -> Self {
        match kind {
            AccountKind::Guest => Self::Guest,
            AccountKind::Service => Self::Service,
            AccountKind::Person if is_team_mate => Self::TeamMember,
            AccountKind::Person => Self::NonTeamMember,
        }
    }
}

/// Which ways into a conversation there are, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    modes: BTreeSet<AccessMode>,
    roles: BTreeSet<AccessRole>,
}

/// Why modes and roles are not an [`Access`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// No mode is named. Name `private` if nobody is to come in.
    #[error("name at least one mode of access")]
    NoMode,
    /// There are ways in, and none. Name `private` alone, or leave it out.
    #[error("private stands alone")]
    PrivateAndMore,
    /// Nobody could be a member. Name at least one role.
    #[error("name at least one access role")]
    NoRole,
}

impl Access {
    /// Of modes and roles.
    ///
    /// # Errors
    ///
    /// See [`AccessError`].
    pub fn new(
        modes: impl IntoIterator<Item = AccessMode>,
        roles: impl IntoIterator<Item = AccessRole>,
    ) -> Result<Self, AccessError> {
        let modes: BTreeSet<_> = modes.into_iter().collect();
        let roles: BTreeSet<_> = roles.into_iter().collect();
        if modes.is_empty() {
            Err(AccessError::NoMode)
        } else if modes.len() > 1 && modes.contains(&AccessMode::Private) {
            Err(AccessError::PrivateAndMore)
        } else if roles.is_empty() {
            Err(AccessError::NoRole)
        } else {
            Ok(Self { modes, roles })
        }
    }

    /// What a new conversation has: members add people, and nobody else comes in. A guest or a service in a team's
    /// conversation has to be let in expressly.
    pub fn of_new(in_team: bool) -> Self {
        let persons = [AccessRole::TeamMember, AccessRole::NonTeamMember];
        let roles = if in_team { persons.into() } else { AccessRole::ALL.iter().copied().collect() };
        Self { modes: BTreeSet::from([AccessMode::Invite]), roles }
    }

    /// The ways in.
    pub const fn modes(&self) -> &BTreeSet<AccessMode> {
        &self.modes
    }

    /// Who is admitted.
    pub const fn roles(&self) -> &BTreeSet<AccessRole> {
        &self.roles
    }

    /// Whether there is this way in.
    pub fn has(&self, mode: AccessMode) -> bool {
        self.modes.contains(&mode)
    }

    /// The same with this way in, or without. What is left without any is private.
    #[must_use]
    pub fn with(mut self, mode: AccessMode, there: bool) -> Self {
        if there {
            self.modes.insert(mode);
            self.modes.remove(&AccessMode::Private);
        } else {
            self.modes.remove(&mode);
        }
        if self.modes.is_empty() {
            self.modes.insert(AccessMode::Private);
        }
        self
    }

    /// Modes and roles as numbers: bit *n* stands for the *n*th of [`AccessMode::ALL`] and [`AccessRole::ALL`].
    pub fn bits(&self) -> (u8, u8) {
        let modes = self.modes.iter().fold(0, |bits, mode| bits | 1 << *mode as u8);
        (modes, self.roles.iter().fold(0, |bits, role| bits | 1 << *role as u8))
    }

    /// What has these numbers; none if nothing has.
    pub fn from_bits((modes, roles): (u8, u8)) -> Option<Self> {
        let of_modes = AccessMode::ALL.iter().copied().filter(|mode| modes & 1 << *mode as u8 != 0);
        let of_roles = AccessRole::ALL.iter().copied().filter(|role| roles & 1 << *role as u8 != 0);
        Self::new(of_modes, of_roles).ok().filter(|access| access.bits() == (modes, roles))
    }

    /// Whether somebody of this class may come in this way.
    ///
    /// # Errors
    ///
    /// [`PermissionError::NotAdmitted`]. It depends on the conversation and the user alone, on nothing between two users: it
    /// is asked before that, so that a block shows in neither.
    pub fn check(&self, mode: AccessMode, class: AccessRole) -> Result<(), PermissionError> {
        if mode != AccessMode::Private && self.has(mode) && self.roles.contains(&class) {
            Ok(())
        } else {
            Err(PermissionError::NotAdmitted)
        }
    }

    /// Who of the members is to go when this comes to be: all whose class is not admitted, but for the one who brings it about.
    ///
    /// # Errors
    ///
    /// [`PermissionError::LastAdmin`] if no admin would remain.
    pub fn narrowed(
        &self,
        members: &[(UserId, AccessRole, IsAdmin)],
        actor: UserId,
    ) -> Result<Vec<UserId>, PermissionError> {
        let goes = |&&(user, class, _): &&(UserId, AccessRole, IsAdmin)| {
            user != actor && !self.roles.contains(&class)
        };
        let had_admin = members.iter().any(|(.., is_admin)| *is_admin);
        if had_admin && !members.iter().any(|member| member.2 && !goes(&member)) {
            return Err(PermissionError::LastAdmin);
        }
        Ok(members.iter().filter(goes).map(|member| member.0).collect())
    }
}

/// Whether a member has the role `admin`.
pub type IsAdmin = bool;

/// Changing who is admitted.
pub fn check_change_access(actor: Option<&Membership>) -> Result<(), PermissionError> {
    authorise(actor, Action::ModifyAccess).map(|_| ())
}

/// Asking to come into a conversation by its id. To who is not admitted it is as if there were none.
///
/// # Errors
///
/// [`PermissionError::NoConversation`].
pub fn check_ask(kind: ConversationType, access: &Access, class: AccessRole) -> Result<(), PermissionError> {
    if kind.is_managed() && access.check(AccessMode::Link, class).is_ok() {
        Ok(())
    } else {
        Err(PermissionError::NoConversation)
    }
}
