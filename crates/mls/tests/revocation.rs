//! Trust anchors, intermediates and revocation lists, and what changes with them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Device, Hub, assert_same_state, client_id, conversation,
    pki::{Authority, Certified, Certify, FROM, year},
};
use tertulia_mls::{
    CertificateError, CertificatePolicy, Credential, CrlError, DeviceStatus, E2eiConversationState,
    EngineError, ErrorKind, VerifiableGroupInfo,
};

const POINT: &str = "http://crl.example/devices";

fn reason(error: EngineError) -> CertificateError {
    match error {
        EngineError::InvalidCertificate(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn certify(authority: &Authority, name: &str, serial: u8) -> Certified {
    authority.certify(&Certify { serial, ..Certify::device(name) })
}

/// Alice (1), Bob (2) and Carol (3) in one conversation.
async fn three(root: &Authority) -> (Hub, Device, Device, Device) {
    let hub = Hub::new();
    let mut alice = Device::certified(&hub, root, &certify(root, "alice", 1)).await;
    let mut bob = Device::certified(&hub, root, &certify(root, "bob", 2)).await;
    let mut carol = Device::certified(&hub, root, &certify(root, "carol", 3)).await;
    alice.create(&conversation()).await;
    alice.add(&conversation(), &mut [&mut bob, &mut carol]).await;
    alice.sync(&conversation()).await;
    (hub, alice, bob, carol)
}

#[tokio::test]
async fn a_member_that_is_revoked_shows_and_can_be_removed() {
    let root = Authority::root("root");
    let (_hub, alice, mut bob, mut carol) = three(&root).await;
    let id = conversation();
    let registered = alice.register(POINT, &root.list(&[3], 2026)).await.unwrap();
    assert!(registered.dirty);
    let next = year(2027).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(registered.expiration, Some(next));

    let mut alice = alice.restarted();
    assert_eq!(alice.identity(&id, &client_id("carol")).status, Some(DeviceStatus::Revoked));
    assert_eq!(alice.identity(&id, &client_id("bob")).status, Some(DeviceStatus::Valid));
    let state =
        |device: &Device| device.session.conversation(&id).unwrap().e2ei_conversation_state().unwrap();
    assert_eq!(state(&alice), E2eiConversationState::NotVerified);
    assert_eq!(state(&bob), E2eiConversationState::Verified, "Bob does not know yet");

    // She is a member until she is removed: what she does is taken, and told.
    carol.update(&id).await.unwrap();
    carol.send(&id, "still here").await;
    let results = alice.sync(&id).await;
    assert!(
        results
            .iter()
            .all(|result| { result.identity.as_ref().unwrap().status == Some(DeviceStatus::Revoked) })
    );
    bob.sync(&id).await;
    alice.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_eq!(state(&alice), E2eiConversationState::Verified);
    assert_same_state(&id, &[&alice, &bob]);

    // And does not come back.
    let package = carol.key_package().await;
    let refused = alice.change(&id, vec![package], &[]).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Revoked);
}

#[tokio::test]
async fn who_knows_of_a_revocation_refuses_the_commit_that_brings_the_device_in() {
    let root = Authority::root("root");
    let (hub, mut alice, mut bob, carol) = three(&root).await;
    let id = conversation();
    let mut dave = Device::certified(&hub, &root, &certify(&root, "dave", 4)).await;
    bob.register(POINT, &root.list(&[4], 2026)).await.unwrap();
    alice.add(&id, &mut [&mut dave]).await;
    let commit = hub.log_entry(&id, 1).unwrap();
    let refused = bob.decrypt(&id, &commit).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Peer);
    assert_eq!(reason(refused), CertificateError::Revoked);
    assert_eq!((bob.epoch(&id), bob.members(&id).len()), (1, 3));

    // Nor does who knows of it join a conversation that the device is in, until it is removed.
    let refused = bob.join_externally(&id).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Revoked);
    alice.sync(&id).await;
    alice.change(&id, vec![], &[client_id("dave")]).await.unwrap();
    bob.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    let mut carol = carol;
    carol.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob, &carol]);
}

#[tokio::test]
async fn a_welcome_into_a_conversation_with_a_revoked_device_is_refused() {
    let root = Authority::root("root");
    let (hub, mut alice, _bob, _carol) = three(&root).await;
    let dave = Device::certified(&hub, &root, &certify(&root, "dave", 4)).await;
    dave.register(POINT, &root.list(&[3], 2026)).await.unwrap();
    alice.change(&conversation(), vec![dave.key_package().await], &[]).await.unwrap();
    let mut tx = dave.session.new_transaction().await.unwrap();
    let refused = tx.process_welcome(&hub.welcome(&conversation()).0).unwrap_err();
    assert_eq!(reason(refused), CertificateError::Revoked);
    assert!(!tx.conversation_exists(&conversation()).unwrap());
    assert_eq!(tx.key_package_count().unwrap(), 1, "it is not used up");
}

#[tokio::test]
async fn a_device_whose_certificate_was_revoked_comes_back_with_another() {
    let root = Authority::root("root");
    let (hub, mut alice, mut bob, _carol) = three(&root).await;
    let id = conversation();
    let again = Device::certified(&hub, &root, &certify(&root, "carol", 9)).await;
    let mut again = again;
    for device in [&alice, &bob, &again] {
        device.register(POINT, &root.list(&[3], 2026)).await.unwrap();
    }
    again.join_externally(&id).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.added, seen.removed), (vec![], vec![]), "she is in her own place");
    bob.sync(&id).await;
    again.sync(&id).await;
    assert_eq!(bob.identity(&id, &client_id("carol")).status, Some(DeviceStatus::Valid));
    assert_same_state(&id, &[&alice, &bob, &again]);
}

#[tokio::test]
async fn an_older_list_does_not_undo_a_revocation() {
    let root = Authority::root("root");
    let alice = Device::certified(&Hub::new(), &root, &certify(&root, "alice", 1)).await;
    let newer = root.list(&[3], 2026);
    assert!(alice.register(POINT, &newer).await.unwrap().dirty);
    let again = alice.register(POINT, &newer).await.unwrap();
    assert!(!again.dirty);
    let older = alice.register(POINT, &root.list(&[], 2025)).await.unwrap();
    assert_eq!(older, again, "the newer one stays");
    assert!(alice.register(POINT, &root.list(&[3, 4], 2027)).await.unwrap().dirty);
}

#[tokio::test]
async fn the_list_of_another_authority_does_not_take_the_place_of_the_one_that_is_there() {
    let root = Authority::root("root");
    let (_hub, alice, _bob, _carol) = three(&root).await;
    let below = root.intermediate("devices");
    let namesake = Authority::root("root");
    alice.trust(&namesake).await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.add_intermediate(&below.der()).unwrap();
    tx.finish().await.unwrap();
    let carols = |device: &Device| device.identity(&conversation(), &client_id("carol")).status;

    alice.register(POINT, &root.list(&[3], 2026)).await.unwrap();
    for other in [&below, &namesake] {
        assert!(alice.register(POINT, &other.list(&[], 2027)).await.unwrap().dirty);
        assert_eq!(carols(&alice), Some(DeviceStatus::Revoked));
        // Each has its own list there, of which an older one changes nothing.
        assert!(!alice.register(POINT, &other.list(&[], 2026)).await.unwrap().dirty);
    }
    let alice = alice.restarted();
    assert_eq!(carols(&alice), Some(DeviceStatus::Revoked));
    alice.register(POINT, &root.list(&[], 2027)).await.unwrap();
    assert_eq!(carols(&alice), Some(DeviceStatus::Valid), "who has revoked it may take it back");
}

#[tokio::test]
async fn a_point_stays_unknown_while_only_another_authority_s_list_is_there() {
    let root = Authority::root("root");
    let hub = Hub::new();
    let mut alice = Device::certified(&hub, &root, &certify(&root, "alice", 1)).await;
    let other = Authority::root("other");
    alice.trust(&other).await;
    alice.register(POINT, &other.list(&[], 2026)).await.unwrap();
    let bob = root.certify(&Certify { serial: 2, points: &[POINT], ..Certify::device("bob") });
    let bob = Device::certified(&hub, &root, &bob).await;
    alice.create(&conversation()).await;
    let package = bob.key_package().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&conversation()).await.unwrap();
    assert_eq!(guard.add_members(vec![package]).await.unwrap(), Some(vec![POINT.to_owned()]));
}

#[tokio::test]
async fn a_list_that_says_it_is_another_distribution_point_s_is_refused() {
    let root = Authority::root("root");
    let alice = Device::certified(&Hub::new(), &root, &certify(&root, "alice", 1)).await;
    alice.register(POINT, &root.list_of(&[POINT], &[3], 2026)).await.unwrap();
    let others = root.list_of(&["http://crl.example/authorities"], &[], 2027);
    let refused = alice.register(POINT, &others).await.unwrap_err();
    assert!(matches!(refused, EngineError::InvalidCrl(CrlError::WrongPoint)), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::Peer);
    assert!(alice.register("http://crl.example/authorities", &others).await.unwrap().dirty);
    let both = root.list_of(&["http://mirror.example/devices", POINT], &[3, 4], 2027);
    assert!(alice.register(POINT, &both).await.unwrap().dirty);
}

#[tokio::test]
async fn lists_that_are_not_an_authority_s_are_refused() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let namesake = Authority::root("root");
    let alice = Device::certified(&Hub::new(), &root, &certify(&root, "alice", 1)).await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut refused = |point: &str, list: &[u8]| match tx.e2ei_register_crl(point, list) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Peer);
            match error {
                EngineError::InvalidCrl(reason) => reason,
                error => panic!("{error:?}"),
            }
        }
        Ok(registered) => panic!("{registered:?}"),
    };
    assert_eq!(refused(POINT, &other.list(&[1], 2026)), CrlError::UnknownIssuer);
    assert_eq!(refused(POINT, &namesake.list(&[1], 2026)), CrlError::InvalidSignature);
    let mut forged = root.list(&[1], 2026);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refused(POINT, &forged), CrlError::InvalidSignature);
    assert_eq!(refused(POINT, b"no list"), CrlError::Malformed);
    assert_eq!(refused(POINT, &[]), CrlError::Malformed);
    assert_eq!(refused(POINT, &root.der()), CrlError::Malformed);
    let mut followed = root.list(&[1], 2026);
    followed.push(0);
    assert_eq!(refused(POINT, &followed), CrlError::Malformed);
    let long = vec![0x30; 8 * 1024 * 1024 + 1];
    assert!(matches!(refused(POINT, &long), CrlError::TooLong { max: 8_388_608, .. }));
    assert!(matches!(refused(&"x".repeat(2049), &root.list(&[], 2026)), CrlError::TooLong { max: 2048, .. }));
    // A device is no authority.
    let device = root.certify(&Certify::device("alice")).chain.remove(0);
    assert_eq!(reason(tx.add_trust_anchor(&device).unwrap_err()), CertificateError::NotAuthority);
    assert_eq!(reason(tx.add_intermediate(&device).unwrap_err()), CertificateError::NotAuthority);
    assert!(matches!(reason(tx.add_trust_anchor(b"").unwrap_err()), CertificateError::Malformed(_)));
    let two = [root.pem(), other.pem()].concat();
    assert!(matches!(
        reason(tx.add_trust_anchor(two.as_bytes()).unwrap_err()),
        CertificateError::Malformed(_)
    ));
}

#[tokio::test]
async fn new_distribution_points_are_told_to_everybody_once_they_matter() {
    let root = Authority::root("root");
    let hub = Hub::new();
    let with_point =
        |name, serial, points| root.certify(&Certify { serial, points, ..Certify::device(name) });
    let alice = with_point("alice", 1, &["http://crl.example/a"]);
    let mut alice = Device::certified(&hub, &root, &alice).await;
    let bob = with_point("bob", 2, &["http://crl.example/b", "ldap://crl.example/b"]);
    let mut bob = Device::certified(&hub, &root, &bob).await;
    let mut carol = Device::certified(&hub, &root, &with_point("carol", 3, &["http://crl.example/c"])).await;
    let id = conversation();
    let points = |names: &[&str]| {
        Some(names.iter().map(|name| format!("http://crl.example/{name}")).collect::<Vec<_>>())
    };
    alice.create(&id).await;

    let package = bob.key_package().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let new_points = guard.add_members(vec![package]).await.unwrap();
    assert_eq!(new_points, points(&["b"]));
    drop(tx);
    let mut tx = bob.session.new_transaction().await.unwrap();
    let (welcome, behind) = hub.welcome(&id);
    let joined = tx.process_welcome(&welcome).unwrap();
    assert_eq!(joined.crl_new_distribution_points, points(&["a", "b"]));
    tx.finish().await.unwrap();
    bob.cursors.insert(id.clone(), behind);
    alice.sync(&id).await;

    // Bob has fetched Alice's list; of the bundle that Carol gets she has none.
    bob.register("http://crl.example/a", &root.list(&[], 2026)).await.unwrap();
    let mut tx = carol.session.new_transaction().await.unwrap();
    let joined = tx
        .join_by_external_commit(
            VerifiableGroupInfo::from_bytes(&hub.group_info(&id)).unwrap(),
            &carol.credential,
        )
        .await
        .unwrap();
    assert_eq!(joined.crl_new_distribution_points, points(&["a", "b", "c"]));
    drop(tx);
    carol.cursors.insert(id.clone(), 1);
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!(seen.crl_new_distribution_points, points(&["c"]));
    alice.register("http://crl.example/c", &root.list(&[], 2026)).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!(seen.crl_new_distribution_points, None, "it is registered");

    // Nobody new, nothing new.
    carol.update(&id).await.unwrap();
    assert_eq!(bob.sync(&id).await.pop().unwrap().crl_new_distribution_points, None);
}

#[tokio::test]
async fn the_points_of_certificates_that_nobody_vouches_for_are_not_told() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let hub = Hub::new();
    let report = CertificatePolicy::Report;
    let alice = certify(&root, "alice", 1);
    let mut alice = Device::certified_with(&hub, &root, &alice, report).await;
    let mallory = other.certify(&Certify { points: &["http://intranet/"], ..Certify::device("mallory") });
    let mut mallory = Device::certified_with(&hub, &other, &mallory, report).await;
    let id = conversation();
    alice.create(&id).await;
    alice.update(&id).await.unwrap();
    mallory.join_externally(&id).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.added, seen.crl_new_distribution_points), (vec![client_id("mallory")], None));
}

#[tokio::test]
async fn what_an_intermediate_is_worth_its_certificates_are() {
    let root = Authority::root("root");
    let below = root.intermediate_until("devices", 2060, &["http://crl.example/authorities"]);
    let hub = Hub::new();
    let mut alice = Device::certified(&hub, &root, &certify(&root, "alice", 1)).await;
    // Bob's credential leaves the intermediate out.
    let certified = certify(&below, "bob", 2);
    let credential =
        Credential::x509(certified.chain[..1].to_vec(), &certified.key, certified.suite).unwrap();
    let bob =
        Device::with_credential(&hub, credential, common::pki::policy(CertificatePolicy::Enforce)).await;
    bob.trust(&root).await;
    let mut bob = bob;
    for device in [&alice, &bob] {
        let mut tx = device.session.new_transaction().await.unwrap();
        let points = tx.add_intermediate(below.pem().as_bytes()).unwrap();
        assert_eq!(points, Some(vec!["http://crl.example/authorities".to_owned()]));
        tx.finish().await.unwrap();
    }
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    assert_eq!(alice.identity(&id, &client_id("bob")).status, Some(DeviceStatus::Valid));
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.judge_certificates_at(Some(year(2070))).unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let bobs = guard.get_device_identities(&[client_id("bob")]).unwrap().pop().unwrap();
    assert_eq!(bobs.status, Some(DeviceStatus::Expired), "the intermediate has expired, the certificate not");
    tx.judge_certificates_at(Some(year(FROM - 1))).unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let bobs = guard.get_device_identities(&[client_id("bob")]).unwrap().pop().unwrap();
    assert_eq!(bobs.status, Some(DeviceStatus::Untrusted), "before its time");
    drop(tx);

    // Its own list revokes Bob's certificate, the anchor's list the intermediate, and with it what it has issued.
    alice.register(POINT, &below.list(&[2], 2026)).await.unwrap();
    assert_eq!(alice.identity(&id, &client_id("bob")).status, Some(DeviceStatus::Revoked));
    alice.register(POINT, &below.list(&[], 2027)).await.unwrap();
    assert_eq!(alice.identity(&id, &client_id("bob")).status, Some(DeviceStatus::Valid));
    // A serial number counts for its issuer alone.
    alice.register("http://crl.example/authorities", &root.list(&[2], 2026)).await.unwrap();
    assert_eq!(alice.identity(&id, &client_id("bob")).status, Some(DeviceStatus::Valid));
    alice.register("http://crl.example/authorities", &root.list(&[0x77], 2027)).await.unwrap();
    assert_eq!(alice.identity(&id, &client_id("bob")).status, Some(DeviceStatus::Revoked));
    assert_eq!(alice.identity(&id, &client_id("alice")).status, Some(DeviceStatus::Valid));
}

#[tokio::test]
async fn anchors_come_and_go_with_their_transactions() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (_hub, alice, _bob, _carol) = three(&root).await;
    let id = conversation();
    let second = alice.second_session();
    let status = |device: &Device| device.identity(&id, &client_id("bob")).status;
    assert_eq!(status(&second), Some(DeviceStatus::Valid));

    let mut tx = alice.session.new_transaction().await.unwrap();
    let digest = tx.add_trust_anchor(&root.der()).unwrap();
    assert_eq!(tx.add_trust_anchor(root.pem().as_bytes()).unwrap(), digest, "it is there");
    assert_eq!(tx.registered_certificates().unwrap().len(), 1);
    tx.add_trust_anchor(&other.der()).unwrap();
    assert!(tx.remove_certificate(&digest).unwrap());
    assert!(!tx.remove_certificate(&digest).unwrap());
    let mut guard = tx.conversation(&id).await.unwrap();
    assert_eq!(guard.e2ei_conversation_state().unwrap(), E2eiConversationState::NotVerified);
    let untrusted = guard.get_device_identities(&[client_id("bob")]).unwrap().pop().unwrap();
    assert_eq!(untrusted.status, Some(DeviceStatus::Untrusted));
    assert_eq!(status(&alice), Some(DeviceStatus::Valid), "not before the transaction is finished");
    tx.abort();
    assert_eq!(status(&alice), Some(DeviceStatus::Valid));

    let mut tx = alice.session.new_transaction().await.unwrap();
    assert!(tx.remove_certificate(&digest).unwrap());
    tx.finish().await.unwrap();
    assert_eq!(status(&alice), Some(DeviceStatus::Untrusted));
    assert_eq!(status(&second), Some(DeviceStatus::Untrusted), "in the other process too");
}
