//! A device with OpenMLS, set up as the existing clients are.
//!
//! What they are strict about: a key package must begin to be valid in the past, in whole seconds, and live for 84 days
//! and an hour at most; leaves must name the credential types that the group requires, basic and X.509.

use async_trait::async_trait;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, CommitMessageBundle, CredentialType, CredentialWithKey,
    Extension, Extensions, ExternalSender, GroupContext, GroupId, KeyPackage, KeyPackageIn, LeafNodeIndex,
    LeafNodeParameters, Lifetime, MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY, MlsGroup, MlsGroupCreateConfig,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, OpenMlsProvider,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, ProtocolMessage, ProtocolVersion,
    RequiredCapabilitiesExtension, SenderRatchetConfiguration, StagedWelcome, WireFormatPolicy,
    tls_codec::{Deserialize as _, Serialize as _},
};

use super::{
    Change, Device, GROUP, State, Style,
    crypto::{Provider, SigningKey},
    hub::{Bundle, Entry, Hub, is_late_proposal, protocol_message},
};

pub(crate) struct OpenMlsDevice {
    name: String,
    number: usize,
    suite: Ciphersuite,
    policy: WireFormatPolicy,
    hub: Hub,
    pub(crate) provider: Provider,
    signer: SigningKey,
    credential: CredentialWithKey,
    pub(crate) group: Option<MlsGroup>,
    cursor: usize,
}

const PADDING: usize = 128;
const PAST_EPOCHS: usize = 3;

fn ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(2, 1000)
}

const CREDENTIALS: [CredentialType; 2] = [CredentialType::Basic, CredentialType::X509];

/// What the existing clients' leaves name.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[
            Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
            Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
            Ciphersuite::MLS_256_DHKEMP384_AES256GCM_SHA384_P384,
            Ciphersuite::MLS_256_DHKEMP521_AES256GCM_SHA512_P521,
        ]),
        Some(&[]),
        Some(&[]),
        Some(&CREDENTIALS),
    )
}

impl OpenMlsDevice {
    pub(crate) fn new(hub: &Hub, number: usize, style: Style) -> Self {
        Self::named(hub, number, style, super::identity(number))
    }

    pub(crate) fn named(hub: &Hub, number: usize, style: Style, name: String) -> Self {
        let suite = Ciphersuite::try_from(style.suite).unwrap();
        let signer = SigningKey::generate(suite);
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
            signature_key: signer.public.clone().into(),
        };
        // External commits and proposals of the hub are plaintext in any case, so that the policy must be a mixed one.
        let policy = if style.encrypted {
            MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY
        } else {
            PURE_PLAINTEXT_WIRE_FORMAT_POLICY
        };
        let provider = Provider::default();
        Self {
            name,
            number,
            suite,
            policy,
            hub: hub.clone(),
            provider,
            signer,
            credential,
            group: None,
            cursor: 0,
        }
    }

    pub(crate) fn group(&mut self) -> &mut MlsGroup {
        self.group.as_mut().unwrap()
    }

    fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(self.policy)
            .padding_size(PADDING)
            .max_past_epochs(PAST_EPOCHS)
            .use_ratchet_tree_extension(true)
            .sender_ratchet_configuration(ratchet())
            .build()
    }

    /// [`Self::key_package_for`] as an `MLSMessage`.
    pub(crate) fn key_package_bytes_for(&mut self, seconds: u64) -> Vec<u8> {
        MlsMessageOut::from(self.key_package_for(seconds)).to_bytes().unwrap()
    }

    /// A key package that lives for `seconds`, back-dated by an hour.
    fn key_package_for(&mut self, seconds: u64) -> KeyPackage {
        KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(Lifetime::new(seconds))
            .build(self.suite, &self.provider, &self.signer, self.credential.clone())
            .unwrap()
            .key_package()
            .clone()
    }

    /// Reads and checks another's key package, bare or as an `MLSMessage`.
    pub(crate) fn read_key_package(&self, bytes: &[u8]) -> KeyPackage {
        let package = match MlsMessageIn::tls_deserialize_exact(bytes).map(MlsMessageIn::extract) {
            Ok(MlsMessageBodyIn::KeyPackage(package)) => package,
            _ => KeyPackageIn::tls_deserialize_exact(bytes).unwrap(),
        };
        package.validate(self.provider.crypto(), ProtocolVersion::Mls10).unwrap()
    }

    /// Builds a commit and leaves it pending.
    fn stage(&mut self, add: Vec<KeyPackage>, remove: Vec<LeafNodeIndex>) -> Bundle {
        let group = self.group.as_mut().unwrap();
        let bundle = group
            .commit_builder()
            .propose_adds(add)
            .propose_removals(remove)
            .force_self_update(true)
            .load_psks(self.provider.storage())
            .unwrap()
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        bundle_of(bundle)
    }

    /// Adds a member by a Welcome without the ratchet tree, which it returns.
    pub(crate) fn add_with_tree_beside(&mut self, package: &[u8]) -> Vec<u8> {
        let package = self.read_key_package(package);
        let group = self.group.as_mut().unwrap();
        let bundle = group
            .commit_builder()
            .propose_adds([package])
            .load_psks(self.provider.storage())
            .unwrap()
            .use_ratchet_tree_extension(false)
            .create_group_info(true)
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        assert!(self.send(bundle_of(bundle)));
        self.group().export_ratchet_tree().tls_serialize_detached().unwrap()
    }

    /// Sends a staged commit, and applies or drops it by the answer.
    fn send(&mut self, bundle: Bundle) -> bool {
        let taken = self.hub.commit(self.number, bundle);
        let group = self.group.as_mut().unwrap();
        if taken {
            group.merge_pending_commit(&self.provider).unwrap();
        } else {
            group.clear_pending_commit(self.provider.storage()).unwrap();
        }
        taken
    }

    fn process(&mut self, message: ProtocolMessage) -> Option<String> {
        let group = self.group.as_mut().unwrap();
        let processed = group.process_message(&self.provider, message).unwrap();
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => {
                return Some(String::from_utf8(message.into_bytes()).unwrap());
            }
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                group.store_pending_proposal(self.provider.storage(), *proposal).unwrap();
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                group.merge_staged_commit(&self.provider, *commit).unwrap();
                if !group.is_active() {
                    group.delete(self.provider.storage()).unwrap();
                    self.group = None;
                }
            }
            // Own messages are not passed to it.
            ProcessedMessageContent::OwnPendingCommit | ProcessedMessageContent::OwnPrivateMessage => {
                panic!("{} takes another's message for its own", self.name)
            }
        }
        None
    }
}

fn bundle_of(bundle: CommitMessageBundle) -> Bundle {
    let (commit, welcome, group_info) = bundle.into_messages();
    Bundle {
        commit: commit.to_bytes().unwrap(),
        welcome: welcome.map(|welcome| welcome.to_bytes().unwrap()),
        group_info: group_info.unwrap().to_bytes().unwrap(),
    }
}

#[async_trait(?Send)]
impl Device for OpenMlsDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> usize {
        self.number
    }

    fn state(&self) -> Option<State> {
        let group = self.group.as_ref()?;
        let roster = group
            .members()
            .map(|member| String::from_utf8(member.credential.serialized_content().to_vec()).unwrap());
        Some(State {
            epoch: group.epoch().as_u64(),
            authenticator: group.epoch_authenticator().as_slice().to_vec(),
            exported: group.export_secret(self.provider.crypto(), "exporter", &[], 48).unwrap(),
            roster: roster.collect(),
        })
    }

    fn leaf_of(&self, name: &str) -> Option<u32> {
        let mut members = self.group.as_ref()?.members();
        members
            .find(|member| member.credential.serialized_content() == name.as_bytes())
            .map(|member| member.index.u32())
    }

    async fn key_package(&mut self, bare: bool) -> Vec<u8> {
        let days = 24 * 3600;
        if bare {
            self.key_package_for(84 * days).tls_serialize_detached().unwrap()
        } else {
            self.key_package_bytes_for(84 * days)
        }
    }

    async fn create(&mut self, external_sender: &[u8]) {
        let sender = ExternalSender::new(
            external_sender.to_vec().into(),
            BasicCredential::new(b"delivery service".to_vec()).into(),
        );
        let extensions: Extensions<GroupContext> = Extensions::from_vec(vec![
            Extension::ExternalSenders(vec![sender]),
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(&[], &[], &CREDENTIALS)),
        ])
        .unwrap();
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(self.suite)
            .wire_format_policy(self.policy)
            .padding_size(PADDING)
            .max_past_epochs(PAST_EPOCHS)
            .use_ratchet_tree_extension(true)
            .sender_ratchet_configuration(ratchet())
            .capabilities(capabilities())
            .with_group_context_extensions(extensions)
            .build();
        let id = GroupId::from_slice(GROUP.as_bytes());
        let group =
            MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, id, self.credential.clone());
        self.group = Some(group.unwrap());
    }

    async fn join_by_welcome(&mut self) {
        let (welcome, place) = self.hub.welcome();
        let MlsMessageBodyIn::Welcome(welcome) =
            MlsMessageIn::tls_deserialize_exact(welcome).unwrap().extract()
        else {
            panic!("no Welcome")
        };
        let joined = StagedWelcome::new_from_welcome(&self.provider, &self.join_config(), welcome, None)
            .unwrap()
            .into_group(&self.provider);
        self.group = Some(joined.unwrap());
        self.cursor = place;
    }

    async fn join_externally(&mut self, bare: bool) {
        if let Some(mut old) = self.group.take() {
            old.delete(self.provider.storage()).unwrap();
        }
        let bytes = self.hub.group_info(bare);
        let info = match MlsMessageIn::tls_deserialize_exact(&bytes).map(MlsMessageIn::extract) {
            Ok(MlsMessageBodyIn::GroupInfo(info)) => info,
            _ => VerifiableGroupInfo::tls_deserialize_exact(&bytes).unwrap(),
        };
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(self.join_config())
            .build_group(&self.provider, info, self.credential.clone())
            .unwrap()
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())
            .unwrap()
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .finalize(&self.provider)
            .unwrap();
        assert!(self.hub.commit(self.number, bundle_of(bundle)));
        self.group = Some(group);
        self.cursor = self.hub.log_len();
    }

    async fn commit(&mut self, add: &[Vec<u8>], remove: &[String]) -> bool {
        let add = add.iter().map(|bytes| self.read_key_package(bytes)).collect();
        let remove = remove.iter().map(|name| LeafNodeIndex::new(self.leaf_of(name).unwrap())).collect();
        let bundle = self.stage(add, remove);
        self.send(bundle)
    }

    async fn commit_proposals(&mut self) -> bool {
        assert!(self.group().has_pending_proposals());
        let bundle = self.stage(Vec::new(), Vec::new());
        self.send(bundle)
    }

    async fn overtake(&mut self) -> bool {
        let bundle = self.stage(Vec::new(), Vec::new());
        self.hub.overtake_next(self.number, bundle);
        true
    }

    async fn propose(&mut self, change: Change) {
        let proposed = match change {
            Change::Add(package) => {
                let package = self.read_key_package(&package);
                let group = self.group.as_mut().unwrap();
                group.propose_add_member(&self.provider, &self.signer, &package).unwrap().0
            }
            Change::Remove(name) => {
                let leaf = LeafNodeIndex::new(self.leaf_of(&name).unwrap());
                let group = self.group.as_mut().unwrap();
                group.propose_remove_member(&self.provider, &self.signer, leaf).unwrap().0
            }
            Change::Update => {
                let group = self.group.as_mut().unwrap();
                let leaf = LeafNodeParameters::default();
                group.propose_self_update(&self.provider, &self.signer, leaf).unwrap().0
            }
        };
        self.hub.post(Some(self.number), proposed.to_bytes().unwrap());
    }

    async fn forget_proposals(&mut self) {
        let group = self.group.as_mut().unwrap();
        group.clear_pending_proposals(self.provider.storage()).unwrap();
    }

    async fn encrypt(&mut self, text: &str) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        group.create_message(&self.provider, &self.signer, text.as_bytes()).unwrap().to_bytes().unwrap()
    }

    async fn sync(&mut self) -> Vec<String> {
        let entries = self.hub.log_from(self.cursor);
        self.cursor += entries.len();
        let mut texts = Vec::new();
        for Entry { sender, message } in entries {
            if self.group.is_none() {
                break;
            }
            let message = protocol_message(&message);
            let group = self.group.as_mut().unwrap();
            // A commit of its own that overtook another's is still pending.
            if sender == Some(self.number) {
                if message.epoch() == group.epoch() && group.pending_commit().is_some() {
                    group.merge_pending_commit(&self.provider).unwrap();
                }
                continue;
            }
            if !is_late_proposal(&message, group.epoch().as_u64()) {
                texts.extend(self.process(message));
            }
        }
        texts
    }

    async fn restart(&mut self) {
        if let Some(group) = self.group.take() {
            let loaded = MlsGroup::load(self.provider.storage(), group.group_id()).unwrap();
            self.group = Some(loaded.unwrap());
        }
    }
}
