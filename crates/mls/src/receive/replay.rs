//! What cannot be processed yet is buffered, and processed when its time has come.
//!
//! That is after each new epoch: the application messages of it, then the proposals, then the commits. A commit may be
//! followed by yet another epoch, with messages that wait for that. And after each proposal: the commits of the epoch
//! that wait for proposals are tried again.
//!
//! A message that is refused is dropped and reported. It does not undo what came before it.

use mls_rs::group::ContentType;

use super::{
    Header,
    buffer::{self, Buffered, Kind},
};
use crate::{
    ConversationGuard, EngineError, MlsBufferedConversationDecryptMessage, MlsConversationDecryptMessage,
    MlsProposalBundle, Outcome, Result, proposals::Intent,
};

/// What came of messages that had waited.
#[derive(Default)]
pub(crate) struct Replayed {
    pub(crate) messages: Vec<MlsBufferedConversationDecryptMessage>,
    /// Own proposals that the commits have left out, made again.
    pub(crate) renewed: Vec<MlsProposalBundle>,
}

impl Replayed {
    /// None instead of no messages, as the results have it.
    pub(crate) fn into_messages(self) -> Option<Vec<MlsBufferedConversationDecryptMessage>> {
        (!self.messages.is_empty()).then_some(self.messages)
    }
}

impl ConversationGuard<'_> {
    /// Keeps a message until it can be processed.
    pub(super) fn buffer(
        &mut self,
        bytes: &[u8],
        header: &Header,
        current: u64,
    ) -> Result<MlsConversationDecryptMessage> {
        let kind = match header.content {
            ContentType::Application => Kind::Application,
            ContentType::Proposal => Kind::Proposal,
            ContentType::Commit => Kind::Commit,
        };
        let message = Buffered::new(header.epoch, kind, bytes);
        let gone = buffer::put(self.overlay()?, self.tx.session.config(), self.id.as_bytes(), &message)?;
        let mut result = MlsConversationDecryptMessage::new(Outcome::Buffered, current);
        if !gone.is_empty() {
            let full = EngineError::BufferFull {
                messages: gone.len() as u64,
                bytes: gone.iter().map(|message| message.message.len() as u64).sum(),
            };
            let dropped = |gone: &Buffered| MlsBufferedConversationDecryptMessage::dropped(gone.epoch, &full);
            result.buffered_messages = Some(gone.iter().map(dropped).collect());
        }
        Ok(result)
    }

    /// Processes what can be processed now, and then makes the proposals again that were `left_out`.
    ///
    /// It fails only when the store does, or what is stored is damaged. Then the transaction is aborted: half of what
    /// belongs to one message would be done.
    pub(crate) fn replay(&mut self, left_out: Vec<Intent>) -> Result<Replayed> {
        let replayed = self.try_replay(left_out);
        if replayed.is_err() {
            self.tx.abort();
        }
        replayed
    }

    fn try_replay(&mut self, mut left_out: Vec<Intent>) -> Result<Replayed> {
        let mut messages = Vec::new();
        let mut done = None;
        while let Some(loaded) = self.loaded_if_joined()? {
            let epoch = loaded.group.current_epoch();
            if done == Some(epoch) {
                break;
            }
            done = Some(epoch);
            for due in buffer::take_until(self.overlay()?, self.id.as_bytes(), epoch)? {
                if !self.is_joined()? {
                    // A commit before it has removed this device.
                    break;
                }
                if due.epoch < epoch && due.kind != Kind::Application {
                    // It is too late for it. An application message can still be read if its epoch's secrets are here.
                    messages.push(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, epoch).into());
                    continue;
                }
                match self.receive(&due.message, &mut left_out) {
                    // It waits on, for another proposal.
                    Ok(result) if result.outcome == Outcome::Buffered => {}
                    Ok(result) => messages.push(result.into()),
                    Err(error) if is_of_this_message(&error) => {
                        tracing::debug!(conversation = %self.id, %error, "a buffered message is dropped");
                        messages.push(MlsBufferedConversationDecryptMessage::dropped(due.epoch, &error));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if let Some(loaded) = self.loaded_if_joined()? {
            loaded.has_replayed = true;
        }
        let renewed = if self.is_joined()? { self.renew(&left_out)? } else { Vec::new() };
        Ok(Replayed { messages, renewed })
    }
}

/// Whether the next message can be processed although this one cannot.
fn is_of_this_message(error: &EngineError) -> bool {
    !matches!(
        error,
        EngineError::Store(_) | EngineError::DamagedState { .. } | EngineError::TransactionFinished
    )
}
