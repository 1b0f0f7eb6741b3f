//! What is checked of a key package when it is uploaded, each check by itself.
#![allow(clippy::unwrap_used)]

mod support;

use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, ExtensionList, IdentityProvider,
    crypto::{SignaturePublicKey, SignatureSecretKey},
    identity::{
        CredentialType, SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rs_codec::MlsEncode as _,
    time::MlsTime,
};
use mls_rs_core::identity::MemberValidationContext;
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use serde_json::json;
use std::time::Duration;
use support::{
    hub::{Answer, Hub, PASSWORD},
    open::Client as Open,
};
use tertulia_api::{
    Base64, Code,
    account::{KeyPackageCount, KeyPackageUpload, NewDevice, Session},
};
use tertulia_domain::DeviceId;

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;
const DAY: u64 = 24 * 60 * 60;

/// A device that has registered a key, and what its key packages are made of.
struct Device {
    _hub: Hub,
    session: Open,
    secret: SignatureSecretKey,
    public: SignaturePublicKey,
    identity: String,
}

/// What is made differently.
#[derive(Clone)]
struct Made {
    suite: CipherSuite,
    identity: Option<String>,
    another_key: bool,
    lists: Vec<CredentialType>,
    days: u64,
    /// Seconds from now at which its lifetime begins.
    begins: i64,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            suite: SUITE,
            identity: None,
            another_key: false,
            lists: vec![CredentialType::BASIC],
            days: 1,
            begins: -60,
        }
    }
}

/// Accepts everything, and says that it supports what it is told to.
#[derive(Clone)]
struct Lists(Vec<CredentialType>);

impl IdentityProvider for Lists {
    type Error = <BasicIdentityProvider as IdentityProvider>::Error;

    fn validate_member(
        &self,
        identity: &SigningIdentity,
        time: Option<MlsTime>,
        context: MemberValidationContext<'_>,
    ) -> Result<(), Self::Error> {
        BasicIdentityProvider.validate_member(identity, time, context)
    }

    fn validate_external_sender(
        &self,
        identity: &SigningIdentity,
        time: Option<MlsTime>,
        extensions: Option<&ExtensionList>,
    ) -> Result<(), Self::Error> {
        BasicIdentityProvider.validate_external_sender(identity, time, extensions)
    }

    fn identity(
        &self,
        identity: &SigningIdentity,
        extensions: &ExtensionList,
    ) -> Result<Vec<u8>, Self::Error> {
        BasicIdentityProvider.identity(identity, extensions)
    }

    fn valid_successor(
        &self,
        before: &SigningIdentity,
        after: &SigningIdentity,
        extensions: &ExtensionList,
    ) -> Result<bool, Self::Error> {
        BasicIdentityProvider.valid_successor(before, after, extensions)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        self.0.clone()
    }
}

fn keys(suite: CipherSuite) -> (SignatureSecretKey, SignaturePublicKey) {
    AwsLcCryptoProvider::new().cipher_suite_provider(suite).unwrap().signature_key_generate().unwrap()
}

impl Device {
    async fn new() -> Self {
        let hub = Hub::start().await;
        let open = Open::new(&hub);
        let credentials = json!({ "handle": "alice", "password": PASSWORD });
        let session: Session = open.post("/v1/accounts", &credentials).await.done();
        let open = open.with_token(&session.token);
        let device = DeviceId::random();
        let (secret, public) = keys(SUITE);
        let new = NewDevice {
            device,
            label: "laptop".into(),
            signature_key: Base64(public.to_vec()),
            key_packages: Vec::new(),
            last_resort: None,
        };
        assert_eq!(open.post("/v1/devices", &new).await.status, 201);
        let identity = format!("{}:{device}@localhost", session.user);
        Self { _hub: hub, session: open, secret, public, identity }
    }

    fn make(&self, made: &Made) -> Vec<u8> {
        let (secret, public) = if made.another_key || made.suite != SUITE {
            keys(made.suite)
        } else {
            (self.secret.clone(), self.public.clone())
        };
        let identity = made.identity.as_ref().unwrap_or(&self.identity);
        let credential = BasicCredential::new(identity.as_bytes().to_vec()).into_credential();
        let now = MlsTime::now().seconds_since_epoch();
        let begins = MlsTime::from(now.checked_add_signed(made.begins).unwrap());
        Client::builder()
            .crypto_provider(AwsLcCryptoProvider::new())
            .identity_provider(Lists(made.lists.clone()))
            .key_package_lifetime(Duration::from_secs(made.days * DAY))
            .signing_identity(SigningIdentity::new(credential, public), secret, made.suite)
            .build()
            .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), Some(begins))
            .and_then(|message| message.to_bytes())
            .unwrap()
    }

    async fn upload(&self, key_package: Vec<u8>) -> Answer {
        let body = KeyPackageUpload { key_packages: vec![Base64(key_package)], last_resort: None };
        self.session.post("/v1/key-packages", &body).await
    }

    /// It is refused, in words that have this in them.
    async fn refused(&self, key_package: Vec<u8>, because: &str) {
        let problem = self.upload(key_package).await.refused(Code::InvalidKeyPackage);
        assert!(problem.detail.contains(because), "{}", problem.detail);
    }
}

#[tokio::test]
async fn a_key_package_as_it_should_be_is_taken() {
    let device = Device::new().await;
    let good = device.make(&Made::default());
    assert_eq!(device.upload(good).await.done::<KeyPackageCount>().count, 1);
}

#[tokio::test]
async fn the_cipher_suite_is_one_of_the_hub() {
    let device = Device::new().await;
    let made = device.make(&Made { suite: CipherSuite::P256_AES128, ..Made::default() });
    device.refused(made, "cipher suite").await;
}

#[tokio::test]
async fn the_version_is_mls10() {
    let device = Device::new().await;
    let mut made = device.make(&Made::default());
    made[5] = 2; // the version inside the key package
    device.refused(made, "not mls10").await;
}

#[tokio::test]
async fn the_signature_of_the_key_package_is_checked() {
    let device = Device::new().await;
    let mut made = device.make(&Made::default());
    *made.last_mut().unwrap() ^= 1;
    device.refused(made, "MLS does not allow it").await;
}

#[tokio::test]
async fn the_signature_of_the_leaf_is_checked() {
    let device = Device::new().await;
    // A leaf that another key has signed inside a key package that the right key has signed cannot be made by a client;
    // a bit of the leaf's signature does as well, with the outer signature made anew over it.
    let good = device.make(&Made::default());
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(SUITE).unwrap();
    // version, suite, init key, leaf node, extensions, then the signature with a length of two bytes.
    let (signed, _) = good[4..].split_at(good.len() - 4 - 66);
    let mut signed = signed.to_vec();
    let leaf_signature_ends = signed.len() - 1; // no extensions: one byte says so
    signed[leaf_signature_ends - 1] ^= 1;
    let label = b"MLS 1.0 KeyPackageTBS".to_vec();
    let content = [label.mls_encode_to_vec().unwrap(), signed.mls_encode_to_vec().unwrap()].concat();
    let signature = suite.sign(&device.secret, &content).unwrap();
    let forged = [&good[..4], &signed, &signature.mls_encode_to_vec().unwrap()].concat();
    device.refused(forged, "MLS does not allow it").await;

    // The same with nothing changed is taken, so it is the leaf's signature that was found.
    let signed = &good[4..good.len() - 66];
    let content = [label.mls_encode_to_vec().unwrap(), signed.to_vec().mls_encode_to_vec().unwrap()].concat();
    let signature = suite.sign(&device.secret, &content).unwrap();
    let again = [&good[..4], signed, &signature.mls_encode_to_vec().unwrap()].concat();
    assert_eq!(device.upload(again).await.done::<KeyPackageCount>().count, 1);
}

#[tokio::test]
async fn the_credential_equals_the_uploading_device() {
    let device = Device::new().await;
    let another = format!("{}:{}@localhost", tertulia_domain::UserId::random(), DeviceId::random());
    for (identity, because) in [
        (another, "credential names another device"),
        (device.identity.replace("localhost", "elsewhere.example"), "device of another hub"),
        ("alice".to_owned(), "not that of a device"),
    ] {
        let made = device.make(&Made { identity: Some(identity), ..Made::default() });
        device.refused(made, because).await;
    }
}

#[tokio::test]
async fn the_leaf_key_equals_the_key_that_the_device_registered() {
    let device = Device::new().await;
    let made = device.make(&Made { another_key: true, ..Made::default() });
    device.refused(made, "another signature key").await;
}

#[tokio::test]
async fn the_capabilities_list_the_credential() {
    let device = Device::new().await;
    let made = device.make(&Made { lists: vec![CredentialType::X509], ..Made::default() });
    device.refused(made, "credential").await;
}

#[tokio::test]
async fn the_lifetime_is_not_over() {
    let device = Device::new().await;
    let over = -i64::try_from(2 * DAY).unwrap();
    device
        .refused(device.make(&Made { begins: over, ..Made::default() }), "not within key package lifetime")
        .await;
}

#[tokio::test]
async fn the_lifetime_has_begun() {
    let device = Device::new().await;
    let tomorrow = i64::try_from(DAY).unwrap();
    device
        .refused(
            device.make(&Made { begins: tomorrow, ..Made::default() }),
            "not within key package lifetime",
        )
        .await;
}

#[tokio::test]
async fn the_lifetime_is_no_longer_than_the_maximum() {
    let device = Device::new().await;
    device.refused(device.make(&Made { days: 85, ..Made::default() }), "84 days").await;
    device.upload(device.make(&Made { days: 84, ..Made::default() })).await.done::<KeyPackageCount>();
}
