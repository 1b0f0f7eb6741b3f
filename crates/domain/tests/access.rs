//! Who is admitted to a conversation, who goes when it is narrowed, and who comes in without being invited.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tertulia_domain::{
    AccountKind, ConversationId, ConversationType, Role, UserId,
    access::{Access, AccessError, AccessMode, AccessRole, check_ask, check_change_access},
    permission::{Membership, PermissionError},
    policy::{Change, Committer, Policy, Proposer, Violation, check},
    role::{Action, ActionSet},
};

/// Who comes in, by what the conversation admits. The columns are the ways to come in.
const ADMITTED: &str = "
                          private  invite  link  code
private                   no       no      no    no
invite                    no       yes     no    no
code                      no       no      no    yes
link                      no       no      yes   no
invite code               no       yes     no    yes
invite link code          no       yes     yes   yes
";

#[test]
fn somebody_comes_in_by_a_way_that_there_is_if_their_class_is_admitted() {
    let mut lines = ADMITTED.lines().filter(|line| !line.is_empty());
    let ways: Vec<AccessMode> =
        lines.next().unwrap().split_whitespace().map(|name| name.parse().unwrap()).collect();
    assert_eq!(ways, AccessMode::ALL);
    let mut combinations = 0;
    for line in lines {
        let (name, answers) = line.split_at(26);
        let modes: Vec<AccessMode> = name.split_whitespace().map(|mode| mode.parse().unwrap()).collect();
        for bits in 1..16_u8 {
            let roles: Vec<AccessRole> = AccessRole::ALL
                .iter()
                .enumerate()
                .filter(|(place, _)| bits & 1 << place != 0)
                .map(|(_, role)| *role)
                .collect();
            let access = Access::new(modes.clone(), roles.clone()).unwrap();
            for (way, answer) in ways.iter().zip(answers.split_whitespace()) {
                for class in AccessRole::ALL {
                    let may = answer == "yes" && roles.contains(class);
                    let expected = if may { Ok(()) } else { Err(PermissionError::NotAdmitted) };
                    assert_eq!(access.check(*way, *class), expected, "{name} {way} {class}");
                    combinations += 1;
                }
            }
        }
    }
    assert_eq!(combinations, 6 * 15 * 4 * 4);
}

#[test]
fn private_stands_alone_and_there_is_always_a_mode_and_a_role() {
    let everybody = || AccessRole::ALL.iter().copied();
    assert_eq!(Access::new([], everybody()), Err(AccessError::NoMode));
    assert_eq!(Access::new([AccessMode::Invite], []), Err(AccessError::NoRole));
    for other in [AccessMode::Invite, AccessMode::Link, AccessMode::Code] {
        assert_eq!(Access::new([AccessMode::Private, other], everybody()), Err(AccessError::PrivateAndMore));
        let access = Access::new([other], everybody()).unwrap();
        assert!(access.clone().with(other, false).has(AccessMode::Private), "no way is left");
        assert!(!access.with(other, false).with(other, true).has(AccessMode::Private));
    }
}

#[test]
fn an_access_is_its_numbers() {
    for modes in 0..=u8::MAX {
        for roles in 0..=u8::MAX {
            if let Some(access) = Access::from_bits((modes, roles)) {
                assert_eq!(access.bits(), (modes, roles));
            }
        }
    }
    assert_eq!(Access::of_new(false).bits(), (0b0010, 0b1111));
    assert_eq!(Access::of_new(true).bits(), (0b0010, 0b0011));
    assert_eq!(Access::from_bits(Access::of_new(true).bits()), Some(Access::of_new(true)));
    assert_eq!(Access::from_bits((0b1_0010, 1)), None, "a bit that stands for nothing");
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

#[test]
fn narrowing_removes_who_is_no_longer_admitted_but_not_who_asks_for_it() {
    let members = [
        (user(1), AccessRole::TeamMember, true),
        (user(2), AccessRole::NonTeamMember, false),
        (user(3), AccessRole::Guest, false),
        (user(4), AccessRole::Service, true),
    ];
    let narrowed = |roles: &[AccessRole], actor| {
        Access::new([AccessMode::Invite], roles.iter().copied()).unwrap().narrowed(&members, user(actor))
    };
    assert_eq!(narrowed(AccessRole::ALL, 1), Ok(vec![]));
    assert_eq!(narrowed(&[AccessRole::TeamMember], 1), Ok(vec![user(2), user(3), user(4)]));
    assert_eq!(narrowed(&[AccessRole::Guest], 1), Ok(vec![user(2), user(4)]), "the actor stays");
    assert_eq!(narrowed(&[AccessRole::NonTeamMember, AccessRole::Service], 2), Ok(vec![user(1), user(3)]));
    assert_eq!(narrowed(&[AccessRole::NonTeamMember], 2), Err(PermissionError::LastAdmin));
    assert_eq!(narrowed(&[AccessRole::NonTeamMember], 4), Ok(vec![user(1), user(3)]));
}

#[test]
fn access_is_changed_in_groups_and_channels_by_who_may() {
    let may = Role::defined("doorkeeper".parse().unwrap(), ActionSet::of(&[Action::ModifyAccess])).unwrap();
    for &conversation_type in ConversationType::ALL {
        let by =
            |role: &Role| check_change_access(Some(&Membership { conversation_type, role: role.clone() }));
        let expected = if conversation_type.is_managed() {
            Ok(())
        } else {
            Err(PermissionError::InvalidOperation { conversation_type })
        };
        assert_eq!(by(&may), expected);
        assert_eq!(by(&Role::ADMIN), expected);
        let denied = Err(PermissionError::ActionDenied { action: Action::ModifyAccess });
        assert_eq!(by(&Role::MEMBER), denied, "the role is looked at first");
    }
    assert_eq!(check_change_access(None), Err(PermissionError::NoConversation));
}

#[test]
fn to_who_may_not_ask_there_is_no_conversation() {
    for &kind in ConversationType::ALL {
        for there in [true, false] {
            let access = Access::of_new(true).with(AccessMode::Link, there);
            for &class in AccessRole::ALL {
                let may = kind.is_managed() && there && access.roles().contains(&class);
                let expected = if may { Ok(()) } else { Err(PermissionError::NoConversation) };
                assert_eq!(check_ask(kind, &access, class), expected, "{kind} {there} {class}");
            }
        }
    }
}

/// A policy with an admin, a member, and perhaps a link.
fn policy() -> Policy {
    Policy::new(ConversationId::from_bytes([7; 16]), ConversationType::Group, user(1))
        .unwrap()
        .with_members([user(2)], &Role::MEMBER)
}

/// The member adds this user.
fn adding(number: u8, by_link: bool) -> Change {
    Change {
        committer: Committer::Member(user(2)),
        added: vec![(user(number), Proposer::User(user(2)))],
        removed: Vec::new(),
        kept: [user(1), user(2)].into(),
        by_link: if by_link { [user(number)].into() } else { BTreeSet::new() },
    }
}

#[test]
fn by_the_link_one_becomes_a_member_and_nothing_more() {
    let before = policy().with_link(Some([1; 32]));
    for (role, allowed) in [(Role::MEMBER, true), (Role::ADMIN, false)] {
        let after = before.clone().with_members([user(9)], &role).with_admitted([(user(9), [5; 64])]);
        assert_eq!(check(&before, &after, &adding(9, true)).is_ok(), allowed, "{}", role.name());
        assert_eq!(
            check(&before, &after, &adding(9, false)),
            Err(Violation::ActionDenied { user: user(2), action: Action::AddMember })
        );
    }
    // One proof is for one user.
    let mut two = adding(9, true);
    two.added.push((user(8), Proposer::User(user(2))));
    let after = before.clone().with_members([user(8), user(9)], &Role::MEMBER);
    assert!(check(&before, &after.with_admitted([(user(9), [5; 64])]), &two).is_err());
}

#[test]
fn a_proof_stands_in_the_policy_until_the_next_change() {
    let before = policy().with_link(Some([1; 32]));
    let wanted = before.clone().with_admitted([(user(9), [5; 64])]);
    let after = wanted.after(&adding(9, true), |_| true);
    assert_eq!(after.entrance().admitted, BTreeMap::from([(user(9), [5; 64])]));
    assert_eq!(check(&before, &after, &adding(9, true)), Ok(()));

    let next = Change { added: Vec::new(), by_link: BTreeSet::new(), ..adding(9, false) };
    let next = Change { kept: [user(1), user(2), user(9)].into(), ..next };
    let later = after.clone().after(&next, |_| true);
    assert!(later.entrance().admitted.is_empty());
    assert_eq!(check(&after, &later, &next), Ok(()));
    // Nobody writes one for who did not come in by it.
    let forged = later.clone().with_admitted([(user(9), [6; 64])]);
    assert_eq!(check(&after, &forged, &next), Err(Violation::Tampered));
    let of_stranger = later.with_admitted([(user(8), [6; 64])]);
    assert_eq!(check(&after, &of_stranger, &next), Err(Violation::Tampered));
}

#[test]
fn into_an_open_conversation_every_member_lets_in() {
    let before = policy().with_open(true);
    let after = before.clone().with_members([user(9)], &Role::MEMBER);
    assert_eq!(check(&before, &after, &adding(9, false)), Ok(()));
    let closed = policy();
    let after = closed.clone().with_members([user(9)], &Role::MEMBER);
    assert!(check(&closed, &after, &adding(9, false)).is_err());
    // Opening it in the same commit is what a member may not.
    assert!(check(&closed, &after.with_open(true), &adding(9, false)).is_err());
}

proptest! {
    /// Whoever is added by somebody whose role does not allow it has a proof, or the conversation is open to all or to what
    /// everybody adds: nothing else lets in who is not a member.
    #[test]
    fn nothing_else_lets_a_member_add_a_stranger(
        link_before in any::<Option<u8>>(),
        link_after in any::<Option<u8>>(),
        open in (any::<bool>(), any::<bool>()),
        has_proof in any::<bool>(),
        names_proof in any::<bool>(),
        as_admin in any::<bool>(),
        strangers in prop::collection::btree_set(3_u8..20, 1..4),
    ) {
        let key = |byte: Option<u8>| byte.map(|byte| [byte; 32]);
        let before = policy().with_link(key(link_before)).with_open(open.0);
        let users: Vec<UserId> = strangers.iter().map(|number| user(*number)).collect();
        let role = if as_admin { Role::ADMIN } else { Role::MEMBER };
        let mut after = policy()
            .with_link(key(link_after))
            .with_open(open.1)
            .with_members(users.iter().copied(), &role);
        if names_proof {
            after = after.with_admitted(users.iter().map(|user| (*user, [5; 64])));
        }
        let change = Change {
            committer: Committer::Member(user(2)),
            added: users.iter().map(|new| (*new, Proposer::User(user(2)))).collect(),
            removed: Vec::new(),
            kept: [user(1), user(2)].into(),
            by_link: if has_proof { users.iter().copied().collect() } else { BTreeSet::new() },
        };
        if check(&before, &after, &change).is_ok() {
            prop_assert!(has_proof || open.0);
            prop_assert!(!as_admin);
            prop_assert_eq!((link_before, open.0), (link_after, open.1));
            prop_assert!(!names_proof || has_proof);
        }
    }
}

#[test]
fn every_user_is_of_exactly_one_class_and_the_kind_of_account_counts_first() {
    let table = [
        (AccountKind::Person, false, AccessRole::NonTeamMember),
        (AccountKind::Person, true, AccessRole::TeamMember),
        (AccountKind::Guest, false, AccessRole::Guest),
        (AccountKind::Guest, true, AccessRole::Guest),
        (AccountKind::Service, false, AccessRole::Service),
        (AccountKind::Service, true, AccessRole::Service),
    ];
    assert_eq!(table.len(), AccountKind::ALL.len() * 2);
    for (kind, is_team_mate, class) in table {
        assert_eq!(AccessRole::of(kind, is_team_mate), class, "{kind}, {is_team_mate}");
    }
}
