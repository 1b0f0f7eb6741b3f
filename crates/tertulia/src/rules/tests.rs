//! What the rules let pass that no application can ask for yet: the engine's history sharing, through a real hub.

use crate::{Client, ConversationId, MessageQuery};
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
