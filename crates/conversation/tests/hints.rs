//! Hints: they do not repeat, they are found, and what is lost heals.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;

use common::{Conversation, open, receive, seeded};
use rand::{RngExt as _, seq::SliceRandom as _};
use tertulia_conversation::{
    EpochId, EpochSecrets,
    hint::{APPLICATION_WINDOW, EpochStart, HANDSHAKE_WINDOW, Hint, HintError, HintTable, Kind, Origin},
    types::{ConversationType as _, DirectV1, GroupV1, PrivateV1},
    wire::{DirectFrame, Envelope, GroupFrame, Outcome, PrivateFrame, WireError},
};

fn content(text: &str) -> GroupFrame {
    GroupFrame::Content(text.as_bytes().to_vec())
}

fn hint(envelope: &[u8]) -> Hint {
    Envelope::decode(envelope).decoded().unwrap().hint
}

#[test]
fn over_10000_envelopes_of_20_conversations_no_hint_repeats_and_each_is_found() {
    let random = &mut seeded();
    let mut conversations: Vec<_> = (0..20).map(|_| Conversation::new::<GroupV1>(3, random)).collect();
    let mut hints = HashSet::new();
    for number in 0..10_000 {
        let conversation = &mut conversations[random.random_range(0..20)];
        // A commit now and then, which begins an epoch.
        let sender = random.random_range(0..3);
        let is_commit = number % 50 == 49;
        let bytes = vec![7; random.random_range(1..900)];
        let frame = if is_commit { GroupFrame::Handshake(bytes) } else { GroupFrame::Content(bytes) };
        let envelope = conversation.send::<GroupV1>(sender, &frame, random);
        assert!(hints.insert(hint(&envelope)), "a hint repeats at {number}");
        // Neither conversation nor type nor epoch is in it, in any place.
        let hex = hex::encode(&envelope);
        assert!(!hex.contains(&hex::encode(conversation.id.as_bytes())));
        for member in (0..3).filter(|member| *member != sender) {
            assert_eq!(receive::<GroupV1>(&mut conversation.members[member], &envelope), Some(frame.clone()));
        }
        if is_commit {
            conversation.advance(random);
            (0..3).for_each(|member| conversation.enter(member));
        }
    }
    assert_eq!(hints.len(), 10_000);
}

#[test]
fn a_commit_and_a_message_of_one_size_class_differ_in_nothing_but_random_bytes() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let message = group.send::<GroupV1>(0, &GroupFrame::Content(vec![1; 300]), random);
    let commit = group.send::<GroupV1>(0, &GroupFrame::Handshake(vec![1; 900]), random);
    assert_eq!(message.len(), commit.len());
    // Hint, key salt and ciphertext are where the two differ; the bytes around them are equal.
    let around = |envelope: &[u8]| [&envelope[..2], &envelope[34..42], &envelope[74..77]].concat();
    assert_eq!(around(&message), around(&commit));
}

#[test]
fn what_comes_twice_is_found_once() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let envelope = group.send::<GroupV1>(0, &content("once"), random);
    let Outcome::Decoded(opened) = open(&group.members[1], &envelope) else { panic!("it is for them") };
    assert!(open(&group.members[1], &envelope).decoded().is_some(), "opening alone changes nothing");
    assert!(group.members[1].received(&opened.place));
    assert!(!group.members[1].received(&opened.place), "it was noted");
    assert!(matches!(open(&group.members[1], &envelope), Outcome::NotForUs));
}

#[test]
fn with_losses_and_in_any_order_within_the_window_all_that_comes_is_read() {
    let random = &mut seeded();
    for _ in 0..10 {
        let mut group = Conversation::new::<GroupV1>(2, random);
        let mut sent: Vec<_> =
            (0..300).map(|n| (n, group.send::<GroupV1>(0, &content(&n.to_string()), random))).collect();
        sent.retain(|_| random.random_bool(0.7));
        // Shuffled within eight.
        sent.chunks_mut(8).for_each(|chunk| chunk.shuffle(random));
        for (n, envelope) in &sent {
            let frame = receive::<GroupV1>(&mut group.members[1], envelope);
            assert_eq!(frame, Some(content(&n.to_string())));
        }
    }
}

#[test]
fn who_has_lost_more_than_the_window_reads_again_from_the_next_epoch_on() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(3, random);
    for _ in 0..APPLICATION_WINDOW {
        group.send::<GroupV1>(0, &content("lost"), random);
    }
    let beyond = group.send::<GroupV1>(0, &content("not recognised"), random);
    assert!(matches!(open(&group.members[1], &beyond), Outcome::NotForUs));
    // Other senders and handshakes are as before.
    let other = group.send::<GroupV1>(2, &content("of another"), random);
    assert!(receive::<GroupV1>(&mut group.members[1], &other).is_some());
    let commit = group.send::<GroupV1>(0, &GroupFrame::Handshake(vec![1]), random);
    assert!(receive::<GroupV1>(&mut group.members[1], &commit).is_some());

    group.advance(random);
    (0..3).for_each(|member| group.enter(member));
    let healed = group.send::<GroupV1>(0, &content("again"), random);
    assert_eq!(receive::<GroupV1>(&mut group.members[1], &healed), Some(content("again")));
}

#[test]
fn messages_of_the_last_epochs_are_read_and_those_of_older_ones_are_not() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let mut of_epochs = Vec::new();
    for _ in 0..5 {
        of_epochs.push(group.send::<GroupV1>(0, &content("of its epoch"), random));
        group.advance(random);
        (0..2).for_each(|member| group.enter(member));
    }
    let found = |envelope: &Vec<u8>| open(&group.members[1], envelope).decoded().is_some();
    // The current epoch is 5.
    assert_eq!(of_epochs.iter().map(found).collect::<Vec<_>>(), [false, false, true, true, true]);
    let per_sender = usize::try_from(APPLICATION_WINDOW + HANDSHAKE_WINDOW).unwrap();
    assert_eq!(
        group.members[1].len(),
        (HintTable::PAST_EPOCHS + 1) * per_sender,
        "nothing of old epochs is left"
    );
    let id = group.id;
    group.members[1].forget(&id);
    assert!(group.members[1].is_empty());
    assert_eq!(group.members[1].record(&id), None);
}

#[test]
fn after_a_restart_everything_goes_on_where_it_was_stored() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let mut hints = HashSet::new();
    let mut late = None;
    for round in 0..40 {
        let skipped = group.send::<GroupV1>(0, &content("late"), random);
        let sealed = group.members[0].seal::<GroupV1>(&group.id, &content("x"), random).unwrap();
        let envelope = sealed.envelope().to_vec();
        assert!(hints.insert(hint(&envelope)) && hints.insert(hint(&skipped)));
        if let Some(late) = late.replace(skipped) {
            assert!(receive::<GroupV1>(&mut group.members[1], &late).is_some(), "in round {round}");
        }
        assert!(receive::<GroupV1>(&mut group.members[1], &envelope).is_some());
        // Both processes die, and come back with what was stored.
        group.members[0] = HintTable::new(0).load([sealed.record()]).unwrap();
        let record = group.members[1].record(&group.id).unwrap();
        let before = group.members[1].len();
        group.members[1] = HintTable::new(0).load([&*record]).unwrap();
        assert_eq!(group.members[1].len(), before);
        assert_eq!(group.members[1].record(&group.id).unwrap(), record);
    }
}

#[test]
fn what_a_loaded_table_leaves_for_later_is_found_and_forgotten_like_the_rest() {
    let random = &mut seeded();
    let of_an_epoch = 2 * usize::try_from(APPLICATION_WINDOW + HANDSHAKE_WINDOW).unwrap();
    // With the hints of past epochs computed before anything else happens, and after it.
    for first in [true, false] {
        let mut group = Conversation::new::<GroupV1>(3, random);
        let mut of_epochs = Vec::new();
        for _ in 0..3 {
            of_epochs.push([(); 2].map(|()| group.send::<GroupV1>(0, &content("of its epoch"), random)));
            group.advance(random);
            (0..3).for_each(|member| group.enter(member));
        }
        let before = group.members[1].record(&group.id).unwrap();
        group.members[1] = HintTable::new(0).load([&*before]).unwrap();
        assert_eq!(group.members[1].len(), 4 * of_an_epoch);
        let unknown = Conversation::new::<GroupV1>(2, random).send::<GroupV1>(0, &content("other"), random);
        if first {
            assert!(matches!(open(&group.members[1], &unknown), Outcome::NotForUs));
            assert_eq!(group.members[1].len(), 4 * of_an_epoch);
        }
        let current = group.send::<GroupV1>(0, &content("now"), random);
        assert!(receive::<GroupV1>(&mut group.members[1], &current).is_some());
        // A further epoch: the oldest is forgotten, and the one that was current is found as before.
        let late = group.send::<GroupV1>(2, &content("late"), random);
        group.advance(random);
        (0..3).for_each(|member| group.enter(member));
        assert_eq!(group.members[1].len(), 4 * of_an_epoch);
        assert!(receive::<GroupV1>(&mut group.members[1], &late).is_some());
        let table = &mut group.members[1];
        assert!(matches!(open(table, &of_epochs[0][0]), Outcome::NotForUs));
        for [one, two] in &of_epochs[1..] {
            for envelope in [two, one] {
                assert!(receive::<GroupV1>(table, envelope).is_some());
                assert!(matches!(open(table, envelope), Outcome::NotForUs), "it is found once");
            }
        }
        assert_eq!(table.len(), 4 * of_an_epoch);
        let record = table.record(&group.id).unwrap();
        let again = HintTable::new(0).load([&*record]).unwrap();
        assert!(of_epochs.iter().flatten().all(|one| matches!(open(&again, one), Outcome::NotForUs)));
        group.members[1].forget(&group.id);
        assert!(group.members[1].is_empty());
        // Forgotten before it was looked for, it is not found later.
        let mut loaded = HintTable::new(0).load([&*before]).unwrap();
        loaded.forget(&group.id);
        assert!(matches!(open(&loaded, &of_epochs[2][0]), Outcome::NotForUs));
        assert!(loaded.is_empty());
    }
}

#[test]
fn a_hint_that_could_not_be_stored_is_free_again_and_one_that_was_is_not() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let failed = group.members[0].seal::<GroupV1>(&group.id, &content("1"), random).unwrap();
    let first = hint(failed.envelope());
    group.members[0].take_back(failed);
    assert_eq!(hint(&group.send::<GroupV1>(0, &content("2"), random)), first);

    let passed_over = group.members[0].seal::<GroupV1>(&group.id, &content("3"), random).unwrap();
    let used = group.send::<GroupV1>(0, &content("4"), random);
    let second = hint(passed_over.envelope());
    group.members[0].take_back(passed_over);
    let next = group.send::<GroupV1>(0, &content("5"), random);
    assert!(![second, hint(&used)].contains(&hint(&next)));
}

#[test]
fn a_restored_store_uses_no_hint_again_and_is_heard_by_its_update() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let backup = group.members[0].record(&group.id).unwrap();
    let mut hints: HashSet<_> =
        (0..5).map(|_| hint(&group.send::<GroupV1>(0, &content("since the backup"), random))).collect();

    // The store is in another incarnation than its records.
    group.members[0] = HintTable::new(1).load([&*backup]).unwrap();
    assert!(group.members[0].must_update(&group.id));
    let refused = group.members[0].seal::<GroupV1>(&group.id, &content("x"), random);
    assert_eq!(refused.err(), Some(HintError::Restored(group.id)));
    // Also after it is stored and loaded once more.
    let record = group.members[0].record(&group.id).unwrap();
    group.members[0] = HintTable::new(1).load([&*record]).unwrap();
    assert!(group.members[0].must_update(&group.id));

    // The update goes with a salted hint, of which two restored copies do not have the same.
    let update = GroupFrame::Handshake(b"a commit with new keys".to_vec());
    let envelope = group.members[0].seal_salted::<GroupV1>(&group.id, &update, random).unwrap();
    let copy = group.members[0].seal_salted::<GroupV1>(&group.id, &update, random).unwrap();
    assert_ne!(envelope.hint, copy.hint);
    let Outcome::Decoded(opened) = open(&group.members[1], &envelope.encode()) else {
        panic!("it is theirs")
    };
    assert_eq!((opened.place.epoch, opened.place.sender), (group.epoch, None));
    assert_eq!(opened.frame::<GroupV1>(), Outcome::Decoded(update));

    group.advance(random);
    (0..2).for_each(|member| group.enter(member));
    assert!(!group.members[0].must_update(&group.id));
    let after = group.send::<GroupV1>(0, &content("x"), random);
    assert!(hints.insert(hint(&after)));
    assert!(receive::<GroupV1>(&mut group.members[1], &after).is_some());
}

#[test]
fn a_handshake_beyond_the_window_is_recognised_by_a_salted_hint_alone() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let commit = GroupFrame::Handshake(b"a commit".to_vec());
    for _ in 0..HANDSHAKE_WINDOW {
        assert!(!group.members[0].is_beyond_window(&group.id, Kind::Handshake));
        // The relay refuses it.
        group.send::<GroupV1>(0, &commit, random);
    }
    // Also after it is stored and loaded.
    let record = group.members[0].record(&group.id).unwrap();
    group.members[0] = HintTable::new(0).load([&*record]).unwrap();
    assert!(group.members[0].is_beyond_window(&group.id, Kind::Handshake));
    assert!(!group.members[0].is_beyond_window(&group.id, Kind::Application));
    let salted = group.members[0].seal_salted::<GroupV1>(&group.id, &commit, random).unwrap().encode();
    let Outcome::Decoded(opened) = open(&group.members[1], &salted) else { panic!("it is theirs") };
    assert_eq!(opened.frame::<GroupV1>(), Outcome::Decoded(commit.clone()));
    let ratcheted = group.send::<GroupV1>(0, &commit, random);
    assert!(matches!(open(&group.members[1], &ratcheted), Outcome::NotForUs));

    group.advance(random);
    (0..2).for_each(|member| group.enter(member));
    assert!(!group.members[0].is_beyond_window(&group.id, Kind::Handshake));
}

#[test]
fn an_epoch_that_another_begins_is_as_restored_as_the_one_before() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let backup = group.members[0].record(&group.id).unwrap();
    let commit = group.send::<GroupV1>(1, &GroupFrame::Handshake(b"by another".to_vec()), random);
    group.advance(random);
    group.enter(1);
    let place = |table: &HintTable| match open(table, &commit) {
        Outcome::Decoded(opened) => opened.place,
        other => panic!("it is theirs: {other:?}"),
    };
    // The copy that is lost enters it, and uses its hints.
    let origin = Origin::Follows(place(&group.members[0]));
    group.enter_by(0, origin);
    assert!(!group.members[0].must_update(&group.id), "it goes on");
    let used = hint(&group.send::<GroupV1>(0, &content("x"), random));
    // The restored one enters it too, and may not.
    for origin in [None, Some(Origin::Restored)] {
        group.members[0] = HintTable::new(1).load([&*backup]).unwrap();
        let origin = origin.unwrap_or(Origin::Follows(place(&group.members[0])));
        group.enter_by(0, origin);
        for _ in 0..2 {
            assert!(group.members[0].must_update(&group.id));
            let refused = group.members[0].seal::<GroupV1>(&group.id, &content("x"), random);
            assert_eq!(refused.err(), Some(HintError::Restored(group.id)));
            // Nor once it is loaded again, or enters it again.
            let record = group.members[0].record(&group.id).unwrap();
            group.members[0] = HintTable::new(1).load([&*record]).unwrap();
            group.enter(0);
        }
    }
    // Its own epoch is its own, and so is what follows from there.
    group.advance(random);
    (0..2).for_each(|member| group.enter(member));
    assert_ne!(hint(&group.send::<GroupV1>(0, &content("x"), random)), used);
    let next = group.send::<GroupV1>(1, &GroupFrame::Handshake(b"by another".to_vec()), random);
    let Outcome::Decoded(opened) = open(&group.members[0], &next) else { panic!("it is theirs") };
    group.advance(random);
    group.enter_by(0, Origin::Follows(opened.place));
    assert!(!group.members[0].must_update(&group.id));
    // Of what is not known any more nothing is assumed.
    let id = group.id;
    group.members[0].forget(&id);
    group.enter_by(0, Origin::Follows(opened.place));
    assert!(group.members[0].must_update(&group.id));
}

#[test]
fn branches_of_an_epoch_stand_beside_each_other_and_neither_uses_a_hint_twice() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let start = |secret: [u8; 32], members: &mut Vec<HintTable>| {
        let epoch = EpochId { epoch: 1, ..group.epoch };
        let secrets = EpochSecrets::derive(&secret, &epoch);
        for (own_sender, member) in (0..).zip(members) {
            let senders = &[1 - own_sender];
            let origin = Origin::Own;
            let start = EpochStart { epoch, secrets: &secrets, own_sender, senders, origin };
            member.begin_epoch(&start).unwrap();
        }
    };
    let mut hints = HashSet::new();
    // Back and forth between two branches, as when commits compete.
    for branch in [1, 2, 1, 2, 1] {
        start([branch; 32], &mut group.members);
        for _ in 0..3 {
            let sealed = group.members[0].seal::<GroupV1>(&group.id, &content("x"), random).unwrap();
            assert!(hints.insert(hint(sealed.envelope())));
            assert!(receive::<GroupV1>(&mut group.members[1], sealed.envelope()).is_some());
        }
    }
    let knows = |number: u64, secret: u8| {
        let epoch = EpochId { epoch: number, ..group.epoch };
        group.members[0].knows_epoch(&epoch, &EpochSecrets::derive(&[secret; 32], &epoch))
    };
    assert_eq!(
        [knows(1, 1), knows(1, 2), knows(1, 3), knows(2, 1)],
        [Some(true), Some(true), Some(false), None]
    );
}

#[test]
fn who_renews_a_private_conversation_is_answered_in_the_new_epoch_before_sending_in_it() {
    let random = &mut seeded();
    let mut private = Conversation::new::<PrivateV1>(2, random);
    let content = |text: &str| PrivateFrame::Content(text.as_bytes().to_vec());
    let renewal = private.send::<PrivateV1>(0, &PrivateFrame::Renewal(b"the next secret".to_vec()), random);
    let old = private.epoch;
    private.advance(random);
    let (epoch, secrets, origin) = (private.epoch, &private.secrets, Origin::Own);
    let start = EpochStart { epoch, secrets, own_sender: 0, senders: &[1], origin };
    private.members[0].expect_epoch(&start).unwrap();
    // What is sent before the renewal arrives is of the old epoch.
    let meanwhile = private.send::<PrivateV1>(0, &content("meanwhile"), random);
    let Outcome::Decoded(opened) = open(&private.members[1], &meanwhile) else { panic!("it is theirs") };
    assert_eq!(opened.place.epoch, old);
    // It survives a restart.
    let record = private.members[0].record(&private.id).unwrap();
    private.members[0] = HintTable::new(0).load([&*record]).unwrap();

    assert!(receive::<PrivateV1>(&mut private.members[1], &renewal).is_some());
    private.enter(1);
    let answer = private.send::<PrivateV1>(1, &content("answer"), random);
    let Outcome::Decoded(opened) = open(&private.members[0], &answer) else { panic!("it is theirs") };
    assert_eq!(opened.place.epoch, private.epoch);
    private.enter(0);
    let next = private.send::<PrivateV1>(0, &content("next"), random);
    let Outcome::Decoded(opened) = open(&private.members[1], &next) else { panic!("it is theirs") };
    assert_eq!(opened.place.epoch, private.epoch);
}

#[test]
fn an_envelope_is_refused_in_any_other_place_than_its_own() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let mut other = Conversation::new::<GroupV1>(2, random);
    let envelope = Envelope::decode(&group.send::<GroupV1>(0, &content("here"), random)).decoded().unwrap();
    let elsewhere = Envelope::decode(&other.send::<GroupV1>(0, &content("there"), random)).decoded().unwrap();
    let refused = |envelope: Envelope, by: &HintTable| match by.open(&envelope) {
        Outcome::Invalid(error) => error,
        outcome => panic!("{outcome:?}"),
    };
    // Under the hint of another conversation, and under a later hint of the same sender.
    let moved = Envelope { hint: elsewhere.hint, ..envelope.clone() };
    assert_eq!(refused(moved, &other.members[1]), WireError::Undecryptable);
    let next = Envelope::decode(&group.send::<GroupV1>(0, &content("next"), random)).decoded().unwrap();
    let replayed = Envelope { hint: next.hint, ..envelope.clone() };
    assert_eq!(refused(replayed, &group.members[1]), WireError::Undecryptable);
    // Damaged, at any place of the ciphertext.
    let bytes = envelope.encode();
    for at in (44..bytes.len()).step_by(37) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let outcome = open(&group.members[1], &damaged);
        assert!(matches!(outcome, Outcome::Invalid(_) | Outcome::Unsupported(_)), "at {at}: {outcome:?}");
    }
    // The genuine one is read after all that.
    assert!(receive::<GroupV1>(&mut group.members[1], &bytes).is_some());
}

#[test]
fn a_frame_of_another_type_or_kind_than_its_hint_is_refused() {
    let random = &mut seeded();
    let mut group = Conversation::new::<GroupV1>(2, random);
    let direct = DirectFrame::Content(b"x".to_vec());
    let refused = group.members[0].seal::<DirectV1>(&group.id, &direct, random);
    assert_eq!(refused.err(), Some(HintError::WrongType(group.id)));

    let envelope = group.send::<GroupV1>(0, &content("x"), random);
    let Outcome::Decoded(mut opened) = open(&group.members[1], &envelope) else { panic!("it is theirs") };
    let (got, expected) = (GroupV1::DESCRIPTOR.id.number(), DirectV1::DESCRIPTOR.id.number());
    assert_eq!(opened.frame::<DirectV1>(), Outcome::Invalid(WireError::WrongType { got, expected }));
    // A member that puts a commit under a message's hint.
    opened.place.sender.as_mut().unwrap().kind = Kind::Handshake;
    assert_eq!(opened.frame::<GroupV1>(), Outcome::Invalid(WireError::WrongKind { hint: "handshakes" }));
}

#[test]
fn an_epoch_is_begun_with_each_sender_once() {
    let random = &mut seeded();
    let group = Conversation::new::<GroupV1>(1, random);
    for senders in [&[1, 1][..], &[0, 1]] {
        let (epoch, secrets, origin) = (group.epoch, &group.secrets, Origin::Own);
        let start = EpochStart { epoch, secrets, own_sender: 0, senders, origin };
        assert!(matches!(HintTable::new(0).begin_epoch(&start), Err(HintError::Senders { got: 2, .. })));
    }
}

#[test]
fn damaged_records_are_an_error() {
    let random = &mut seeded();
    let group = Conversation::new::<GroupV1>(3, random);
    let record = group.members[0].record(&group.id).unwrap();
    let load = |record: &[u8]| HintTable::new(0).load([record]).map(|table| table.len());
    assert!(load(&record).is_ok());
    assert_eq!(load(&[]), Err(HintError::Damaged));
    assert_eq!(load(&record[..record.len() - 1]), Err(HintError::Damaged));
    for at in 0..record.len() {
        let mut damaged = record.to_vec();
        damaged[at] ^= 0x40;
        let _ = load(&damaged);
    }
}

#[test]
fn nothing_secret_is_printed() {
    let random = &mut seeded();
    let group = Conversation::new::<GroupV1>(2, random);
    assert_eq!(format!("{:?}", group.secrets), "EpochSecrets(…)");
    assert_eq!(format!("{:?}", group.members[0]), "HintTable(1 conversations, 36 hints)");
}

#[test]
fn a_renewal_is_told_again_in_the_epoch_it_was_sent_in_and_by_a_salt_beyond_the_window() {
    let random = &mut seeded();
    let mut private = Conversation::new::<PrivateV1>(2, random);
    let (first, id) = (private.epoch, private.id);
    let renewal = PrivateFrame::Renewal(b"the next secret".to_vec());
    for _ in 0..4 {
        assert!(!private.members[0].is_beyond_window(&id, Kind::Handshake));
        let sent = private.send::<PrivateV1>(0, &renewal, random);
        assert!(matches!(open(&private.members[1], &sent), Outcome::Decoded(_)));
    }
    assert!(private.members[0].is_beyond_window(&id, Kind::Handshake));
    assert!(!private.members[0].is_beyond_window(&id, Kind::Application));
    let missed = private.send::<PrivateV1>(0, &renewal, random);
    assert!(matches!(open(&private.members[1], &missed), Outcome::NotForUs));

    let secrets = private.secrets.clone();
    private.advance(random);
    private.enter(0);
    assert!(private.members[0].has_epoch(&first) && !private.members[1].has_epoch(&private.epoch));
    let again = private.members[0].seal_salted_at::<PrivateV1>(&first, &renewal, random).unwrap();
    let Outcome::Decoded(opened) = open(&private.members[1], &again.encode()) else {
        panic!("it is of the first epoch")
    };
    assert_eq!((opened.place.epoch, opened.place.sender), (first, None));
    assert!(private.members[1].is_at(&opened.place, &secrets));
    assert!(!private.members[1].is_at(&opened.place, &private.secrets));
    let unknown = EpochId { epoch: 7, ..first };
    assert_eq!(
        private.members[0].seal_salted_at::<PrivateV1>(&unknown, &renewal, random).err(),
        Some(HintError::NoConversation(id))
    );
}
