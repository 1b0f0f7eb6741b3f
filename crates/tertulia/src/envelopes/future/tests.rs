//! What no application can send: frames of a later version, inside the encryption.

use crate::{Client, MessageQuery, envelopes::Work};
use std::sync::Arc;
use tertulia_conversation::{
    types::{ConversationType, Descriptor, PrivateV1},
    wire::Outcome,
};
use tertulia_domain::ConversationId;
use tertulia_transport::MemoryNetwork;

/// Private conversations as a later version could have them: with frames that this one does not know.
struct Later;

impl ConversationType for Later {
    const DESCRIPTOR: Descriptor = PrivateV1::DESCRIPTOR;
    type Frame = Vec<u8>;

    fn is_handshake(_: &Vec<u8>) -> bool {
        false
    }

    fn encode(frame: &Vec<u8>) -> Vec<u8> {
        frame.clone()
    }

    fn decode(bytes: &[u8]) -> Outcome<Vec<u8>> {
        Outcome::Decoded(bytes.to_vec())
    }
}

async fn friends(dir: &tempfile::TempDir, network: &MemoryNetwork) -> (Client, Client, ConversationId) {
    let init = |name: &'static str| {
        let carrier = Arc::new(network.endpoint(name));
        Client::builder(dir.path().join(name)).carrier(carrier).init::<&str>(&[])
    };
    let (ana, bruno) = (init("ana").await.expect("a home"), init("bruno").await.expect("a home"));
    let intro = bruno.intro().await.expect("an intro").to_string();
    ana.meet(&intro, None).await.expect("asks");
    bruno.sync().await.expect("hears of it");
    let from = bruno.requests().await.expect("readable")[0].from.clone();
    let id = bruno.accept(&from).await.expect("accepts").conversation;
    ana.sync().await.expect("hears of it");
    (ana, bruno, id)
}

#[tokio::test]
async fn a_frame_that_a_later_version_knows_is_kept_and_its_hint_with_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let network = MemoryNetwork::ordered("relay");
    let (ana, bruno, id) = friends(&dir, &network).await;
    let mut work = Work::begin(&ana).await.expect("free");
    let record = work.conversation(id).expect("there");
    // The field 15, with one byte.
    work.post_frame::<Later>(&record, &vec![0x7a, 1, 7], None).expect("seals");
    work.finish().await.expect("writes");
    ana.sync().await.expect("posts it");
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.unsupported, report.undecryptable, report.invalid), (1, 0, 0));
    assert_eq!(bruno.unsupported_envelopes().await.expect("readable"), (1, 0));
    let place = {
        let kept = bruno.inner().store.read(|r| r.unread_before(u32::MAX)).expect("readable");
        assert_eq!(kept[0].conversation, Some(id));
        let hints = bruno.inner().hints.lock().await;
        let envelope = tertulia_conversation::wire::Envelope::decode(&kept[0].bytes).decoded();
        hints.table().look_up(&envelope.expect("its outer shape is known").hint)
    };
    assert!(place.is_some(), "it is to be recognised when it is taken again");
    // The two talk on.
    ana.send(id, "as ever").await.expect("sends");
    bruno.sync().await.expect("syncs");
    let messages = bruno.messages(id, MessageQuery::default()).await.expect("readable");
    assert_eq!(messages.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["as ever"]);
}
