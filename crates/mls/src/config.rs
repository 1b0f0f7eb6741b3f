//! Settings of a session and of a conversation.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Ciphersuite, ExternalSender, GroupRules, Result,
    identity::{CertificatePolicy, ClientIdPolicy, DeviceIdPolicy},
};

/// Settings of a [`Session`](crate::Session).
#[derive(Clone)]
pub struct SessionConfig {
    /// Which identities may be members. Default: [`DeviceIdPolicy`].
    pub client_id_policy: Arc<dyn ClientIdPolicy>,
    /// What is done about certificates that are not good. Default: [`CertificatePolicy::Enforce`].
    pub certificate_policy: CertificatePolicy,
    /// Which commits the groups take, beside what MLS asks. Default: all.
    pub group_rules: Option<Arc<dyn GroupRules>>,
    /// How ciphertexts are padded. Default: [`Padding::Steps`].
    pub padding: Padding,
    /// Whether a message key is gone from disk as soon as the transaction that used it up is finished. Else it can be derived
    /// from what is on disk for up to 256 messages of its conversation, or until the epoch ends. Strict costs O(group) for
    /// each transaction, and empties the database's write-ahead log behind it; if a read that is under way prevents that for a
    /// second, the next transaction does it. Default: no.
    pub strict: bool,
    /// About how much memory may hold groups between transactions, in bytes. A group of 1000 takes about 1 MiB; one that is
    /// not held is loaded by each transaction that needs it. Default: 64 MiB.
    pub cache_bytes: usize,
    /// Most messages of a conversation that wait for their epoch or for proposals. Default: 1000.
    pub max_buffered_messages: usize,
    /// Most bytes of them, as they came. Default: 16 MiB.
    pub max_buffered_bytes: usize,
    /// Most members that one commit adds, at least 1; more are added by several. A commit with its Welcome and its group
    /// info has up to about 700 bytes for each member of the group and 600 for each new one, and hubs limit that. Default:
    /// 2500, with which a group of 10,000 can be made within 8 MiB a commit.
    pub adds_per_commit: usize,
    /// Settings of conversations that this device joins. Those that it creates have their own.
    pub joined: MlsCustomConfiguration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            client_id_policy: Arc::new(DeviceIdPolicy),
            certificate_policy: CertificatePolicy::default(),
            group_rules: None,
            padding: Padding::default(),
            strict: false,
            cache_bytes: 64 * 1024 * 1024,
            max_buffered_messages: 1000,
            max_buffered_bytes: 16 * 1024 * 1024,
            adds_per_commit: 2500,
            joined: MlsCustomConfiguration::default(),
        }
    }
}

impl fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig")
            .field("certificate_policy", &self.certificate_policy)
            .field("padding", &self.padding)
            .field("strict", &self.strict)
            .field("adds_per_commit", &self.adds_per_commit)
            .field("cache_bytes", &self.cache_bytes)
            .field("max_buffered_messages", &self.max_buffered_messages)
            .field("max_buffered_bytes", &self.max_buffered_bytes)
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

/// How much longer a ciphertext is than its content, so that its length tells less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Padding {
    /// Up to the next multiple of 32 bytes below 256 bytes, then of an eighth of the next power of two: at most 8 lengths
    /// between two powers of two.
    #[default]
    Steps,
    /// PADMÉ: 12 % at most, but short texts are told apart to 8 bytes.
    Padme,
    /// None. The length of each text shows.
    Off,
}

/// Settings of a conversation that is created. All members share them but the last, for they are in the group's context.
#[derive(Debug, Clone, Default)]
pub struct MlsConversationConfiguration {
    /// The ciphersuite, which must be the credential's.
    pub ciphersuite: Ciphersuite,
    /// Public keys that may propose from outside (RFC 9420, section 12.1.8.1), of the ciphersuite's signature scheme. The
    /// hub's is the first.
    pub external_senders: Vec<ExternalSender>,
    /// What the application's rules keep in the group's context: see [`GroupRules`]. At most
    /// [`MAX_GROUP_DATA`](Self::MAX_GROUP_DATA) bytes.
    pub group_data: Option<Vec<u8>>,
    /// Whether the handshake messages of all members are encrypted, for good. Every member's device has to know the extension
    /// that says so: [`ENCRYPTED_HANDSHAKE_EXTENSION`](crate::ENCRYPTED_HANDSHAKE_EXTENSION).
    pub handshake: MlsWirePolicy,
    /// Settings of this device only.
    pub custom: MlsCustomConfiguration,
}

impl MlsConversationConfiguration {
    /// Most external senders of a conversation.
    pub const MAX_EXTERNAL_SENDERS: usize = 16;
    /// Most group data, in bytes.
    pub const MAX_GROUP_DATA: usize = 1024 * 1024;

    /// Sets the external senders from public keys, each of them raw or a JWK: see [`ExternalSender`].
    ///
    /// That they fit the ciphersuite is checked when the conversation is created.
    pub fn set_raw_external_senders(
        &mut self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<()> {
        self.external_senders = keys
            .into_iter()
            .map(|key| ExternalSender::from_raw_or_jwk(key.as_ref()))
            .collect::<Result<_>>()?;
        Ok(())
    }
}

/// Settings of a conversation that concern this device only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlsCustomConfiguration {
    /// How long the own leaf's keys last at most, at least a minute. None: for ever, unless something else replaces them.
    ///
    /// A random moment in the last quarter of the span is chosen for the next ones, counted from this device's last commit
    /// or its joining. The application asks for what is due:
    /// [`Session::key_rotations_due`](crate::Session::key_rotations_due).
    pub key_rotation_span: Option<Duration>,
    /// Whether this device encrypts its handshake messages where the group leaves it open.
    pub wire_policy: MlsWirePolicy,
    /// How many application messages of one sender and epoch may still come after a later one: those right before the newest.
    /// Default: 2.
    pub out_of_order_tolerance: u32,
    /// How many application messages of one sender and epoch may be missing in a row, at most 1024. Default: 1000.
    pub maximum_forward_distance: u32,
    /// Past epochs whose late application messages can still be read, at least 1. Default: 3.
    ///
    /// Their secrets stay on this device for as long.
    pub prior_epochs: u16,
}

impl Default for MlsCustomConfiguration {
    fn default() -> Self {
        Self {
            key_rotation_span: None,
            wire_policy: MlsWirePolicy::default(),
            out_of_order_tolerance: 2,
            maximum_forward_distance: 1000,
            prior_epochs: 3,
        }
    }
}

/// Whether handshake messages are encrypted. Both are accepted from others. Who joins from outside sends theirs readable in
/// either case (RFC 9420, section 12.4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MlsWirePolicy {
    /// `PublicMessage`: signed, and readable for the hub, which can so check them.
    #[default]
    Plaintext,
    /// `PrivateMessage`.
    Ciphertext,
}
