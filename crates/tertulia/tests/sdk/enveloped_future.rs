//! Envelopes that only a later version can read: kept within bounds, and taken by that version.

use crate::{
    envelopes::Homes,
    support::{read, texts},
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tertulia::Client;
use tertulia_conversation::topic::ContentTopic;
use tertulia_transport::MemoryNetwork;

/// As a later version could write it: with a field that this one does not know.
fn later(envelope: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = [envelope, &[0x5a, 4]].concat();
    bytes.extend(number.to_be_bytes());
    bytes
}

#[tokio::test]
async fn what_is_of_a_conversation_by_its_hint_is_kept_within_bounds_and_nothing_else() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    let topic = ContentTopic::of_conversation(&id);
    let network = &homes.networks[0];
    network.cut_off(&["bruno"]);
    ana.send(id, "genuine").await.expect("sends");
    network.cut_off(&[]);
    let envelope = network.published(&topic).pop().expect("it was published");
    // Of nobody here, and under a hint that is over.
    let mut of_others = later(&envelope, 0);
    of_others[2..34].copy_from_slice(b"0123456789abcdef0123456789abcdef");
    network.inject(&topic, &of_others);
    let report = {
        let first = network.published(&topic)[0].clone();
        network.inject(&topic, &later(&first, 0));
        bruno.sync().await.expect("syncs")
    };
    assert_eq!((report.unsupported, report.messages), (0, 1));
    assert_eq!(bruno.unsupported_envelopes().await.expect("readable"), (0, 0));

    network.cut_off(&["bruno"]);
    ana.send(id, "from the future").await.expect("sends");
    network.cut_off(&[]);
    let envelope = network.published(&topic).pop().expect("it was published");
    // Somebody who has seen the hint on its way puts as much under it as they like.
    for number in 0..150 {
        network.inject(&topic, &later(&envelope, number));
    }
    let (elsewhere, on_its_way) = (MemoryNetwork::ordered("elsewhere"), network.published(&topic));
    for bytes in on_its_way.iter().filter(|bytes| **bytes != envelope) {
        elsewhere.inject(&topic, bytes);
    }
    drop(bruno);
    let builder = Client::builder(homes.path("bruno")).carrier(Arc::new(elsewhere.endpoint("bruno")));
    let bruno = builder.open().await.expect("opens");
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.messages, report.invalid), (0, 0), "{report:?}");
    let (kept, dropped) = bruno.unsupported_envelopes().await.expect("readable");
    assert_eq!((kept, kept + dropped, report.unsupported), (100, 150, 150));
    // The hint was not used up by it.
    drop(bruno);
    let bruno = homes.open("bruno").await;
    assert_eq!(read(&bruno, id).await, ["genuine", "from the future"]);
}

#[tokio::test]
async fn the_version_that_can_read_it_takes_it_though_no_relay_has_it_any_more() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    let topic = ContentTopic::of_conversation(&id);
    homes.networks[0].cut_off(&["bruno"]);
    ana.send(id, "kept").await.expect("sends");
    homes.networks[0].cut_off(&[]);
    let envelope = homes.networks[0].published(&topic).pop().expect("it was published");
    let unreadable = later(&envelope, 7);
    drop(bruno);
    // As an earlier version has left it, which could read neither.
    for bytes in [&envelope, &unreadable] {
        let digest = Sha256::digest(bytes).to_vec();
        let sql = "INSERT INTO unsupported_envelopes (digest, bytes, received_at, conversation, unread_by) \
                   VALUES (?1, ?2, 1, ?3, 0)";
        homes.database("bruno").execute(sql, (digest, bytes, id.as_bytes())).expect("writes");
    }
    let empty = MemoryNetwork::ordered("empty");
    let bruno = Client::builder(homes.path("bruno"))
        .carrier(Arc::new(empty.endpoint("bruno")))
        .open()
        .await
        .expect("opens");
    let report = bruno.sync().await.expect("syncs");
    assert_eq!(report.messages, 1);
    assert_eq!(texts(&bruno, id).await, ["kept"]);
    // What this version cannot read either is over with the hint, or waits on.
    assert_eq!(bruno.unsupported_envelopes().await.expect("readable").1, 0);
    assert_eq!(bruno.sync().await.expect("syncs").messages, 0, "once");
    drop(bruno);
    let bruno = homes.open("bruno").await;
    bruno.sync().await.expect("syncs");
    bruno.send(id, "read").await.expect("goes on");
    assert_eq!(read(&ana, id).await, ["kept", "read"]);
    assert_eq!(texts(&bruno, id).await, ["kept", "read"]);
}
