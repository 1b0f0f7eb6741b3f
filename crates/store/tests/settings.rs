//! Messages that go by themselves, what is told of them, and what the user has set for themselves.

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use support::{ALICE, CONVERSATION, conversation, message, new_store};
use tertulia_domain::{
    History, MessageTimer, OwnSetting, ReceiptMode, ReceiptStatus, Sequence, UserId, policy::AddPermission,
};
use tertulia_store::{
    ConversationSettings, Expiry, NewMessage, OwnSettingRow, ReceiptRow, Setting, Store, StoreError, WriteTx,
};

const BOB: UserId = UserId::from_bytes([0xB0; 16]);
const CAROL: UserId = UserId::from_bytes([0xCA; 16]);

async fn write(store: &Store, work: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError>) {
    let writer = store.lock().await.expect("free");
    store.write(&writer, work).expect("writes");
}

/// A store of Alice's with a conversation and these messages of Bob's, numbered from 1.
async fn with_messages(expires: &[Option<Expiry>]) -> (tempfile::TempDir, Store) {
    let (dir, store) = new_store();
    write(&store, |w| {
        w.put_setting(Setting::User, &ALICE.to_string())?;
        w.put_conversation(&conversation())?;
        for (number, expires) in (1..).zip(expires) {
            w.insert_message(&NewMessage { expires: *expires, ..message(number, BOB, Some("text")) })?;
        }
        Ok(())
    })
    .await;
    (dir, store)
}

fn shown(store: &Store) -> Vec<(u64, Option<i64>)> {
    let rows = store.read(|r| r.messages(CONVERSATION, None, None)).expect("readable");
    rows.into_iter().map(|row| (row.sequence.get(), row.expires_at)).collect()
}

#[tokio::test]
async fn a_message_goes_at_its_time_or_a_while_after_it_was_read() {
    let all =
        [None, Some(Expiry::At(5_000)), Some(Expiry::AfterReading(1_000)), Some(Expiry::AfterReading(1_000))];
    let (_dir, store) = with_messages(&all).await;
    assert_eq!(shown(&store), [(1, None), (2, Some(5_000)), (3, None), (4, None)]);
    assert!(!store.read(|r| r.has_expired(4_999)).expect("readable"));
    assert!(store.read(|r| r.has_expired(5_000)).expect("readable"));

    write(&store, |w| w.start_expiry(CONVERSATION, Sequence::new(3), 6_000)).await;
    // To read it again does not keep it.
    write(&store, |w| w.start_expiry(CONVERSATION, Sequence::new(4), 6_500)).await;
    assert_eq!(shown(&store), [(1, None), (2, Some(5_000)), (3, Some(7_000)), (4, Some(7_500))]);
    for (now, deleted) in [(6_000, 1), (7_000, 1), (7_499, 0), (i64::MAX, 1)] {
        write(&store, |w| {
            assert_eq!(w.delete_expired(now)?, deleted, "at {now}");
            Ok(())
        })
        .await;
    }
    assert_eq!(shown(&store), [(1, None)]);
}

fn told(user: UserId, status: ReceiptStatus, told_at: i64) -> ReceiptRow {
    ReceiptRow { user, status, told_at }
}

#[tokio::test]
async fn what_members_tell_of_a_message_is_kept_as_long_as_the_message() {
    let (_dir, store) = with_messages(&[Some(Expiry::At(5_000)), None]).await;
    let (first, second) = (message(1, BOB, None).message_id, message(2, BOB, None).message_id);
    write(&store, |w| {
        for (id, receipt) in [
            (&first, told(CAROL, ReceiptStatus::Delivered, 1)),
            (&first, told(CAROL, ReceiptStatus::Read, 2)),
            // Another device of hers, which is slower.
            (&first, told(CAROL, ReceiptStatus::Delivered, 3)),
            (&second, told(ALICE, ReceiptStatus::Read, 4)),
            // Nobody tells of their own message, nor of one that is not here.
            (&first, told(BOB, ReceiptStatus::Read, 5)),
            (&[9; 32], told(CAROL, ReceiptStatus::Read, 6)),
        ] {
            w.put_receipt(CONVERSATION, id, &receipt)?;
        }
        Ok(())
    })
    .await;
    let receipts = |id: [u8; 32]| store.read(|r| r.receipts(CONVERSATION, &id)).expect("readable");
    assert_eq!(receipts(first), [told(CAROL, ReceiptStatus::Read, 2)]);
    assert_eq!(receipts(second), [told(ALICE, ReceiptStatus::Read, 4)]);
    assert!(receipts([9; 32]).is_empty());
    write(&store, |w| w.delete_expired(5_000).map(drop)).await;
    assert!(receipts(first).is_empty());
    assert_eq!(receipts(second).len(), 1);
}

#[tokio::test]
async fn what_is_read_with_a_message_is_what_others_wrote_and_was_not_read_before() {
    let (_dir, store) = with_messages(&[None, None, None]).await;
    write(&store, |w| w.insert_message(&message(4, ALICE, Some("mine"))).map(drop)).await;
    write(&store, |w| w.insert_message(&message(5, BOB, None)).map(drop)).await;
    let to_be_read = |up_to| {
        let ids = store.read(|r| r.to_be_read(CONVERSATION, Sequence::new(up_to))).expect("readable");
        ids.iter().map(|id| id[7]).collect::<Vec<_>>()
    };
    assert_eq!(to_be_read(2), [1, 2]);
    write(&store, |w| w.mark_read(CONVERSATION, Sequence::new(2))).await;
    assert_eq!(to_be_read(5), [3]);
    assert!(to_be_read(2).is_empty());
}

fn own(setting: OwnSetting, is_set: bool, decided: u64) -> OwnSettingRow {
    let decided = Sequence::new(decided);
    OwnSettingRow { conversation: CONVERSATION, setting, is_set, reference: None, decided }
}

#[tokio::test]
async fn of_what_the_users_devices_say_the_later_counts_and_what_is_yet_to_be_told_is_latest() {
    let (_dir, store) = new_store();
    let muted = |is_set, decided| own(OwnSetting::Muted, is_set, decided);
    let known = || store.read(|r| r.own_settings(CONVERSATION)).expect("readable");
    write(&store, |w| w.put_own_setting(&muted(true, 5))).await;
    write(&store, |w| w.put_own_setting(&muted(false, 4))).await;
    assert_eq!(known(), [muted(true, 5)], "it was told late");
    write(&store, |w| w.put_own_setting(&muted(false, 6))).await;
    assert_eq!(known(), [muted(false, 6)]);

    write(&store, |w| w.set_own(CONVERSATION, OwnSetting::Muted, true, None)).await;
    let pending = store.read(|r| r.pending_own_settings()).expect("readable");
    assert_eq!(pending, [muted(true, 6)]);
    write(&store, |w| w.put_own_setting(&muted(false, 7))).await;
    assert_eq!(known(), [muted(true, 6)], "this device's word comes later");
    assert!(store.read(|r| r.decided_own_settings()).expect("readable").is_empty());
    write(&store, |w| w.own_settings_sent(&pending)).await;
    write(&store, |w| w.put_own_setting(&muted(true, 8))).await;
    assert_eq!(store.read(|r| r.decided_own_settings()).expect("readable"), [muted(true, 8)]);
    assert!(store.read(|r| r.pending_own_settings()).expect("readable").is_empty());

    // What was set anew while the earlier was on its way is still to be told.
    write(&store, |w| w.set_own(CONVERSATION, OwnSetting::Muted, false, None)).await;
    write(&store, |w| w.own_settings_sent(&pending)).await;
    assert_eq!(store.read(|r| r.pending_own_settings()).expect("readable"), [muted(false, 8)]);
}

#[tokio::test]
async fn what_is_set_for_all_is_as_the_hub_said_last() {
    let (_dir, store) = with_messages(&[]).await;
    let settings = || store.read(|r| r.conversation_settings(CONVERSATION)).expect("readable");
    assert_eq!(settings(), ConversationSettings::default());
    let day = Some(MessageTimer::try_from(86_400_000).expect("within the bounds"));
    let all = ConversationSettings {
        message_timer: day,
        receipt_mode: ReceiptMode::On,
        add_permission: AddPermission::Everyone,
        history: History::Unlimited,
    };
    write(&store, |w| w.put_conversation_settings(CONVERSATION, &all, Some(CONVERSATION))).await;
    assert_eq!(settings(), all);
    assert_eq!(store.read(|r| r.parent(CONVERSATION)).expect("readable"), Some(CONVERSATION));
    write(&store, |w| w.set_message_timer(CONVERSATION, None)).await;
    assert_eq!(settings(), ConversationSettings { message_timer: None, ..all });
}
