//! Whether a commit is allowed.

use std::{borrow::Cow, collections::BTreeSet};

use super::{AddPermission, Policy};
use crate::{
    ids::UserId,
    role::{Action, Role, RoleName},
};

/// Who makes a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committer {
    /// A device of this user that is in the group.
    Member(UserId),
    /// A device of this user that comes in by an external commit.
    Joiner(UserId),
}

/// Who proposed what a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposer {
    /// A device of this user; of what the commit has by value, its committer.
    User(UserId),
    /// The hub, as external sender.
    Hub,
}

/// What a commit does to the devices in the group, by their users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who makes it.
    pub committer: Committer,
    /// For each device that it adds, whose it is and who proposed it. An external commit adds none.
    pub added: Vec<(UserId, Proposer)>,
    /// For each device that it removes, whose it is and who proposed it.
    pub removed: Vec<(UserId, Proposer)>,
    /// Who has a device in the group that was there before and stays.
    pub kept: BTreeSet<UserId>,
    /// Of whom the policy after the commit has a proof that they have the link of the policy before it.
    pub by_link: BTreeSet<UserId>,
}

impl Change {
    /// Whose devices are in the group afterwards.
    pub fn present(&self) -> BTreeSet<UserId> {
        let joiner = match self.committer {
            Committer::Joiner(user) => Some(user),
            Committer::Member(_) => None,
        };
        self.kept.iter().copied().chain(self.added.iter().map(|(user, _)| *user)).chain(joiner).collect()
    }

    /// Whether it removes all devices of the user that were there before. What others wished to add of theirs is void by that.
    pub fn leaves(&self, user: UserId) -> bool {
        self.removed.iter().any(|(removed, _)| *removed == user) && !self.kept.contains(&user)
    }

    /// Who comes back in the commit that removes them: the hub removes all their devices, since they left, and a member adds
    /// some. They are new.
    pub fn returning(&self) -> BTreeSet<UserId> {
        let by_hub: BTreeSet<UserId> =
            self.removed.iter().filter(|(_, by)| *by == Proposer::Hub).map(|(user, _)| *user).collect();
        let added = self.added.iter().map(|(user, _)| *user);
        added.filter(|user| by_hub.contains(user) && !self.kept.contains(user)).collect()
    }
}

/// Why a commit is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The committer, or who proposed something, is not a member.
    #[error("user {} is not a member and takes part in a commit", .user.short())]
    NotAMember {
        /// The user.
        user: UserId,
    },
    /// The role of a user does not allow it.
    #[error("the role of user {} does not allow {action}", .user.short())]
    ActionDenied {
        /// The user.
        user: UserId,
        /// What was done.
        action: Action,
    },
    /// A role was given by a user who has not all its actions, or to oneself.
    #[error("user {} gives the role {granted}, which allows more than their own or is for themselves", .user.short())]
    RoleElevation {
        /// The user.
        user: UserId,
        /// The role that was given.
        granted: RoleName,
    },
    /// Members would remain without an admin.
    #[error("no admin would remain")]
    LastAdmin,
    /// The members of the policy and the devices in the group do not fit together: somebody is a member without having been
    /// added, has devices in the group without being a member, or is a member no more without having been removed.
    #[error("the members and the devices do not agree on user {}", .user.short())]
    Unaccounted {
        /// The user.
        user: UserId,
    },
    /// What no commit changes was changed: the conversation, its type, its carriers, the order of its members, what two people's conversation goes on
    /// with; or anything at all by who joins from outside.
    #[error("the policy was changed in a way that no commit may")]
    Tampered,
}

impl Policy {
    /// Whether the wish of `by` that a device of `user` be added can be carried out: by a commit of whomever. It can for a user who is
    /// a member, and for another if a commit of `by` could add them.
    pub fn grants_wish(&self, by: UserId, user: UserId) -> bool {
        if self.pair.is_some() {
            return by == user && self.has(user);
        }
        let by_anybody = self.add_permission == AddPermission::Everyone || self.entrance.open;
        self.role_of(by).is_some_and(|own| self.has(user) || by_anybody || own.allows(Action::AddMember))
    }
}

/// Whether a commit may turn a policy into another.
///
/// # Errors
///
/// The first rule that is broken: see [`Violation`].
pub fn check(before: &Policy, after: &Policy, change: &Change) -> Result<(), Violation> {
    if (before.conversation, before.conversation_type) != (after.conversation, after.conversation_type)
        || (&before.carriers, before.pair) != (&after.carriers, after.pair)
    {
        return Err(Violation::Tampered);
    }
    let committer = match change.committer {
        Committer::Joiner(user) => return check_join(before, after, change, user),
        Committer::Member(user) => user,
    };
    if before.pair.is_some() {
        return check_of_two(before, after, change, committer);
    }
    let own = acting(before, committer)?;
    let present = change.present();
    let before = &*without_returning(before, change);
    check_added(before, after, change)?;
    check_removed(before, after, change, (committer, &present))?;
    check_order(before, after)?;
    check_roles(before, after, committer, &own)?;
    if before.add_permission != after.add_permission {
        allowed(committer, &own, Action::ModifyAddPermission)?;
    }
    if before.receipt_mode != after.receipt_mode {
        // A hub keeps it by itself, and it is never in two places.
        if before.carriers.is_empty() {
            return Err(Violation::Tampered);
        }
        allowed(committer, &own, Action::ModifyReceiptMode)?;
    }
    check_entrance(before, after, change, (committer, &own))?;
    check_present(after, &present)
}

/// Two people's conversation: the policy stays, each adds and removes devices of their own, and who begins it brings the other in.
fn check_of_two(
    before: &Policy,
    after: &Policy,
    change: &Change,
    committer: UserId,
) -> Result<(), Violation> {
    acting(before, committer)?;
    if before != after {
        return Err(Violation::Tampered);
    }
    for &(user, proposer) in &change.added {
        let begins = proposer == Proposer::User(committer)
            && !change.kept.contains(&user)
            && change.removed.iter().all(|(removed, _)| *removed != user);
        if !before.has(user) || !begins && proposer != Proposer::User(user) {
            return Err(Violation::Unaccounted { user });
        }
    }
    for &(user, proposer) in &change.removed {
        match proposer {
            Proposer::User(by) if by == user => {}
            Proposer::User(by) => {
                return Err(Violation::ActionDenied { user: by, action: Action::RemoveMember });
            }
            Proposer::Hub => return Err(Violation::Unaccounted { user }),
        }
    }
    check_present(after, &change.present())
}

/// An external commit brings a device of a member in, in the place of its earlier leaf or not, and changes nothing else.
fn check_join(before: &Policy, after: &Policy, change: &Change, user: UserId) -> Result<(), Violation> {
    acting(before, user)?;
    let of_others = change.added.iter().chain(&change.removed).any(|(whose, _)| *whose != user);
    if before != after || of_others {
        return Err(Violation::Tampered);
    }
    check_present(after, &change.present())
}

fn check_added(before: &Policy, after: &Policy, change: &Change) -> Result<(), Violation> {
    for &(user, proposer) in &change.added {
        let Proposer::User(by) = proposer else { return Err(Violation::Unaccounted { user }) };
        let own = acting(before, by)?;
        if before.has(user) {
            continue;
        }
        let granted = after.role_of(user).ok_or(Violation::Unaccounted { user })?;
        let by_anybody = before.add_permission == AddPermission::Everyone
            || before.entrance.open
            || change.by_link.contains(&user);
        if by_anybody && granted == Role::MEMBER {
            continue;
        }
        allowed(by, &own, Action::AddMember)?;
        grant(by, &own, &granted)?;
    }
    let added: BTreeSet<UserId> = change.added.iter().map(|(user, _)| *user).collect();
    match after.members.keys().find(|user| !before.has(**user) && !added.contains(user)) {
        Some(user) => Err(Violation::Unaccounted { user: *user }),
        None => Ok(()),
    }
}

/// Nobody has a device in the group without being a member.
fn check_present(after: &Policy, present: &BTreeSet<UserId>) -> Result<(), Violation> {
    after.stranger(present).map_or(Ok(()), |user| Err(Violation::Unaccounted { user }))
}

/// The policy without those who come back in the commit that removes them. Hardly ever anybody does.
fn without_returning<'a>(before: &'a Policy, change: &Change) -> Cow<'a, Policy> {
    let returning = change.returning();
    if returning.is_empty() {
        return Cow::Borrowed(before);
    }
    let mut before = before.clone();
    before.members.retain(|user, _| !returning.contains(user));
    Cow::Owned(before)
}

/// That a user without a device in the group is a member no more, anybody may say: it takes nothing from them but a place that
/// the hub has to agree on.
fn check_removed(
    before: &Policy,
    after: &Policy,
    change: &Change,
    (committer, present): (UserId, &BTreeSet<UserId>),
) -> Result<(), Violation> {
    for &(user, proposer) in &change.removed {
        let Proposer::User(by) = proposer else { continue };
        let own = acting(before, by)?;
        if by != user {
            allowed(by, &own, Action::RemoveMember)?;
            // Whose devices a member removes, all of them, is removed.
            if after.has(user) && !present.contains(&user) {
                return Err(Violation::Unaccounted { user });
            }
        }
    }
    if !after.has(committer) {
        return Err(Violation::Unaccounted { user: committer });
    }
    // Whom a member removes is not the last admin. When the hub does, somebody follows.
    let is_admin = |user: UserId| before.members.get(&user) == Some(&RoleName::ADMIN);
    let takes_admin = change
        .removed
        .iter()
        .any(|&(user, by)| matches!(by, Proposer::User(_)) && is_admin(user) && !after.has(user));
    let remains = before.members.keys().any(|user| is_admin(*user) && after.has(*user));
    if takes_admin && !remains { Err(Violation::LastAdmin) } else { Ok(()) }
}

/// Those who stay are in the order in which they were, and the new ones behind them in that of their ids.
fn check_order(before: &Policy, after: &Policy) -> Result<(), Violation> {
    let stayed = before.members.keys().filter(|user| after.has(**user));
    let leading = after.members.keys().take_while(|user| before.has(**user));
    let new = after.members.keys().filter(|user| !before.has(**user));
    if stayed.eq(leading) && new.is_sorted() { Ok(()) } else { Err(Violation::Tampered) }
}

/// Roles of those who stay. `own` is the role of who makes the commit.
fn check_roles(before: &Policy, after: &Policy, by: UserId, own: &Role) -> Result<(), Violation> {
    let heir = heir(before, after);
    for (user, name) in &after.members {
        let (Some(was), Some(is)) = (before.role_of(*user), after.role_of(*user)) else { continue };
        let inherits = Some(*user) == heir && is.is_admin();
        if was == is || inherits {
            continue;
        }
        allowed(by, own, Action::ModifyOtherMember)?;
        if *user == by {
            return Err(Violation::RoleElevation { user: by, granted: name.clone() });
        }
        grant(by, own, &is)?;
    }
    if after.admins() == 0 { Err(Violation::LastAdmin) } else { Ok(()) }
}

/// Who is admin now because none of those who stay was one: the one who has been in it longest.
pub(super) fn heir(before: &Policy, after: &Policy) -> Option<UserId> {
    let mut stayed = before.members.iter().filter(|(user, _)| after.has(**user));
    let (first, role) = stayed.next()?;
    let no_admin = *role != RoleName::ADMIN && stayed.all(|(_, role)| *role != RoleName::ADMIN);
    no_admin.then_some(*first)
}

/// The entrance, and that proofs stand there for those alone who come in by them.
fn check_entrance(
    before: &Policy,
    after: &Policy,
    change: &Change,
    (by, own): (UserId, &Role),
) -> Result<(), Violation> {
    let (was, is) = (&before.entrance, &after.entrance);
    if (was.link, was.open) != (is.link, is.open) {
        allowed(by, own, Action::ModifyAccess)?;
    }
    let comes_by_it = |user: &UserId| {
        !before.has(*user) && change.by_link.contains(user) && change.added.iter().any(|(new, _)| new == user)
    };
    if was.admitted == is.admitted || is.admitted.keys().all(comes_by_it) {
        Ok(())
    } else {
        Err(Violation::Tampered)
    }
}

fn acting(policy: &Policy, user: UserId) -> Result<Role, Violation> {
    policy.role_of(user).ok_or(Violation::NotAMember { user })
}

fn allowed(user: UserId, role: &Role, action: Action) -> Result<(), Violation> {
    if role.allows(action) { Ok(()) } else { Err(Violation::ActionDenied { user, action }) }
}

fn grant(user: UserId, own: &Role, granted: &Role) -> Result<(), Violation> {
    if own.may_grant(granted) {
        Ok(())
    } else {
        Err(Violation::RoleElevation { user, granted: granted.name().clone() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{ids::ConversationId, policy::Pair, settings::ReceiptMode};

    const ANA: UserId = UserId::from_bytes([1; 16]);
    const BRUNO: UserId = UserId::from_bytes([2; 16]);
    const CARLA: UserId = UserId::from_bytes([3; 16]);

    fn of_two() -> Policy {
        let pair = Pair { continues: ConversationId::from_bytes([8; 16]), times: 1 };
        let policy = Policy::of_two(ConversationId::from_bytes([9; 16]), pair, [ANA, BRUNO]).unwrap();
        policy.with_carriers(vec!["relay".to_owned()])
    }

    fn change(by: UserId, added: &[UserId], removed: &[UserId], kept: &[UserId]) -> Change {
        let of = |users: &[UserId]| users.iter().map(|user| (*user, Proposer::User(by))).collect();
        Change {
            committer: Committer::Member(by),
            added: of(added),
            removed: of(removed),
            kept: kept.iter().copied().collect(),
            by_link: BTreeSet::new(),
        }
    }

    #[test]
    fn in_a_conversation_of_two_each_has_their_own_devices_and_nobody_else_comes_in() {
        let policy = of_two();
        let both: &[UserId] = &[ANA, BRUNO];
        let unaccounted = |user| Err(Violation::Unaccounted { user });
        let denied = Err(Violation::ActionDenied { user: BRUNO, action: Action::RemoveMember });
        let table = [
            ("who begins it brings the other in", change(ANA, &[BRUNO], &[], &[ANA]), Ok(())),
            ("new keys", change(BRUNO, &[], &[], both), Ok(())),
            ("a further device of one's own", change(BRUNO, &[BRUNO], &[], both), Ok(())),
            ("a device of one's own goes", change(BRUNO, &[], &[BRUNO], both), Ok(())),
            ("a further device of the other", change(BRUNO, &[ANA], &[], both), unaccounted(ANA)),
            ("somebody else", change(BRUNO, &[CARLA], &[], both), unaccounted(CARLA)),
            (
                "somebody else begins",
                change(CARLA, &[], &[], both),
                Err(Violation::NotAMember { user: CARLA }),
            ),
            ("the other's device goes", change(BRUNO, &[], &[ANA], both), denied.clone()),
            ("the other is put out", change(BRUNO, &[], &[ANA], &[BRUNO]), denied),
            ("the other's device is exchanged", change(BRUNO, &[ANA], &[ANA], &[BRUNO]), unaccounted(ANA)),
        ];
        for (what, change, expected) in table {
            assert_eq!(check(&policy, &policy, &change), expected, "{what}");
        }
        let mut by_hub = change(BRUNO, &[], &[ANA], both);
        by_hub.removed[0].1 = Proposer::Hub;
        assert_eq!(check(&policy, &policy, &by_hub), unaccounted(ANA));
        // What the two have agreed on stays as it is, whoever commits.
        let pair = Pair { continues: ConversationId::from_bytes([7; 16]), times: 1 };
        let other = Policy::of_two(policy.conversation(), pair, [ANA, BRUNO]).unwrap();
        for after in [
            policy.clone().with_carriers(vec!["another".to_owned()]),
            policy.clone().with_members([CARLA], &Role::MEMBER),
            policy.clone().with_role(ANA, &Role::MEMBER),
            policy.clone().with_open(true),
            policy.clone().with_add_permission(AddPermission::Everyone),
            policy.clone().with_receipt_mode(ReceiptMode::On),
            other.with_carriers(policy.carriers().to_vec()),
        ] {
            let tampered = Err(Violation::Tampered);
            assert_eq!(check(&policy, &after, &change(BRUNO, &[], &[], both)), tampered, "{after:?}");
        }
        assert!(policy.grants_wish(ANA, ANA));
        assert!(!policy.grants_wish(ANA, BRUNO) && !policy.grants_wish(CARLA, CARLA));
        assert_eq!(
            Policy::of_two(policy.conversation(), pair, [ANA, ANA]),
            Err(crate::policy::PolicyError::MemberTwice)
        );
    }

    #[test]
    fn receipts_are_the_admins_to_set_where_no_hub_keeps_it() {
        let id = ConversationId::from_bytes([9; 16]);
        let hubs = Policy::new(id, crate::ConversationType::Group, ANA)
            .unwrap()
            .with_members([BRUNO], &Role::MEMBER);
        let carried = hubs.clone().with_carriers(vec!["relay".to_owned()]);
        let by = |user| change(user, &[], &[], &[ANA, BRUNO]);
        let on = |policy: &Policy| policy.clone().with_receipt_mode(ReceiptMode::On);
        assert_eq!(check(&carried, &on(&carried), &by(ANA)), Ok(()));
        let denied = Violation::ActionDenied { user: BRUNO, action: Action::ModifyReceiptMode };
        assert_eq!(check(&carried, &on(&carried), &by(BRUNO)), Err(denied));
        assert_eq!(check(&hubs, &on(&hubs), &by(ANA)), Err(Violation::Tampered));
    }
}
