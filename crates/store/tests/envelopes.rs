//! What homes without an account keep: envelopes on their way, hints that several processes change, invitations and keys.

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use support::new_store;
use tertulia_domain::{ConversationId, Sequence, UserId};
use tertulia_store::{
    EnvelopedRecord, IdentityRecord, InboxKeyRecord, InvitationHead, InvitationRecord, NewEnvelope,
    NewOutboxMessage, OutboxKind, OwnTypeRecord, Store, StoreError, UnsupportedEnvelope, WriteTx,
};
use zeroize::Zeroizing;

const ONE: ConversationId = ConversationId::from_bytes([1; 16]);
const TWO: ConversationId = ConversationId::from_bytes([2; 16]);

async fn write(store: &Store, change: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError>) {
    let guard = store.lock().await.expect("locks");
    store.write(&guard, change).expect("writes");
}

fn envelope(outbox: Option<i64>, created_at: i64) -> NewEnvelope {
    NewEnvelope {
        conversation: ONE,
        topic: "/tertulia/1/talk-7/proto".to_owned(),
        bytes: b"an envelope".to_vec(),
        outbox,
        carriers: vec!["a".to_owned(), "b".to_owned()],
        created_at,
    }
}

#[tokio::test]
async fn an_envelope_waits_for_each_of_its_carriers_and_goes_once_all_have_it() {
    let (_dir, store) = new_store();
    write(&store, |w| {
        let message = NewOutboxMessage {
            conversation: ONE,
            kind: OutboxKind::Message,
            content: vec![1],
            created_at: 1,
        };
        let outbox = w.put_into_outbox(&message)?;
        w.put_envelope(&envelope(Some(outbox), 1)).map(drop)
    })
    .await;
    let outbox = store.read(|r| r.outbox_of(ONE)).expect("readable")[0].id;
    let row = store.read(|r| r.envelope_of(outbox)).expect("readable").expect("there");
    assert_eq!((row.bytes.as_slice(), row.conversation), (&b"an envelope"[..], ONE));
    assert_eq!(store.read(|r| r.postings_of(row.id)).expect("readable"), ["a", "b"]);
    write(&store, |w| {
        w.release_envelope(row.id)?;
        w.posted(row.id, "a")
    })
    .await;
    assert!(store.read(|r| r.to_post("a", 0, 9)).expect("readable").is_empty());
    assert_eq!(store.read(|r| r.to_post("b", 0, 9)).expect("readable").len(), 1);
    assert!(store.read(|r| r.to_post("b", row.id, 9)).expect("readable").is_empty());
    write(&store, |w| w.posted(row.id, "b")).await;
    assert!(store.read(|r| r.to_post("b", 0, 9)).expect("readable").is_empty());
}

#[tokio::test]
async fn an_envelope_is_behind_those_of_its_conversation_and_topic_and_no_others() {
    let (_dir, store) = new_store();
    write(&store, |w| {
        w.put_envelope(&envelope(None, 1))?;
        w.put_envelope(&NewEnvelope { topic: "/tertulia/1/inbox-7/proto".to_owned(), ..envelope(None, 2) })?;
        w.put_envelope(&NewEnvelope { conversation: TWO, ..envelope(None, 3) })?;
        w.put_envelope(&envelope(None, 4))?;
        w.put_envelope(&envelope(None, 5)).map(drop)
    })
    .await;
    let all = store.read(|r| r.to_post("a", 0, 9)).expect("readable");
    let before = |carrier: &str, of: usize| {
        let rows = store.read(|r| r.to_post_before(carrier, &all[of])).expect("readable");
        rows.iter().map(|row| row.created_at).collect::<Vec<_>>()
    };
    assert_eq!((before("a", 3), before("a", 1), before("a", 0)), (vec![1], vec![], vec![]));
    write(&store, |w| w.posted(all[0].id, "a")).await;
    assert_eq!((before("a", 3), before("b", 4)), (vec![], vec![1, 4]));
}

#[tokio::test]
async fn what_waits_for_a_carrier_that_never_comes_is_dropped_and_what_no_carrier_has_is_not() {
    let (_dir, store) = new_store();
    write(&store, |w| {
        let message = NewOutboxMessage {
            conversation: ONE,
            kind: OutboxKind::Message,
            content: vec![1],
            created_at: 1,
        };
        let outbox = w.put_into_outbox(&message)?;
        w.put_envelope(&envelope(Some(outbox), 1))?;
        w.put_envelope(&envelope(None, 1))?;
        w.put_envelope(&envelope(None, 3))?;
        assert_eq!(w.drop_old_envelopes(3)?, 1);
        Ok(())
    })
    .await;
    let left = store.read(|r| r.to_post("a", 0, 9)).expect("readable");
    assert_eq!(left.iter().map(|row| row.created_at).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn hints_that_another_process_wrote_are_found_and_ones_own_are_not() {
    let (_dir, store) = new_store();
    let (me, other) = (7, u64::MAX);
    write(&store, |w| {
        w.put_hints(ONE, b"one", me)?;
        w.put_hints(TWO, b"two", other)
    })
    .await;
    let (version, all) = store.read(|r| r.hints_after(0, 0)).expect("readable");
    assert_eq!((version, all.len()), (2, 2));
    let (_, of_others) = store.read(|r| r.hints_after(0, me)).expect("readable");
    assert_eq!(of_others.len(), 1);
    assert_eq!(of_others[0].record.as_deref().map(Vec::as_slice), Some(&b"two"[..]));
    write(&store, |w| w.forget_enveloped(TWO, other)).await;
    let (version, later) = store.read(|r| r.hints_after(version, me)).expect("readable");
    assert_eq!((version, later.len()), (3, 1));
    assert_eq!((later[0].conversation, later[0].record.is_none()), (TWO, true));
    assert!(store.read(|r| r.hints_after(version, me)).expect("readable").1.is_empty());
}

#[tokio::test]
async fn a_conversation_is_what_was_written_and_due_when_it_was_said() {
    let (_dir, store) = new_store();
    let record = EnvelopedRecord {
        conversation: ONE,
        conversation_type: 2,
        creation_secret: Zeroizing::new([9; 32]),
        listening: true,
        carriers: vec!["https://relay.example/".to_owned()],
        state: Zeroizing::new(b"state".to_vec()),
        due_at: Some(100),
        continues: None,
    };
    let written = record.clone();
    write(&store, |w| w.put_enveloped(&written)).await;
    assert_eq!(store.read(|r| r.enveloped(ONE)).expect("readable"), Some(record.clone()));
    assert_eq!(store.read(|r| r.listening()).expect("readable"), [record]);
    assert!(store.read(|r| r.enveloped_due(99)).expect("readable").is_empty());
    assert_eq!(store.read(|r| r.enveloped_due(100)).expect("readable"), [ONE]);
    write(&store, |w| w.set_enveloped_state(ONE, b"later", None)).await;
    assert_eq!(store.read(|r| r.next_due()).expect("readable"), None);
    write(&store, |w| w.set_listening(ONE, false)).await;
    assert!(store.read(|r| r.listening()).expect("readable").is_empty());
    assert_eq!(store.read(|r| r.next_sequence(ONE)).expect("readable"), Sequence::new(1));
}

#[tokio::test]
async fn keys_of_which_no_bundle_is_valid_go_save_the_newest() {
    let (_dir, store) = new_store();
    let key = |number: u8, until| InboxKeyRecord {
        secret: Zeroizing::new([number; 32]),
        since: 1,
        until,
        key_package: vec![number],
    };
    write(&store, |w| {
        w.put_identity(&IdentityRecord { secret: Zeroizing::new([5; 32]), replays: Vec::new() })?;
        w.set_replays(b"seen")?;
        for (number, until) in [(1, 10), (2, 30), (3, 10)] {
            w.add_inbox_key(&key(number, until))?;
        }
        assert_eq!(w.delete_old_inbox_keys(20)?, 1);
        w.extend_inbox_key(40)
    })
    .await;
    assert_eq!(store.read(|r| r.inbox_keys()).expect("readable"), [key(3, 40), key(2, 30)]);
    assert_eq!(store.read(|r| r.identity()).expect("readable").expect("there").replays, b"seen");
}

#[tokio::test]
async fn cursors_echoes_and_invitations_are_what_was_written() {
    let (_dir, store) = new_store();
    let user = UserId::from_bytes([3; 16]);
    let head = InvitationHead {
        conversation: ONE,
        user,
        received_at: 5,
        expires: 9,
        is_pending: true,
        is_to_group: false,
    };
    let invitation = InvitationRecord { head, content: Zeroizing::new(b"to talk".to_vec()) };
    let written = invitation.clone();
    write(&store, |w| {
        w.set_topic_cursor("a", "topic", "1-2")?;
        w.await_echo(b"own", ONE)?;
        w.put_invitation(&written)
    })
    .await;
    store
        .read(|r| {
            assert_eq!(r.topic_cursor("a", "topic")?.as_deref(), Some("1-2"));
            assert_eq!(r.topic_cursor("b", "topic")?, None);
            assert_eq!((r.echo(b"own")?, r.echo(b"other")?), (Some(ONE), None));
            assert!(r.awaits_echoes()?);
            assert_eq!(r.invitation(ONE)?, Some(invitation));
            assert_eq!((r.invitations()?, r.invitations_of(user)?), (vec![head], vec![head]));
            assert_eq!(r.invitations_with_size()?, [(head, 7)]);
            assert!(r.invitations_of_connected()?.is_empty());
            Ok::<_, StoreError>(())
        })
        .expect("readable");
    write(&store, |w| w.set_invitation_unanswered(ONE)).await;
    let unanswered = InvitationHead { is_pending: false, ..head };
    assert_eq!(store.read(|r| r.invitations()).expect("readable"), [unanswered]);
    write(&store, |w| {
        w.echoed(b"own")?;
        w.remove_invitation(ONE)
    })
    .await;
    assert!(store.read(|r| r.invitations()).expect("readable").is_empty());
    assert!(!store.read(|r| r.awaits_echoes()).expect("readable"));
}

#[tokio::test]
async fn of_what_a_later_version_can_read_the_newest_is_kept_within_bounds_and_the_rest_counted() {
    let (_dir, store) = new_store();
    let of = |conversation, number: u32, size: usize| {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.resize(size, 0);
        UnsupportedEnvelope { bytes, conversation: Some(conversation) }
    };
    // More than one conversation may have leaves those of another alone.
    write(&store, |w| {
        w.keep_unsupported(&of(TWO, 1_000_000, 10), 1, 0)?;
        (0..150).try_for_each(|number| w.keep_unsupported(&of(ONE, number, 10), 1, i64::from(number)))
    })
    .await;
    assert_eq!(store.read(|r| r.unsupported_envelopes()).expect("readable"), (101, 50));
    assert!(
        store.read(|r| r.unread_before(1)).expect("readable").is_empty(),
        "this version has looked at them"
    );
    let kept = store.read(|r| r.unread_before(2)).expect("readable");
    assert_eq!(kept[0], of(TWO, 1_000_000, 10));
    assert_eq!((kept[1].clone(), kept.len()), (of(ONE, 50, 10), 101));
    // The same once more is no other one; a later version notes that it cannot read it either.
    write(&store, |w| w.keep_unsupported(&of(ONE, 149, 10), 2, 200)).await;
    assert_eq!(store.read(|r| r.unread_before(2)).expect("readable").len(), 100);
    // Bytes count too: two of these are more than one conversation may have.
    write(&store, |w| {
        w.keep_unsupported(&of(TWO, 1, 3 << 20), 1, 300)?;
        w.keep_unsupported(&of(TWO, 2, 3 << 20), 1, 301)
    })
    .await;
    let kept = store.read(|r| r.unread_before(9)).expect("readable");
    let of_two: Vec<_> = kept.iter().filter(|kept| kept.conversation == Some(TWO)).collect();
    assert_eq!((of_two.len(), of_two[0].bytes[3]), (1, 2), "the newest");
    assert_eq!(store.read(|r| r.unsupported_envelopes()).expect("readable"), (101, 52));
    write(&store, |w| w.remove_unsupported(&of(TWO, 2, 3 << 20).bytes)).await;
    assert_eq!(store.read(|r| r.unsupported_envelopes()).expect("readable"), (100, 52));
}

#[tokio::test]
async fn a_conversation_that_continues_another_is_shown_as_that() {
    let (_dir, store) = new_store();
    let record = |conversation, continues| EnvelopedRecord {
        conversation,
        conversation_type: 3,
        creation_secret: Zeroizing::new([9; 32]),
        listening: true,
        carriers: Vec::new(),
        state: Zeroizing::new(Vec::new()),
        due_at: None,
        continues,
    };
    write(&store, |w| {
        for id in [ONE, TWO] {
            w.put_conversation(&tertulia_store::ConversationRecord {
                id,
                kind: tertulia_domain::ConversationType::OneToOne,
                epoch: 0,
                protocol: tertulia_domain::Protocol::Mls,
                created_at: 1,
            })?;
        }
        w.put_enveloped(&record(ONE, None))?;
        w.put_enveloped(&record(TWO, Some(ONE)))
    })
    .await;
    store
        .read(|r| {
            assert_eq!((r.shown_as(TWO)?, r.shown_as(ONE)?), (ONE, ONE));
            assert_eq!(r.continuing(ONE)?, [record(TWO, Some(ONE))]);
            assert!(r.continuing(TWO)?.is_empty());
            let listed: Vec<_> = r.conversations()?.into_iter().map(|row| row.record.id).collect();
            assert_eq!(listed, [ONE]);
            Ok::<_, StoreError>(())
        })
        .expect("readable");
}

#[tokio::test]
async fn a_conversation_is_of_one_type_for_good() {
    let (_dir, store) = new_store();
    let record = |conversation_type, secret| OwnTypeRecord {
        conversation: ONE,
        conversation_type,
        creation_secret: Zeroizing::new([secret; 32]),
    };
    assert_eq!(store.read(|r| r.own_type(ONE)).expect("readable"), None);
    write(&store, |w| w.put_own_type(&record(0x8001, 1))).await;
    write(&store, |w| w.put_own_type(&record(0x8002, 2))).await;
    assert_eq!(store.read(|r| r.own_type(ONE)).expect("readable"), Some(record(0x8001, 1)));
    assert_eq!(store.read(|r| r.own_type(TWO)).expect("readable"), None);
}
