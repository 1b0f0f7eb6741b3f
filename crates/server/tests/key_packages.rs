//! Key packages: what is taken, and to whom it is given.
#![allow(clippy::unwrap_used)]

mod support;

use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, ExtensionList,
    crypto::{SignaturePublicKey, SignatureSecretKey},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect},
    mls::{MlsDevice, commit},
    open::Client as Open,
};
use tertulia_api::{
    Base64, Code, UserDevice,
    account::{
        ClaimedKeyPackage, ClaimedKeyPackages, HubKeys, KeyPackageClaim, KeyPackageCount, KeyPackageDeletion,
        KeyPackageUpload, NewDevice, Session,
    },
    conversation::CommitAccepted,
    event::EventBody,
};
use tertulia_domain::{Domain, UserId};

async fn upload(person: &Person, key_packages: Vec<Vec<u8>>, last_resort: Option<Vec<u8>>) -> u32 {
    let key_packages = key_packages.into_iter().map(Base64).collect();
    let upload = KeyPackageUpload { key_packages, last_resort: last_resort.map(Base64) };
    person.post("/v1/key-packages", &upload).await.done::<KeyPackageCount>().count
}

async fn claim(person: &Person, users: &[UserId]) -> Vec<ClaimedKeyPackage> {
    let claim = KeyPackageClaim { users: users.to_vec() };
    person.post("/v1/key-packages/claims", &claim).await.done::<ClaimedKeyPackages>().key_packages
}

#[tokio::test]
async fn twenty_claims_at_the_same_time_get_twenty_different_key_packages() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::open(&hub, "bob", "/v1/accounts", 20).await;
    connect(&alice, &bob).await;
    let users = [bob.user];
    let claims = futures::future::join_all((0..20).map(|_| claim(&alice, &users))).await;
    let given: Vec<_> = claims.into_iter().flatten().map(|claimed| claimed.key_package.0).collect();
    assert_eq!(given.len(), 20);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 20, "a key package was given out twice");
    assert_eq!(bob.get("/v1/key-packages/count").await.done::<KeyPackageCount>().count, 0);
    assert!(claim(&alice, &users).await.is_empty());
}

#[tokio::test]
async fn the_last_resort_is_given_when_there_is_no_other_and_as_often_as_needed() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::open(&hub, "bob", "/v1/accounts", 1).await;
    connect(&alice, &bob).await;
    let last = bob.mls.key_package();
    assert_eq!(upload(&bob, Vec::new(), Some(last.clone())).await, 1);
    assert_ne!(claim(&alice, &[bob.user]).await[0].key_package.0, last);
    for _ in 0..3 {
        assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, last);
    }
    let newer = bob.mls.key_package();
    assert_eq!(upload(&bob, Vec::new(), Some(newer.clone())).await, 0);
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, newer);
}

#[tokio::test]
async fn a_key_package_is_for_once_or_the_last_resort_and_never_both() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::open(&hub, "bob", "/v1/accounts", 0).await;
    connect(&alice, &bob).await;
    let refused = async |key_packages: Vec<Vec<u8>>, last_resort: &[u8]| {
        let key_packages = key_packages.into_iter().map(Base64).collect();
        let upload = KeyPackageUpload { key_packages, last_resort: Some(Base64(last_resort.to_vec())) };
        let rows = hub.rows();
        for answer in
            [bob.post("/v1/key-packages", &upload).await, bob.put("/v1/key-packages", &upload).await]
        {
            answer.refused(Code::InvalidKeyPackage);
        }
        assert_eq!(hub.rows(), rows);
    };
    let [once, last] = [bob.mls.key_package(), bob.mls.key_package()];
    assert_eq!(upload(&bob, vec![once.clone()], Some(last.clone())).await, 1);
    // In one upload, after another one, and after it was handed out. Wrapped or bare, it is the same.
    let both = bob.mls.key_package();
    refused(vec![both.clone()], &both).await;
    refused(vec![both.clone()], &both[4..]).await;
    refused(Vec::new(), &once).await;
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, once);
    refused(Vec::new(), &once).await;
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, last, "it is still there");

    // The last resort again is no other; and one that was replaced does not come back, for once or for ever.
    assert_eq!(upload(&bob, Vec::new(), Some(last.clone())).await, 0);
    let newer = bob.mls.key_package();
    assert_eq!(upload(&bob, Vec::new(), Some(newer.clone())).await, 0);
    assert_eq!(upload(&bob, vec![last.clone()], None).await, 0);
    refused(Vec::new(), &last).await;
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, newer);
}

#[tokio::test]
async fn that_key_packages_have_expired_is_told_with_the_next_one_that_is_handed_out() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::open(&hub, "bob", "/v1/accounts", 20).await;
    connect(&alice, &bob).await;
    let last = bob.mls.key_package();
    assert_eq!(upload(&bob, Vec::new(), Some(last.clone())).await, 20);
    hub.change("UPDATE key_packages SET expires_at = ?1 WHERE last_resort = FALSE", [1]);
    assert_eq!(bob.get("/v1/key-packages/count").await.done::<KeyPackageCount>().count, 0);
    assert!(told_low(&bob).await.is_empty());
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, last);
    assert_eq!(told_low(&bob).await, [0]);
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, last);
    assert_eq!(told_low(&bob).await, [0], "once");
}

#[tokio::test]
async fn that_all_key_packages_have_expired_is_told_once_when_somebody_asks_for_one() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::open(&hub, "bob", "/v1/accounts", 20).await;
    connect(&alice, &bob).await;
    let last = bob.mls.key_package();
    assert_eq!(upload(&bob, Vec::new(), Some(last)).await, 20);
    hub.change("UPDATE key_packages SET expires_at = ?1", [1]);
    for _ in 0..2 {
        assert!(claim(&alice, &[bob.user]).await.is_empty(), "the last-resort one has expired too");
        assert_eq!(told_low(&bob).await, [0]);
    }
    // Who has enough again is told again.
    let more = (0..20).map(|_| bob.mls.key_package()).collect();
    assert_eq!(upload(&bob, more, None).await, 20);
    hub.change("UPDATE key_packages SET expires_at = ?1", [1]);
    assert!(claim(&alice, &[bob.user]).await.is_empty());
    assert_eq!(told_low(&bob).await, [0, 0]);
}

/// How many key packages a person was told are left, each time.
async fn told_low(person: &Person) -> Vec<u32> {
    let low = |event: tertulia_api::event::Event| match event.body {
        EventBody::KeyPackagesLow { count, .. } => Some(count),
        _ => None,
    };
    person.events().await.into_iter().filter_map(low).collect()
}

#[tokio::test]
async fn an_upload_that_is_repeated_offers_nothing_twice() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::open(&hub, "bob", "/v1/accounts", 0).await;
    connect(&alice, &bob).await;
    let wrapped = bob.mls.key_package();
    let bare = wrapped[4..].to_vec(); // without the header of the MLSMessage: the same key package
    assert_eq!(upload(&bob, vec![wrapped.clone(), bare.clone()], None).await, 1);
    assert_eq!(claim(&alice, &[bob.user]).await.len(), 1);
    for again in [wrapped, bare] {
        assert_eq!(upload(&bob, vec![again], None).await, 0);
    }
    assert!(claim(&alice, &[bob.user]).await.is_empty());
}

#[tokio::test]
async fn a_claim_brings_each_device_but_the_one_that_asks() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let bob = Person::sign_up(&hub, "bob").await;
    connect(&alice, &bob).await;
    let devices: BTreeSet<_> = claim(&alice, &[alice.user, bob.user, bob.user])
        .await
        .into_iter()
        .map(|claimed| claimed.device)
        .collect();
    assert_eq!(devices, BTreeSet::from([phone.mls.device, bob.mls.device]));
}

#[tokio::test]
async fn key_packages_of_strangers_are_not_given_and_a_refused_claim_takes_none() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::sign_up(&hub, "bob").await;
    let carol = Person::sign_up(&hub, "carol").await;
    connect(&alice, &bob).await;
    alice.connect(&carol).await;
    let before = hub.rows();
    for (user, code) in [(carol.user, Code::NotConnected), (UserId::random(), Code::UnknownUser)] {
        let body = json!({ "users": [bob.user, user] });
        alice.post("/v1/key-packages/claims", &body).await.refused(code);
    }
    let many: Vec<_> = (0..501).map(|_| UserId::random()).collect();
    alice.post("/v1/key-packages/claims", &json!({ "users": many })).await.refused(Code::BadRequest);
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn a_claim_does_not_tell_who_has_blocked_the_caller() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    bob.set_connection(&alice, "blocked").await;
    assert_eq!(claim(&alice, &[bob.user]).await.len(), 1);
    let body = json!({ "users": [alice.user] });
    bob.post("/v1/key-packages/claims", &body).await.refused(Code::NotConnected);
}

#[tokio::test]
async fn two_hundred_key_packages_are_kept_and_no_more() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.key_packages_per_device = 4;
    })
    .await;
    let alice = Person::sign_up(&hub, "alice").await; // with three
    let before = hub.rows();
    let too_many: Vec<_> = (0..2).map(|_| Base64(alice.mls.key_package())).collect();
    let body = KeyPackageUpload { key_packages: too_many, last_resort: None };
    alice.post("/v1/key-packages", &body).await.refused(Code::KeyPackageLimit);
    assert_eq!(hub.rows(), before);
    assert_eq!(upload(&alice, vec![alice.mls.key_package()], None).await, 4);
}

/// A key of one's own choice.
struct Key {
    suite: CipherSuite,
    secret: SignatureSecretKey,
    public: SignaturePublicKey,
}

impl Key {
    fn new(suite: CipherSuite) -> Self {
        let crypto = AwsLcCryptoProvider::new().cipher_suite_provider(suite).unwrap();
        let (secret, public) = crypto.signature_key_generate().unwrap();
        Self { suite, secret, public }
    }

    /// A key package that is valid in itself.
    fn key_package(&self, identity: &str, days: u64) -> Vec<u8> {
        let credential = BasicCredential::new(identity.as_bytes().to_vec()).into_credential();
        let identity = SigningIdentity::new(credential, self.public.clone());
        Client::builder()
            .crypto_provider(AwsLcCryptoProvider::new())
            .identity_provider(BasicIdentityProvider)
            .key_package_lifetime(Duration::from_hours(24 * days))
            .signing_identity(identity, self.secret.clone(), self.suite)
            .build()
            .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None)
            .and_then(|message| message.to_bytes())
            .unwrap()
    }
}

#[tokio::test]
async fn a_key_package_that_is_not_the_devices_own_is_refused() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let own = format!("{}:{}@localhost", alice.user, alice.mls.device);
    let forged = |suite, identity: &str| Key::new(suite).key_package(identity, 1);
    let good = alice.mls.key_package();
    let with = |index: usize, bits: u8| {
        let mut bytes = good.clone();
        bytes[index] ^= bits;
        bytes
    };
    let group_info = alice.mls.create_group(b"id", &alice.hub_key).group_info_message(true).unwrap();
    let before = hub.rows();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("with more behind it", [good.as_slice(), &[0]].concat()),
        ("with a damaged signature", with(good.len() - 1, 1)),
        ("with another init key", with(12, 1)),
        ("another message", group_info.to_bytes().unwrap()),
        ("of another suite", forged(CipherSuite::P256_AES128, &own)),
        ("with another signature key", forged(CipherSuite::CURVE25519_AES128, &own)),
        ("of another user", bob.mls.key_package()),
        ("of nobody", forged(CipherSuite::CURVE25519_AES128, "alice")),
        ("too large", vec![0; 17 * 1024]),
    ] {
        let body = KeyPackageUpload { key_packages: vec![Base64(bytes)], last_resort: None };
        let answer = alice.post("/v1/key-packages", &body).await;
        assert_eq!(answer.status, 400, "{what}");
        answer.refused(Code::InvalidKeyPackage);
    }
    assert_eq!(hub.rows(), before);
    assert_eq!(upload(&alice, vec![good], None).await, 4);
}

#[tokio::test]
async fn a_key_package_lives_at_most_84_days() {
    let hub = Hub::start().await;
    let client = Open::new(&hub);
    let credentials = json!({ "handle": "alice", "password": PASSWORD });
    let session: Session = client.post("/v1/accounts", &credentials).await.done();
    let device = MlsDevice::new(session.user, &Domain::localhost());
    let key = Key::new(CipherSuite::CURVE25519_AES128);
    let identity = format!("{}:{}@localhost", session.user, device.device);
    let with = |days| NewDevice {
        device: device.device,
        label: "laptop".into(),
        signature_key: Base64(key.public.to_vec()),
        key_packages: vec![Base64(key.key_package(&identity, days))],
        last_resort: None,
    };
    let alice = client.with_token(&session.token);
    alice.post("/v1/devices", &with(85)).await.refused(Code::InvalidKeyPackage);
    assert_eq!(hub.rows()["devices"], 0);
    assert_eq!(alice.post("/v1/devices", &with(84)).await.status, 201);
}

#[tokio::test]
async fn the_hubs_key_is_the_same_after_a_restart() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let keys: HubKeys = alice.get("/v1/mls/keys").await.done();
    assert_eq!(keys.external_sender.0.len(), 32);
    let hub = Hub::start_in(hub.stop().await).await;
    let alice = Open::new(&hub).with_token(&alice.token);
    assert_eq!(alice.get("/v1/mls/keys").await.done::<HubKeys>(), keys);
}

/// A group of alice's to which she adds bob without the device `left_out`.
async fn add_without(alice: &Person, bob: &Person, left_out: &Person) -> Answer {
    let (conversation, mut at_alice) = alice.new_group().await;
    let claimed = claim(alice, &[bob.user]).await;
    let kept = claimed.into_iter().filter(|claimed| claimed.device != left_out.mls.device);
    let kept: Vec<_> = kept.map(|claimed| claimed.key_package.0).collect();
    assert!(!kept.is_empty());
    alice.commit(conversation, &commit(&mut at_alice, &kept, &[])).await
}

#[tokio::test]
async fn a_device_whose_key_packages_have_expired_keeps_nobody_from_adding_its_user() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let old = Person::open(&hub, "bob", "/v1/sessions", 3).await;
    upload(&old, Vec::new(), Some(old.mls.key_package())).await;
    connect(&alice, &bob).await;
    let problem = add_without(&alice, &bob, &old).await.refused(Code::DeviceMismatch);
    assert_eq!(problem.missing, [UserDevice { user: bob.user, device: old.mls.device }]);

    // 84 days later the device's key packages have expired, and what was claimed of them was claimed long ago.
    let old_device = [old.mls.device.get().cast_signed()];
    hub.change("UPDATE key_packages SET expires_at = 1 WHERE device = ?1", old_device);
    hub.change("UPDATE spent_key_packages SET expires_at = 1, claimed_at = 0 WHERE device = ?1", old_device);
    let devices: Vec<_> =
        claim(&alice, &[bob.user]).await.into_iter().map(|claimed| claimed.device).collect();
    assert_eq!(devices, [bob.mls.device]);
    add_without(&alice, &bob, &old).await.done::<CommitAccepted>();
}

#[tokio::test]
async fn a_device_whose_last_key_package_was_claimed_for_the_change_has_to_be_in_it() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let phone = Person::open(&hub, "bob", "/v1/sessions", 1).await;
    connect(&alice, &bob).await;
    connect(&carol, &bob).await;
    add_without(&alice, &bob, &phone).await.refused(Code::DeviceMismatch);
    // Carol was given none and can be given none.
    add_without(&carol, &bob, &phone).await.done::<CommitAccepted>();
    hub.change("UPDATE spent_key_packages SET claimed_at = claimed_at - 3600001", ());
    add_without(&alice, &bob, &phone).await.done::<CommitAccepted>();
}

fn reference(key_package: &[u8]) -> Base64 {
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(CipherSuite::CURVE25519_AES128).unwrap();
    let message = mls_rs::MlsMessage::from_bytes(key_package).unwrap();
    Base64(message.as_key_package().unwrap().to_reference(&suite).unwrap().to_vec())
}

#[tokio::test]
async fn key_packages_are_deleted_by_their_references_and_not_taken_again() {
    let hub = Hub::start().await;
    let (alice, bob) =
        (Person::sign_up(&hub, "alice").await, Person::open(&hub, "bob", "/v1/accounts", 0).await);
    connect(&alice, &bob).await;
    let key_packages: Vec<_> = (0..3).map(|_| bob.mls.key_package()).collect();
    let last = bob.mls.key_package();
    assert_eq!(upload(&bob, key_packages.clone(), Some(last.clone())).await, 3);
    let deleted = |person: &Person, references: Vec<Base64>| {
        let request = person.request(reqwest::Method::DELETE, "/v1/key-packages");
        let request = request.json(&KeyPackageDeletion { references });
        let answer = Answer::to(request.bearer_auth(&person.token));
        async move { answer.await.done::<KeyPackageCount>().count }
    };
    // Another's are no business of hers, and what names nothing deletes nothing.
    assert_eq!(deleted(&alice, vec![reference(&key_packages[0])]).await, 3, "her own three");
    assert_eq!(deleted(&bob, vec![Base64(vec![7; 32]), Base64(Vec::new()), reference(&last)]).await, 3);
    assert_eq!(deleted(&bob, vec![reference(&key_packages[0]), reference(&key_packages[2])]).await, 1);
    assert_eq!(upload(&bob, vec![key_packages[0].clone()], None).await, 1, "it was taken back");
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, key_packages[1]);
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, last);
}

#[tokio::test]
async fn key_packages_are_replaced_at_once() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (kept, fresh) = (bob.mls.key_package(), bob.mls.key_package());
    let last = bob.mls.key_package();
    assert_eq!(upload(&bob, vec![kept.clone()], Some(last.clone())).await, 4);
    let replacement = KeyPackageUpload {
        key_packages: vec![Base64(kept.clone()), Base64(fresh.clone())],
        last_resort: None,
    };
    let count = bob.put("/v1/key-packages", &replacement).await.done::<KeyPackageCount>().count;
    assert_eq!(count, 2);
    let mut claimed = BTreeSet::new();
    for _ in 0..2 {
        claimed.insert(claim(&alice, &[bob.user]).await[0].key_package.0.clone());
    }
    assert_eq!(claimed, BTreeSet::from([kept, fresh]));
    assert_eq!(claim(&alice, &[bob.user]).await[0].key_package.0, last, "the last-resort one stayed");
    // What is refused replaces nothing.
    let broken = KeyPackageUpload { key_packages: vec![Base64(vec![1])], last_resort: None };
    bob.put("/v1/key-packages", &broken).await.refused(Code::InvalidKeyPackage);
}

#[tokio::test]
async fn expired_key_packages_are_neither_handed_out_nor_counted() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let last = bob.mls.key_package();
    assert_eq!(upload(&bob, Vec::new(), Some(last)).await, 3);
    hub.change("UPDATE key_packages SET expires_at = 1 WHERE user_id = ?1", [bob.user.as_bytes()]);
    assert_eq!(bob.get("/v1/key-packages/count").await.done::<KeyPackageCount>().count, 0);
    assert!(claim(&alice, &[bob.user]).await.is_empty(), "the last-resort one has expired too");
    assert_eq!(upload(&bob, vec![bob.mls.key_package()], None).await, 1);
    assert_eq!(claim(&alice, &[bob.user]).await.len(), 1);
}

#[tokio::test]
async fn the_owner_is_told_once_when_the_supply_falls_below_the_threshold() {
    let hub =
        Hub::start_with(tempfile::tempdir().unwrap(), |config| config.limits.key_packages_low = 2).await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let told = async || {
        let low = |event: tertulia_api::event::Event| match event.body {
            EventBody::KeyPackagesLow { device, count } => Some((device, count)),
            _ => None,
        };
        bob.events().await.into_iter().filter_map(low).collect::<Vec<_>>()
    };
    claim(&alice, &[bob.user]).await;
    assert!(told().await.is_empty(), "two are left");
    claim(&alice, &[bob.user]).await;
    claim(&alice, &[bob.user]).await;
    claim(&alice, &[bob.user]).await;
    assert_eq!(told().await, [(bob.mls.device, 1)]);
    // Too few are no supply; enough are, and when they have gone it is said again.
    upload(&bob, vec![bob.mls.key_package()], None).await;
    claim(&alice, &[bob.user]).await;
    assert_eq!(told().await.len(), 1);
    upload(&bob, (0..3).map(|_| bob.mls.key_package()).collect(), None).await;
    claim(&alice, &[bob.user]).await;
    claim(&alice, &[bob.user]).await;
    assert_eq!(told().await, [(bob.mls.device, 1), (bob.mls.device, 1)]);
    assert!(alice.events().await.iter().all(|event| !matches!(event.body, EventBody::KeyPackagesLow { .. })));
}
