//! MLS devices for tests, made with mls-rs directly: the hub does not depend on the project's own engine.

use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, Extension, ExtensionList, Group,
    MlsMessage, MlsRules,
    client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules},
    crypto::SignatureSecretKey,
    extension::{ExtensionType, built_in::ExternalSendersExt},
    group::{CommitOutput, CommitSecrets, GroupContext, ReceivedMessage, Roster, Sender, proposal::Proposal},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{
        CommitDirection, CommitOptions, CommitSource, DefaultMlsRules, EncryptionOptions, ProposalBundle,
        ProposalSource,
    },
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};
use tertulia_api::policy;
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, DeviceId, Domain, UserId,
    policy::{Change, Committer, Policy, Proposer},
};

pub type Config = WithMlsRules<
    PolicyRules,
    WithIdentityProvider<BasicIdentityProvider, WithCryptoProvider<AwsLcCryptoProvider, BaseConfig>>,
>;

/// What a group has whose commits are encrypted.
const ENCRYPTED_HANDSHAKE: ExtensionType = ExtensionType::new(policy::ENCRYPTED_HANDSHAKE_EXTENSION_TYPE);

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

/// A device's MLS side: keys, key packages, and what it needs to be in groups.
pub struct MlsDevice {
    pub user: UserId,
    pub device: DeviceId,
    pub signature_key: Vec<u8>,
    secret: SignatureSecretKey,
    pub client: Client<Config>,
}

/// Has every commit bring the policy up to date, unless the commit says itself what it is to be.
#[derive(Clone)]
pub struct PolicyRules(DefaultMlsRules);

impl MlsRules for PolicyRules {
    type Error = Infallible;

    fn filter_proposals(
        &self,
        direction: CommitDirection,
        source: CommitSource,
        roster: &Roster<'_>,
        context: &GroupContext,
        mut proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Infallible> {
        let explicit = !proposals.group_context_ext_proposals().is_empty();
        let (CommitDirection::Send, CommitSource::ExistingMember(committer), Some(policy), false) =
            (direction, source, policy_of(context), explicit)
        else {
            return Ok(proposals);
        };
        let by_leaf: BTreeMap<u32, UserId> = roster
            .members_iter()
            .filter(|member| !is_history(&member.signing_identity))
            .map(|member| (member.index, user_of(&member.signing_identity)))
            .collect();
        let own = user_of(&committer.signing_identity);
        let by = |sender: &Sender| match sender {
            Sender::External(_) => Proposer::Hub,
            Sender::Member(leaf) => Proposer::User(by_leaf[leaf]),
            _ => Proposer::User(own),
        };
        let removed: BTreeMap<u32, Proposer> = proposals
            .remove_proposals()
            .iter()
            .map(|info| (info.proposal.to_remove(), by(info.sender())))
            .filter(|(leaf, _)| by_leaf.contains_key(leaf))
            .collect();
        let change = Change {
            committer: Committer::Member(own),
            added: proposals
                .add_proposals()
                .iter()
                .filter(|info| !is_history(info.proposal.signing_identity()))
                .map(|info| (user_of(info.proposal.signing_identity()), by(info.sender())))
                .collect(),
            removed: removed.iter().map(|(leaf, by)| (by_leaf[leaf], *by)).collect(),
            kept: by_leaf
                .iter()
                .filter(|(leaf, _)| !removed.contains_key(leaf))
                .map(|(_, user)| *user)
                .collect(),
            by_link: BTreeSet::new(),
        };
        // Whose devices the hub removes has left, in these tests.
        let left = |user| removed.iter().any(|(leaf, by)| by_leaf[leaf] == user && *by == Proposer::Hub);
        let after = policy.clone().after(&change, |user| !left(user));
        if after != policy {
            let mut extensions = context.extensions().clone();
            extensions.set(extension(&after));
            let sender = Sender::Member(committer.index);
            proposals.add(Proposal::GroupContextExtensions(extensions), sender, ProposalSource::ByValue);
        }
        Ok(proposals)
    }

    fn commit_options(
        &self,
        roster: &Roster<'_>,
        context: &GroupContext,
        proposals: &ProposalBundle,
    ) -> Result<CommitOptions, Infallible> {
        self.0.commit_options(roster, context, proposals)
    }

    fn encryption_options(
        &self,
        roster: &Roster<'_>,
        context: &GroupContext,
    ) -> Result<EncryptionOptions, Infallible> {
        let mut options = self.0.encryption_options(roster, context)?;
        options.encrypt_control_messages = context.extensions().has_extension(ENCRYPTED_HANDSHAKE);
        Ok(options)
    }
}

/// No user is behind a history client, and no policy names it.
fn is_history(identity: &SigningIdentity) -> bool {
    identity.credential.as_basic().unwrap().identifier.starts_with(b"history-client:")
}

fn user_of(identity: &SigningIdentity) -> UserId {
    let name = &identity.credential.as_basic().unwrap().identifier;
    // Not all names in these tests are devices'.
    DeviceAddress::from_identity(name).map_or(UserId::from_bytes([0; 16]), |address| address.user)
}

fn extension(policy: &Policy) -> Extension {
    Extension::new(ExtensionType::new(policy::EXTENSION_TYPE), policy::encode(policy))
}

/// The policy in a group's context, if it has one.
pub fn policy_of(context: &GroupContext) -> Option<Policy> {
    let extension = context.extensions().get(ExtensionType::new(policy::EXTENSION_TYPE))?;
    Some(policy::decode(Some(&extension.extension_data)).unwrap())
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
            .mls_rules(PolicyRules(DefaultMlsRules::new().with_commit_options(options)))
            .extension_type(ExtensionType::new(policy::EXTENSION_TYPE))
            .extension_type(ENCRYPTED_HANDSHAKE)
            .key_package_lifetime(Duration::from_hours(24))
            .signing_identity(SigningIdentity::new(credential, public), secret.clone(), SUITE)
            .build();
        Self { user, device, signature_key, secret, client }
    }

    /// The same device run by a program that knows nothing of policies.
    pub fn without_policies(&self) -> Client<Config> {
        let (identity, suite) = self.client.signing_identity().unwrap();
        Client::builder()
            .crypto_provider(AwsLcCryptoProvider::new())
            .identity_provider(BasicIdentityProvider)
            .mls_rules(PolicyRules(DefaultMlsRules::new()))
            .key_package_lifetime(Duration::from_hours(24))
            .signing_identity(identity.clone(), self.secret.clone(), suite)
            .build()
    }

    /// A signature with the device's signature key.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let suite = AwsLcCryptoProvider::new().cipher_suite_provider(SUITE).unwrap();
        suite.sign(&self.secret, bytes).unwrap()
    }

    /// A key package as an `MLSMessage`.
    pub fn key_package(&self) -> Vec<u8> {
        self.client
            .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None)
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    /// The group of a conversation of type group at epoch 0, whose external sender has this key, with its creator as admin.
    pub fn create_managed(&self, conversation: ConversationId, hub_key: &[u8]) -> Group<Config> {
        let policy = Policy::new(conversation, ConversationType::Group, self.user).unwrap();
        self.create_with(conversation.as_bytes(), hub_key, Some(&policy))
    }

    /// A group without a policy, as that of a 1:1.
    pub fn create_group(&self, group_id: &[u8], hub_key: &[u8]) -> Group<Config> {
        self.create_with(group_id, hub_key, None)
    }

    /// The group of a conversation of type group whose commits are encrypted, at epoch 0.
    pub fn create_encrypted(&self, conversation: ConversationId, hub_key: &[u8]) -> Group<Config> {
        let policy = Policy::new(conversation, ConversationType::Group, self.user).unwrap();
        let encrypted = Extension::new(ENCRYPTED_HANDSHAKE, Vec::new());
        self.create(conversation.as_bytes(), hub_key, [extension(&policy), encrypted])
    }

    /// A group at epoch 0 that names this key as its external sender.
    pub fn create_with(&self, group_id: &[u8], hub_key: &[u8], policy: Option<&Policy>) -> Group<Config> {
        self.create(group_id, hub_key, policy.map(extension))
    }

    fn create(
        &self,
        group_id: &[u8],
        hub_key: &[u8],
        further: impl IntoIterator<Item = Extension>,
    ) -> Group<Config> {
        let credential = BasicCredential::new(b"external-sender".to_vec()).into_credential();
        let hub = SigningIdentity::new(credential, hub_key.to_vec().into());
        let mut extensions = ExtensionList::new();
        extensions.set_from(ExternalSendersExt::new(vec![hub])).unwrap();
        for extension in further {
            extensions.set(extension);
        }
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

/// A commit that adds these devices and gives the group this policy. It is pending afterwards.
pub fn commit_adding(group: &mut Group<Config>, key_packages: &[Vec<u8>], policy: &Policy) -> Bundle {
    let mut extensions = group.context().extensions().clone();
    extensions.set(extension(policy));
    let mut builder = group.commit_builder().set_group_context_ext(extensions).unwrap();
    for key_package in key_packages {
        builder = builder.add_member(message(key_package)).unwrap();
    }
    builder.build().unwrap().into()
}

/// The policy of the group.
pub fn policy_in(group: &Group<Config>) -> Policy {
    policy_of(group.context()).unwrap()
}

/// A commit that gives the group this policy, and does nothing else. It is pending afterwards.
pub fn commit_policy(group: &mut Group<Config>, policy: &Policy) -> Bundle {
    let mut extensions = group.context().extensions().clone();
    extensions.set(extension(policy));
    group.commit_builder().set_group_context_ext(extensions).unwrap().build().unwrap().into()
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
