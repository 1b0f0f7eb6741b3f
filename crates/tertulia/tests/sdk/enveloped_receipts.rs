//! Receipts in homes without an account: the same calls, however a conversation travels.

use crate::{
    enveloped_groups::settle,
    envelopes::{Homes, meet},
    support::{handle, read},
};
use tertulia::{Client, ConversationId, MessageQuery, ReceiptMode, ReceiptStatus};

/// Reads all of a conversation, and marks it as read.
async fn read_all(client: &Client, id: ConversationId) {
    client.sync().await.expect("syncs");
    let messages = client.messages(id, MessageQuery::default()).await.expect("readable");
    client.mark_read(id, messages.last().expect("there is something").sequence).await.expect("marks");
}

/// Who has told that they have read the last message, by what they are called here.
async fn readers(client: &Client, id: ConversationId) -> Vec<String> {
    client.sync().await.expect("syncs");
    let messages = client.messages(id, MessageQuery::default()).await.expect("readable");
    let receipts = &messages.last().expect("there is something").receipts;
    assert!(receipts.iter().all(|receipt| receipt.status == ReceiptStatus::Read));
    let mut readers: Vec<_> =
        receipts.iter().filter_map(|receipt| receipt.handle.as_ref()).map(ToString::to_string).collect();
    readers.sort();
    readers
}

#[tokio::test]
async fn of_two_people_each_says_whether_they_tell_and_going_over_to_mls_changes_nothing_of_it() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    ana.send(id, "one").await.expect("sends");
    let before = homes.published().len();
    read_all(&bruno, id).await;
    assert_eq!(homes.published().len(), before, "nothing is told unless one says so");
    let set = bruno.set_receipt_mode(id, ReceiptMode::On).await.expect("he may");
    assert_eq!(set.receipt_mode, ReceiptMode::On);
    assert_eq!(homes.published().len(), before, "nor that one tells");
    ana.send(id, "two").await.expect("sends");
    read_all(&bruno, id).await;
    assert_eq!(readers(&ana, id).await, ["bruno"]);
    bruno.send(id, "three").await.expect("sends");
    read_all(&ana, id).await;
    assert!(readers(&bruno, id).await.is_empty(), "she has not said so");

    ana.migrate(id).await.expect("goes on");
    settle(&[&bruno, &ana]).await;
    ana.send(id, "four").await.expect("sends");
    read_all(&bruno, id).await;
    assert_eq!(readers(&ana, id).await, ["bruno"]);
    // What was read before the group was there is not forgotten.
    let messages = ana.messages(id, MessageQuery::default()).await.expect("readable");
    let told: Vec<_> =
        messages.iter().map(|message| (message.text.as_str(), message.receipts.len())).collect();
    assert_eq!(told, [("one", 0), ("two", 1), ("three", 0), ("four", 1)]);
    bruno.set_receipt_mode(id, ReceiptMode::Off).await.expect("he may");
    ana.send(id, "five").await.expect("sends");
    read_all(&bruno, id).await;
    assert!(readers(&ana, id).await.is_empty());
}

#[tokio::test]
async fn in_a_group_the_admins_say_so_for_all_and_who_comes_later_hears_of_it() {
    let homes = Homes::on(&["relay"]);
    let ana = homes.init("ana").await;
    let mut others = Vec::new();
    for name in ["bruno", "carla"] {
        let other = homes.init(name).await;
        meet(&ana, "ana", &other, name).await;
        others.push(other);
    }
    let [bruno, carla] = &others[..] else { panic!("two") };
    let id = ana.create_group("Tertulia", &[handle("bruno")]).await.expect("a group").id;
    settle(&[bruno, &ana]).await;
    let refused = bruno.set_receipt_mode(id, ReceiptMode::On).await.expect_err("he is no admin");
    assert_eq!(refused.code(), "action-denied");
    let set = ana.set_receipt_mode(id, ReceiptMode::On).await.expect("she may");
    assert_eq!(set.receipt_mode, ReceiptMode::On);
    ana.add_members(id, &[handle("carla")]).await.expect("adds");
    settle(&[bruno, carla, &ana]).await;
    for client in [&ana, bruno, carla] {
        assert_eq!(client.conversation(id).await.expect("known").receipt_mode, ReceiptMode::On);
    }
    ana.send(id, "Who reads this?").await.expect("sends");
    for client in [bruno, carla] {
        read_all(client, id).await;
    }
    assert_eq!(readers(&ana, id).await, ["bruno", "carla"]);
    assert_eq!(read(carla, id).await, ["Who reads this?"], "receipts are no messages");
    // Without the network they wait.
    ana.send(id, "And this?").await.expect("sends");
    bruno.sync().await.expect("syncs");
    homes.networks[0].cut_off(&["bruno"]);
    let messages = bruno.messages(id, MessageQuery::default()).await.expect("readable");
    bruno.mark_read(id, messages.last().expect("two").sequence).await.expect("kept");
    homes.networks[0].cut_off(&[]);
    assert!(readers(&ana, id).await.is_empty());
    bruno.sync().await.expect("sends what waits");
    assert_eq!(readers(&ana, id).await, ["bruno"]);
    ana.set_receipt_mode(id, ReceiptMode::Off).await.expect("she may");
    settle(&[bruno, carla]).await;
    assert_eq!(carla.conversation(id).await.expect("known").receipt_mode, ReceiptMode::Off);
}
