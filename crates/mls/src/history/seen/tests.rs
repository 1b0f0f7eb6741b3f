#![allow(clippy::unwrap_used)]
use super::*;

fn client(first_epoch: u64, last_epoch: Option<u64>) -> SeenClient {
    let client = [u8::try_from(first_epoch % 256).unwrap(); 16];
    SeenClient { first_epoch, client, authenticator: vec![7, 8], last_epoch, is_stale: true }
}

#[test]
fn the_format_of_what_was_seen_is_the_released_one() {
    let overlay = Overlay::scratch();
    let id = ConversationId::from("conversation");
    let mut seen = Seen::default();
    seen.set_since(&overlay, &id, 2).unwrap();
    client(3, Some(9)).put(&overlay, &id).unwrap();
    let records = overlay.records(RecordKind::HistorySeen, id.as_bytes()).unwrap();
    let hex: Vec<_> =
        records.iter().map(|(key, bytes)| hex::encode(key) + " " + &hex::encode(&bytes[..])).collect();
    let key = "0000000000000003".to_owned() + &"03".repeat(16);
    assert_eq!(hex, [" 00010000000000000002".to_owned(), key + " 000101000000000000000901020708"]);
    let read = Seen::load(&overlay, &id).unwrap();
    assert_eq!((read.since, read.clients), (Some(2), vec![client(3, Some(9))]));
}

#[test]
fn what_escaped_this_device_is_told_from_what_cannot_be() {
    let seen = Seen { since: Some(5), clients: vec![client(5, None), client(8, Some(9))] };
    let digest = |epoch| client(epoch, None).client;
    assert!(matches!(seen.beginning(8, &digest(8)), Beginning::Seen(_)));
    assert!(matches!(seen.beginning(7, &digest(8)), Beginning::Impossible));
    assert!(matches!(seen.beginning(5, &digest(4)), Beginning::Impossible));
    assert!(matches!(seen.beginning(4, &digest(5)), Beginning::Earlier(_)));
    assert!(matches!(seen.beginning(4, &digest(4)), Beginning::EndedBefore(5)));
    let nothing = Seen { since: None, ..seen };
    assert!(matches!(nothing.beginning(7, &digest(7)), Beginning::Unknown));
}

#[test]
fn only_so_many_are_remembered_and_those_who_are_here_longest() {
    let overlay = Overlay::scratch();
    let id = ConversationId::from("conversation");
    let count = u64::try_from(MAX_SEEN).unwrap() + 2;
    let clients: Vec<_> = (1..=count).map(|epoch| client(epoch, (epoch > 1).then_some(epoch))).collect();
    for client in &clients {
        client.put(&overlay, &id).unwrap();
    }
    let mut seen = Seen { since: Some(1), clients };
    seen.forget_the_oldest(&overlay, &id).unwrap();
    let seen = Seen::load(&overlay, &id).unwrap();
    assert_eq!((seen.since, seen.clients.len()), (Some(4), MAX_SEEN));
    assert_eq!((seen.clients[0].first_epoch, seen.clients[1].first_epoch), (1, 4));
}
