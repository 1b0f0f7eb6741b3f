//! The public state of a group, by which one joins from outside.

use std::fmt;

use mls_rs::{MlsMessage, extension::built_in::RatchetTreeExt, group::Member};

use crate::{
    Ciphersuite, ClientId, ConversationId, EngineError, Result, Signer, identity::client_id_of,
    rules::data_of, transaction::signer, wire,
};

/// A group info (RFC 9420, section 12.4.3) that has been read, and is verified when it is used: its signature, its tree and
/// the credentials in it by [`join_by_external_commit`](crate::TransactionContext::join_by_external_commit).
#[derive(Clone)]
pub struct VerifiableGroupInfo {
    message: MlsMessage,
    id: ConversationId,
    epoch: u64,
    ciphersuite: u16,
}

impl VerifiableGroupInfo {
    /// Reads a group info, bare or as an `MLSMessage`, of at most [`MAX_MESSAGE_BYTES`](crate::MAX_MESSAGE_BYTES).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let message =
            wire::group_info(bytes).map_err(|error| EngineError::InvalidGroupInfo(Some(Box::new(error))))?;
        let info = message.as_group_info().ok_or(EngineError::InvalidGroupInfo(None))?;
        let context = info.group_context();
        Ok(Self {
            id: ConversationId::from(context.group_id.as_slice()),
            epoch: context.epoch,
            ciphersuite: *context.cipher_suite,
            message,
        })
    }

    /// As a serialised `MLSMessage`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.message.to_bytes().map_err(|error| EngineError::InvalidGroupInfo(Some(Box::new(error))))
    }

    /// The group info alone, without what makes it an `MLSMessage`.
    pub fn to_bare_bytes(&self) -> Result<Vec<u8>> {
        Ok(wire::bare(&self.to_bytes()?).to_vec())
    }

    /// Which conversation it says it is of.
    pub fn conversation_id(&self) -> &ConversationId {
        &self.id
    }

    /// The epoch that it says it is of.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The ciphersuite's number. It may be one that the engine does not have.
    pub fn ciphersuite_number(&self) -> u16 {
        self.ciphersuite
    }

    /// The ciphersuite, if the engine has it.
    pub(crate) fn ciphersuite(&self) -> Result<Ciphersuite> {
        Ciphersuite::from_number(self.ciphersuite)
    }

    /// What the application's rules keep in the group's context, as the group info says: see
    /// [`GroupRules`](crate::GroupRules). It is verified when it is joined with.
    pub fn group_data(&self) -> Option<Vec<u8>> {
        data_of(&self.message.as_group_info()?.group_context().extensions).map(<[u8]>::to_vec)
    }

    /// The clients in the ratchet tree, as the group info says. It is verified when it is joined with.
    pub fn client_ids(&self) -> Result<Vec<ClientId>> {
        Ok(self.members()?.into_iter().map(|(_, client)| client).collect())
    }

    /// Who has signed it, as it says. That is verified when it is joined with.
    pub(crate) fn signed_by(&self) -> Result<Signer> {
        let sender = self.message.as_group_info().ok_or(EngineError::InvalidGroupInfo(None))?.sender();
        let members = self.members()?.into_iter().map(|(member, _)| member);
        signer(members.into_iter().find(|member| member.index == sender))
    }

    pub(crate) fn into_message(self) -> MlsMessage {
        self.message
    }

    /// The members, from the ratchet tree, which must be inside. Those whose credential cannot be read
    /// are left out.
    pub(crate) fn members(&self) -> Result<Vec<(Member, ClientId)>> {
        let info = self.message.as_group_info().ok_or(EngineError::InvalidGroupInfo(None))?;
        let tree = info
            .extensions()
            .get_as::<RatchetTreeExt>()
            .map_err(|error| EngineError::InvalidGroupInfo(Some(Box::new(error))))?
            .ok_or(EngineError::InvalidGroupInfo(None))?;
        let roster = tree.tree_data().roster();
        Ok(roster
            .members_iter()
            .filter_map(|member| {
                let client = client_id_of(&member.signing_identity).ok()?;
                Some((member, client))
            })
            .collect())
    }
}

/// By bytes.
impl TryFrom<&[u8]> for VerifiableGroupInfo {
    type Error = EngineError;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(bytes)
    }
}

impl fmt::Debug for VerifiableGroupInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiableGroupInfo")
            .field("conversation", &self.id)
            .field("epoch", &self.epoch)
            .field("ciphersuite", &self.ciphersuite)
            .finish_non_exhaustive()
    }
}
