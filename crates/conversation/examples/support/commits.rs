//! Commits, and whether the rules allow them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tertulia_api::{join_link::by_link, policy::encode};
use tertulia_conversation::inbox::KEY_DOMAIN;
use tertulia_domain::{
    ConversationType, ReceiptMode, Role, UserId,
    policy::{AddPermission, Change, Committer, Policy, Proposer, check},
};

use super::policies::{ANA, BRUNO, CARLA, CONVERSATION, DAVI, hex_of, link, of_three, of_two, proof, scribe};

/// What a commit is about, the policy before and after it, and whose devices it is about: who makes it, with `>` in front if they come in by it from outside,
/// who is added (`+`), removed (`-`), removed by a proposal of their own (`~`), and who has a device that stays (`=`).
type Case = (&'static str, Policy, Policy, &'static str);

/// All of them.
pub fn commits() -> Vec<Value> {
    [of_members(), of_roles(), of_entrances(), of_pairs()].concat().into_iter().map(written).collect()
}

fn with_davi(policy: Policy, role: &Role) -> Policy {
    policy.with_members([DAVI], role)
}

fn without(policy: Policy, user: UserId) -> Policy {
    policy.without(|gone| gone == user)
}

fn of_members() -> Vec<Case> {
    let three = of_three;
    let (member, admin) = (&Role::MEMBER, &Role::ADMIN);
    let davi = || with_davi(three(), member);
    let open_to_all = || three().with_add_permission(AddPermission::Everyone);
    let scribe_in = || three().with_role(BRUNO, &scribe());
    let other_order = [(ANA, Role::ADMIN), (CARLA, Role::MEMBER), (BRUNO, Role::MEMBER)]
        .map(|(user, role)| (user, role.name().clone()));
    let other_order =
        Policy::of(CONVERSATION, ConversationType::Group, AddPermission::Admins, other_order, [].into())
            .unwrap()
            .with_carriers(three().carriers().to_vec());
    let carla_second = without(three(), CARLA).with_members([CARLA], member);
    vec![
        ("an admin adds somebody", three(), davi(), "A +D =ABC"),
        ("an admin adds somebody with two devices", three(), davi(), "A +DD =ABC"),
        ("an admin adds an admin", three(), with_davi(three(), admin), "A +D =ABC"),
        ("a member adds somebody", three(), davi(), "B +D =ABC"),
        ("a member adds where everybody may", open_to_all(), with_davi(open_to_all(), member), "B +D =ABC"),
        (
            "a member adds an admin where everybody may",
            open_to_all(),
            with_davi(open_to_all(), admin),
            "B +D =ABC",
        ),
        ("somebody is added who is no member then", three(), three(), "A +D =ABC"),
        ("somebody is a member then who was not added", three(), davi(), "A =ABC"),
        ("a stranger commits", three(), three(), "D =ABC"),
        ("a member adds a device of their own", three(), three(), "B +B =ABC"),
        ("a member adds a device of another", three(), three(), "B +C =ABC"),
        (
            "who may add gives a role that allows more",
            scribe_in(),
            with_davi(scribe_in(), admin),
            "B +D =ABC",
        ),
        ("who may add gives their own role", scribe_in(), with_davi(scribe_in(), &scribe()), "B +D =ABC"),
        ("an admin removes a member", three(), without(three(), CARLA), "A -C =AB"),
        ("a member removes another", three(), without(three(), CARLA), "B -C =AB"),
        ("a member removes a device of their own", three(), three(), "B -B =ABC"),
        ("an admin removes all devices of who stays a member", three(), three(), "A -C =AB"),
        ("an admin removes one of several devices", three(), three(), "A -C =ABC"),
        ("who is removed has devices that stay", three(), without(three(), CARLA), "A -C =ABC"),
        ("who has no device is a member no more", three(), without(three(), CARLA), "B =AB"),
        ("a member leaves by their own proposal", three(), without(three(), CARLA), "B ~C =AB"),
        ("a member leaves and stays a member", three(), three(), "B ~C =AB"),
        ("the last admin leaves by their own proposal", three(), without(three(), ANA), "B ~A =BC"),
        ("an admin exchanges the device of a member", three(), three(), "A +C -C =AB"),
        ("an admin removes themselves with all that they have", three(), without(three(), ANA), "A -A =BC"),
        ("the members stand in another order", three(), other_order, "A =ABC"),
        ("the last stays the last", three(), carla_second, "A =ABC"),
        (
            "new members are not in the order of their ids",
            without(without(three(), BRUNO), CARLA),
            { without(three(), BRUNO).with_members([BRUNO], member) },
            "A +BC =A",
        ),
        (
            "new members are in the order of their ids",
            without(without(three(), BRUNO), CARLA),
            three(),
            "A +BC =A",
        ),
        ("the carriers are others", three(), three().with_carriers(vec!["queue".to_owned()]), "A =ABC"),
        ("it has no carriers any more", three(), three().with_carriers(Vec::new()), "A =ABC"),
        ("a device of a member comes in from outside", three(), three(), ">C =ABC"),
        ("a device comes in from outside in the place of the one before", three(), three(), ">C -C =AB"),
        ("who comes in from outside removes another", three(), three(), ">C -B =ABC"),
        ("who comes in from outside changes something", three(), open_to_all(), ">A =ABC"),
        ("a stranger comes in from outside", three(), davi(), ">D =ABC"),
    ]
}

fn of_roles() -> Vec<Case> {
    let three = of_three;
    let two_admins = || three().with_role(BRUNO, &Role::ADMIN);
    let followed_by_another =
        without(three(), ANA).with_role(CARLA, &Role::ADMIN).with_role(BRUNO, &Role::MEMBER);
    let heard = |policy: Policy| policy.with_receipt_mode(ReceiptMode::On);
    vec![
        ("an admin makes a member an admin", three(), two_admins(), "A =ABC"),
        (
            "an admin gives a role with a name of its own",
            three(),
            three().with_role(CARLA, &scribe()),
            "A =ABC",
        ),
        ("a member makes themselves an admin", three(), two_admins(), "B =ABC"),
        ("a member makes another an admin", three(), two_admins(), "C =ABC"),
        ("the last admin gives it up", three(), three().with_role(ANA, &Role::MEMBER), "A =ABC"),
        ("an admin takes it from another", two_admins(), three(), "A =ABC"),
        (
            "an admin gives it up beside another",
            two_admins(),
            two_admins().with_role(ANA, &Role::MEMBER),
            "A =ABC",
        ),
        (
            "the one who has been in it longest follows the last admin",
            three(),
            without(three(), ANA),
            "C =BC",
        ),
        ("another follows the last admin", three(), followed_by_another, "C =BC"),
        ("an admin removes the other admin", two_admins(), without(two_admins(), BRUNO), "A -B =AC"),
        (
            "an admin lets everybody add",
            three(),
            three().with_add_permission(AddPermission::Everyone),
            "A =ABC",
        ),
        (
            "a member lets everybody add",
            three(),
            three().with_add_permission(AddPermission::Everyone),
            "B =ABC",
        ),
        ("an admin turns receipts on", three(), heard(three()), "A =ABC"),
        ("a member turns receipts on", three(), heard(three()), "B =ABC"),
        ("an admin turns receipts off", heard(three()), three(), "A =ABC"),
    ]
}

fn of_entrances() -> Vec<Case> {
    let three = of_three;
    let linked = || three().with_link(Some(link().verifying_key().to_bytes()));
    let davi_in = |policy: Policy| with_davi(policy, &Role::MEMBER);
    let by_proof = |user| davi_in(linked()).with_admitted([(DAVI, proof(user))]);
    let open = || three().with_open(true);
    vec![
        ("an admin makes a join link", three(), linked(), "A =ABC"),
        ("a member makes a join link", three(), linked(), "B =ABC"),
        ("an admin opens the group", three(), open(), "A =ABC"),
        ("a member adds who has the link", linked(), by_proof(DAVI), "B +D =ABC"),
        ("a member adds without a proof", linked(), davi_in(linked()), "B +D =ABC"),
        ("a member adds who has the proof of another", linked(), by_proof(CARLA), "B +D =ABC"),
        ("a member adds by a link that was not there before", three(), by_proof(DAVI), "B +D =ABC"),
        (
            "a member adds an admin by the link",
            linked(),
            { with_davi(linked(), &Role::ADMIN).with_admitted([(DAVI, proof(DAVI))]) },
            "B +D =ABC",
        ),
        ("a proof of who is not added", linked(), linked().with_admitted([(CARLA, proof(CARLA))]), "A =ABC"),
        ("the proof goes with the next commit", by_proof(DAVI), davi_in(linked()), "B =ABCD"),
        ("the proof stays", by_proof(DAVI), by_proof(DAVI), "B =ABCD"),
        ("a member adds to an open group", open(), davi_in(open()), "B +D =ABC"),
        ("a member adds an admin to an open group", open(), with_davi(open(), &Role::ADMIN), "B +D =ABC"),
    ]
}

fn of_pairs() -> Vec<Case> {
    let two = of_two;
    let heard = two().with_receipt_mode(ReceiptMode::On);
    vec![
        ("of two: who begins brings the other in", two(), two(), "B +AA =B"),
        ("of two: one adds a device of their own", two(), two(), "B +B =AB"),
        ("of two: one adds a device of the other", two(), two(), "B +A =AB"),
        ("of two: one exchanges the device of the other", two(), two(), "B +A -A =B"),
        ("of two: one removes a device of their own", two(), two(), "B -B =AB"),
        ("of two: one removes the other", two(), two(), "B -A =B"),
        ("of two: somebody else comes in", two(), two(), "B +C =AB"),
        ("of two: something of it changes", two(), heard, "B =AB"),
        ("of two: one comes in from outside", two(), two(), ">A -A =B"),
    ]
}

fn written((what, before, after, commit): Case) -> Value {
    let users = |of: char| {
        let named = commit.split(' ').filter_map(|part| part.strip_prefix(of)).flat_map(str::chars);
        named.map(user).collect::<Vec<_>>()
    };
    let kept = users('=');
    let by = user(commit.trim_start_matches('>').chars().next().unwrap());
    let is_joiner = commit.starts_with('>');
    let leaving: Vec<_> = users('~').into_iter().map(|user| (user, user)).collect();
    let proposed = |users: Vec<UserId>| users.into_iter().map(|user| (user, by)).collect::<Vec<_>>();
    let (added, removed) = (proposed(users('+')), [proposed(users('-')), leaving].concat());
    let proposals =
        |of: &[(UserId, UserId)]| of.iter().map(|(user, by)| (*user, Proposer::User(*by))).collect();
    let change = Change {
        committer: if is_joiner { Committer::Joiner(by) } else { Committer::Member(by) },
        added: proposals(&added),
        removed: proposals(&removed),
        kept: kept.iter().copied().collect::<BTreeSet<_>>(),
        by_link: by_link(&before, &after, added.iter().map(|(user, _)| *user), &KEY_DOMAIN.parse().unwrap()),
    };
    let pairs = |of: &[(UserId, UserId)]| {
        of.iter().map(|(user, by)| [hex_of(*user), hex_of(*by)]).collect::<Vec<_>>()
    };
    json!({
        "what": what,
        "before": hex::encode(encode(&before)),
        "after": hex::encode(encode(&after)),
        "by": hex_of(by),
        "from_outside": is_joiner,
        "added": pairs(&added),
        "removed": pairs(&removed),
        "kept": kept.into_iter().map(hex_of).collect::<Vec<_>>(),
        "allowed": check(&before, &after, &change).is_ok(),
    })
}

fn user(letter: char) -> UserId {
    match letter {
        'A' => ANA,
        'B' => BRUNO,
        'C' => CARLA,
        'D' => DAVI,
        other => unreachable!("nobody is called {other}"),
    }
}
