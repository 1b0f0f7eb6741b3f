//! Roles, and the actions that they allow.

use std::{fmt, str::FromStr};

use crate::text::{named, serde_by_text};

/// Something that a member does to a conversation and that a role can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Add members.
    AddMember,
    /// Remove other members.
    RemoveMember,
    /// Rename the conversation.
    ModifyName,
    /// Change for how long messages are kept.
    ModifyMessageTimer,
    /// Change whether receipts are asked for.
    ModifyReceiptMode,
    /// Change who is admitted.
    ModifyAccess,
    /// Change another member's role.
    ModifyOtherMember,
    /// Change who may add members.
    ModifyAddPermission,
    /// Leave.
    Leave,
    /// Delete the conversation for all.
    Delete,
}

named!(Action, "action", {
    AddMember => "add_member",
    RemoveMember => "remove_member",
    ModifyName => "modify_name",
    ModifyMessageTimer => "modify_message_timer",
    ModifyReceiptMode => "modify_receipt_mode",
    ModifyAccess => "modify_access",
    ModifyOtherMember => "modify_other_member",
    ModifyAddPermission => "modify_add_permission",
    Leave => "leave",
    Delete => "delete",
});

/// A set of [`Action`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ActionSet(u16);

impl ActionSet {
    /// No action.
    pub const NONE: Self = Self(0);
    /// Every action.
    pub const ALL: Self = Self::of(Action::ALL);

    /// The set of these actions.
    pub const fn of(actions: &[Action]) -> Self {
        let mut bits = 0;
        let mut rest = actions;
        while let [action, tail @ ..] = rest {
            bits |= 1 << *action as u16;
            rest = tail;
        }
        Self(bits)
    }

    /// Whether the action is in the set.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u16) != 0
    }

    /// Whether every action of this set is in the other too.
    pub const fn is_subset(self, of: Self) -> bool {
        self.0 & !of.0 == 0
    }

    /// The actions, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.iter().copied().filter(move |&action| self.contains(action))
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Self(actions.into_iter().fold(0, |bits, action| bits | 1 << action as u16))
    }
}

impl fmt::Debug for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What a member may do in a group or channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// All actions. The creator of a conversation has it.
    Admin,
    /// May leave.
    Member,
}

/// A role's name is not known (`unknown-role`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no role of that name")]
pub struct UnknownRole;

impl Role {
    /// The predefined roles.
    pub const PREDEFINED: &[Self] = &[Self::Admin, Self::Member];

    /// The name, as it is sent and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// The actions that the role allows.
    pub const fn actions(self) -> ActionSet {
        match self {
            Self::Admin => ActionSet::ALL,
            Self::Member => ActionSet::of(&[Action::Leave]),
        }
    }

    /// Whether the role allows the action.
    pub const fn allows(self, action: Action) -> bool {
        self.actions().contains(action)
    }

    /// Whether who has this role may give the other to somebody: nobody hands out more than they have.
    pub const fn may_grant(self, other: Self) -> bool {
        other.actions().is_subset(self.actions())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    /// Reads a role's name; `wire_admin` and `wire_member` are what other systems call the predefined two.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "admin" | "wire_admin" => Ok(Self::Admin),
            "member" | "wire_member" => Ok(Self::Member),
            _ => Err(UnknownRole),
        }
    }
}

serde_by_text!(Role, "a role's name");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn actions_have_the_names_of_the_contract() {
        let names: Vec<_> = Action::ALL.iter().map(|a| a.as_str()).collect();
        assert_eq!(
            names,
            [
                "add_member",
                "remove_member",
                "modify_name",
                "modify_message_timer",
                "modify_receipt_mode",
                "modify_access",
                "modify_other_member",
                "modify_add_permission",
                "leave",
                "delete"
            ]
        );
        for &action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
    }

    #[test]
    fn an_admin_may_do_everything_and_a_member_may_leave() {
        assert_eq!(Role::Admin.actions().iter().collect::<Vec<_>>(), Action::ALL);
        assert_eq!(Role::Member.actions().iter().collect::<Vec<_>>(), [Action::Leave]);
        assert!(Role::Admin.allows(Action::Delete));
        assert!(!Role::Member.allows(Action::AddMember));
    }

    #[test]
    fn a_set_is_what_it_was_made_of() {
        for mask in 0..1_u16 << Action::ALL.len() {
            let chosen: Vec<_> = Action::ALL
                .iter()
                .enumerate()
                .filter(|(i, _)| mask & (1 << i) != 0)
                .map(|(_, &a)| a)
                .collect();
            let set = ActionSet::of(&chosen);
            assert_eq!(set.iter().collect::<Vec<_>>(), chosen);
            assert_eq!(chosen.iter().copied().collect::<ActionSet>(), set);
            assert!(ActionSet::NONE.is_subset(set) && set.is_subset(ActionSet::ALL) && set.is_subset(set));
            assert_eq!(ActionSet::ALL.is_subset(set), set == ActionSet::ALL);
        }
    }

    #[test]
    fn nobody_grants_more_than_they_have() {
        assert!(Role::Admin.may_grant(Role::Admin));
        assert!(Role::Admin.may_grant(Role::Member));
        assert!(Role::Member.may_grant(Role::Member));
        assert!(!Role::Member.may_grant(Role::Admin));
    }

    #[test]
    fn aliases_are_read_and_never_written() {
        for (text, role) in [
            ("admin", Role::Admin),
            ("wire_admin", Role::Admin),
            ("member", Role::Member),
            ("wire_member", Role::Member),
        ] {
            assert_eq!(text.parse(), Ok(role));
            assert_eq!(serde_json::from_str::<Role>(&format!("{text:?}")).unwrap(), role);
        }
        assert_eq!(serde_json::to_string(&Role::Admin).unwrap(), "\"admin\"");
        assert_eq!("owner".parse::<Role>(), Err(UnknownRole));
        assert_eq!("Admin".parse::<Role>(), Err(UnknownRole));
    }
}
