#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Ciphersuite, SessionConfig, history::secret::NewHistoryClient};

fn conversation() -> ConversationId {
    ConversationId::from("conversation")
}

fn secret(first_epoch: u64) -> HistorySecret {
    let client = NewHistoryClient::generate(Ciphersuite::default(), &SessionConfig::default()).unwrap();
    client.secret(&conversation(), first_epoch, b"welcome").unwrap()
}

fn shared(first_epoch: u64, sender: &str) -> Held {
    let span = Held::new(secret(first_epoch), Some(first_epoch)).unwrap();
    Held { shared_by: Some(ClientId::from(sender)), ..span }
}

/// Offers an unverified span, as receiving does. Whether it was kept.
fn offer(spans: &mut Spans<'_>, first_epoch: u64, sender: &str) -> bool {
    let has_place = spans.has_place(first_epoch, Some(&ClientId::from(sender)));
    if has_place {
        spans.keep_unverified(shared(first_epoch, sender)).unwrap();
    }
    has_place
}

fn senders(spans: &Spans<'_>, sender: &str) -> usize {
    spans.iter().filter(|held| held.shared_by == Some(ClientId::from(sender))).count()
}

#[test]
fn the_format_of_a_span_is_the_released_one() {
    let held = Held {
        key: Vec::new(),
        first_epoch: 2,
        last_epoch: Some(3),
        is_verified: true,
        shared_by: Some(ClientId::from("a")),
        client: [4; 16],
        expiration: 5,
        checksum: [6; 32],
        secret: None,
    };
    let expected = format!(
        "000201{}01{}{}{}{}",
        "0000000000000003",
        "0161",
        "04".repeat(16),
        "0000000000000005",
        "06".repeat(32)
    );
    assert_eq!(hex::encode(&held.to_record().unwrap()[..]), expected);
    let overlay = Overlay::scratch();
    let id = conversation();
    let mut spans = Spans::readable(&overlay, &id).unwrap();
    assert!(spans.keep_verified(shared(2, "bob")).unwrap());
    let kept = super::spans(&overlay, &id).unwrap();
    assert_eq!((kept[0].first_epoch, kept[0].last_epoch, kept[0].is_verified), (2, Some(2), true));
    assert_eq!(kept[0].shared_by, Some(ClientId::from("bob")));
}

#[test]
fn a_span_of_version_1_is_read_and_not_verified() {
    let (overlay, id, secret) = (Overlay::scratch(), conversation(), secret(2));
    let bytes =
        WholeRecord { version: 1, last_epoch: Some(3), secret: Zeroizing::new(secret.as_bytes().to_vec()) };
    let bytes = encode(&bytes, WHAT).unwrap();
    assert_eq!(hex::encode(&bytes[..11]), "0001010000000000000003");
    overlay.put_record(RecordKind::History.of(id.as_bytes(), &2u64.to_be_bytes()), bytes);
    let [span] = &super::spans(&overlay, &id).unwrap()[..] else { panic!("there is one") };
    assert_eq!((span.last_epoch, span.is_verified, &span.secret), (Some(3), false, &secret));
    // Nor does it stand in the way of a verified one.
    let mut spans = Spans::readable(&overlay, &id).unwrap();
    assert!(spans.keep_verified(shared(2, "bob")).unwrap());
    assert_eq!(spans.iter().count(), 1);
}

#[test]
fn unverified_spans_stand_side_by_side_until_one_is_verified() {
    let (overlay, id) = (Overlay::scratch(), conversation());
    let mut spans = Spans::readable(&overlay, &id).unwrap();
    let kept = (0..10).filter(|_| offer(&mut spans, 2, "mallory")).count();
    assert_eq!(kept, 4, "so many from one");
    assert!(
        ["bob", "carol", "dave", "mallory"].iter().filter(|sender| offer(&mut spans, 2, sender)).count() == 3
    );
    assert!(offer(&mut spans, 2, "bob"));
    assert!(!offer(&mut spans, 2, "erin"), "there are eight");
    assert!(offer(&mut spans, 3, "erin"));
    assert!(spans.keep_verified(shared(2, "bob")).unwrap());
    assert!(!offer(&mut spans, 2, "mallory"));
    let kept: Vec<_> = super::spans(&overlay, &id).unwrap();
    let kept: Vec<_> = kept.iter().map(|span| (span.first_epoch, span.is_verified)).collect();
    assert_eq!(kept, [(2, true), (3, false)]);
}

#[test]
fn who_sends_much_leaves_room_for_others_and_for_what_is_verified() {
    let (overlay, id) = (Overlay::scratch(), conversation());
    let mut spans = Spans::readable(&overlay, &id).unwrap();
    for epoch in 100..200 {
        offer(&mut spans, epoch, "mallory");
    }
    assert_eq!(spans.iter().count(), MAX_HISTORY_SPANS);
    for epoch in 100..200 {
        offer(&mut spans, epoch, "bob");
    }
    assert_eq!((senders(&spans, "mallory"), senders(&spans, "bob")), (32, 32));
    for epoch in 1..100 {
        assert!(spans.keep_verified(shared(epoch, "carol")).unwrap() || epoch <= 100);
    }
    assert_eq!(spans.iter().filter(|held| held.is_verified).count(), MAX_HISTORY_SPANS);
    assert_eq!(spans.iter().map(|held| held.first_epoch).min(), Some(100 - 64), "the newest are kept");
    assert!(!spans.keep_verified(shared(1, "carol")).unwrap(), "it is the oldest");
    assert!(!offer(&mut spans, 300, "mallory"));
    let stored = overlay.records(RecordKind::HistorySecret, id.as_bytes()).unwrap();
    assert_eq!(stored.len(), MAX_HISTORY_SPANS, "no secret is left behind");
}
