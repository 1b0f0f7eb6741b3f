//! A hub that lies to who comes into a group: it offers one with members of its own, by every way that leads into a group. And to
//! who is in it: it has devices proposed that nobody knows.

use crate::{
    lying::{Setting, event, mallory, rotate},
    lying_hub::{MadeUp, external_commit, external_wish, made_up_group},
    support::{Hub, PASSWORD, connect, group, handle, read},
    watch::Watch,
};
use std::time::{Duration, SystemTime};
use tertulia::{Client, ConversationId, ErrorKind, RoleName, Suspicion};
use tertulia_api::{
    Base64, UserDevice,
    conversation::SubconversationAddress,
    event::{EventBody, LogEntry},
    policy::encode,
};
use tertulia_domain::{GroupId, Role, policy::Policy};

/// The table as Mallory makes it up, with Bob as a member. In the group after a reset, or in the present one.
async fn mallorys(setting: &Setting, group: GroupId, epoch: u64, welcomes: bool) -> MadeUp {
    let Setting { hub, bob, table, .. } = setting;
    let mallory = mallory();
    let policy = Policy::new(table.id, table.kind, mallory.user).expect("a group has one");
    let policy = policy.with_members([bob.me().user], &Role::MEMBER);
    let identity = format!("{}:{}@{}", mallory.user, mallory.device, bob.me().domain);
    let key_package = welcomes.then(|| hub.key_package(bob.me().user));
    let id = group.to_bytes().as_slice().into();
    made_up_group(&hub.home("mallory"), &id, &identity, encode(&policy), epoch, key_package.as_deref()).await
}

/// The table begun anew, and the commit with which its group came to an epoch, as the hub tells it.
fn begun_anew(setting: &Setting, sender: UserDevice, epoch: u64, commit: Vec<u8>, welcome: Option<Vec<u8>>) {
    let Setting { liar, table, .. } = setting;
    let reset = LogEntry { sender: Some(sender), ..setting.entry(table.id) };
    let entry = LogEntry { sequence: reset.sequence + 1, ..reset.clone() };
    let group_id = Base64(GroupId::first(table.id).after_reset().to_bytes());
    liar.say_all_once(vec![
        event(EventBody::GroupReset { entry: reset, group_id }),
        event(EventBody::Commit {
            entry,
            epoch,
            commit: Base64(commit),
            welcome: welcome.map(Base64),
            message: None,
        }),
    ]);
}

fn own(client: &Client) -> UserDevice {
    UserDevice { user: client.me().user, device: client.me().device }
}

async fn keeps_out(setting: &Setting, what: &str) {
    let noticed = setting.suspicions().await;
    assert!(matches!(noticed.last(), Some(Suspicion::ForbiddenGroup { .. })), "{what}: {noticed:?}");
    let refused = setting.bob.send(setting.table.id, "who is there?").await.expect_err("he keeps out");
    assert_eq!((refused.code(), refused.kind()), ("distrusted", ErrorKind::Peer), "{what}");
    setting.watch.tells_all().await;
}

/// Bob goes on, and was told once who is there whom he has not seen come, and sees them.
async fn is_told(setting: &Setting, what: &str) {
    let Setting { bob, table, .. } = setting;
    let user = mallory().user;
    let unseen = Suspicion::UnseenMember { user, role: RoleName::ADMIN };
    assert_eq!(setting.suspicions().await, std::slice::from_ref(&unseen), "{what}");
    let members = bob.conversation(table.id).await.expect("there").members;
    let stranger = members.iter().find(|member| member.user == user);
    assert!(stranger.is_some_and(|stranger| stranger.handle.is_none()), "{what}: {members:?}");
    bob.sync().await.expect("syncs");
    assert_eq!(setting.suspicions().await, [unseen], "{what}: once");
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_forged_beginning_is_refused_whatever_the_hub_says_of_it() {
    // What the hub says of the epoch, and of the sender: Bob himself, or not.
    for (what, epoch, is_own) in [
        ("as it is", 1, false),
        ("as a later epoch", 2, false),
        ("as his own", 1, true),
        ("as both", 7, true),
    ] {
        let setting = Setting::new().await;
        let group = GroupId::first(setting.table.id).after_reset();
        let MadeUp { commit, welcome, .. } = mallorys(&setting, group, 1, true).await;
        let sender = if is_own { own(&setting.bob) } else { mallory() };
        begun_anew(&setting, sender, epoch, commit, welcome);
        setting.bob.sync().await.expect("syncs");
        keeps_out(&setting, what).await;
    }
}

#[tokio::test]
async fn a_forged_group_that_is_past_its_beginning_is_told_of() {
    let setting = Setting::new().await;
    let group = GroupId::first(setting.table.id).after_reset();
    let MadeUp { commit, welcome, .. } = mallorys(&setting, group, 2, true).await;
    begun_anew(&setting, mallory(), 2, commit, welcome);
    setting.bob.sync().await.expect("syncs");
    is_told(&setting, "by a Welcome").await;
}

#[tokio::test]
async fn a_forged_group_that_is_to_be_joined_from_outside_is_refused_or_told_of() {
    for epoch in [1, 2] {
        let setting = Setting::new().await;
        let Setting { liar, bob, table, .. } = &setting;
        let group = GroupId::first(table.id).after_reset();
        let MadeUp { group_info, .. } = mallorys(&setting, group, epoch, false).await;
        liar.serve_group_info(group_info.into());
        liar.take_commits();
        begun_anew(&setting, mallory(), epoch, vec![0; 32], None);
        bob.sync().await.expect("syncs");
        match epoch {
            1 => keeps_out(&setting, "it is only begun").await,
            _ => is_told(&setting, "it goes on").await,
        }
    }
}

#[tokio::test]
async fn a_forged_state_of_the_present_group_is_told_of() {
    let setting = Setting::new().await;
    let Setting { liar, bob, table, .. } = &setting;
    let known = bob.epoch(table.id).await.expect("in it");
    let MadeUp { group_info, .. } = mallorys(&setting, GroupId::first(table.id), known + 1, false).await;
    liar.serve_group_info(group_info.into());
    liar.take_commits();
    // Bob has left, the hub says, and is in it again.
    let left = setting.entry(table.id);
    let joined = LogEntry { sequence: left.sequence + 1, ..left.clone() };
    let me = bob.me().user;
    liar.say_once(event(EventBody::Members { entry: left, joined: Vec::new(), left: vec![me] }));
    bob.sync().await.expect("syncs");
    assert!(!bob.conversation(table.id).await.expect("there").active);
    liar.say_once(event(EventBody::ConversationJoined { entry: joined }));
    bob.sync().await.expect("syncs");
    is_told(&setting, "by an external commit").await;
}

/// Bob's device without its group of this conversation, which was damaged.
async fn losing(hub: &Hub, bob: Client, id: ConversationId) -> Client {
    drop(bob);
    hub.tamper("bob", &format!("DELETE FROM mls_groups WHERE id = x'{}'", id.as_uuid().simple()));
    Client::builder(hub.home("bob")).open().await.expect("opens")
}

async fn noticed(client: &Client) -> Vec<Suspicion> {
    client.suspicions().await.expect("readable").into_iter().map(|noticed| noticed.suspicion).collect()
}

#[tokio::test]
async fn who_comes_back_tells_what_nobody_vouches_for_and_only_that() {
    let Setting { hub, alice, bob, table, .. } = Setting::new().await;
    let id = table.id;
    let (carol, dave) = (hub.sign_up("carol").await, hub.sign_up("dave").await);
    connect(&alice, &carol).await;
    connect(&alice, &dave).await;
    // His device has lost the group while Alice, the admin, added Carol. It knows Alice's device from the 1:1, which vouches for
    // the group as it is.
    alice.add_members(id, &[handle("carol")]).await.expect("adds");
    let bob = losing(&hub, bob, id).await;
    bob.sync().await.expect("comes back");
    assert_eq!(noticed(&bob).await, []);
    assert_eq!(bob.conversation(id).await.expect("there").members.len(), 3);
    // Now it is Carol's device that speaks for the group, who could not have added Dave.
    alice.add_members(id, &[handle("dave")]).await.expect("adds");
    carol.sync().await.expect("joins");
    let later = SystemTime::now() + Duration::from_hours(31 * 24);
    assert_eq!(carol.rotate_keys(later).await.expect("commits"), 1);
    let bob = losing(&hub, bob, id).await;
    bob.sync().await.expect("comes back");
    let unseen = Suspicion::UnseenMember { user: dave.me().user, role: RoleName::MEMBER };
    assert_eq!(noticed(&bob).await, std::slice::from_ref(&unseen));
    // It goes on, and says so once.
    let bob = losing(&hub, bob, id).await;
    bob.send(id, "here again").await.expect("sends");
    assert_eq!(read(&alice, id).await, ["here again"]);
    assert_eq!(noticed(&bob).await, [unseen]);
}

#[tokio::test]
async fn who_is_wished_into_a_group_by_the_hub_alone_stays_out_and_stops_nobody() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, one_to_one, .. } = &setting;
    let mallory = mallory();
    let identity = format!("{}:{}@{}", mallory.user, mallory.device, bob.me().domain);
    for id in [table.id, *one_to_one] {
        let wish = external_wish(&hub.home("mallory"), &hub.group_info(id), &identity).await;
        std::fs::remove_dir_all(hub.home("mallory")).expect("it was made");
        liar.say_once(event(EventBody::Proposal { entry: setting.entry(id), proposal: Base64(wish) }));
        let before = setting.suspicions().await.len();
        assert_eq!(bob.sync().await.expect("syncs").suspicious, 1);
        let noticed = setting.suspicions().await;
        assert!(matches!(noticed[before..], [Suspicion::ForbiddenProposal { .. }]), "{noticed:?}");
        bob.send(id, "nobody stops me").await.expect("sends");
        assert_eq!(read(alice, id).await.last().map(String::as_str), Some("nobody stops me"));
        for client in [alice, bob] {
            assert_eq!(client.conversation(id).await.expect("there").members.len(), 2);
        }
        assert_eq!(setting.suspicions().await.len(), before + 1);
    }
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_device_that_the_hub_makes_up_for_a_member_is_told_to_who_lets_it_in() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let (user, device) = (alice.me().user, mallory().device);
    let identity = format!("{user}:{device}@{}", bob.me().domain);
    let wish = external_wish(&hub.home("mallory"), &hub.group_info(table.id), &identity).await;
    liar.take_commits();
    liar.say_once(event(EventBody::Proposal { entry: setting.entry(table.id), proposal: Base64(wish) }));
    let epoch = bob.epoch(table.id).await.expect("in it");
    bob.sync().await.expect("commits it");
    assert_eq!(bob.epoch(table.id).await.expect("in it"), epoch + 1);
    assert_eq!(setting.suspicions().await, [Suspicion::NewDevice { user, device }]);
    setting.watch.tells_all().await;
}

/// Whether a device of Carol's gets into the 1:1 of Alice and Bob.
async fn intrude(setting: &Setting, carol: &Client, id: ConversationId, victim: &Client) -> bool {
    let identity = format!("{}:{}@{}", carol.me().user, mallory().device, carol.me().domain);
    let commit = external_commit(&setting.hub.home("mallory"), &setting.hub.group_info(id), &identity).await;
    let epoch = victim.epoch(id).await.expect("in it");
    let sender = Some(UserDevice { user: carol.me().user, device: mallory().device });
    let entry = LogEntry { sender, ..setting.entry(id) };
    let commit =
        EventBody::Commit { entry, epoch: epoch + 1, commit: Base64(commit), welcome: None, message: None };
    setting.liar.say_once(event(commit));
    victim.sync().await.expect("syncs");
    victim.epoch(id).await.expect("in it") > epoch
}

#[tokio::test]
async fn a_1_to_1_is_no_subconversation_for_being_called_one() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, one_to_one, .. } = &setting;
    let carol = hub.sign_up("carol").await;
    connect(alice, &carol).await;
    let parent = group(alice, "Saturday table", &[&setting.bob, &carol]).await.id;
    // A device of Bob's that comes to know the 1:1 with the lie.
    let id = *one_to_one;
    liar.describe(move |described| {
        if described.conversation == id {
            let name = "call".parse().expect("a name");
            described.subconversation = Some(SubconversationAddress { parent, name });
        }
    });
    let tablet = Client::builder(hub.home("tablet")).log_in(&liar.url, "bob", PASSWORD).await;
    let tablet = tablet.expect("logs in");
    tablet.sync().await.expect("joins");
    let watch = Watch::over(&tablet).await;
    // It takes part, says the hub.
    liar.say_once(event(EventBody::ConversationJoined { entry: setting.entry(id) }));
    tablet.sync().await.expect("joins");
    assert!(!intrude(&setting, &carol, id, &tablet).await);
    let noticed = tablet.suspicions().await.expect("readable").pop().expect("noticed").suspicion;
    assert!(matches!(noticed, Suspicion::ForbiddenCommit { .. }), "{noticed:?}");
    watch.tells_all().await;
}

#[tokio::test]
async fn a_group_that_its_person_trusts_is_taken_as_the_hub_has_it() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let id = table.id;
    let group_id = GroupId::first(id).after_reset();
    let MadeUp { commit, welcome, .. } = mallorys(&setting, group_id, 1, true).await;
    begun_anew(&setting, mallory(), 1, commit, welcome);
    bob.sync().await.expect("syncs");
    keeps_out(&setting, "it is forged").await;
    // The group is begun anew in truth, with somebody whom Bob has not seen come.
    liar.repent();
    let carol = hub.sign_up("carol").await;
    connect(alice, &carol).await;
    alice.reset_group(id).await.expect("resets");
    alice.add_members(id, &[handle("carol")]).await.expect("adds");
    let told = setting.suspicions().await.len();
    bob.trust(id).await.expect("goes back in");
    bob.send(id, "it was the hub").await.expect("sends");
    assert_eq!(read(alice, id).await, ["it was the hub"]);
    assert_eq!(setting.suspicions().await.len(), told, "he has decided");
    rotate(alice, 1).await;
    bob.sync().await.expect("follows");
    assert_eq!(bob.conversation(id).await.expect("there").members.len(), 3);
    setting.watch.tells_all().await;
}
