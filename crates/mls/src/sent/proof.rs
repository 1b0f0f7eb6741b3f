//! Whether a message that names this device as its sender is this device's.
//!
//! The library reads the sender data, finds this device, and stops: it verifies nothing. But the sender data are encrypted
//! with a key that every member has, and the message keys of all senders come from one secret, so that any member can
//! write a message in the name of another (RFC 9420, sections 6.3.2 and 9); it is the signature that tells. So the engine goes on
//! where the library stops, on a copy of the group: it has the message key of the generation derived, opens the message
//! (section 6.3.1) and verifies the signature with this device's own key (section 6.1). Keys, AEAD and signature are the
//! library's; what is put together here is their input.

use mls_rs::{
    CipherSuiteProvider,
    crypto::SignaturePublicKey,
    group::{GroupContext, MessageKey},
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
};
use zeroize::Zeroizing;

use super::{ContentDigest, PrivateMessage};
use crate::{
    conversation::ciphersuite,
    crypto::sender_data,
    provider::{self, MlsGroup},
    wire,
};

/// What a message proves that names this device as its sender, and that this device does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnMessage {
    /// It has this device's signature, and was encrypted with a key that this device has yet to use.
    Signed(ContentDigest),
    /// Nothing: it is forged or corrupted, or its key is used up here.
    Unproven,
}

/// Verifies an application message of the current epoch that the library takes for this device's own.
pub(crate) fn verify(group: &MlsGroup, bytes: &[u8]) -> OwnMessage {
    try_verify(group, bytes).map_or(OwnMessage::Unproven, OwnMessage::Signed)
}

fn try_verify(group: &MlsGroup, bytes: &[u8]) -> Option<ContentDigest> {
    let mut copy = group.clone();
    let message = PrivateMessage::mls_decode(&mut &*bytes).ok()?;
    let sender = read_sender(&mut copy, bytes)?;
    let own = group.current_member_index();
    // The library keeps none of the own keys that were used, and goes no further ahead than it goes for others.
    if sender.leaf != own || sender.generation < copy.peek_next_key_generation().ok()? {
        return None;
    }
    let key = copy.derive_decryption_key(own.checked_mul(2)?, sender.generation).ok()?;
    let content = open(group, &message, &sender, &key)?;
    let identity = group.current_member_signing_identity().ok()?;
    is_signed(group, &message, &content, &identity.signature_key)
        .then(|| ContentDigest::new(&message.authenticated_data, &content.application_data))
}

/// The content of the first message that this device has sent in the epoch, given the key that it was encrypted with.
pub(crate) fn content_of_first(group: &MlsGroup, key: &MessageKey, bytes: &[u8]) -> Option<ContentDigest> {
    let message = PrivateMessage::mls_decode(&mut &*bytes).ok()?;
    let sender = read_sender(&mut group.clone(), bytes)?;
    let content = open(group, &message, &sender, key)?;
    Some(ContentDigest::new(&message.authenticated_data, &content.application_data))
}

/// Who a message says that it is from (RFC 9420, section 6.3.2).
#[derive(MlsSize, MlsDecode)]
struct SenderData {
    leaf: u32,
    generation: u32,
    reuse_guard: [u8; 4],
}

/// On a copy, for the library may do something else with the message than to refuse it.
fn read_sender(copy: &mut MlsGroup, bytes: &[u8]) -> Option<SenderData> {
    let message = wire::message(bytes).ok()?;
    // That it is refused is known.
    let opened = sender_data::of_message_in(|| drop(copy.process_incoming_message(message)))?;
    SenderData::mls_decode(&mut &opened[..]).ok()
}

/// What is inside of an encrypted application message; zeros follow it as padding (RFC 9420, section 6.3.1).
#[derive(MlsSize, MlsDecode)]
struct Content {
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    application_data: Zeroizing<Vec<u8>>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    signature: Vec<u8>,
}

/// What the encryption authenticates (RFC 9420, section 6.3.1).
#[derive(MlsSize, MlsEncode)]
struct PrivateContentAad<'a> {
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    group_id: &'a [u8],
    epoch: u64,
    content_type: u8,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    authenticated_data: &'a [u8],
}

fn open(
    group: &MlsGroup,
    message: &PrivateMessage,
    sender: &SenderData,
    key: &MessageKey,
) -> Option<Content> {
    let suite = provider::cipher_suite_provider(ciphersuite(group).ok()?).ok()?;
    let aad = PrivateContentAad {
        group_id: &message.group_id,
        epoch: message.epoch,
        content_type: message.content_type,
        authenticated_data: &message.authenticated_data,
    };
    let aad = aad.mls_encode_to_vec().ok()?;
    let mut nonce = Zeroizing::new(key.nonce().to_vec());
    for (byte, guard) in nonce.iter_mut().zip(sender.reuse_guard) {
        *byte ^= guard;
    }
    let opened = suite.aead_open(key.key(), &message.ciphertext, Some(&aad), &nonce).ok()?;
    let mut rest = &opened[..];
    let content = Content::mls_decode(&mut rest).ok()?;
    rest.iter().all(|byte| *byte == 0).then_some(content)
}

/// What a member signs (RFC 9420, sections 5.1.2 and 6.1): a `FramedContentTBS` under its label.
#[derive(MlsSize, MlsEncode)]
struct SignContent<'a> {
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    label: &'a [u8],
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    content: Vec<u8>,
}

#[derive(MlsSize, MlsEncode)]
struct FramedContentTbs<'a> {
    version: u16,
    wire_format: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    group_id: &'a [u8],
    epoch: u64,
    sender_type: u8,
    sender: u32,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    authenticated_data: &'a [u8],
    content_type: u8,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    application_data: &'a [u8],
    context: GroupContext,
}

/// `SenderType` of a member (RFC 9420, section 6).
const MEMBER: u8 = 1;

fn is_signed(
    group: &MlsGroup,
    message: &PrivateMessage,
    content: &Content,
    key: &SignaturePublicKey,
) -> bool {
    let tbs = FramedContentTbs {
        version: message.version,
        wire_format: message.wire_format,
        group_id: &message.group_id,
        epoch: message.epoch,
        sender_type: MEMBER,
        sender: group.current_member_index(),
        authenticated_data: &message.authenticated_data,
        content_type: message.content_type,
        application_data: &content.application_data,
        context: group.context().clone(),
    };
    let verify = || {
        let suite = provider::cipher_suite_provider(ciphersuite(group).ok()?).ok()?;
        let signed =
            SignContent { label: b"MLS 1.0 FramedContentTBS", content: tbs.mls_encode_to_vec().ok()? };
        suite.verify(key, &content.signature, &signed.mls_encode_to_vec().ok()?).ok()
    };
    verify().is_some()
}
