//! What no application sends: a Welcome once more, in an invitation of its own.

use super::{State, send};
use crate::{
    AddPermission, Client, MessageQuery, SyncReport,
    envelopes::{Work, intro::own_bundle},
};
use std::sync::Arc;
use tertulia_conversation::{
    conversation_id,
    inbox::{Bundle, Inbox, InboxKey, Invitation, InvitesTo, Replays},
    topic::ContentTopic,
    wire::{Envelope, Outcome},
};
use tertulia_domain::{ConversationId, Handle};
use tertulia_transport::MemoryNetwork;

struct Setting {
    ana: Client,
    bruno: Client,
    /// What Bruno has shown.
    shown: Bundle,
    group: ConversationId,
    /// The invitation by which he has come in.
    invitation: InvitesTo,
}

fn handle(name: &str) -> Handle {
    name.parse().expect("a name")
}

/// The invitations to groups in a home's inbox.
fn invitations_of(client: &Client, shown: &Bundle, network: &MemoryNetwork) -> Vec<Invitation> {
    let inbox = client.inner().inbox.as_ref().expect("no account");
    let keys = client.inner().store.read(|r| r.inbox_keys()).expect("readable");
    let keys = keys.iter().map(|key| InboxKey::from_secret(*key.secret)).collect();
    let opened = Inbox::new(&inbox.identity_key, keys, Replays::default());
    let now = u64::try_from(crate::client::now() / 1000).expect("after 1970");
    let all = network.published(&ContentTopic::of_inbox(&shown.inbox_address()));
    let all = all.iter().filter_map(|bytes| match opened.look_at(&Envelope::decode(bytes).decoded()?, now) {
        Outcome::Decoded(Ok(invitation)) => Some(invitation),
        _ => None,
    });
    all.filter(|invitation| matches!(invitation.invites_to, InvitesTo::Group { .. })).collect()
}

impl Setting {
    /// Ana and Bruno in a group of hers, in which he has spoken.
    async fn new(dir: &tempfile::TempDir) -> Self {
        let network = MemoryNetwork::ordered("relay");
        let init = async |name: &'static str| {
            let carrier = Arc::new(network.endpoint(name));
            Client::builder(dir.path().join(name)).carrier(carrier).init::<&str>(&[]).await.expect("a home")
        };
        let (ana, bruno) = (init("ana").await, init("bruno").await);
        let shown = bruno.intro().await.expect("an intro");
        ana.meet(&shown.to_string(), Some(&handle("bruno"))).await.expect("asks");
        bruno.sync().await.expect("hears of it");
        let from = bruno.requests().await.expect("readable")[0].from.clone();
        bruno.accept(&from).await.expect("accepts");
        ana.sync().await.expect("hears of it");
        let group = ana.create_group("Tertulia", &[handle("bruno")]).await.expect("a group").id;
        let invitation = invitations_of(&bruno, &shown, &network).pop().expect("one").invites_to;
        bruno.sync().await.expect("comes in");
        bruno.send(group, "one").await.expect("sends");
        Self { ana, bruno, shown, group, invitation }
    }

    /// Ana sends the Welcome once more. What Bruno makes of it.
    async fn again(&self) -> SyncReport {
        let InvitesTo::Group { conversation_type, creation_secret, welcome } = &self.invitation else {
            panic!("it is to a group");
        };
        assert_eq!(conversation_id(*conversation_type, creation_secret), self.group);
        let invites_to = InvitesTo::Group {
            conversation_type: *conversation_type,
            creation_secret: creation_secret.clone(),
            welcome: welcome.clone(),
        };
        let mut work = Work::begin(&self.ana).await.expect("free");
        let own = own_bundle(&mut work, &self.ana.identity().expect("no account"), 0).expect("a bundle");
        send(&mut work, self.group, (&self.shown, 0), &own, invites_to).expect("seals");
        work.finish().await.expect("writes");
        self.ana.sync().await.expect("posts it");
        self.bruno.sync().await.expect("syncs")
    }

    /// Bruno may have missed commits, and has asked to be let in again.
    async fn loses_the_thread(&self) {
        let mut work = Work::begin(&self.bruno).await.expect("free");
        let mut state = State::of(&work.conversation(self.group).expect("there")).expect("readable");
        (state.missed, state.asked_at) = (true, Some(work.now));
        state.write(&mut work, self.group).expect("open");
        work.finish().await.expect("writes");
    }

    async fn read_by_ana(&self) -> Vec<String> {
        self.ana.sync().await.expect("syncs");
        let messages = self.ana.messages(self.group, MessageQuery::default()).await.expect("readable");
        messages.into_iter().map(|message| message.text).collect()
    }
}

#[tokio::test]
async fn a_welcome_to_the_epoch_that_one_is_in_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let setting = Setting::new(&dir).await;
    setting.loses_the_thread().await;
    let epoch = setting.bruno.epoch(setting.group).await.expect("a member");
    assert_eq!(setting.again().await.invalid, 1, "his hints and keys would begin anew");
    assert_eq!(setting.bruno.epoch(setting.group).await.expect("a member"), epoch);
    setting.bruno.send(setting.group, "two").await.expect("sends");
    assert_eq!(setting.read_by_ana().await, ["one", "two"]);
}

#[tokio::test]
async fn a_welcome_to_an_epoch_that_one_was_in_brings_nobody_back_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let setting = Setting::new(&dir).await;
    let (ana, bruno, group) = (&setting.ana, &setting.bruno, setting.group);
    // The epochs go on, beyond what the table of hints remembers.
    for _ in 0..3 {
        for to in [AddPermission::Admins, AddPermission::Everyone] {
            ana.set_add_permission(group, to).await.expect("changes it");
        }
    }
    bruno.sync().await.expect("follows");
    let epoch = bruno.epoch(group).await.expect("a member");
    assert!(epoch > 4, "{epoch}");
    setting.loses_the_thread().await;
    assert_eq!(setting.again().await.invalid, 1);
    assert_eq!(bruno.epoch(group).await.expect("a member"), epoch);
    // Nor when he is out, and has forgotten everything else.
    ana.remove_members(group, &[handle("bruno")]).await.expect("removes him");
    bruno.sync().await.expect("hears of it");
    assert_eq!(setting.again().await.invalid, 1);
    assert_eq!(bruno.epoch(group).await.expect_err("he is out").code(), "no-conversation");
    // Who is added once more comes in.
    ana.add_members(group, &[handle("bruno")]).await.expect("adds him");
    bruno.sync().await.expect("comes in");
    bruno.send(group, "back").await.expect("sends");
    assert_eq!(setting.read_by_ana().await, ["one", "back"]);
}
