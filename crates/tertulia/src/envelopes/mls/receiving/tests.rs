//! What no application can send: frames that the type has and this version neither sends nor takes.

use crate::{Client, MessageQuery, envelopes::Work};
use std::sync::Arc;
use tertulia_conversation::{
    topic::ContentTopic,
    types::GroupV1,
    wire::{Envelope, GapAnswer, GapRequest, GroupFrame},
};
use tertulia_domain::Handle;
use tertulia_transport::MemoryNetwork;

async fn init(dir: &tempfile::TempDir, network: &MemoryNetwork, name: &str) -> Client {
    let carrier = Arc::new(network.endpoint(name));
    Client::builder(dir.path().join(name)).carrier(carrier).init::<&str>(&[]).await.expect("a home")
}

#[tokio::test]
async fn frames_of_which_nothing_proves_the_sender_are_counted_and_use_no_hint_up() {
    let (dir, network) = (tempfile::tempdir().expect("a directory"), MemoryNetwork::ordered("relay"));
    let (ana, bruno) = (init(&dir, &network, "ana").await, init(&dir, &network, "bruno").await);
    let name: Handle = "bruno".parse().expect("a name");
    let intro = bruno.intro().await.expect("an intro").to_string();
    ana.meet(&intro, Some(&name)).await.expect("asks");
    bruno.sync().await.expect("hears of it");
    let from = bruno.requests().await.expect("readable")[0].from.clone();
    bruno.accept(&from).await.expect("accepts");
    ana.sync().await.expect("hears of it");
    let group = ana.create_group("Tertulia", &[name]).await.expect("a group").id;
    bruno.sync().await.expect("comes in");

    let frames = [
        GroupFrame::Welcome(b"a Welcome".to_vec()),
        GroupFrame::GapRequest(GapRequest { message_ids: vec![[7; 32]] }),
        GroupFrame::GapAnswer(GapAnswer { message_id: [7; 32], message: b"a message".to_vec() }),
    ];
    let mut work = Work::begin(&ana).await.expect("free");
    let record = work.conversation(group).expect("there");
    for frame in &frames {
        work.post_frame::<GroupV1>(&record, frame, None).expect("seals");
    }
    work.finish().await.expect("writes");
    ana.sync().await.expect("posts them");
    let published = network.published(&ContentTopic::of_conversation(&group));
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.undecryptable, report.unsupported, report.messages), (3, 0, 0), "{report:?}");
    for bytes in &published[published.len() - frames.len()..] {
        let envelope = Envelope::decode(bytes).decoded().expect("an envelope");
        let hints = bruno.inner().hints.lock().await;
        assert!(hints.table().look_up(&envelope.hint).is_some(), "its place is still that of its chain");
    }
    // What is said afterwards is read, and what is changed is followed.
    ana.send(group, "as ever").await.expect("sends");
    ana.rename(group, "Thursdays").await.expect("renames it");
    ana.set_add_permission(group, crate::AddPermission::Everyone).await.expect("changes it");
    bruno.sync().await.expect("syncs");
    let messages = bruno.messages(group, MessageQuery::default()).await.expect("readable");
    assert!(messages.iter().any(|message| message.text == "as ever"));
    let epoch = ana.epoch(group).await.expect("a member");
    assert_eq!(bruno.epoch(group).await.expect("a member"), epoch);
}
