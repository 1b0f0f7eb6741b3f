//! The policy that follows from another by a change.

use std::collections::BTreeSet;

use super::{AddPermission, Change, Entrance, JoinProof, LinkKey, Policy, Proposer};
use crate::{
    ids::UserId,
    role::{Role, RoleName},
    settings::ReceiptMode,
};

impl Policy {
    /// What follows from a change of devices: who was added is a member with the role `member`, who was removed is one no
    /// more. Of a user whose devices the hub removes, only `is_member` can tell: they left, or lost their devices.
    #[must_use]
    pub fn after(mut self, change: &Change, is_member: impl Fn(UserId) -> bool) -> Self {
        if self.pair.is_some() {
            return self; // two people's conversation stays theirs
        }
        // Proofs are those of who comes in with this change; earlier ones have done what they were for.
        let members = &self.members;
        let arrives = |user: &UserId| {
            !members.contains_key(user) && change.added.iter().any(|(added, _)| added == user)
        };
        self.entrance.admitted.retain(|user, _| arrives(user));
        let (present, returning) = (change.present(), change.returning());
        let by_member: BTreeSet<UserId> = change
            .removed
            .iter()
            .filter(|(_, by)| matches!(by, Proposer::User(_)))
            .map(|(user, _)| *user)
            .collect();
        let gone = |user: UserId| {
            let is_absent = !present.contains(&user) && (by_member.contains(&user) || !is_member(user));
            is_absent || returning.contains(&user)
        };
        self.without(gone).with_members(change.added.iter().map(|(user, _)| *user), &Role::MEMBER)
    }

    /// With these users at the end in the order of their ids, each with the role. Who is a member already stays as they are.
    #[must_use]
    pub fn with_members(mut self, users: impl IntoIterator<Item = UserId>, role: &Role) -> Self {
        let users: BTreeSet<UserId> = users.into_iter().collect();
        for user in users {
            if !self.has(user) {
                self.members.insert(user, role.name().clone());
                self.define(role);
            }
        }
        self
    }

    /// Without these users. If no admin remains, the one who has been in it longest is admin.
    #[must_use]
    pub fn without(mut self, gone: impl Fn(UserId) -> bool) -> Self {
        self.members.retain(|user, _| !gone(*user));
        if self.admins() == 0
            && let Some((_, role)) = self.members.first_mut()
        {
            *role = RoleName::ADMIN;
        }
        self.forget_unused();
        self
    }

    /// With another role for a member. Nothing changes if the user is not one.
    #[must_use]
    pub fn with_role(mut self, user: UserId, role: &Role) -> Self {
        if let Some(present) = self.members.get_mut(&user) {
            *present = role.name().clone();
            self.define(role);
            self.forget_unused();
        }
        self
    }

    /// With another rule of who may add members.
    #[must_use]
    pub fn with_add_permission(self, add_permission: AddPermission) -> Self {
        Self { add_permission, ..self }
    }

    /// With this join link, or none.
    #[must_use]
    pub fn with_link(mut self, link: Option<LinkKey>) -> Self {
        self.entrance.link = link;
        self
    }

    /// Open to everybody who asks, or not.
    #[must_use]
    pub fn with_open(mut self, open: bool) -> Self {
        self.entrance.open = open;
        self
    }

    /// With proofs of users who are about to be added.
    #[must_use]
    pub fn with_admitted(mut self, admitted: impl IntoIterator<Item = (UserId, JoinProof)>) -> Self {
        self.entrance.admitted = admitted.into_iter().collect();
        self
    }

    /// Travelling by these carriers, the first of which orders the commits.
    #[must_use]
    pub fn with_carriers(self, carriers: Vec<String>) -> Self {
        Self { carriers, ..self }
    }

    /// With members telling each other what they have read, or not.
    #[must_use]
    pub fn with_receipt_mode(self, receipt_mode: ReceiptMode) -> Self {
        Self { receipt_mode, ..self }
    }

    /// With this entrance.
    #[must_use]
    pub fn with_entrance(self, entrance: Entrance) -> Self {
        Self { entrance, ..self }
    }

    /// Whether a group that was begun anew may begin with this policy, if the group before it ended with `last`: the same
    /// roles for the same members in the same order, less those who have left, and the same entrance.
    pub fn continues(&self, last: &Self) -> bool {
        last.clone().with_admitted([]).without(|user| !self.has(user)) == *self
    }

    fn define(&mut self, role: &Role) {
        if !role.name().is_predefined() {
            self.roles.insert(role.name().clone(), role.actions());
        }
    }

    fn forget_unused(&mut self) {
        let members = &self.members;
        self.roles.retain(|name, _| members.values().any(|role| role == name));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{ConversationId, ConversationType};

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; 16])
    }

    #[test]
    fn a_group_that_is_begun_anew_has_the_roles_of_the_one_before_less_who_has_left() {
        let id = ConversationId::from_bytes([9; 16]);
        let of_three = Policy::new(id, ConversationType::Group, user(1))
            .unwrap()
            .with_members([user(2), user(3)], &Role::MEMBER);
        assert!(of_three.continues(&of_three));
        assert!(of_three.clone().without(|gone| gone == user(3)).continues(&of_three));
        // When the last admin has left, the longest member follows, as ever.
        assert!(of_three.clone().without(|gone| gone == user(1)).continues(&of_three));

        assert!(!of_three.clone().with_role(user(2), &Role::ADMIN).continues(&of_three));
        assert!(!of_three.clone().with_members([user(4)], &Role::MEMBER).continues(&of_three));
        assert!(!of_three.clone().with_add_permission(AddPermission::Everyone).continues(&of_three));
        assert!(!of_three.clone().with_link(Some([1; 32])).continues(&of_three));
        assert!(!of_three.clone().with_open(true).continues(&of_three));
        let by_link = of_three.clone().with_admitted([(user(3), [1; 64])]);
        assert!(
            of_three.continues(&by_link) && !by_link.continues(&of_three),
            "no proof stands in a beginning"
        );
        assert!(
            !Policy::new(id, ConversationType::Group, user(2))
                .unwrap()
                .with_members([user(1), user(3)], &Role::MEMBER)
                .continues(&of_three)
        );
    }
}
