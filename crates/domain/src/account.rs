//! Kinds of accounts, and what their users do not do.
//!
//! | | person | service | guest |
//! |---|---|---|---|
//! | has a password, logs in on several devices | yes | yes | no |
//! | ends by itself | no | no | yes |
//! | searches people, connects with them | yes | yes | no |
//! | is found, is asked for a connection | yes | yes | no |
//! | makes groups, channels and teams, is in a team | yes | yes | no |
//! | adds others to a conversation | yes | yes | no |
//! | is in conversations that admit it: reads, writes, leaves | yes | yes | yes |
//!
//! A *service* is a program that takes part, and says so. A *guest* is somebody without an account who was let in for a while.

use crate::text::named;

/// What an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum AccountKind {
    /// A person's.
    #[default]
    Person,
    /// Somebody's who is let in for a while: without a password or a handle of their choice.
    Guest,
    /// A program's.
    Service,
}

named!(AccountKind, "kind of account", {
    Person => "person",
    Guest => "guest",
    Service => "service",
});

/// Something that not every account does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountAction {
    /// Ask somebody for a connection, or answer.
    Connect,
    /// Search users.
    Search,
    /// Make a group.
    CreateGroup,
    /// Make a channel.
    CreateChannel,
    /// Make a team.
    CreateTeam,
    /// Join a team.
    JoinTeam,
    /// Add somebody else to a conversation.
    AddOthers,
    /// Change the password, or remove a device.
    UsePassword,
}

impl AccountAction {
    /// Every action.
    pub const ALL: &[Self] = &[
        Self::Connect,
        Self::Search,
        Self::CreateGroup,
        Self::CreateChannel,
        Self::CreateTeam,
        Self::JoinTeam,
        Self::AddOthers,
        Self::UsePassword,
    ];
}

/// Why an account does not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// A guest does not do that. Make an account to do it.
    #[error("{}", guests_cannot(*action))]
    GuestDenied {
        /// What was to be done.
        action: AccountAction,
    },
}

impl AccountError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::GuestDenied { .. } => "guest-denied",
        }
    }
}

impl AccountKind {
    /// Whether it is a person's, which goes without saying.
    pub fn is_person(&self) -> bool {
        *self == Self::Person
    }

    /// Whether it is a guest's.
    pub const fn is_guest(self) -> bool {
        matches!(self, Self::Guest)
    }

    /// Whether users who share no conversation with it find it and can ask it for a connection.
    pub const fn is_found(self) -> bool {
        !self.is_guest()
    }

    /// Checks that it does that. The table of this [module](self).
    ///
    /// # Errors
    ///
    /// [`AccountError::GuestDenied`] to a guest.
    pub const fn check(self, action: AccountAction) -> Result<(), AccountError> {
        match self {
            Self::Person | Self::Service => Ok(()),
            Self::Guest => Err(AccountError::GuestDenied { action }),
        }
    }
}

const fn guests_cannot(action: AccountAction) -> &'static str {
    match action {
        AccountAction::Connect => "a guest cannot connect with anybody",
        AccountAction::Search => "a guest cannot search people",
        AccountAction::CreateGroup => "a guest cannot make a group",
        AccountAction::CreateChannel => "a guest cannot make a channel",
        AccountAction::CreateTeam => "a guest cannot make a team",
        AccountAction::JoinTeam => "a guest cannot be in a team",
        AccountAction::AddOthers => "a guest cannot add others to a conversation",
        AccountAction::UsePassword => "a guest has no password and no other device",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn kinds_have_the_names_of_the_contract() {
        for (&kind, name) in AccountKind::ALL.iter().zip(["person", "guest", "service"]) {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
            assert_eq!(name.parse(), Ok(kind));
        }
        assert!(AccountKind::default().is_person());
    }

    #[test]
    fn a_guest_does_none_of_it_and_every_refusal_has_a_sentence_of_its_own() {
        let mut sentences = BTreeSet::new();
        for &action in AccountAction::ALL {
            assert_eq!(AccountKind::Person.check(action), Ok(()));
            assert_eq!(AccountKind::Service.check(action), Ok(()));
            let refused = AccountKind::Guest.check(action).unwrap_err();
            assert_eq!((refused, refused.code()), (AccountError::GuestDenied { action }, "guest-denied"));
            assert!(sentences.insert(refused.to_string()));
        }
        assert_eq!(sentences.len(), 8);
        let found: Vec<_> = AccountKind::ALL.iter().map(|kind| kind.is_found()).collect();
        assert_eq!(found, [true, false, true]);
    }
}
