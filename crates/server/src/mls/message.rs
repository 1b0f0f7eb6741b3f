//! Request bodies taken apart into MLS messages, as far as their public fields tell.

use bytes::Bytes;
use mls_rs::{
    MlsMessage, MlsMessageDescription, WireFormat,
    group::{ContentType, Sender},
    mls_rs_codec::MlsDecode as _,
};

use tertulia_domain::Handshake;

use super::Rejection;

/// The first bytes of every `MLSMessage` of protocol version mls10 (RFC 9420 §6).
const MLS10: [u8; 2] = [0, 1];

/// One `MLSMessage`, with the bytes that it came in: those are stored and sent on, never a new encoding of them.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    pub(crate) message: MlsMessage,
}

/// An encrypted application message, of which the hub can read no more than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApplicationMessage {
    pub(crate) group_id: Vec<u8>,
    pub(crate) epoch: u64,
}

/// The body of a commit request: one commit, the `GroupInfo` after it, and at most one Welcome and one application message
/// of the new epoch, in any order.
#[derive(Debug, Clone)]
pub(crate) struct CommitBundle {
    pub(crate) commit: Part,
    pub(crate) group_info: Part,
    pub(crate) welcome: Option<Part>,
    pub(crate) message: Option<Part>,
    /// The group that the commit is for.
    pub(crate) group_id: Vec<u8>,
    /// The epoch that the commit ends.
    pub(crate) epoch: u64,
    /// Who sent the commit, as it says.
    pub(crate) sender: CommitSender,
}

/// Who can send a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitSender {
    /// The member at this leaf.
    Leaf(u32),
    /// A device that joins by this commit, an external commit.
    Joiner,
    /// A member: at which leaf is encrypted, as is the commit.
    Hidden,
}

impl CommitSender {
    /// Whether a conversation with this policy takes a commit that is sent so. Who joins cannot encrypt yet.
    pub(crate) const fn fits(self, handshake: Handshake) -> bool {
        match self {
            Self::Leaf(_) => matches!(handshake, Handshake::Plaintext),
            Self::Hidden => matches!(handshake, Handshake::Ciphertext),
            Self::Joiner => true,
        }
    }
}

/// A proposal of a device.
#[derive(Debug, Clone)]
pub(crate) struct ProposalMessage {
    pub(crate) part: Part,
    pub(crate) group_id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) sender: ProposalSender,
}

/// Which device can send a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProposalSender {
    /// The member at this leaf.
    Leaf(u32),
    /// A device that asks to be added.
    Joiner,
    /// A member: at which leaf is encrypted, as is the proposal.
    Hidden,
}

impl ProposalSender {
    /// Whether a conversation with this policy takes a proposal that is sent so. Who asks to be added cannot encrypt yet.
    pub(crate) const fn fits(self, handshake: Handshake) -> bool {
        match self {
            Self::Leaf(_) => matches!(handshake, Handshake::Plaintext),
            Self::Hidden => matches!(handshake, Handshake::Ciphertext),
            Self::Joiner => true,
        }
    }
}

impl ProposalMessage {
    /// Reads a body that is exactly one proposal.
    pub(crate) fn parse(body: &Bytes) -> Result<Self, Rejection> {
        let [part] = split::<1>(body)?
            .try_into()
            .map_err(|_| Rejection::Malformed("the body must be exactly one proposal"))?;
        let (group_id, epoch, sender) = match part.message.description() {
            MlsMessageDescription::PublicProtocolMessage {
                group_id,
                epoch_id,
                content_type: ContentType::Proposal,
                sender,
                ..
            } => (group_id, epoch_id, proposal_sender(sender)?),
            MlsMessageDescription::PrivateProtocolMessage {
                group_id,
                epoch_id,
                content_type: ContentType::Proposal,
            } => (group_id, epoch_id, ProposalSender::Hidden),
            _ => return Err(Rejection::Malformed("the message must be one with a proposal")),
        };
        let group_id = group_id.to_vec();
        Ok(Self { part, group_id, epoch, sender })
    }
}

impl ApplicationMessage {
    /// Reads a body that is exactly one application message.
    pub(crate) fn parse(body: &Bytes) -> Result<Self, Rejection> {
        let [part] = split::<1>(body)?
            .try_into()
            .map_err(|_| Rejection::Malformed("the body must be exactly one application message"))?;
        Self::of(&part)
    }

    fn of(part: &Part) -> Result<Self, Rejection> {
        match part.message.description() {
            MlsMessageDescription::PrivateProtocolMessage {
                group_id,
                epoch_id,
                content_type: ContentType::Application,
            } => Ok(Self { group_id: group_id.to_vec(), epoch: epoch_id }),
            _ => Err(Rejection::Malformed("the message must be a PrivateMessage with application content")),
        }
    }
}

impl CommitBundle {
    /// Reads the body of a commit request.
    pub(crate) fn parse(body: &Bytes) -> Result<Self, Rejection> {
        let (mut commit, mut group_info, mut welcome, mut message) = (None, None, None, None);
        for part in split::<4>(body)? {
            let slot = match part.message.wire_format() {
                WireFormat::PublicMessage => &mut commit,
                WireFormat::PrivateMessage if is_hidden_commit(&part.message) => &mut commit,
                WireFormat::GroupInfo => &mut group_info,
                WireFormat::Welcome => &mut welcome,
                WireFormat::PrivateMessage => &mut message,
                _ => return Err(Rejection::Malformed("a commit bundle holds no such message")),
            };
            if slot.replace(part).is_some() {
                return Err(Rejection::Malformed("a commit bundle holds at most one message of each kind"));
            }
        }
        let commit = commit.ok_or(Rejection::Malformed("the bundle has no commit"))?;
        let group_info = group_info.ok_or(Rejection::Malformed("the bundle has no GroupInfo"))?;

        let (group_id, epoch, sender) = match commit.message.description() {
            MlsMessageDescription::PublicProtocolMessage {
                group_id,
                epoch_id,
                content_type: ContentType::Commit,
                sender,
                ..
            } => (group_id, epoch_id, commit_sender(sender)?),
            MlsMessageDescription::PrivateProtocolMessage { group_id, epoch_id, .. } => {
                (group_id, epoch_id, CommitSender::Hidden)
            }
            _ => return Err(Rejection::Malformed("the PublicMessage of the bundle is not a commit")),
        };
        let group_id = group_id.to_vec();

        if let Some(part) = &message {
            let application = ApplicationMessage::of(part)?;
            if application.group_id != group_id || Some(application.epoch) != epoch.checked_add(1) {
                return Err(Rejection::Malformed("the bundle's application message is not of the new epoch"));
            }
        }
        Ok(Self { commit, group_info, welcome, message, group_id, epoch, sender })
    }

    /// The bytes of it that are kept in the log.
    pub(crate) fn bytes(&self) -> usize {
        let parts = [Some(&self.commit), self.welcome.as_ref(), self.message.as_ref()];
        parts.into_iter().flatten().map(|part| part.bytes.len()).sum()
    }
}

/// Whether a message is an encrypted commit, as its content type says, which is not encrypted.
fn is_hidden_commit(message: &MlsMessage) -> bool {
    matches!(
        message.description(),
        MlsMessageDescription::PrivateProtocolMessage { content_type: ContentType::Commit, .. }
    )
}

fn proposal_sender(sender: Sender) -> Result<ProposalSender, Rejection> {
    match sender {
        Sender::Member(leaf) => Ok(ProposalSender::Leaf(leaf)),
        Sender::NewMemberProposal => Ok(ProposalSender::Joiner),
        _ => Err(Rejection::Malformed("only a member or a joiner can send a proposal")),
    }
}

fn commit_sender(sender: Sender) -> Result<CommitSender, Rejection> {
    match sender {
        Sender::Member(leaf) => Ok(CommitSender::Leaf(leaf)),
        Sender::NewMemberCommit => Ok(CommitSender::Joiner),
        _ => Err(Rejection::Malformed("only a member or a joiner can send a commit")),
    }
}

/// Takes a body of at most `MAX` concatenated `MLSMessage`s apart.
fn split<const MAX: usize>(body: &Bytes) -> Result<Vec<Part>, Rejection> {
    let mut parts = Vec::with_capacity(MAX);
    let mut rest: &[u8] = body;
    while !rest.is_empty() {
        if parts.len() == MAX {
            return Err(Rejection::Malformed("the body holds more messages than belong there"));
        }
        if !rest.starts_with(&MLS10) {
            return Err(Rejection::Malformed("the body is not made of MLS messages of version mls10"));
        }
        let before = rest;
        let message = MlsMessage::mls_decode(&mut rest)
            .map_err(|_| Rejection::Malformed("the body is truncated, or is not made of MLS messages"))?;
        let bytes = body.slice_ref(&before[..before.len() - rest.len()]);
        parts.push(Part { bytes, message });
    }
    Ok(parts)
}
