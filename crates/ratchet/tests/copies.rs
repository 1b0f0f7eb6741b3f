//! A home that was copied or put back uses no key that its other self may have used.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::{fs, path::Path};
use support::{Device, HERE, NOW};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Puts the home back as it was when `backup` was made.
fn put_back(device: &mut Device, backup: &Path) {
    device.stop();
    let home = device.home();
    fs::remove_dir_all(&home).unwrap();
    copy(backup, &home);
    device.start();
    assert!(device.store().incarnation() > 0, "it is found out");
}

#[test]
fn a_home_that_was_put_back_begins_new_sessions_and_publishes_new_keys() {
    let (mut alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    alice.tell(&mut bob, "hello");
    bob.tell(&mut alice, "hello");
    let backup = tempfile::tempdir().unwrap();
    alice.stop();
    copy(&alice.home(), backup.path());
    alice.start();
    let old_keys: Vec<_> = alice.publish(3, NOW).one_time_keys.into_iter().map(|key| key.key).collect();
    alice.tell(&mut bob, "what the backup knows nothing of");
    let session = alice.preferred(&bob);

    put_back(&mut alice, backup.path());
    assert!(alice.transaction(|r| r.are_keys_due(NOW)).unwrap());
    let upload = alice.publish(3, NOW);
    assert!(upload.incarnation > 0);
    assert!(upload.fallback.is_some());
    assert!(upload.one_time_keys.iter().all(|key| !old_keys.contains(&key.key)));
    assert!(!alice.transaction(|r| r.is_ready(&bob.address)).unwrap());
    alice.tell(&mut bob, "anew");
    assert_ne!(alice.preferred(&bob), session);
    bob.tell(&mut alice, "so be it");
    assert_eq!(alice.preferred(&bob), bob.preferred(&alice));
}

#[test]
fn what_comes_on_an_old_session_is_read_but_not_answered_on_it() {
    let (mut alice, mut bob) = (Device::new(1, 5), Device::new(2, 5));
    alice.tell(&mut bob, "hello");
    bob.tell(&mut alice, "hello");
    let backup = tempfile::tempdir().unwrap();
    alice.stop();
    copy(&alice.home(), backup.path());
    alice.start();
    let on_its_way = bob.send(&mut alice, "on its way");
    put_back(&mut alice, backup.path());
    assert_eq!(alice.receive(&bob, &on_its_way).unwrap(), "on its way");
    let refused = alice.transaction(|r| r.encrypt(HERE, &bob.address, b"x")).unwrap_err();
    assert!(matches!(refused, tertulia_ratchet::RatchetError::NoSession), "{refused}");
}
