//! Roles, and the actions that they allow.

use std::{borrow::Cow, fmt, str::FromStr};

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

    /// The set as a number: bit *n* stands for the *n*th of [`Action::ALL`], from the lowest.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set of this number; none if a bit stands for no action.
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
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

impl serde::Serialize for ActionSet {
    /// As the list of the actions' names.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for ActionSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Action>::deserialize(deserializer).map(Self::from_iter)
    }
}

/// The name of a role: `admin`, `member`, or one that a team defined. Cheap to clone.
///
/// 2–128 characters `[a-z0-9_]`. What a role of that name allows is the business of [`Role`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Cow<'static, str>);

/// A text is not a role's name (`unknown-role`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role's name has {min} to {max} characters of a-z, 0-9 and '_'", min = RoleName::MIN_LEN, max = RoleName::MAX_LEN)]
pub struct RoleNameError;

impl RoleName {
    /// Shortest name, in characters.
    pub const MIN_LEN: usize = 2;
    /// Longest name, in characters, which are bytes here.
    pub const MAX_LEN: usize = 128;
    /// The role with all actions. The creator of a conversation has it.
    pub const ADMIN: Self = Self(Cow::Borrowed("admin"));
    /// The role that may leave, and nothing else.
    pub const MEMBER: Self = Self(Cow::Borrowed("member"));

    /// The name, as it is sent and stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every conversation knows the role. No team can define one of that name.
    pub fn is_predefined(&self) -> bool {
        *self == Self::ADMIN || *self == Self::MEMBER
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RoleName {
    type Err = RoleNameError;

    /// Reads a role's name; `wire_admin` and `wire_member` are what other systems call the predefined two.
    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        match text {
            "admin" | "wire_admin" => Ok(Self::ADMIN),
            "member" | "wire_member" => Ok(Self::MEMBER),
            _ => {
                let fits = (Self::MIN_LEN..=Self::MAX_LEN).contains(&text.len());
                let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
                if fits && text.bytes().all(allowed) {
                    Ok(Self(Cow::Owned(text.to_owned())))
                } else {
                    Err(RoleNameError)
                }
            }
        }
    }
}

serde_by_text!(RoleName, "a role's name");

/// What a member may do in a group or channel: a name, and the actions that it allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    name: RoleName,
    actions: ActionSet,
}

/// A role cannot be defined under this name, for every conversation has one of it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the roles admin and member are the same everywhere and cannot be defined anew")]
pub struct Predefined;

impl Role {
    /// All actions. The creator of a conversation has it.
    pub const ADMIN: Self = Self { name: RoleName::ADMIN, actions: ActionSet::ALL };
    /// May leave.
    pub const MEMBER: Self = Self { name: RoleName::MEMBER, actions: ActionSet::of(&[Action::Leave]) };

    /// The predefined role of this name.
    pub fn predefined(name: &RoleName) -> Option<Self> {
        [Self::ADMIN, Self::MEMBER].into_iter().find(|role| role.name == *name)
    }

    /// A further role, as a team defines it.
    pub fn defined(name: RoleName, actions: ActionSet) -> Result<Self, Predefined> {
        if name.is_predefined() { Err(Predefined) } else { Ok(Self { name, actions }) }
    }

    /// The name.
    pub const fn name(&self) -> &RoleName {
        &self.name
    }

    /// Whether it is the predefined role with all actions.
    pub fn is_admin(&self) -> bool {
        self.name == RoleName::ADMIN
    }

    /// The actions that the role allows.
    pub const fn actions(&self) -> ActionSet {
        self.actions
    }

    /// Whether the role allows the action.
    pub const fn allows(&self, action: Action) -> bool {
        self.actions.contains(action)
    }

    /// Whether who has this role may give the other to somebody: nobody hands out more than they have.
    pub const fn may_grant(&self, other: &Self) -> bool {
        other.actions.is_subset(self.actions)
    }
}

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
        assert_eq!(Role::ADMIN.actions().iter().collect::<Vec<_>>(), Action::ALL);
        assert_eq!(Role::MEMBER.actions().iter().collect::<Vec<_>>(), [Action::Leave]);
        assert!(Role::ADMIN.allows(Action::Delete));
        assert!(!Role::MEMBER.allows(Action::AddMember));
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
        assert!(Role::ADMIN.may_grant(&Role::ADMIN));
        assert!(Role::ADMIN.may_grant(&Role::MEMBER));
        assert!(Role::MEMBER.may_grant(&Role::MEMBER));
        assert!(!Role::MEMBER.may_grant(&Role::ADMIN));
    }

    #[test]
    fn aliases_are_read_and_never_written() {
        for (text, role) in [
            ("admin", RoleName::ADMIN),
            ("wire_admin", RoleName::ADMIN),
            ("member", RoleName::MEMBER),
            ("wire_member", RoleName::MEMBER),
        ] {
            assert_eq!(text.parse(), Ok(role.clone()));
            assert_eq!(serde_json::from_str::<RoleName>(&format!("{text:?}")).unwrap(), role);
        }
        assert_eq!(serde_json::to_string(&RoleName::ADMIN).unwrap(), "\"admin\"");
    }

    #[test]
    fn a_team_names_its_roles_with_2_to_128_characters() {
        for fine in ["no", "scribe_2", &"x".repeat(128)] {
            let name: RoleName = fine.parse().unwrap();
            assert_eq!((name.as_str(), name.is_predefined()), (fine, false));
        }
        for wrong in ["", "x", "Admin", "a b", "a-b", "ñandú", &"x".repeat(129)] {
            assert_eq!(wrong.parse::<RoleName>(), Err(RoleNameError), "{wrong}");
        }
    }

    #[test]
    fn a_predefined_role_is_not_defined_anew() {
        for name in [RoleName::ADMIN, RoleName::MEMBER] {
            assert_eq!(Role::predefined(&name).unwrap().name(), &name);
            assert_eq!(Role::defined(name, ActionSet::NONE), Err(Predefined));
        }
        let scribe: RoleName = "scribe".parse().unwrap();
        assert_eq!(Role::predefined(&scribe), None);
        let scribe = Role::defined(scribe, ActionSet::of(&[Action::ModifyName, Action::Leave])).unwrap();
        assert!(Role::ADMIN.may_grant(&scribe) && scribe.may_grant(&Role::MEMBER));
        assert!(!Role::MEMBER.may_grant(&scribe) && !scribe.may_grant(&Role::ADMIN));
    }

    #[test]
    fn a_set_is_its_number() {
        for bits in 0..=u16::MAX {
            let known = bits < 1 << Action::ALL.len();
            assert_eq!(ActionSet::from_bits(bits).map(ActionSet::bits), known.then_some(bits));
        }
    }
}
