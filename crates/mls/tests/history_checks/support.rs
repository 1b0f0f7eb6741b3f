//! A member with another implementation, who can send what it wants, and what is made up with it.

use std::time::Duration;

use crate::common::{AnyIdentity, Device, Hub, client_id, text};
use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage,
    client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider},
    identity::{SigningIdentity, basic::BasicCredential},
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
    time::MlsTime,
};
use mls_rs_core::key_package::KeyPackageData;
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use sha2::{Digest as _, Sha256};
use tertulia_mls::{
    ClientId, CommitOptions, CommitOutcome, ConversationId, EngineError, HistoryClient, HistorySecret,
    HistorySharing, HistorySpan, KeyPackage, MlsCommitBundle, MlsGroupInfoBundle, MlsGroupInfoEncryptionType,
    MlsRatchetTreeType, MlsTransport, SessionConfig,
};
use tertulia_store::{RecordKey, StoreError, WriteTx};

type Config = WithIdentityProvider<AnyIdentity, WithCryptoProvider<AwsLcCryptoProvider, BaseConfig>>;

/// A member with another implementation, which knows nothing of history, and can send what it wants.
pub(crate) struct Foreigner {
    hub: Hub,
    id: ConversationId,
    pub(crate) client: ClientId,
    group: Group<Config>,
    cursor: usize,
}

/// What stands in a message of history.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct Frame {
    spans: Vec<Shared>,
    has_application: bool,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    application: Vec<u8>,
}

#[derive(MlsSize, MlsEncode, MlsDecode)]
struct Shared {
    last_epoch: Option<u64>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    secret: Vec<u8>,
}

/// What stands in a secret, before the checksum.
#[derive(MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct Content {
    pub(crate) version: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) conversation: Vec<u8>,
    pub(crate) first_epoch: u64,
    pub(crate) ciphersuite: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) client_id: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) signature_key: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) signature_secret: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) key_package: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) welcome: Vec<u8>,
}

/// A secret with something changed, and its checksum made right.
pub(crate) fn changed(secret: &HistorySecret, change: impl FnOnce(&mut Content)) -> HistorySecret {
    let bytes = secret.as_bytes();
    let mut content = Content::mls_decode(&mut &bytes[..bytes.len() - 32]).unwrap();
    change(&mut content);
    let mut bytes = content.mls_encode_to_vec().unwrap();
    let label = Sha256::digest(b"tertulia history secret 1");
    bytes.extend(Sha256::new().chain_update(label).chain_update(bytes.clone()).finalize());
    HistorySecret::from_bytes(&bytes).unwrap()
}

/// A client of the other implementation.
pub(crate) fn foreign_client(name: &ClientId) -> Client<Config> {
    let suite = CipherSuite::CURVE25519_AES128;
    let provider = AwsLcCryptoProvider::new().cipher_suite_provider(suite).unwrap();
    let (secret, public) = provider.signature_key_generate().unwrap();
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    Client::builder()
        .crypto_provider(AwsLcCryptoProvider::new())
        .identity_provider(AnyIdentity)
        .signing_identity(SigningIdentity::new(credential, public), secret, suite)
        .key_package_lifetime(Duration::from_hours(24 * 7))
        .build()
}

/// The secret of the same history client in a made-up group: whoever holds a secret can do that.
pub(crate) fn forged(genuine: &HistorySecret) -> HistorySecret {
    let id = genuine.conversation_id().as_bytes().to_vec();
    let client = foreign_client(&client_id("nobody"));
    let mut group =
        client.create_group_with_id(id, ExtensionList::new(), ExtensionList::new(), None).unwrap();
    for _ in 1..genuine.first_epoch() {
        group.commit(Vec::new()).unwrap();
        group.apply_pending_commit().unwrap();
    }
    changed(genuine, |content| {
        let data = KeyPackageData::mls_decode(&mut &content.key_package[..]).unwrap();
        // As an `MLSMessage`: the version mls10, and the wire format of a key package.
        let package = [&[0, 1, 0, 5], &data.key_package_bytes[..]].concat();
        let package = MlsMessage::from_bytes(&package).unwrap();
        let output = group.commit_builder().add_member(package).unwrap().build().unwrap();
        content.welcome = output.welcome_messages[0].to_bytes().unwrap();
    })
}

impl Foreigner {
    /// Added by a member.
    pub(crate) async fn added(by: &mut Device, id: &ConversationId, name: &str) -> Self {
        let name = client_id(name);
        let client = foreign_client(&name);
        let hour_ago = MlsTime::from(MlsTime::now().seconds_since_epoch() - 3600);
        let package =
            client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), Some(hour_ago));
        let package = package.unwrap();
        let package = KeyPackage::from_bytes(&package.to_bytes().unwrap()).unwrap();
        by.change(id, vec![package], &[]).await.unwrap();
        by.sync(id).await;
        let (welcome, cursor) = by.hub.welcome(id);
        let (group, _) = client.join_group(None, &MlsMessage::from_bytes(&welcome).unwrap(), None).unwrap();
        Self { hub: by.hub.clone(), id: id.clone(), client: name, group, cursor }
    }

    pub(crate) fn sync(&mut self) {
        while let Some(message) = self.hub.log_entry(&self.id, self.cursor) {
            self.group.process_incoming_message(MlsMessage::from_bytes(&message).unwrap()).unwrap();
            self.cursor += 1;
        }
    }

    /// Commits the removal of a member, and what proposals there are, and nothing else.
    pub(crate) async fn remove(&mut self, client: Option<&ClientId>) {
        self.sync();
        let leaf = client.map(|client| {
            let members = self.group.roster().members();
            let is_it = |name: &[u8]| name == client.as_bytes();
            let mut members = members.iter();
            let member = members
                .find(|member| is_it(&member.signing_identity.credential.as_basic().unwrap().identifier));
            member.unwrap().index
        });
        let mut builder = self.group.commit_builder();
        if let Some(leaf) = leaf {
            builder = builder.remove_member(leaf).unwrap();
        }
        let output = builder.build().unwrap();
        self.group.apply_pending_commit().unwrap();
        let info = self.group.group_info_message_allowing_ext_commit(true).unwrap();
        let bundle = MlsCommitBundle {
            welcome: None,
            commit: output.commit_message.to_bytes().unwrap(),
            group_info: MlsGroupInfoBundle {
                encryption_type: MlsGroupInfoEncryptionType::Plaintext,
                ratchet_tree_type: MlsRatchetTreeType::Full,
                payload: info.to_bytes().unwrap(),
            },
            encrypted_message: None,
        };
        assert_eq!(self.hub.send_commit_bundle(&self.id, bundle).await, CommitOutcome::Accepted);
        self.cursor = self.hub.log_len(&self.id);
    }

    /// Sends these secrets as history.
    pub(crate) fn share(&mut self, spans: &[(&HistorySecret, Option<u64>)]) {
        self.sync();
        let shared = |(secret, last): &(&HistorySecret, Option<u64>)| Shared {
            last_epoch: *last,
            secret: secret.as_bytes().to_vec(),
        };
        let frame = Frame {
            spans: spans.iter().map(shared).collect(),
            has_application: false,
            application: Vec::new(),
        };
        let payload = frame.mls_encode_to_vec().unwrap();
        let label = b"tertulia history 1".to_vec();
        let message = self.group.encrypt_application_message(&payload, label).unwrap();
        self.hub.post(&self.id, message.to_bytes().unwrap());
        self.cursor = self.hub.log_len(&self.id);
    }
}

/// The spans of a made-up conversation of this name, one for each epoch from 1 on.
pub(crate) async fn made_up(id: &ConversationId, count: usize) -> Vec<HistorySecret> {
    let mut liar = Device::new(&Hub::new(), "somebody").await;
    liar.create(id).await;
    enable(&liar, id).await;
    for _ in 1..count {
        rotate(&liar, id).await.unwrap();
    }
    spans(&liar, id).into_iter().map(|span| span.secret).collect()
}

pub(crate) async fn enable(device: &Device, id: &ConversationId) {
    let mut tx = device.session.new_transaction().await.unwrap();
    tx.conversation(id).await.unwrap().enable_history_sharing().await.unwrap();
    tx.finish().await.unwrap();
}

pub(crate) async fn rotate(device: &Device, id: &ConversationId) -> Result<(), EngineError> {
    let mut tx = device.session.new_transaction().await.unwrap();
    tx.conversation(id).await.unwrap().rotate_history().await?;
    tx.finish().await
}

/// Gives all members what is held.
pub(crate) async fn share(device: &mut Device, id: &ConversationId, sharing: HistorySharing) -> usize {
    device.sync(id).await;
    let mut tx = device.session.new_transaction().await.unwrap();
    let messages = tx.conversation(id).await.unwrap().encrypt_history(sharing).unwrap();
    tx.finish().await.unwrap();
    let count = messages.len();
    for message in messages {
        device.hub.post(id, message);
    }
    count
}

pub(crate) async fn add_sharing_nothing(device: &mut Device, id: &ConversationId, newcomer: &mut Device) {
    device.sync(id).await;
    let package = newcomer.key_package().await;
    let mut tx = device.session.new_transaction().await.unwrap();
    let options = CommitOptions::default().history(HistorySharing::Nothing);
    tx.conversation(id).await.unwrap().change_members(vec![package], &[], options).await.unwrap();
    tx.finish().await.unwrap();
    newcomer.welcome(id).await;
}

pub(crate) async fn forget(device: &Device, id: &ConversationId, secret: &HistorySecret) -> bool {
    let mut tx = device.session.new_transaction().await.unwrap();
    let forgotten = tx.conversation(id).await.unwrap().forget_history(secret).unwrap();
    tx.finish().await.unwrap();
    forgotten
}

pub(crate) async fn confirm(device: &Device, id: &ConversationId, reader: &HistoryClient) -> bool {
    let mut tx = device.session.new_transaction().await.unwrap();
    let confirmed = tx.conversation(id).await.unwrap().confirm_history(reader).unwrap();
    tx.finish().await.unwrap();
    confirmed
}

pub(crate) fn spans(device: &Device, id: &ConversationId) -> Vec<HistorySpan> {
    device.session.history_spans(id).unwrap()
}

pub(crate) fn bounds(device: &Device, id: &ConversationId) -> Vec<(u64, Option<u64>, bool)> {
    spans(device, id).iter().map(|span| (span.first_epoch, span.last_epoch, span.is_verified)).collect()
}

/// The texts of the log that can be read with a secret.
pub(crate) fn replay(hub: &Hub, id: &ConversationId, secret: &HistorySecret) -> Vec<String> {
    let mut reader = HistoryClient::open(secret, &SessionConfig::default()).unwrap();
    let messages = (0..hub.log_len(id)).map(|index| hub.log_entry(id, index).unwrap());
    messages.filter_map(|message| text(reader.process(message).ok()?)).collect()
}

/// The store as one of an earlier version, which did not remember history clients.
pub(crate) async fn forget_what_was_seen(device: &Device, id: &ConversationId) {
    const HISTORY_SEEN: u16 = 11;
    let store = device.session.store();
    let records = store.read::<_, StoreError>(|tx| tx.records(HISTORY_SEEN, id.as_bytes())).unwrap();
    assert_eq!(records.len(), 2, "since when, and the client");
    let owner = id.as_bytes().to_vec();
    let mut tx = device.session.new_transaction().await.unwrap();
    let forget = move |w: &mut WriteTx<'_>| {
        records.into_iter().try_for_each(|(key, _)| {
            w.delete_record(&RecordKey { kind: HISTORY_SEEN, owner: owner.clone(), key })
        })
    };
    tx.store_write(forget).unwrap();
    tx.finish().await.unwrap();
}
