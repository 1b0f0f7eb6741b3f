//! Messages from shared history, and how old epochs are.

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use support::new_store;
use tertulia_domain::{ConversationId, ConversationType, DeviceId, History, Protocol, Sequence, UserId};
use tertulia_store::{ConversationRecord, HistoryMark, NewMessage, Setting, Store, StoreError, WriteTx};

const CONVERSATION: ConversationId = ConversationId::from_bytes([1; 16]);
const ALICE: UserId = UserId::from_bytes([2; 16]);
const BOB: UserId = UserId::from_bytes([3; 16]);

fn message(sequence: u64, text: &str, id: u8) -> NewMessage {
    NewMessage {
        conversation: CONVERSATION,
        sequence: Sequence::new(sequence),
        sender: ALICE,
        sender_device: DeviceId::new(7),
        sent_at: 1_700_000_000_000,
        message_id: [id; 32],
        content: Vec::new(),
        text: Some(text.to_owned()),
        expires: None,
    }
}

fn mark(span: u64, shared_by: Option<UserId>) -> HistoryMark {
    HistoryMark { span, verified: false, shared_by }
}

async fn write(store: &Store, work: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send) {
    let writer = store.lock().await.expect("free");
    store.write(&writer, work).expect("writes");
}

async fn with_conversation() -> (tempfile::TempDir, Store) {
    let (dir, store) = new_store();
    write(&store, |w| {
        w.put_setting(Setting::User, &BOB.to_string())?;
        w.put_conversation(&ConversationRecord {
            id: CONVERSATION,
            kind: ConversationType::Group,
            epoch: 3,
            protocol: Protocol::Mls,
            created_at: 1,
        })
        .map(drop)
    })
    .await;
    (dir, store)
}

#[tokio::test]
async fn older_messages_stand_in_their_places_and_are_neither_new_nor_unread() {
    let (_dir, store) = with_conversation().await;
    write(&store, |w| {
        w.insert_message(&message(9, "live", 9))?;
        assert!(w.insert_history(&message(5, "older", 5), &mark(2, Some(BOB)))?);
        assert!(w.insert_history(&message(4, "oldest", 4), &mark(2, None))?);
        assert!(!w.insert_history(&message(5, "another in its place", 6), &mark(2, None))?);
        assert!(!w.insert_history(&message(3, "live", 9), &mark(2, None))?, "the same in another place");
        Ok(())
    })
    .await;
    store
        .read(|r| {
            let rows = r.messages(CONVERSATION, None, None)?;
            let texts: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
            assert_eq!(texts, ["oldest", "older", "live"]);
            let marks: Vec<_> = rows.iter().map(|row| row.history).collect();
            assert_eq!(marks, [Some(mark(2, None)), Some(mark(2, Some(BOB))), None]);
            assert_eq!(r.conversation(CONVERSATION)?.expect("there").unread, 1);
            assert_eq!(r.arrived_after(0, 10)?.len(), 1, "an application is told of one");
            Ok::<_, StoreError>(())
        })
        .expect("readable");
    // To have read the old ones is not to have read the new one.
    write(&store, |w| w.mark_read(CONVERSATION, Sequence::new(5))).await;
    let unread = || store.read(|r| r.conversation(CONVERSATION)).expect("readable").expect("there").unread;
    assert_eq!(unread(), 1);
    write(&store, |w| w.mark_read(CONVERSATION, Sequence::new(9))).await;
    assert_eq!(unread(), 0);
}

#[tokio::test]
async fn a_span_that_is_genuine_is_noted_and_one_that_is_made_up_is_dropped() {
    let (_dir, store) = with_conversation().await;
    write(&store, |w| {
        w.insert_history(&message(4, "true", 4), &mark(2, Some(ALICE)))?;
        w.insert_history(&message(5, "made up", 5), &mark(2, Some(BOB)))?;
        w.insert_history(&message(6, "of another span", 6), &mark(3, Some(BOB)))?;
        w.insert_message(&message(9, "live", 9))?;
        w.drop_history(CONVERSATION, &mark(2, Some(BOB)))?;
        w.verify_history(CONVERSATION, 2)
    })
    .await;
    let rows = store.read(|r| r.messages(CONVERSATION, None, None)).expect("readable");
    let verified: Vec<_> = rows.iter().map(|row| row.history.map(|mark| mark.verified)).collect();
    assert_eq!(verified, [Some(true), Some(false), None]);
}

#[tokio::test]
async fn epochs_are_remembered_as_far_as_history_reaches() {
    let (_dir, store) = with_conversation().await;
    let at = |time| store.read(|r| r.epoch_at(CONVERSATION, time)).expect("readable");
    assert_eq!(at(i64::MAX), None);
    write(&store, |w| {
        (1..=5).try_for_each(|epoch| w.note_epoch(CONVERSATION, epoch, 100 * epoch.cast_signed(), 0))
    })
    .await;
    assert_eq!((at(99), at(100), at(299), at(1000)), (None, Some(1), Some(2), Some(5)));
    write(&store, |w| w.note_epoch(CONVERSATION, 6, 600, 350)).await;
    assert_eq!((at(299), at(350), at(600)), (None, Some(3), Some(6)), "the epoch of that time is the oldest");
    write(&store, |w| w.reset_group(CONVERSATION, 1, None)).await;
    assert_eq!(at(i64::MAX), None, "another group has other epochs");
}

#[tokio::test]
async fn sharing_begins_when_nothing_was_shared_before() {
    let (_dir, store) = with_conversation().await;
    let since = || store.read(|r| r.history_since(CONVERSATION)).expect("readable");
    let day: History = "86400000ms".parse().expect("a day");
    for (history, epoch, expected) in [
        (History::Unlimited, Some(4), 4),
        (day, Some(6), 4),
        (History::None, Some(8), 4),
        (day, Some(9), 9),
        (History::Unlimited, None, 9),
    ] {
        write(&store, |w| w.set_history(CONVERSATION, history, epoch)).await;
        assert_eq!(since(), expected, "{history}");
        assert_eq!(store.read(|r| r.conversation_settings(CONVERSATION)).expect("readable").history, history);
    }
}
