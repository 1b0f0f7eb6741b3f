//! A delivery service for one conversation: a total order, and one commit per epoch.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use openmls::prelude::{ContentType, MlsMessageIn, ProtocolMessage, WireFormat, tls_codec::Deserialize as _};
use tertulia_mls::{CommitOutcome, ConversationId, MlsCommitBundle, MlsTransport, RejectReason};

/// A commit with what goes with it.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub(crate) commit: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
    pub(crate) group_info: Vec<u8>,
}

/// A message in the log, and who sent it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) sender: Option<usize>,
    pub(crate) message: Vec<u8>,
}

#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    epoch: u64,
    log: Vec<Entry>,
    group_info: Vec<u8>,
    welcome: Option<(Vec<u8>, usize)>,
    competitor: Option<(usize, Bundle)>,
}

impl Hub {
    /// Takes a commit if it is for the current epoch, and says whether.
    pub(crate) fn commit(&self, sender: usize, bundle: Bundle) -> bool {
        let mut state = self.0.lock().unwrap();
        if let Some((other, first)) = state.competitor.take() {
            state.order(other, first);
        }
        if epoch_of(&bundle.commit) != state.epoch {
            return false;
        }
        state.order(sender, bundle);
        true
    }

    /// This commit comes in just before the next one that is sent.
    pub(crate) fn overtake_next(&self, sender: usize, bundle: Bundle) {
        self.0.lock().unwrap().competitor = Some((sender, bundle));
    }

    pub(crate) fn post(&self, sender: Option<usize>, message: Vec<u8>) {
        self.0.lock().unwrap().log.push(Entry { sender, message });
    }

    /// Whether the newest message is a `PrivateMessage`.
    pub(crate) fn last_is_encrypted(&self) -> bool {
        let state = self.0.lock().unwrap();
        let message = MlsMessageIn::tls_deserialize_exact(&state.log.last().unwrap().message).unwrap();
        message.wire_format() == WireFormat::PrivateMessage
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.lock().unwrap().epoch
    }

    pub(crate) fn log_len(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }

    pub(crate) fn log_from(&self, place: usize) -> Vec<Entry> {
        self.0.lock().unwrap().log[place..].to_vec()
    }

    /// The newest group info, as an `MLSMessage` or bare.
    pub(crate) fn group_info(&self, bare: bool) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        // The header of an `MLSMessage` has four bytes.
        if bare { state.group_info[4..].to_vec() } else { state.group_info.clone() }
    }

    /// The newest Welcome, and where the log goes on for who joins by it.
    pub(crate) fn welcome(&self) -> (Vec<u8>, usize) {
        self.0.lock().unwrap().welcome.clone().unwrap()
    }
}

impl State {
    fn order(&mut self, sender: usize, bundle: Bundle) {
        self.log.push(Entry { sender: Some(sender), message: bundle.commit });
        self.epoch += 1;
        self.group_info = bundle.group_info;
        if let Some(welcome) = bundle.welcome {
            self.welcome = Some((welcome, self.log.len()));
        }
    }
}

/// What the message says of its epoch.
fn epoch_of(message: &[u8]) -> u64 {
    protocol_message(message).epoch().as_u64()
}

pub(crate) fn protocol_message(message: &[u8]) -> ProtocolMessage {
    MlsMessageIn::tls_deserialize_exact(message).unwrap().try_into_protocol_message().unwrap()
}

/// Whether the message is a proposal of an epoch before this one: a commit came in before it.
pub(crate) fn is_late_proposal(message: &ProtocolMessage, epoch: u64) -> bool {
    message.content_type() == ContentType::Proposal && message.epoch().as_u64() < epoch
}

/// The hub as the engine of one member sees it.
pub(crate) struct Link {
    pub(crate) hub: Hub,
    pub(crate) sender: usize,
}

#[async_trait]
impl MlsTransport for Link {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let MlsCommitBundle { welcome, commit, group_info, .. } = bundle;
        let group_info = group_info.payload;
        if self.hub.commit(self.sender, Bundle { commit, welcome, group_info }) {
            CommitOutcome::Accepted
        } else {
            CommitOutcome::Rejected(RejectReason::StaleEpoch { current: Some(self.hub.epoch()) })
        }
    }
}
