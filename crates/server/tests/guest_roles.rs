//! What the roles of a conversation allow a member who is a guest, asked of a real hub. The table is that of the domain's rules, for this
//! state of membership.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    hub::{Answer, Hub, Person, connect},
    joins::path,
    pairwise::message_for,
};
use tertulia_api::{
    Problem,
    conversation::Conversation,
    pairwise::{IgnoreMissing, PairwiseMessage},
    team::Invitation,
};
use tertulia_domain::{ConversationId, role::Action};

/// What a guest is answered whose role has the action, and one whose role lacks it.
const ANSWERS: &str = "
                        has it          lacks it
add_member              guest-denied    action-denied
remove_member           allowed         action-denied
modify_name             allowed         action-denied
modify_message_timer    allowed         action-denied
modify_receipt_mode     allowed         action-denied
modify_access           allowed         action-denied
modify_other_member     allowed         action-denied
modify_add_permission   allowed         action-denied
leave                   allowed         action-denied
delete                  allowed         action-denied
";

/// What makes an end of the guest's membership, or of the group: each is asked in a group of its own.
const LAST: [Action; 2] = [Action::Leave, Action::Delete];

fn expected(action: Action, has_it: bool) -> &'static str {
    let name = action.to_string();
    let row = ANSWERS.lines().find(|line| line.split_whitespace().next() == Some(name.as_str())).unwrap();
    row.split_whitespace().nth(if has_it { 1 } else { 2 }).unwrap()
}

/// admin, member, and for each action one role that allows nothing else, and one that allows all others.
fn roles() -> Vec<(String, Vec<Action>)> {
    let mut roles =
        vec![("admin".to_owned(), Action::ALL.to_vec()), ("member".to_owned(), vec![Action::Leave])];
    for &action in Action::ALL {
        let others = Action::ALL.iter().copied().filter(|&other| other != action);
        roles.push((format!("all_but_{action}"), others.collect()));
        roles.push((format!("only_{action}"), vec![action]));
    }
    roles
}

/// Who is admitted to the groups. To let in more is what no guest may.
fn access() -> Value {
    json!({ "access": ["invite"], "access_roles": ["team_member", "non_team_member", "guest"] })
}

/// The guest, a member to do something to, and somebody whom an account could add.
struct People {
    guest: Person,
    member: Person,
    friend: Person,
}

impl People {
    async fn act(&self, group: ConversationId, action: Action) -> Answer {
        let Self { guest, member, friend } = self;
        let of_member = format!("members/{}", member.user);
        match action {
            Action::AddMember => {
                guest.post(&path(group, "members"), &json!({ "users": [friend.user] })).await
            }
            Action::RemoveMember => guest.delete(&path(group, &of_member)).await,
            Action::ModifyName => {
                let ignore_missing = IgnoreMissing::Everybody;
                let name = PairwiseMessage { announces_name: true, ignore_missing, ..message_for(&[]) };
                guest.send_pairwise(group, &name).await
            }
            Action::ModifyMessageTimer => {
                guest.put(&path(group, "message-timer"), &json!({ "message_timer": 60_000 })).await
            }
            Action::ModifyReceiptMode => {
                guest.put(&path(group, "receipt-mode"), &json!({ "receipt_mode": "on" })).await
            }
            Action::ModifyAccess => guest.put(&path(group, "access"), &access()).await,
            // A role that everybody could give.
            Action::ModifyOtherMember => {
                guest.put(&path(group, &format!("{of_member}/role")), &json!({ "role": "nothing" })).await
            }
            Action::ModifyAddPermission => {
                guest.put(&path(group, "add-permission"), &json!({ "add_permission": "admins" })).await
            }
            Action::Leave => guest.post(&path(group, "leave"), &json!({})).await,
            Action::Delete => {
                let request = guest.request(Method::DELETE, &format!("/v1/conversations/{group}"));
                guest.answer(request).await
            }
            other => panic!("no request is known for {other}"),
        }
    }
}

#[tokio::test]
async fn every_role_and_action_is_answered_to_a_guest_as_the_table_says() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let [guest, member, friend] = [
        Person::sign_up(&hub, "bob").await,
        Person::sign_up(&hub, "carol").await,
        Person::sign_up(&hub, "dave").await,
    ];
    alice.post("/v1/team", &json!({ "name": "the office" })).await.done::<Value>();
    for person in [&guest, &member] {
        let invitation: Invitation = alice.post("/v1/team/invitations", &json!({})).await.done();
        person.post("/v1/team/join", &json!({ "code": invitation.code })).await.done::<Value>();
    }
    connect(&guest, &friend).await;
    alice.post("/v1/team/roles", &json!({ "name": "nothing", "actions": [] })).await.done::<Value>();
    let roles = roles();
    for (name, actions) in &roles[2..] {
        let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
        alice.post("/v1/team/roles", &json!({ "name": name, "actions": actions })).await.done::<Value>();
    }

    // While he has an account, he is added and given his roles: for each role a group for all that leaves him in it, and one each for the rest.
    let mut groups = Vec::new();
    for (role, actions) in &roles {
        let first: Vec<Action> =
            Action::ALL.iter().copied().filter(|action| !LAST.contains(action)).collect();
        for asked in [first, vec![LAST[0]], vec![LAST[1]]] {
            let new =
                json!({ "conversation": ConversationId::random(), "team": true, "protocol": "pairwise" });
            let group = alice.post("/v1/conversations", &new).await.done::<Conversation>().conversation;
            alice.put(&path(group, "access"), &access()).await.empty();
            alice.add_to(group, &[&guest, &member]).await.empty();
            if role != "member" {
                let of_guest = path(group, &format!("members/{}/role", guest.user));
                alice.put(&of_guest, &json!({ "role": role })).await.empty();
            }
            groups.push((role, actions, group, asked));
        }
    }
    hub.change("DELETE FROM team_members WHERE user_id = ?1", [guest.user.as_bytes()]);
    hub.change("UPDATE users SET kind = 'guest', password = '' WHERE id = ?1", [guest.user.as_bytes()]);

    let people = People { guest, member, friend };
    let mut combinations = 0;
    for (role, actions, group, mut asked) in groups {
        // The member is there until removed.
        asked.sort_by_key(|action| *action == Action::RemoveMember);
        for action in asked {
            let answer = people.act(group, action).await;
            let answered = if answer.status.is_success() {
                "allowed".to_owned()
            } else {
                serde_json::from_slice::<Problem>(&answer.body).unwrap().code
            };
            // Who comes is a member, who may leave; whose own role does not allow that gives more than it has.
            let elevates = action == Action::AddMember && !actions.contains(&Action::Leave);
            let wanted = match expected(action, actions.contains(&action)) {
                "guest-denied" if elevates => "role-elevation",
                wanted => wanted,
            };
            assert_eq!(answered, wanted, "{role}: {action}");
            combinations += 1;
        }
    }
    assert_eq!(combinations, 10 * 22);
}
