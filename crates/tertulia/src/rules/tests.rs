//! What no application can ask for, through a real hub: the engine's history sharing, and proposals of members.

use crate::{Client, ConversationId, GroupOptions, Handshake, MessageQuery};
use tempfile::TempDir;
use tertulia_server::{Server, ServerConfig};

async fn hub(dir: &TempDir) -> String {
    let config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path().join("hub"));
    let server = Server::bind(config).await.expect("the hub starts");
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.run(std::future::pending()));
    url
}

async fn sign_up(dir: &TempDir, hub: &str, handle: &str) -> Client {
    Client::builder(dir.path().join(handle))
        .sign_up(hub, handle, "correct horse battery")
        .await
        .expect("signs up")
}

async fn connect(a: &Client, b: &Client) -> ConversationId {
    a.connect(&b.me().handle).await.expect("asks");
    b.sync().await.expect("sees the request");
    let connection = b.accept(&a.me().handle).await.expect("accepts");
    a.sync().await.expect("sees the answer");
    connection.conversation
}

/// Turns history on, as an application of the engine would.
async fn share_history(client: &Client, id: ConversationId) {
    let group = client.group_of(id).expect("a group");
    let mut tx = client.inner().session.new_transaction().await.expect("a transaction");
    tx.conversation(&group).await.expect("in it").enable_history_sharing().await.expect("the hub takes it");
    tx.finish().await.expect("finishes");
}

async fn read(client: &Client, id: ConversationId) -> Vec<String> {
    client.sync().await.expect("syncs");
    let messages = client.messages(id, MessageQuery::default()).await.expect("readable");
    messages.into_iter().map(|message| message.text).collect()
}

#[tokio::test]
async fn a_history_client_breaks_no_rule_of_a_group_or_a_1_to_1() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = hub(&dir).await;
    let (alice, bob, carol) = (
        sign_up(&dir, &url, "alice").await,
        sign_up(&dir, &url, "bob").await,
        sign_up(&dir, &url, "carol").await,
    );
    let both = connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    alice.send(both, "begun").await.expect("sends");
    let table = alice.create_group("Friday table", &[bob.me().handle.clone()]).await.expect("a group").id;
    bob.sync().await.expect("joins");
    for id in [both, table] {
        share_history(&alice, id).await;
        bob.sync().await.expect("takes the commit");
        let view = bob.inner().session.conversation(&bob.group_of(id).expect("a group")).expect("in it");
        assert!(view.is_history_enabled().expect("readable"));
        bob.send(id, "with history").await.expect("sends");
        assert_eq!(read(&alice, id).await.last().map(String::as_str), Some("with history"));
    }
    // It stays when somebody is added, and is replaced when somebody is removed.
    alice.add_members(table, &[carol.me().handle.clone()]).await.expect("adds");
    carol.sync().await.expect("joins");
    carol.send(table, "hello").await.expect("sends");
    alice.sync().await.expect("syncs");
    alice.remove_members(table, &[carol.me().handle.clone()]).await.expect("removes");
    alice.send(table, "the two of us").await.expect("sends");
    assert_eq!(read(&bob, table).await, ["with history", "hello", "the two of us"]);
    for client in [&alice, &bob, &carol] {
        assert!(client.suspicions().await.expect("readable").is_empty());
    }
}

/// Gives a device what another member has proposed, as the hub passes it on.
async fn give(client: &Client, id: ConversationId, proposals: &[Vec<u8>]) {
    let group = client.group_of(id).expect("a group");
    let mut tx = client.inner().session.new_transaction().await.expect("a transaction");
    let mut guard = tx.conversation(&group).await.expect("in it");
    for proposal in proposals {
        guard.decrypt_message(proposal).expect("it is kept");
    }
    tx.finish().await.expect("finishes");
    let view = client.inner().session.conversation(&group).expect("in it");
    assert_eq!(view.pending_proposals(), proposals.len());
}

#[tokio::test]
async fn what_a_member_proposes_unseen_without_the_right_to_stops_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = hub(&dir).await;
    let (alice, bob, carol) = (
        sign_up(&dir, &url, "alice").await,
        sign_up(&dir, &url, "bob").await,
        sign_up(&dir, &url, "carol").await,
    );
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let options = GroupOptions { handshake: Handshake::Ciphertext, ..GroupOptions::default() };
    let others = [bob.me().handle.clone(), carol.me().handle.clone()];
    let table = alice.create_group_as("secret", &others, options).await.expect("a group").id;
    for member in [&bob, &carol] {
        member.sync().await.expect("joins");
    }
    // Bob, a member, wants the admin out, and new keys for himself.
    let group = bob.group_of(table).expect("a group");
    let mut tx = bob.inner().session.new_transaction().await.expect("a transaction");
    let admin = alice.own_address().to_string().into();
    let removal = tx.new_remove_proposal(&group, admin).await.expect("proposes").proposal;
    let renewal = tx.new_update_proposal(&group).await.expect("proposes").proposal;
    tx.finish().await.expect("finishes");
    for member in [&alice, &carol] {
        give(member, table, &[removal.clone(), renewal.clone()]).await;
    }
    // Neither the admin nor another member is kept from sending, and the hub takes the commit.
    alice.send(table, "still here").await.expect("sends");
    carol.send(table, "so am I").await.expect("sends");
    for client in [&alice, &bob, &carol] {
        assert_eq!(read(client, table).await, ["still here", "so am I"]);
        assert!(client.suspicions().await.expect("readable").is_empty());
        assert_eq!(client.conversation(table).await.expect("there").members.len(), 3);
    }
}
