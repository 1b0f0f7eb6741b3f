//! What the store keeps for the MLS engine: the journal, the trees, the records.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use support::new_store;
use tertulia_store::{JournalEntry, RecordKey, StoreError};

fn entry(serial: u64, own: bool) -> JournalEntry {
    JournalEntry { serial, leaf: 2, generation: u32::MAX, digest: own.then(|| vec![7; 32]) }
}

fn key(kind: u16, owner: &[u8], key: &[u8]) -> RecordKey {
    RecordKey { kind, owner: owner.to_vec(), key: key.to_vec() }
}

#[tokio::test]
async fn a_journal_is_trimmed_up_to_an_entry_and_keeps_own_messages_if_asked() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store
        .write(&guard, |w| {
            // In any order; they come back by their numbers.
            for serial in [5, 1, 3, 2, 4] {
                w.append_to_journal(b"one", &entry(serial, serial % 2 == 0))?;
                w.append_to_journal(b"two", &entry(serial, false))?;
            }
            w.trim_journal(b"one", 4, true)
        })
        .unwrap();
    let serials = |group: &[u8]| {
        let journal = store.read(|r| r.journal(group)).unwrap();
        journal.iter().map(|entry| entry.serial).collect::<Vec<_>>()
    };
    assert_eq!(serials(b"one"), [2, 4, 5]);
    assert_eq!(serials(b"two"), [1, 2, 3, 4, 5]);
    assert_eq!(store.read(|r| r.journal(b"one")).unwrap()[0], entry(2, true));
    store.write(&guard, |w| w.trim_journal(b"one", 4, false)).unwrap();
    assert_eq!(serials(b"one"), [5]);
    store.write(&guard, |w| w.trim_journal(b"one", u64::MAX, false)).unwrap();
    assert!(serials(b"one").is_empty());
}

#[tokio::test]
async fn a_number_is_given_to_one_entry_only() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| w.append_to_journal(b"group", &entry(1, false))).unwrap();
    store.write(&guard, |w| w.append_to_journal(b"group", &entry(1, true))).unwrap_err();
    assert_eq!(store.read(|r| r.journal(b"group")).unwrap(), [entry(1, false)]);
    let error = store.write(&guard, |w| w.append_to_journal(b"group", &entry(u64::MAX, false))).unwrap_err();
    assert!(matches!(error, StoreError::OutOfRange { value: u64::MAX, .. }));
}

#[tokio::test]
async fn serial_numbers_tell_what_is_newest_in_state_and_journal() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    let serials = || store.read(|r| r.group_serials(b"group")).unwrap();
    store.write(&guard, |w| w.append_to_journal(b"group", &entry(1, false))).unwrap();
    assert_eq!(serials(), None, "a journal alone is no group");
    store.write(&guard, |w| w.put_group_state(b"group", 0, b"first")).unwrap();
    assert_eq!(serials(), Some((0, 1)));
    store
        .write(&guard, |w| {
            w.append_to_journal(b"group", &entry(2, true))?;
            w.put_group_state(b"group", 2, b"second")?;
            w.trim_journal(b"group", 2, false)
        })
        .unwrap();
    assert_eq!(serials(), Some((2, 0)));
    let record = store.read(|r| r.group_state(b"group")).unwrap().unwrap();
    assert_eq!((record.serial, record.state.as_slice()), (2, &b"second"[..]));
}

#[tokio::test]
async fn a_group_goes_with_its_tree_and_journal_and_leaves_those_of_others() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store
        .write(&guard, |w| {
            for group in [&b"one"[..], b"two"] {
                w.put_group_state(group, 1, b"state")?;
                w.put_group_tree_part(group, 1, b"the second part")?;
                w.put_group_tree_part(group, 0, b"the first part")?;
                w.put_group_tree_part(group, 2, b"the third part")?;
                w.put_group_tree_part(group, 0, b"another first part")?;
                w.trim_group_tree(group, 2)?;
                w.append_to_journal(group, &entry(1, true))?;
                w.put_record(&key(1, group, b"key"), b"value")?;
            }
            w.delete_group(b"one")
        })
        .unwrap();
    store
        .read(|r| {
            assert_eq!((r.group_serials(b"one")?, r.group_tree(b"one")?), (None, Vec::new()));
            assert!(r.journal(b"one")?.is_empty());
            assert!(r.record(&key(1, b"one", b"key"))?.is_some(), "whose it is says the engine");
            assert_eq!(r.group_tree(b"two")?, [&b"another first part"[..], b"the second part"]);
            assert_eq!(r.journal(b"two")?.len(), 1);
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

#[tokio::test]
async fn records_come_in_the_order_of_their_keys_and_by_kind_and_owner() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store
        .write(&guard, |w| {
            for name in [&b"b"[..], b"\xff", b"", b"a\x00", b"a", b"aa"] {
                w.put_record(&key(1, b"owner", name), name)?;
            }
            w.put_record(&key(2, b"owner", b"a"), b"of another kind")?;
            w.put_record(&key(u16::MAX, b"", b""), b"of nobody")?;
            w.put_record(&key(1, b"other", b"a"), b"of another owner")?;
            w.put_record(&key(1, b"owner", b"aa"), b"changed")?;
            w.delete_record(&key(1, b"owner", b"b"))?;
            w.delete_record(&key(1, b"owner", b"never there"))
        })
        .unwrap();
    let records = store.read(|r| r.records(1, b"owner")).unwrap();
    let records: Vec<_> = records.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    assert_eq!(
        records,
        [(&b""[..], &b""[..]), (b"a", b"a"), (b"a\x00", b"a\x00"), (b"aa", b"changed"), (b"\xff", b"\xff")]
    );
    store
        .read(|r| {
            assert_eq!(r.records(2, b"owner")?.len(), 1);
            assert!(r.records(3, b"owner")?.is_empty());
            assert_eq!(r.record(&key(u16::MAX, b"", b""))?.unwrap().as_slice(), b"of nobody");
            assert!(r.record(&key(1, b"owner", b"b"))?.is_none());
            Ok::<_, StoreError>(())
        })
        .unwrap();
}
