//! Who may do what: every role, action, type of conversation and state of membership, against tables written out here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use tertulia_domain::{
    AccountKind, ConversationId, ConversationType, Role, RoleName, UserId,
    account::AccountAction,
    permission::{Membership, authorise},
    policy::{AddPermission, Change, Committer, Policy, Proposer, Violation, check},
    role::{Action, ActionSet},
};

/// What the hub answers to an action, in the fixed order of its checks: by what somebody is to the conversation, and whether the
/// role that they have in it, or had, or would have, allows the action. A guest is a member without an account, who may add nobody.
const ANSWERS: &str = "
                          self               connection         one_to_one         group            channel          subconversation
none, role lacks it       no-conversation    no-conversation    no-conversation    no-conversation  no-conversation  no-conversation
none, role has it         no-conversation    no-conversation    no-conversation    no-conversation  no-conversation  no-conversation
waiting, role lacks it    no-conversation    no-conversation    no-conversation    no-conversation  no-conversation  no-conversation
waiting, role has it      no-conversation    no-conversation    no-conversation    no-conversation  no-conversation  no-conversation
left, role lacks it       no-conversation    no-conversation    no-conversation    no-conversation  no-conversation  no-conversation
left, role has it         no-conversation    no-conversation    no-conversation    no-conversation  no-conversation  no-conversation
member, role lacks it     action-denied      action-denied      action-denied      action-denied    action-denied    action-denied
member, role has it       invalid-operation  invalid-operation  invalid-operation  allowed          allowed          invalid-operation
guest, role lacks it      action-denied      action-denied      action-denied      action-denied    action-denied    action-denied
guest, role has it        invalid-operation  invalid-operation  invalid-operation  allowed          allowed          invalid-operation
guest, may add            invalid-operation  invalid-operation  invalid-operation  guest-denied     guest-denied     invalid-operation
";

/// What somebody is to a conversation.
const STATES: [&str; 5] = ["none", "waiting", "left", "member", "guest"];

/// Which action a change of an MLS group needs of who commits it, and whether it suffices without any.
const CHANGES: &str = "
new keys for the own leaf               nothing
a further device of one's own           nothing
a further device of another member      nothing
removing another device of one's own    nothing
a removal that the hub proposes         nothing
adding a user                           add_member
removing a user                         remove_member
giving another member a role            modify_other_member
saying who may add                      modify_add_permission
making a join link                      modify_access
taking the join link back               modify_access
opening it to all who ask               modify_access
adding a user who has the link          nothing
";

/// admin, member, and for each action one role that allows nothing else, and one that allows all others.
fn roles() -> Vec<Role> {
    let mut roles = vec![Role::ADMIN, Role::MEMBER];
    for &action in Action::ALL {
        let others: ActionSet = Action::ALL.iter().copied().filter(|&other| other != action).collect();
        for (name, actions) in
            [(format!("only_{action}"), ActionSet::of(&[action])), (format!("all_but_{action}"), others)]
        {
            roles.push(Role::defined(name.parse().unwrap(), actions).unwrap());
        }
    }
    roles
}

/// A row of a table by its first words: what stands behind them.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no row {name}"));
    line[name.len()..].split_whitespace().collect()
}

#[test]
fn every_role_action_type_and_state_of_membership_is_answered_as_the_table_says() {
    let types: Vec<ConversationType> =
        ANSWERS.lines().nth(1).unwrap().split_whitespace().map(|name| name.parse().unwrap()).collect();
    assert_eq!(types, ConversationType::ALL);
    let mut combinations = 0;
    for (place, &conversation_type) in types.iter().enumerate() {
        for &action in Action::ALL {
            for role in roles() {
                for state in STATES {
                    let is_guest = state == "guest";
                    let row_name = match role.allows(action) {
                        true if is_guest && action == Action::AddMember => "guest, may add".to_owned(),
                        true => format!("{state}, role has it"),
                        false => format!("{state}, role lacks it"),
                    };
                    // Who waits or has left is in it as little as who never was.
                    let is_member = is_guest || state == "member";
                    let membership = Membership { conversation_type, role: role.clone() };
                    let answer = authorise(is_member.then_some(&membership), action)
                        .map_err(|error| error.code())
                        .and_then(|_| match action {
                            Action::AddMember if is_guest => {
                                AccountKind::Guest.check(AccountAction::AddOthers).map_err(|_| "guest-denied")
                            }
                            _ => Ok(()),
                        });
                    let answer = answer.err().unwrap_or("allowed");
                    let expected = row(ANSWERS, &row_name)[place];
                    assert_eq!(answer, expected, "{} {action} {conversation_type} {state}", role.name());
                    combinations += 1;
                }
            }
        }
    }
    assert_eq!(combinations, 6 * 10 * 22 * STATES.len());
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

const ADMIN: u8 = 1;
const ACTOR: u8 = 2;
const OTHER: u8 = 3;
const STRANGER: u8 = 9;

/// An admin, the actor with a role, and somebody else.
fn policy(kind: ConversationType, role: &Role) -> Policy {
    Policy::new(ConversationId::from_bytes([7; 16]), kind, user(ADMIN))
        .unwrap()
        .with_members([user(ACTOR)], role)
        .with_members([user(OTHER)], &Role::MEMBER)
        .with_link(Some([1; 32]))
}

/// A commit of the actor that leaves everybody in.
fn nothing() -> Change {
    Change {
        committer: Committer::Member(user(ACTOR)),
        added: Vec::new(),
        removed: Vec::new(),
        kept: [ADMIN, ACTOR, OTHER].map(user).into(),
        by_link: BTreeSet::new(),
    }
}

fn by_actor(number: u8) -> (UserId, Proposer) {
    (user(number), Proposer::User(user(ACTOR)))
}

/// The change of this row, and the policy that goes with it.
fn change(name: &str, before: &Policy) -> (Change, Policy) {
    let mut change = nothing();
    let stays = |change: &Change| before.clone().after(change, |_| true);
    let after = match name {
        "new keys for the own leaf" => before.clone(),
        "a further device of one's own" => {
            change.added.push(by_actor(ACTOR));
            stays(&change)
        }
        "a further device of another member" => {
            change.added.push(by_actor(OTHER));
            stays(&change)
        }
        "removing another device of one's own" => {
            change.removed.push(by_actor(ACTOR));
            stays(&change)
        }
        "a removal that the hub proposes" => {
            change.removed.push((user(OTHER), Proposer::Hub));
            change.kept.remove(&user(OTHER));
            before.clone().after(&change, |member| member != user(OTHER))
        }
        "adding a user" => {
            change.added.push(by_actor(STRANGER));
            // A role that everybody could give.
            let nothing = Role::defined("nothing".parse().unwrap(), ActionSet::NONE).unwrap();
            before.clone().with_members([user(STRANGER)], &nothing)
        }
        "removing a user" => {
            change.removed.push(by_actor(OTHER));
            change.kept.remove(&user(OTHER));
            stays(&change)
        }
        "giving another member a role" => {
            let nothing = Role::defined("nothing".parse().unwrap(), ActionSet::NONE).unwrap();
            before.clone().with_role(user(OTHER), &nothing)
        }
        "saying who may add" => before.clone().with_add_permission(AddPermission::Everyone),
        "making a join link" => before.clone().with_link(Some([2; 32])),
        "taking the join link back" => before.clone().with_link(None),
        "opening it to all who ask" => before.clone().with_open(true),
        "adding a user who has the link" => {
            change.added.push(by_actor(STRANGER));
            change.by_link.insert(user(STRANGER));
            before
                .clone()
                .with_members([user(STRANGER)], &Role::MEMBER)
                .with_admitted([(user(STRANGER), [3; 64])])
        }
        _ => panic!("no change is called {name}"),
    };
    (change, after)
}

#[test]
fn every_change_needs_of_every_role_what_the_table_says() {
    let names = CHANGES.lines().filter(|line| !line.is_empty()).map(|line| &line[..40]);
    let mut combinations = 0;
    for name in names.map(str::trim_end) {
        let needed: Option<Action> = row(CHANGES, name)[0].parse().ok();
        for kind in [ConversationType::Group, ConversationType::Channel] {
            for role in roles() {
                let before = policy(kind, &role);
                let (change, after) = change(name, &before);
                let denied = needed.filter(|&action| !role.allows(action));
                let expected = denied
                    .map_or(Ok(()), |action| Err(Violation::ActionDenied { user: user(ACTOR), action }));
                assert_eq!(check(&before, &after, &change), expected, "{name} as {}", role.name());
                // Who is not a member does nothing of it.
                let by_stranger = Change { committer: Committer::Member(user(STRANGER)), ..change };
                let refused = Err(Violation::NotAMember { user: user(STRANGER) });
                assert_eq!(check(&before, &after, &by_stranger), refused, "{name}");
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 13 * 2 * 22);
}

#[test]
fn a_role_is_given_by_who_has_all_its_actions_when_adding_and_when_changing() {
    for own in roles() {
        for granted in roles() {
            let before = policy(ConversationType::Group, &own);
            let may = |action: Action| own.allows(action) && own.may_grant(&granted);

            let mut adding = nothing();
            adding.added.push(by_actor(STRANGER));
            let after = before.clone().with_members([user(STRANGER)], &granted);
            assert_eq!(check(&before, &after, &adding).is_ok(), may(Action::AddMember));

            let after = before.clone().with_role(user(OTHER), &granted);
            let changes = granted != Role::MEMBER;
            assert_eq!(
                check(&before, &after, &nothing()).is_ok(),
                !changes || may(Action::ModifyOtherMember),
                "{} gives {}",
                own.name(),
                granted.name()
            );
        }
    }
}

#[test]
fn nobody_changes_their_own_role() {
    let before = policy(ConversationType::Group, &Role::ADMIN);
    let after = before.clone().with_role(user(ACTOR), &Role::MEMBER);
    let refused = Violation::RoleElevation { user: user(ACTOR), granted: RoleName::MEMBER };
    assert_eq!(check(&before, &after, &nothing()), Err(refused));
}

#[test]
fn where_everybody_adds_they_add_members_only() {
    let before = policy(ConversationType::Group, &Role::MEMBER).with_add_permission(AddPermission::Everyone);
    let mut adding = nothing();
    adding.added.push(by_actor(STRANGER));
    let after = before.clone().with_members([user(STRANGER)], &Role::MEMBER);
    assert_eq!(check(&before, &after, &adding), Ok(()));
    let after = before.clone().with_members([user(STRANGER)], &Role::ADMIN);
    let refused = Violation::ActionDenied { user: user(ACTOR), action: Action::AddMember };
    assert_eq!(check(&before, &after, &adding), Err(refused));
}

#[test]
fn the_last_admin_is_neither_removed_nor_demoted_and_is_followed_when_the_hub_removes_them() {
    let manager = Role::defined(
        "manager".parse().unwrap(),
        ActionSet::of(&[Action::RemoveMember, Action::ModifyOtherMember, Action::Leave]),
    )
    .unwrap();
    let before = policy(ConversationType::Group, &manager);
    let without = |user: UserId| before.clone().without(|gone| gone == user);

    let mut removing = nothing();
    removing.removed.push(by_actor(ADMIN));
    removing.kept.remove(&user(ADMIN));
    assert_eq!(check(&before, &without(user(ADMIN)), &removing), Err(Violation::LastAdmin));
    let demoted = before.clone().with_role(user(ADMIN), &Role::MEMBER);
    assert_eq!(check(&before, &demoted, &nothing()), Err(Violation::LastAdmin));

    // The one who has been in it longest follows, and nobody else.
    let mut deleted = nothing();
    deleted.removed.push((user(ADMIN), Proposer::Hub));
    deleted.kept.remove(&user(ADMIN));
    let after = without(user(ADMIN));
    assert_eq!(after.role_of(user(ACTOR)), Some(Role::ADMIN));
    assert_eq!(check(&before, &after, &deleted), Ok(()));
    let usurped = after.clone().with_role(user(OTHER), &Role::ADMIN);
    assert!(check(&before, &usurped, &deleted).is_err());
    let other_heir = usurped.with_role(user(ACTOR), &manager);
    assert!(check(&before, &other_heir, &deleted).is_err());
}

#[test]
fn who_joins_from_outside_is_a_member_and_changes_nothing() {
    let before = policy(ConversationType::Group, &Role::ADMIN);
    let join = |number: u8| Change { committer: Committer::Joiner(user(number)), ..nothing() };
    assert_eq!(check(&before, &before, &join(OTHER)), Ok(()));
    let refused = Violation::NotAMember { user: user(STRANGER) };
    assert_eq!(check(&before, &before, &join(STRANGER)), Err(refused));
    let after = before.clone().with_role(user(OTHER), &Role::ADMIN);
    assert_eq!(check(&before, &after, &join(ACTOR)), Err(Violation::Tampered));
    let throwing_out = Change { removed: vec![by_actor(OTHER)], ..join(ACTOR) };
    assert_eq!(check(&before, &before, &throwing_out), Err(Violation::Tampered));
}

#[test]
fn who_has_left_is_new_when_they_come_back() {
    let before = policy(ConversationType::Group, &Role::MEMBER)
        .with_role(user(OTHER), &Role::ADMIN)
        .with_role(user(ACTOR), &Role::ADMIN);
    let mut returning = nothing();
    returning.removed.push((user(OTHER), Proposer::Hub));
    returning.kept.remove(&user(OTHER));
    returning.added.push(by_actor(OTHER));
    let after = before.clone().after(&returning, |_| true);
    assert_eq!(after.role_of(user(OTHER)), Some(Role::MEMBER), "no role outlives leaving");
    assert_eq!(check(&before, &after, &returning), Ok(()));
    let actor_is_member = before.with_role(user(ACTOR), &Role::MEMBER);
    let after = actor_is_member.clone().after(&returning, |_| true);
    let refused = Violation::ActionDenied { user: user(ACTOR), action: Action::AddMember };
    assert_eq!(check(&actor_is_member, &after, &returning), Err(refused));
}

#[test]
fn nobody_is_a_member_without_being_added_or_in_the_group_without_being_a_member() {
    let before = policy(ConversationType::Group, &Role::ADMIN);
    let invented = before.clone().with_members([user(STRANGER)], &Role::MEMBER);
    let unaccounted = |number: u8| Err(Violation::Unaccounted { user: user(number) });
    assert_eq!(check(&before, &invented, &nothing()), unaccounted(STRANGER));
    let forgotten = before.clone().without(|member| member == user(OTHER));
    assert_eq!(check(&before, &forgotten, &nothing()), unaccounted(OTHER));
    let mut hidden = nothing();
    hidden.added.push(by_actor(STRANGER));
    assert_eq!(check(&before, &before, &hidden), unaccounted(STRANGER));
    let another =
        Policy::new(ConversationId::from_bytes([8; 16]), ConversationType::Group, user(ADMIN)).unwrap();
    assert_eq!(check(&before, &another, &nothing()), Err(Violation::Tampered));
}

proptest! {
    /// What an admin does, followed up as the SDK does it, is always allowed, and the policy stays one.
    #[test]
    fn what_follows_from_an_admins_changes_is_allowed(
        steps in prop::collection::vec((0_u8..4, 1_u8..30, any::<bool>()), 1..40)
    ) {
        let mut policy = Policy::new(ConversationId::from_bytes([7; 16]), ConversationType::Group, user(0)).unwrap();
        let mut present = BTreeSet::from([user(0)]);
        for (what, number, stays) in steps {
            let target = user(number);
            let mut change = Change {
                committer: Committer::Member(user(0)),
                added: Vec::new(),
                removed: Vec::new(),
                kept: present.clone(),
                by_link: BTreeSet::new(),
            };
            let by_admin = Proposer::User(user(0));
            match what {
                0 => change.added.push((target, by_admin)),
                1 if present.contains(&target) => {
                    change.removed.push((target, by_admin));
                    change.kept.remove(&target);
                }
                2 if present.contains(&target) => {
                    change.removed.push((target, Proposer::Hub));
                    change.kept.remove(&target);
                }
                _ => {}
            }
            let mut after = policy.clone().after(&change, |_| stays);
            if what == 3 {
                after = after.with_role(target, if stays { &Role::ADMIN } else { &Role::MEMBER });
            }
            // The one who acts is a member by the hub's word too.
            prop_assert!(after.has(user(0)));
            prop_assert_eq!(check(&policy, &after, &change), Ok(()));
            prop_assert!(after.admins() > 0);
            present = change.present();
            policy = after;
        }
    }
}
