//! Devices with certificates: who is let in, and what is told about whom.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Device, Hub, assert_same_state, client_id, conversation,
    pki::{Authority, Certify, policy, year},
};
use rcgen::KeyUsagePurpose;
use tertulia_mls::{
    CertificateError, CertificatePolicy, Ciphersuite, Credential, CredentialFilter, DeviceStatus,
    E2eiConversationState, EngineError, IdentityCredential, MlsConversationConfiguration,
};

fn reason(error: EngineError) -> CertificateError {
    match error {
        EngineError::InvalidCertificate(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// Alice and Bob with certificates in one conversation.
async fn two(root: &Authority, policy: CertificatePolicy) -> (Hub, Device, Device) {
    let hub = Hub::new();
    let below = root.intermediate("devices");
    let mut alice =
        Device::certified_with(&hub, root, &below.certify(&Certify::device("alice")), policy).await;
    let bobs = below.certify(&Certify { serial: 2, ..Certify::device("bob") });
    let mut bob = Device::certified_with(&hub, root, &bobs, policy).await;
    alice.create(&conversation()).await;
    alice.add(&conversation(), &mut [&mut bob]).await;
    alice.sync(&conversation()).await;
    (hub, alice, bob)
}

#[tokio::test]
async fn people_with_certificates_talk_with_every_ciphersuite() {
    for suite in Ciphersuite::ALL {
        let hub = Hub::signing_for(suite);
        let root = Authority::root_for("root", suite);
        let below = root.intermediate("devices");
        let certify = |name| below.certify(&Certify { suite, ..Certify::device(name) });
        let mut alice = Device::certified(&hub, &root, &certify("alice")).await;
        let mut bob = Device::certified(&hub, &root, &certify("bob")).await;
        let mut carol = Device::certified(&hub, &root, &certify("carol")).await;
        let id = conversation();
        alice.create(&id).await;
        alice.add(&id, &mut [&mut bob]).await;
        carol.join_externally(&id).await.unwrap();
        bob.sync(&id).await;
        bob.update(&id).await.unwrap();
        let mut alice = alice.restarted();
        alice.sync(&id).await;
        carol.sync(&id).await;
        alice.send(&id, "Hello").await;
        assert_eq!(bob.read(&id).await, ["Hello"], "{suite}");
        assert_eq!(carol.read(&id).await, ["Hello"], "{suite}");
        alice.sync(&id).await;
        assert_same_state(&id, &[&alice, &bob, &carol]);
        let view = alice.session.conversation(&id).unwrap();
        assert_eq!(view.e2ei_conversation_state().unwrap(), E2eiConversationState::Verified);
    }
}

#[tokio::test]
async fn a_message_tells_what_vouches_for_its_sender() {
    let root = Authority::root("root");
    let (_hub, mut alice, mut bob) = two(&root, CertificatePolicy::Enforce).await;
    let id = conversation();
    alice.send(&id, "x").await;
    let received = bob.sync(&id).await.pop().unwrap();
    assert_eq!(received.sender_client_id, Some(client_id("alice")));
    let identity = received.identity.unwrap();
    assert_eq!(identity.client_id, client_id("alice"));
    assert_eq!(identity.credential_type, IdentityCredential::X509);
    assert_eq!(identity.status, Some(DeviceStatus::Valid));
    assert_eq!(identity.thumbprint.len(), 43);
    let x509 = identity.x509_identity.clone().unwrap();
    assert_eq!(x509.handle.as_deref(), Some("alice"));
    assert_eq!(x509.display_name.as_deref(), Some("alice"));
    assert_eq!(x509.domain, "hub.example");
    assert_eq!(x509.serial_number, "01");
    assert_eq!((x509.not_before, x509.not_after), (1_577_836_800, 4_102_444_800), "2020 and 2100");
    assert!(x509.certificate.starts_with(&[0x30, 0x82]));

    // The view, the guard and the message say the same.
    assert_eq!(bob.identity(&id, &client_id("alice")), identity);
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    assert_eq!(guard.get_device_identities(&[client_id("alice"), client_id("eve")]).unwrap(), [identity]);
    let user = |name| client_id(name).as_str().unwrap().split(':').next().unwrap().parse().unwrap();
    let users = guard.get_user_identities(&[user("bob"), user("eve")]).unwrap();
    assert_eq!(users.len(), 1);
    assert_eq!(users[&user("bob")][0].client_id, client_id("bob"));
    assert_eq!(guard.e2ei_conversation_state().unwrap(), E2eiConversationState::Verified);
}

#[tokio::test]
async fn a_conversation_is_not_verified_while_one_member_is_not() {
    let root = Authority::root("root");
    let (hub, mut alice, mut bob) = two(&root, CertificatePolicy::Enforce).await;
    let id = conversation();
    let state =
        |device: &Device| device.session.conversation(&id).unwrap().e2ei_conversation_state().unwrap();
    let mut carol = Device::new(&hub, "carol").await;
    carol.trust(&root).await;
    alice.add(&id, &mut [&mut carol]).await;
    bob.sync(&id).await;
    for device in [&alice, &bob, &carol] {
        assert_eq!(state(device), E2eiConversationState::NotVerified);
    }
    let carols = bob.identity(&id, &client_id("carol"));
    assert_eq!((carols.status, carols.x509_identity), (None, None));
    let own = "own".into();
    carol.create(&own).await;
    let view = carol.session.conversation(&own).unwrap();
    assert_eq!(view.e2ei_conversation_state().unwrap(), E2eiConversationState::NotEnabled);
}

#[tokio::test]
async fn a_device_that_nobody_vouches_for_is_not_let_in() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (hub, mut alice, mut bob) = two(&root, CertificatePolicy::Enforce).await;
    let id = conversation();
    // Mallory trusts both, so that only the others can refuse.
    let mallory = other.certify(&Certify::device("mallory"));
    let mut mallory = Device::certified(&hub, &other, &mallory).await;
    mallory.trust(&root).await;

    let package = mallory.key_package().await;
    let refused = alice.change(&id, vec![package], &[]).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Untrusted);
    assert_eq!(hub.epoch(&id), 1);

    mallory.join_externally(&id).await.unwrap();
    let commit = hub.log_entry(&id, 1).unwrap();
    for device in [&mut alice, &mut bob] {
        let refused = device.decrypt(&id, &commit).await.unwrap_err();
        assert_eq!(reason(refused), CertificateError::Untrusted);
        assert_eq!(device.epoch(&id), 1, "nothing has changed");
        assert_eq!(device.members(&id).len(), 2);
    }
    // Once they trust the authority they take the very same commit.
    for device in [&mut alice, &mut bob] {
        device.trust(&other).await;
        device.sync(&id).await;
    }
    assert_same_state(&id, &[&alice, &bob, &mallory]);
}

#[tokio::test]
async fn who_only_reports_lets_everybody_in_and_tells() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (hub, mut alice, mut bob) = two(&root, CertificatePolicy::Report).await;
    let id = conversation();
    let report = CertificatePolicy::Report;
    let mallory = other.certify(&Certify::device("mallory"));
    let mut mallory = Device::certified_with(&hub, &other, &mallory, report).await;
    let late = root.certify(&Certify { from: 2021, to: 2022, ..Certify::device("late") });
    let mut late = Device::certified_with(&hub, &root, &late, report).await;
    alice.add(&id, &mut [&mut mallory, &mut late]).await;
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!(seen.added, [client_id("mallory"), client_id("late")]);
    let status = |client| bob.identity(&id, &client_id(client)).status;
    assert_eq!(status("mallory"), Some(DeviceStatus::Untrusted));
    assert_eq!(status("late"), Some(DeviceStatus::Expired));
    assert_eq!(status("alice"), Some(DeviceStatus::Valid));
    let view = bob.session.conversation(&id).unwrap();
    assert_eq!(view.e2ei_conversation_state().unwrap(), E2eiConversationState::NotVerified);
    // To Mallory, the others are the strangers.
    assert_eq!(mallory.identity(&id, &client_id("alice")).status, Some(DeviceStatus::Untrusted));
}

#[tokio::test]
async fn an_own_certificate_that_is_not_good_is_not_used() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let hub = Hub::new();
    let cases = [
        (other.certify(&Certify::device("alice")), CertificateError::Untrusted),
        (root.certify(&Certify { to: 2022, ..Certify::device("alice") }), CertificateError::Expired),
        (
            root.certify(&Certify { from: 2090, ..Certify::device("alice") }),
            CertificateError::NotYetValid { not_before: 3_786_912_000 },
        ),
    ];
    for (certified, expected) in cases {
        let alice = Device::certified(&hub, &root, &certified).await;
        let mut tx = alice.session.new_transaction().await.unwrap();
        let refused = tx.generate_key_packages(&alice.credential, 1, None).unwrap_err();
        assert_eq!(reason(refused), expected);
        let config = MlsConversationConfiguration::default();
        let refused = tx.new_conversation(&conversation(), &alice.credential, config).unwrap_err();
        assert_eq!(reason(refused), expected);
        assert!(!tx.conversation_exists(&conversation()).unwrap());
        assert_eq!(tx.key_package_count().unwrap(), 0);
    }
}

#[tokio::test]
async fn certificates_that_expire_later_neither_split_nor_end_a_conversation() {
    let root = Authority::root("root");
    let hub = Hub::new();
    let certify = |name, to| root.certify(&Certify { to, ..Certify::device(name) });
    let mut alice = Device::certified(&hub, &root, &certify("alice", 2050)).await;
    let mut bob = Device::certified(&hub, &root, &certify("bob", 2060)).await;
    let mut carol = Device::certified(&hub, &root, &certify("carol", 2090)).await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    let (mut alice, mut bob) = (alice.restarted(), bob.restarted());

    // In 2070, two of three have expired. Both commit with their old leaves, and everybody takes it.
    let mut tx = bob.session.new_transaction().await.unwrap();
    tx.judge_certificates_at(Some(year(2070))).unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let expired = guard.get_device_identities(&[client_id("alice"), client_id("bob")]).unwrap();
    assert!(expired.iter().all(|identity| identity.status == Some(DeviceStatus::Expired)));
    assert_eq!(guard.e2ei_conversation_state().unwrap(), E2eiConversationState::NotVerified);
    guard.update_key_material().await.unwrap();
    drop(tx);
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.judge_certificates_at(Some(year(2070))).unwrap();
    let commit = hub.log_entry(&id, 1).unwrap();
    let taken = tx.conversation(&id).await.unwrap().decrypt_message(&commit).unwrap();
    assert_eq!(taken.identity.unwrap().status, Some(DeviceStatus::Expired));
    tx.finish().await.unwrap();

    // Who joins finds them there, expired.
    let mut tx = carol.session.new_transaction().await.unwrap();
    tx.judge_certificates_at(Some(year(2070))).unwrap();
    let joined = tx
        .join_by_external_commit(
            tertulia_mls::VerifiableGroupInfo::from_bytes(&hub.group_info(&id)).unwrap(),
            &carol.credential,
        )
        .await;
    joined.unwrap();
    drop(tx);
    for device in [&mut alice, &mut bob] {
        device.cursors.insert(id.clone(), 2);
        device.sync(&id).await;
    }
    carol.cursors.insert(id.clone(), 3);
    carol.send(&id, "still here").await;
    assert_eq!(bob.read(&id).await, ["still here"]);
    assert_same_state(&id, &[&alice, &bob, &carol]);
}

#[tokio::test]
async fn who_reads_late_decides_as_those_who_read_in_time() {
    let root = Authority::root("root");
    let hub = Hub::new();
    let certify = |name, to| root.certify(&Certify { to, ..Certify::device(name) });
    let mut alice = Device::certified(&hub, &root, &certify("alice", 2100)).await;
    let mut bob = Device::certified(&hub, &root, &certify("bob", 2100)).await;
    let mut carol = Device::certified(&hub, &root, &certify("carol", 2050)).await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.add(&id, &mut [&mut carol]).await;

    // Bob comes back in 2060.
    let commit = hub.log_entry(&id, 1).unwrap();
    let mut tx = bob.session.new_transaction().await.unwrap();
    tx.judge_certificates_at(Some(year(2060))).unwrap();
    let refused = tx.conversation(&id).await.unwrap().decrypt_message(&commit).unwrap_err();
    assert_eq!(reason(refused), CertificateError::Expired);
    // The hub knows when it took the commit.
    tx.judge_certificates_at(Some(year(2040))).unwrap();
    tx.conversation(&id).await.unwrap().decrypt_message(&commit).unwrap();
    tx.finish().await.unwrap();
    bob.cursors.insert(id.clone(), 2);
    assert_same_state(&id, &[&alice, &bob, &carol]);
}

#[tokio::test]
async fn a_certificate_for_another_key_name_or_use_makes_no_credential() {
    let root = Authority::root("root");
    let device = || Certify::device("alice");
    let malformed = |certify: Certify<'_>| match root.certify(&certify).try_credential() {
        Err(EngineError::InvalidCertificate(CertificateError::Malformed(why))) => why,
        other => panic!("{other:?}"),
    };
    let uri = device().names[0].clone();
    let names =
        |names: &[&str]| Certify { names: names.iter().map(|name| (*name).to_owned()).collect(), ..device() };
    assert_eq!(malformed(names(&[])), "no alternative names");
    assert_eq!(malformed(names(&["https://hub.example/alice"])), "it names no client");
    assert_eq!(malformed(names(&["wireapp://%40alice@hub.example"])), "it names no client");
    assert_eq!(malformed(names(&["wireapp://alice"])), "a name without domain");
    assert_eq!(malformed(names(&["wireapp://alice@hub.example"])), "a client without device");
    assert_eq!(malformed(names(&[&uri, &uri])), "two names of a kind");
    assert_eq!(
        malformed(names(&[&uri, "wireapp://%40alice@other.example"])),
        "client and handle are of different domains"
    );
    assert_eq!(
        malformed(Certify { organization: Some("other.example"), ..device() }),
        "client and subject are of different domains"
    );
    assert_eq!(malformed(Certify { is_ca: true, ..device() }), "a device is no certification authority");
    let usage = KeyUsagePurpose::KeyEncipherment;
    assert_eq!(malformed(Certify { usage, ..device() }), "the key is not for signatures");

    let good = root.certify(&device());
    let other = root.certify(&device());
    let with = |chain: Vec<Vec<u8>>, key: &[u8], suite| Credential::x509(chain, key, suite).unwrap_err();
    let suite = Ciphersuite::default();
    for key in [&other.key[..], b"no key", b"-----BEGIN PRIVATE KEY-----", b""] {
        let refused = with(good.chain.clone(), key, suite);
        assert!(matches!(refused, EngineError::InvalidPrivateKey), "{refused}");
    }
    let p256 = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;
    let refused = reason(with(good.chain.clone(), &good.key, p256));
    assert_eq!(refused, CertificateError::Malformed("a key of another ciphersuite"));
    let refused = reason(with(vec![], &good.key, suite));
    assert_eq!(refused, CertificateError::Malformed("the chain is empty"));
    let refused = reason(with(vec![good.chain[0].clone(); 9], &good.key, suite));
    assert_eq!(refused, CertificateError::Malformed("the chain is too long"));
    let refused = reason(with(vec![good.chain[0].clone(), b"junk".to_vec()], &good.key, suite));
    assert_eq!(refused, CertificateError::Malformed("no DER of X.509"));
    let refused = reason(with(vec![vec![0x30; 20_000]], &good.key, suite));
    assert_eq!(refused, CertificateError::Malformed("too long"));
    let mut followed = good.chain[0].clone();
    followed.push(0);
    let refused = reason(with(vec![followed], &good.key, suite));
    assert_eq!(refused, CertificateError::Malformed("something follows it"));
}

#[tokio::test]
async fn a_certificate_of_an_identity_that_the_policy_does_not_know_is_always_refused() {
    let root = Authority::root("root");
    let hub = Hub::new();
    let alice = Device::with_config(&hub, "alice", policy(CertificatePolicy::Report)).await;
    let names = vec!["wireapp://alice!1@hub.example".to_owned()];
    let credential = root.certify(&Certify { names, ..Certify::device("alice") }).credential();
    let mut tx = alice.session.new_transaction().await.unwrap();
    assert!(matches!(tx.add_credential(credential), Err(EngineError::InvalidClientId(_))));
}

#[tokio::test]
async fn a_user_in_base64url_is_the_same_user() {
    let root = Authority::root("root");
    // 0x00 to 0x0f.
    let names = vec!["wireapp://AAECAwQFBgcICQoLDA0ODw!1@hub.example".to_owned()];
    let credential = root.certify(&Certify { names, ..Certify::device("alice") }).credential();
    assert_eq!(
        credential.client_id().as_str().unwrap(),
        "00010203-0405-0607-0809-0a0b0c0d0e0f:1@hub.example"
    );
}

#[tokio::test]
async fn a_basic_credential_does_not_take_the_place_of_a_certificate() {
    let root = Authority::root("root");
    let (hub, mut alice, mut bob) = two(&root, CertificatePolicy::Enforce).await;
    let id = conversation();
    // The hub, or whoever has stolen Bob's account there, makes up a device with Bob's name.
    let mut twin = Device::with_config(&hub, "bob", policy(CertificatePolicy::Report)).await;
    let package = twin.key_package().await;
    let refused = alice.change(&id, vec![package], &[client_id("bob")]).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Downgrade);

    twin.join_externally(&id).await.unwrap();
    let commit = hub.log_entry(&id, 1).unwrap();
    for device in [&mut alice, &mut bob] {
        let refused = device.decrypt(&id, &commit).await.unwrap_err();
        assert_eq!(reason(refused), CertificateError::Downgrade);
        assert_eq!(device.epoch(&id), 1);
    }
}

#[tokio::test]
async fn credentials_are_found_by_what_they_are() {
    let root = Authority::root("root");
    let hub = Hub::new();
    let alice = Device::new(&hub, "alice").await;
    alice.trust(&root).await;
    let p256 = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let certified = root.certify(&Certify::device("alice")).credential();
    let first = tx.add_credential(certified.clone()).unwrap();
    let second = tx.add_credential(root.certify(&Certify::device("alice")).credential()).unwrap();
    let third = tx.add_credential(Credential::basic(client_id("alice"), p256).unwrap()).unwrap();
    assert!(matches!(tx.add_credential(certified), Err(EngineError::CredentialExists(_))));
    tx.finish().await.unwrap();

    let alice = alice.restarted();
    let mut tx = alice.session.new_transaction().await.unwrap();
    let find = |filter| tx.find_credentials_by(&filter).unwrap();
    assert_eq!(find(CredentialFilter::default()), tx.find_credentials().unwrap());
    assert_eq!(find(CredentialFilter::default()).len(), 4);
    let of_type = |of| CredentialFilter { credential_type: Some(of), ..Default::default() };
    let certificates = find(of_type(IdentityCredential::X509));
    assert!(certificates.len() == 2 && certificates.contains(&first) && certificates.contains(&second));
    let suite = CredentialFilter { ciphersuite: Some(p256), ..Default::default() };
    assert_eq!(find(suite), [third]);
    let short = client_id("alice").as_str().unwrap().replace(":0000000000000001", ":1");
    let client = CredentialFilter { client_id: Some(short.as_str().into()), ..Default::default() };
    assert_eq!(find(client).len(), 4);
    let nobody = CredentialFilter { client_id: Some(client_id("bob")), ..Default::default() };
    assert!(find(nobody).is_empty());

    // Key packages belong to the credential that they were made with.
    tx.generate_key_packages(&first, 3, None).unwrap();
    tx.generate_key_packages(&alice.credential, 2, None).unwrap();
    tx.generate_last_resort_key_package(&first).unwrap();
    assert_eq!(tx.key_package_count_for(&first).unwrap(), 3);
    assert_eq!(tx.key_package_count_for(&second).unwrap(), 0);
    assert_eq!(tx.key_package_count().unwrap(), 5);
    assert!(matches!(tx.remove_credential(&first), Err(EngineError::CredentialInUse)));
    assert_eq!(tx.remove_key_packages_for(&first).unwrap(), 4);
    assert_eq!(tx.key_package_count().unwrap(), 2);
    tx.remove_credential(&first).unwrap();
    tx.remove_credential(&second).unwrap();
    assert!(matches!(tx.remove_credential(&second), Err(EngineError::CredentialNotFound)));
    assert_eq!(tx.find_credentials().unwrap().len(), 2);
}
