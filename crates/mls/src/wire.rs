//! Reading messages from outside.

use mls_rs::{MlsMessage, WireFormat, error::MlsError, group::ExportedTree};

use crate::{EngineError, Result};

/// Longest message that is read, in bytes. A Welcome into a group of 10 000 has about 10 MiB.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Any `MLSMessage`.
pub(crate) fn message(bytes: &[u8]) -> Result<MlsMessage> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(EngineError::MalformedMessage(None));
    }
    MlsMessage::from_bytes(bytes).map_err(|error| EngineError::MalformedMessage(Some(Box::new(error))))
}

/// A ratchet tree from outside a Welcome.
pub(crate) fn ratchet_tree(bytes: &[u8]) -> Result<ExportedTree<'static>> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(EngineError::MalformedMessage(None));
    }
    ExportedTree::from_bytes(bytes).map_err(|error| EngineError::MalformedMessage(Some(Box::new(error))))
}

/// A key package, bare or as an `MLSMessage`.
pub(crate) fn key_package(bytes: &[u8]) -> Result<MlsMessage, MlsError> {
    wrapped_or_bare(bytes, WireFormat::KeyPackage)
}

/// A group info, bare or as an `MLSMessage`.
pub(crate) fn group_info(bytes: &[u8]) -> Result<MlsMessage, MlsError> {
    wrapped_or_bare(bytes, WireFormat::GroupInfo)
}

/// What is in an `MLSMessage` behind its header. That of a key package or of a group info is its bare form.
pub(crate) fn bare(message: &[u8]) -> &[u8] {
    message.get(HEADER..).unwrap_or_default()
}

/// The version of RFC 9420.
const MLS10: [u8; 2] = [0, 1];

/// Bytes of the version and the wire format, with which an `MLSMessage` begins (RFC 9420, section 6).
const HEADER: usize = 4;

fn wrapped_or_bare(bytes: &[u8], format: WireFormat) -> Result<MlsMessage, MlsError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(MlsError::UnexpectedMessageType);
    }
    // The header of an `MLSMessage`: the version mls10 and the wire format, 16 bits each. A bare structure begins with
    // the version as well and goes on with a ciphersuite, so the header alone does not tell which it is.
    // The library reads a header of any version.
    if bytes.starts_with(&MLS10)
        && let Ok(message) = MlsMessage::from_bytes(bytes)
        && message.wire_format() == format
    {
        return Ok(message);
    }
    let mut wrapped = Vec::with_capacity(bytes.len() + HEADER);
    wrapped.extend_from_slice(&MLS10);
    wrapped.extend_from_slice(&(format as u16).to_be_bytes());
    wrapped.extend_from_slice(bytes);
    MlsMessage::from_bytes(&wrapped)
}
