//! What became of a policy while somebody was away.

use super::{AddPermission, Policy, check::heir};
use crate::{
    ids::UserId,
    role::{Action, Role, RoleName},
};

/// Something in a policy that was not in the last one that is known, and that nobody who is known could have brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// A member who was not one, or not with this role.
    Member {
        /// The member.
        user: UserId,
        /// The role.
        role: RoleName,
    },
    /// Who comes into it, and how: who may add, the join link, whether it is open.
    Access,
}

impl Policy {
    /// What is in this policy that was not in the `last` one that is known, in the order of the members. The commits between them are
    /// not known. Somebody may vouch for it, of whom that much is known: what a commit of theirs could have made of the last policy
    /// is left out.
    ///
    /// That members have left is nothing to be told, nor what follows from it: the hub can have them removed.
    pub fn unseen_since(&self, last: &Self, vouched_by: Option<UserId>) -> Vec<Unseen> {
        let own = vouched_by.and_then(|user| last.role_of(user));
        let may = |action| own.as_ref().is_some_and(|own| own.allows(action));
        let grants = |role: &Role| own.as_ref().is_some_and(|own| own.may_grant(role));
        let by_anybody =
            own.is_some() && (last.add_permission == AddPermission::Everyone || last.entrance.open);
        let remaining = last.clone().without(|user| !self.has(user));
        let mut unseen = Vec::new();
        for (user, name) in self.members() {
            let Some(role) = self.role_of(user) else { continue };
            let inherits = remaining.role_of(user).as_ref() == Some(&role);
            let is_explained = match last.role_of(user) {
                Some(was) if was == role => true,
                Some(_) => vouched_by != Some(user) && may(Action::ModifyOtherMember) && grants(&role),
                None => by_anybody && role == Role::MEMBER || may(Action::AddMember) && grants(&role),
            };
            if !is_explained && !inherits {
                unseen.push(Unseen::Member { user, role: name.clone() });
            }
        }
        let (was, is) = (&last.entrance, &self.entrance);
        let has_other_adders = last.add_permission != self.add_permission;
        let has_other_entrance = (was.link, was.open) != (is.link, is.open);
        if has_other_adders && !may(Action::ModifyAddPermission)
            || has_other_entrance && !may(Action::ModifyAccess)
        {
            unseen.push(Unseen::Access);
        }
        unseen
    }

    /// Who is admin in this policy by rule, because no admin of the `last` one that is known is left: nobody gave that role.
    pub fn successor_since(&self, last: &Self) -> Option<UserId> {
        heir(last, self).filter(|user| self.role_of(*user).is_some_and(|role| role.is_admin()))
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

    /// An admin, 1, and two members.
    fn of_three() -> Policy {
        let id = ConversationId::from_bytes([9; 16]);
        Policy::new(id, ConversationType::Group, user(1))
            .unwrap()
            .with_members([user(2), user(3)], &Role::MEMBER)
    }

    fn member(number: u8, role: RoleName) -> Unseen {
        Unseen::Member { user: user(number), role }
    }

    #[test]
    fn who_came_and_what_they_may_is_told_unless_one_who_could_do_it_vouches() {
        let last = of_three();
        let came = last.clone().with_members([user(4)], &Role::MEMBER);
        let rose = last.clone().with_role(user(3), &Role::ADMIN);
        let took_over = Policy::new(last.conversation(), ConversationType::Group, user(5))
            .unwrap()
            .with_members([user(2)], &Role::MEMBER);
        let opened = last.clone().with_open(true).with_add_permission(AddPermission::Everyone);
        let table = [
            ("nothing", last.clone(), vec![]),
            ("a member came", came, vec![member(4, RoleName::MEMBER)]),
            ("a member is admin", rose, vec![member(3, RoleName::ADMIN)]),
            ("a stranger is admin", took_over, vec![member(5, RoleName::ADMIN)]),
            ("everybody comes in", opened, vec![Unseen::Access]),
        ];
        for (what, now, unseen) in table {
            for vouched_by in [None, Some(user(2)), Some(user(7))] {
                assert_eq!(now.unseen_since(&last, vouched_by), unseen, "{what}, {vouched_by:?}");
            }
            assert_eq!(now.unseen_since(&last, Some(user(1))), [], "{what}, by the admin");
        }
    }

    #[test]
    fn that_somebody_left_is_not_told_nor_who_follows_the_last_admin() {
        let last = of_three();
        let left = last.clone().without(|gone| gone == user(3));
        assert_eq!(left.unseen_since(&last, None), []);
        let follows = last.clone().without(|gone| gone == user(1));
        assert_eq!(follows.role_of(user(2)), Some(Role::ADMIN));
        assert_eq!(follows.unseen_since(&last, None), []);
        assert_eq!(follows.successor_since(&last), Some(user(2)));
        assert_eq!(last.successor_since(&last), None);
        let named = last.clone().with_role(user(3), &Role::ADMIN);
        assert_eq!(named.successor_since(&last), None, "who was admin gave the role");
        assert_eq!(named.clone().without(|gone| gone == user(1)).successor_since(&named), None);
        // The other one is not who follows.
        let usurped = follows.with_role(user(3), &Role::ADMIN);
        assert_eq!(usurped.unseen_since(&last, None), [member(3, RoleName::ADMIN)]);
    }

    #[test]
    fn where_every_member_may_add_each_vouches_for_new_members_and_for_no_admins() {
        let last = of_three().with_add_permission(AddPermission::Everyone);
        let came = last.clone().with_members([user(4)], &Role::MEMBER);
        assert_eq!(came.unseen_since(&last, Some(user(2))), []);
        assert_eq!(
            came.unseen_since(&last, Some(user(4))),
            [member(4, RoleName::MEMBER)],
            "they came themselves"
        );
        let admin = last.clone().with_members([user(4)], &Role::ADMIN);
        assert_eq!(admin.unseen_since(&last, Some(user(2))), [member(4, RoleName::ADMIN)]);
    }

    #[test]
    fn a_wish_to_be_added_is_granted_to_members_and_to_others_by_who_may_add_them() {
        let policy = of_three();
        let table = [
            ("a member's further device", 2, 2, true),
            ("another member's further device", 2, 3, true),
            ("a stranger wishes it", 4, 4, false),
            ("a member wishes a stranger in", 2, 4, false),
            ("the admin wishes a stranger in", 1, 4, true),
            ("a stranger wishes a member's in", 4, 2, false),
        ];
        for (what, by, added, granted) in table {
            assert_eq!(policy.grants_wish(user(by), user(added)), granted, "{what}");
        }
        assert!(policy.clone().with_open(true).grants_wish(user(2), user(4)));
        assert!(!policy.with_open(true).grants_wish(user(4), user(4)));
    }
}
