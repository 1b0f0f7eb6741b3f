//! What the devices of one user tell each other.

use crate::support::{Hub, connect};
use futures::StreamExt as _;
use std::pin::pin;
use tertulia::{Client, ClientEvent, ConversationId};

async fn told(client: &Client) -> Vec<Vec<u8>> {
    client.sync().await.expect("syncs");
    let messages = client.from_own_devices(None).await.expect("readable");
    messages.into_iter().map(|message| message.payload).collect()
}

#[tokio::test]
async fn what_one_device_says_to_its_own_reaches_every_other_one_and_nobody_else() {
    let hub = Hub::start().await;
    let (laptop, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&laptop, &bob).await;
    let phone = hub.log_in("alice", "phone").await;
    let tablet = hub.log_in("alice", "tablet").await;
    for device in [&laptop, &phone, &tablet, &laptop] {
        device.sync().await.expect("syncs");
    }
    laptop.send_to_own_devices(b"muted: Friday table").await.expect("sends");
    phone.sync().await.expect("syncs");
    phone.send_to_own_devices(b"archived: Old table").await.expect("sends");
    assert_eq!(told(&laptop).await, [b"archived: Old table".to_vec()]);
    assert_eq!(told(&phone).await, [b"muted: Friday table".to_vec()]);
    assert_eq!(told(&tablet).await, [b"muted: Friday table".to_vec(), b"archived: Old table".to_vec()]);
    assert!(told(&bob).await.is_empty());
    let last = tablet.from_own_devices(None).await.expect("readable").pop().expect("two");
    assert_eq!(last.device, phone.me().device);
    assert!(tablet.from_own_devices(Some(last.sequence)).await.expect("readable").is_empty());
}

#[tokio::test]
async fn the_self_conversation_has_the_users_id_and_is_never_listed() {
    let hub = Hub::start().await;
    let laptop = hub.sign_up("alice").await;
    let phone = hub.log_in("alice", "phone").await;
    laptop.sync().await.expect("syncs");
    let own = ConversationId::self_of(laptop.me().user);
    for device in [&laptop, &phone] {
        device.sync().await.expect("syncs");
        assert!(device.epoch(own).await.expect("in the group") > 0);
        assert!(device.conversations().await.expect("readable").is_empty());
    }
    assert_eq!(laptop.epoch(own).await.expect("in it"), phone.epoch(own).await.expect("in it"));
}

#[tokio::test]
async fn the_live_stream_tells_what_own_devices_said_once() {
    let hub = Hub::start().await;
    let laptop = hub.sign_up("alice").await;
    let phone = hub.log_in("alice", "phone").await;
    laptop.sync().await.expect("syncs");
    let mut events = pin!(phone.events());
    while !matches!(events.next().await, Some(Ok(ClientEvent::CaughtUp))) {}
    laptop.send_to_own_devices(b"one").await.expect("sends");
    laptop.send_to_own_devices(b"two").await.expect("sends");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        if let ClientEvent::FromOwnDevice(message) = events.next().await.expect("goes on").expect("no error")
        {
            heard.push(message.payload);
        }
    }
    assert_eq!(heard, [b"one".to_vec(), b"two".to_vec()]);
}

#[tokio::test]
async fn what_is_told_is_bounded() {
    let hub = Hub::start().await;
    let laptop = hub.sign_up("alice").await;
    laptop.send_to_own_devices(&vec![7; 16 * 1024]).await.expect("fits");
    let refused = laptop.send_to_own_devices(&vec![7; 16 * 1024 + 1]).await.expect_err("too long");
    assert_eq!(refused.code(), "payload-too-long");
}
