//! Two devices and their sessions: what can be read, once, and where; and which session is used.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use support::{DAY, Device, HERE, Key, NOW};
use tertulia_domain::{ConversationId, DeviceId};
use tertulia_ratchet::{BUNDLE_LIFETIME, ClaimedKeys, Context, Purpose, RatchetError, Signer as _};
use vodozemac::Ed25519SecretKey;

#[test]
fn two_devices_talk_and_the_first_messages_bring_the_senders_keys() {
    let (mut alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    for text in ["one", "two"] {
        alice.tell(&mut bob, text);
    }
    for text in ["three", "four"] {
        bob.tell(&mut alice, text);
        alice.tell(&mut bob, text);
    }
    assert_eq!(alice.sessions(&bob).len(), 1);
    assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
    assert_eq!(bob.peer(&alice).unwrap().signature_key, alice.key.public_key());
}

#[test]
fn messages_are_read_in_any_order_and_some_may_never_come() {
    let (alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    let messages: Vec<_> = (0..40).map(|n| (n, alice.send(&mut bob, &n.to_string()))).collect();
    for (n, message) in messages.iter().rev().filter(|(n, _)| n % 3 != 0) {
        assert_eq!(bob.receive(&alice, message).unwrap(), n.to_string());
    }
}

#[test]
fn a_message_is_read_once() {
    let (mut alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    let first = alice.send(&mut bob, "first");
    bob.receive(&alice, &first).unwrap();
    assert!(matches!(bob.receive(&alice, &first), Err(RatchetError::AlreadyRead)));
    bob.tell(&mut alice, "answer");
    let second = alice.send(&mut bob, "second");
    bob.receive(&alice, &second).unwrap();
    let repeated = bob.receive(&alice, &second).unwrap_err();
    assert!(matches!(repeated, RatchetError::AlreadyRead) && !repeated.calls_for_renewal(), "{repeated}");
}

#[test]
fn a_gap_that_is_too_wide_is_told_in_numbers() {
    let (mut alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    alice.tell(&mut bob, "hello");
    bob.tell(&mut alice, "hello");
    let last = alice
        .transaction(|r| {
            let mut last = Vec::new();
            for _ in 0..=2001 {
                last = r.encrypt(HERE, &bob.address, b"x")?;
            }
            Ok(last)
        })
        .unwrap();
    let refused = bob.receive(&alice, &last).unwrap_err();
    assert!(matches!(refused, RatchetError::GapTooWide { gap: 2001, max: 2000 }), "{refused}");
    assert!(refused.calls_for_renewal());
}

#[test]
fn a_message_that_was_moved_is_refused_and_can_still_be_read_in_its_place() {
    let (alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    let elsewhere = Context { conversation: ConversationId::random(), ..HERE };
    let renaming = Context { purpose: Purpose::Name, ..HERE };
    // Once as the first message of a session, once as a later one.
    for text in ["first", "later"] {
        let message = alice.send(&mut bob, text);
        for (context, what) in [(elsewhere, "conversation"), (renaming, "purpose")] {
            let before = (bob.sessions(&alice), bob.store().read(|r| r.pairwise_account()).unwrap());
            let refused = bob.transaction(|r| r.decrypt(context, &alice.address, &message)).unwrap_err();
            assert!(matches!(refused, RatchetError::WrongContext { what: w } if w == what), "{refused}");
            let after = (bob.sessions(&alice), bob.store().read(|r| r.pairwise_account()).unwrap());
            assert!(before == after, "after an error nothing has changed");
        }
        assert_eq!(bob.receive(&alice, &message).unwrap(), text);
    }
}

#[test]
fn nobody_passes_on_as_their_own_what_another_device_has_written() {
    let (alice, mut bob, mallory) = (Device::new(1, 5), Device::new(2, 5), Device::new(3, 5));
    let message = alice.send(&mut bob, "from alice");
    // The hub says that it is from Mallory's device, of which Bob knows nothing.
    let refused = bob.receive(&mallory, &message).unwrap_err();
    assert!(matches!(refused, RatchetError::UntrustedKey), "{refused}");
    // Mallory signs Alice's identity key as her own.
    let begin = 2;
    let identity = vodozemac::olm::PreKeyMessage::from_bytes(&message[begin + 96..]).unwrap().identity_key();
    let statement = tertulia_domain::pairwise::key_statement(
        &mallory.address,
        identity.as_bytes(),
        tertulia_domain::pairwise::SignedKey::Identity,
    );
    let signature = mallory.key.sign(tertulia_domain::pairwise::KEY_LABEL, &statement).unwrap();
    let mut forged = message.clone();
    forged[begin..begin + 32].copy_from_slice(&mallory.key.public_key());
    forged[begin + 32..begin + 96].copy_from_slice(&signature);
    let refused = bob.receive(&mallory, &forged).unwrap_err();
    assert!(matches!(refused, RatchetError::WrongContext { what: "sender" }), "{refused}");
    assert_eq!(bob.receive(&alice, &message).unwrap(), "from alice");
}

#[test]
fn when_both_begin_at_once_both_go_on_with_the_same_session() {
    for _ in 0..8 {
        let (mut alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
        let from_alice: Vec<_> = (0..3).map(|n| alice.send(&mut bob, &format!("a{n}"))).collect();
        let from_bob: Vec<_> = (0..3).map(|n| bob.send(&mut alice, &format!("b{n}"))).collect();
        for message in &from_alice {
            bob.receive(&alice, message).unwrap();
        }
        for message in &from_bob {
            alice.receive(&bob, message).unwrap();
        }
        assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
        alice.tell(&mut bob, "and on");
        bob.tell(&mut alice, "and on");
        assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
        assert_eq!((alice.sessions(&bob).len(), bob.sessions(&alice).len()), (2, 2));
    }
}

#[test]
fn few_sessions_are_kept_with_a_device_and_the_one_in_use_is_among_them() {
    let (mut alice, mut bob) = (Device::new(1, 20), Device::new(2, 20));
    for n in 0..10 {
        alice.transaction(|r| r.renew(&bob.address)).unwrap();
        alice.tell(&mut bob, &n.to_string());
        assert!(alice.sessions(&bob).len() <= 4 && bob.sessions(&alice).len() <= 4);
        bob.tell(&mut alice, "answer");
    }
    assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
}

#[test]
fn a_device_that_lost_its_sessions_is_talked_to_anew() {
    let (mut alice, mut bob) = (Device::new(1, 20), Device::new(2, 20));
    alice.tell(&mut bob, "hello");
    bob.tell(&mut alice, "hello");
    bob.transaction(|r| {
        r.forget(&alice.address);
        Ok(())
    })
    .unwrap();
    let lost = alice.send(&mut bob, "lost");
    assert!(matches!(bob.receive(&alice, &lost), Err(RatchetError::NoSession)));
    bob.tell(&mut alice, "say it again");
    alice.tell(&mut bob, "found");
    assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
}

#[test]
fn a_message_that_no_session_opens_calls_for_a_new_one() {
    let (mut alice, mut bob) = (Device::new(1, 20), Device::new(2, 20));
    alice.tell(&mut bob, "hello");
    bob.tell(&mut alice, "hello");
    let mut damaged = alice.send(&mut bob, "damaged");
    *damaged.last_mut().unwrap() ^= 1;
    let refused = bob.receive(&alice, &damaged).unwrap_err();
    assert!(matches!(refused, RatchetError::Undecryptable) && refused.calls_for_renewal(), "{refused}");
    let before = bob.preferred(&alice);
    bob.transaction(|r| r.renew(&alice.address)).unwrap();
    bob.tell(&mut alice, "anew");
    assert_ne!(bob.preferred(&alice), before);
    assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
}

#[test]
fn keys_that_the_device_did_not_sign_as_what_they_are_begin_nothing() {
    let (alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    let good = bob.claim();
    let stranger = Key(Ed25519SecretKey::new());
    let wrong: [ClaimedKeys; 6] = [
        ClaimedKeys { key: [9; 32], ..good.clone() },
        ClaimedKeys { identity_key: [9; 32], ..good.clone() },
        ClaimedKeys { is_fallback: true, ..good.clone() },
        ClaimedKeys { signature: [0; 64], ..good.clone() },
        ClaimedKeys { signature_key: stranger.public_key(), ..good.clone() },
        ClaimedKeys {
            address: tertulia_domain::DeviceAddress { device: DeviceId::new(9), ..good.address.clone() },
            ..good.clone()
        },
    ];
    for keys in wrong {
        let refused = alice.transaction(|r| r.begin_session(&keys)).unwrap_err();
        assert!(matches!(refused, RatchetError::UntrustedKey), "{refused}");
        assert_eq!(alice.peer(&bob), None);
    }
    alice.transaction(|r| r.begin_session(&good)).unwrap();
}

#[test]
fn a_device_that_is_known_cannot_be_replaced() {
    let (mut alice, mut bob, mut impostor) = (Device::new(1, 9), Device::new(2, 9), Device::new(2, 9));
    alice.tell(&mut bob, "hello");
    let refused = alice.begin(&mut impostor).unwrap_err();
    assert!(matches!(refused, RatchetError::KeysChanged), "{refused}");
    let message = impostor.send(&mut alice, "it is me");
    assert!(matches!(alice.receive(&bob, &message), Err(RatchetError::KeysChanged)));
    bob.tell(&mut alice, "it is not");
}

#[test]
fn a_one_time_key_begins_one_session_and_the_fallback_key_many() {
    let mut bob = Device::new(2, 1);
    let (alice, carol, dave) = (Device::new(1, 0), Device::new(3, 0), Device::new(4, 0));
    let once = bob.claim();
    alice.transaction(|r| r.begin_session(&once)).unwrap();
    carol.transaction(|r| r.begin_session(&once)).unwrap();
    alice.tell(&mut bob, "first");
    let second = carol.send(&mut bob, "second");
    let refused = bob.receive(&carol, &second).unwrap_err();
    assert!(matches!(refused, RatchetError::UnknownOneTimeKey) && refused.calls_for_renewal(), "{refused}");
    // There are no more, so the next ones are given the fallback key.
    carol.transaction(|r| r.renew(&bob.address)).unwrap();
    carol.tell(&mut bob, "with the fallback key");
    dave.tell(&mut bob, "with the fallback key, too");
}

#[test]
fn the_fallback_key_is_renewed_and_the_one_before_it_still_opens_what_is_on_its_way() {
    let mut bob = Device::new(2, 0);
    let (alice, carol) = (Device::new(1, 0), Device::new(3, 0));
    let on_its_way = alice.send(&mut bob, "on its way");
    let for_too_long = carol.send(&mut bob, "for too long");
    assert_eq!(bob.publish(0, NOW + 6 * DAY).fallback, None, "it is not old yet");
    assert!(!bob.transaction(|r| r.are_keys_due(NOW + 6 * DAY)).unwrap());
    assert!(bob.transaction(|r| r.are_keys_due(NOW + 7 * DAY)).unwrap());
    assert!(bob.publish(0, NOW + 7 * DAY).fallback.is_some());
    assert_eq!(bob.receive(&alice, &on_its_way).unwrap(), "on its way");
    assert!(bob.publish(0, NOW + 14 * DAY).fallback.is_some());
    assert!(matches!(bob.receive(&carol, &for_too_long), Err(RatchetError::UnknownOneTimeKey)));
}

#[test]
fn a_fallback_key_can_be_used_for_as_long_as_any_bundle_that_it_stands_in_is_valid() {
    let mut bob = Device::new(2, 0);
    let days = BUNDLE_LIFETIME / DAY;
    assert_eq!(days * DAY, BUNDLE_LIFETIME);
    let mut shown = Vec::new();
    // A bundle a day. Of each somebody makes use on the day when it is not valid any more, after that day's own.
    for day in 0..=3 * days {
        shown.push(bob.fallback_in_bundle(NOW + day * DAY));
        let Some(number) = usize::try_from(day - days).ok() else { continue };
        let stranger = Device::new(100 + u64::try_from(day).unwrap(), 0);
        stranger.transaction(|r| r.begin_verified_session(&shown[number])).unwrap();
        stranger.tell(&mut bob, "by a bundle of two weeks ago");
    }
    // And not for ever.
    let late = Device::new(99, 0);
    late.transaction(|r| r.begin_verified_session(&shown[0])).unwrap();
    let message = late.send(&mut bob, "by the first of them");
    assert!(matches!(bob.receive(&late, &message), Err(RatchetError::UnknownOneTimeKey)));
}

#[test]
fn an_upload_that_was_interrupted_is_made_again_with_the_same_keys() {
    let alice = Device::new(1, 0);
    let prepare = |count| alice.transaction(|r| r.prepare_keys(count, 0, &alice.key, NOW + DAY)).unwrap();
    let first = prepare(3);
    assert_eq!(first.one_time_keys.iter().map(|key| key.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(alice.transaction(|r| r.are_keys_due(NOW + DAY)).unwrap());
    let second = prepare(4);
    assert_eq!(second.one_time_keys[..3], first.one_time_keys);
    // The first one has arrived meanwhile; the fourth key still waits.
    alice.transaction(|r| r.keys_published(&first)).unwrap();
    assert_eq!(prepare(4), second);
    alice.transaction(|r| r.keys_published(&second)).unwrap();
    assert!(!alice.transaction(|r| r.are_keys_due(NOW + DAY)).unwrap());
    assert_eq!(prepare(1).one_time_keys[0].id, 4);
}

#[test]
fn without_keys_of_its_own_a_device_can_neither_begin_nor_read() {
    let mut bob = Device::new(2, 5);
    let alice = Device::new(1, 5);
    let message = alice.send(&mut bob, "hello");
    let directory = tempfile::tempdir().unwrap();
    let store =
        tertulia_store::Store::create(&directory.path().join("home"), &tertulia_store::KeySource::File)
            .unwrap();
    let mut empty = tertulia_ratchet::Ratchet::begin(&store, bob.address.clone()).unwrap();
    assert!(matches!(empty.decrypt(HERE, &alice.address, &message), Err(RatchetError::NoKeys)));
    assert!(matches!(empty.begin_session(&bob.claim()), Err(RatchetError::NoKeys)));
    assert!(empty.are_keys_due(NOW).unwrap());
}
