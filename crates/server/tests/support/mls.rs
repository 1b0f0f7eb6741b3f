//! MLS devices for tests, made with mls-rs directly: the hub does not depend on the project's own engine.

use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, ExtensionList, Group, MlsMessage,
    client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules},
    extension::built_in::ExternalSendersExt,
    group::{CommitOutput, CommitSecrets, ReceivedMessage},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules},
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use std::time::Duration;
use tertulia_domain::{DeviceId, Domain, UserId};

pub type Config = WithMlsRules<
    DefaultMlsRules,
    WithIdentityProvider<BasicIdentityProvider, WithCryptoProvider<AwsLcCryptoProvider, BaseConfig>>,
>;

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

/// A device's MLS side: keys, key packages, and what it needs to be in groups.
pub struct MlsDevice {
    pub user: UserId,
    pub device: DeviceId,
    pub signature_key: Vec<u8>,
    pub client: Client<Config>,
}

/// A commit bundle before it is sent, in parts.
#[derive(Clone)]
pub struct Bundle {
    pub commit: MlsMessage,
    pub group_info: MlsMessage,
    pub welcome: Option<MlsMessage>,
    pub message: Option<MlsMessage>,
}

impl MlsDevice {
    pub fn new(user: UserId, domain: &Domain) -> Self {
        let device = DeviceId::random();
        Self::with_identity(user, device, format!("{user}:{device}@{domain}"))
    }

    pub fn with_identity(user: UserId, device: DeviceId, identity: String) -> Self {
        let crypto = AwsLcCryptoProvider::new();
        let suite = crypto.cipher_suite_provider(SUITE).unwrap();
        let (secret, public) = suite.signature_key_generate().unwrap();
        let signature_key = public.to_vec();
        let credential = BasicCredential::new(identity.into_bytes()).into_credential();
        let options = CommitOptions::new().with_path_required(true).with_allow_external_commit(true);
        let client = Client::builder()
            .crypto_provider(crypto)
            .identity_provider(BasicIdentityProvider)
            .mls_rules(DefaultMlsRules::new().with_commit_options(options))
            .key_package_lifetime(Duration::from_hours(24))
            .signing_identity(SigningIdentity::new(credential, public), secret, SUITE)
            .build();
        Self { user, device, signature_key, client }
    }

    /// A key package as an `MLSMessage`.
    pub fn key_package(&self) -> Vec<u8> {
        self.client
            .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None)
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    /// A group at epoch 0 that names this key as its external sender.
    pub fn create_group(&self, group_id: &[u8], hub_key: &[u8]) -> Group<Config> {
        let credential = BasicCredential::new(b"external-sender".to_vec()).into_credential();
        let hub = SigningIdentity::new(credential, hub_key.to_vec().into());
        let mut extensions = ExtensionList::new();
        extensions.set_from(ExternalSendersExt::new(vec![hub])).unwrap();
        self.client.create_group_with_id(group_id.to_vec(), extensions, ExtensionList::new(), None).unwrap()
    }

    /// The group that a Welcome is for.
    pub fn join(&self, welcome: &[u8]) -> Group<Config> {
        self.client.join_group(None, &message(welcome), None).unwrap().0
    }

    /// An external commit, which removes the earlier leaf `replaces`.
    pub fn external_commit(&self, group_info: &[u8], replaces: Option<u32>) -> (Group<Config>, Bundle) {
        let mut builder = self.client.external_commit_builder().unwrap();
        if let Some(leaf) = replaces {
            builder = builder.with_removal(leaf);
        }
        let (group, commit) = builder.build(message(group_info)).unwrap();
        let group_info = group.group_info_message_allowing_ext_commit(true).unwrap();
        (group, Bundle { commit, group_info, welcome: None, message: None })
    }
}

impl From<CommitOutput> for Bundle {
    fn from(output: CommitOutput) -> Self {
        Self {
            group_info: output.external_commit_group_info.expect("asked for by the commit options"),
            welcome: output.welcome_messages.into_iter().next(),
            commit: output.commit_message,
            message: None,
        }
    }
}

impl Bundle {
    /// As the body of a request.
    pub fn body(&self) -> Vec<u8> {
        let parts =
            [Some(&self.commit), Some(&self.group_info), self.welcome.as_ref(), self.message.as_ref()];
        parts.into_iter().flatten().flat_map(|part| part.to_bytes().unwrap()).collect()
    }
}

pub fn message(bytes: &[u8]) -> MlsMessage {
    MlsMessage::from_bytes(bytes).unwrap()
}

/// A commit that adds the owners of these key packages and removes these leaves. It is pending afterwards.
pub fn commit(group: &mut Group<Config>, key_packages: &[Vec<u8>], remove: &[u32]) -> Bundle {
    let mut builder = group.commit_builder();
    for key_package in key_packages {
        builder = builder.add_member(message(key_package)).unwrap();
    }
    for &leaf in remove {
        builder = builder.remove_member(leaf).unwrap();
    }
    builder.build().unwrap().into()
}

/// An empty commit of which nothing is kept in the group: its secrets are applied if it wins.
pub fn commit_detached(group: &mut Group<Config>) -> (Bundle, CommitSecrets) {
    let (output, secrets) = group.commit_builder().build_detached().unwrap();
    (output.into(), secrets)
}

/// An encrypted application message.
pub fn encrypt(group: &mut Group<Config>, text: &str) -> Vec<u8> {
    group.encrypt_application_message(text.as_bytes(), Vec::new()).unwrap().to_bytes().unwrap()
}

/// The text of an encrypted application message.
pub fn decrypt(group: &mut Group<Config>, bytes: &[u8]) -> String {
    match group.process_incoming_message(message(bytes)).unwrap() {
        ReceivedMessage::ApplicationMessage(text) => String::from_utf8(text.data().to_vec()).unwrap(),
        other => panic!("not an application message: {other:?}"),
    }
}

/// The leaf of a device.
pub fn leaf_of(group: &Group<Config>, device: &MlsDevice) -> u32 {
    let is_device = |member: &mls_rs::group::Member| {
        member.signing_identity.signature_key.as_ref() == device.signature_key.as_slice()
    };
    group.roster().members_iter().find(is_device).unwrap().index
}
