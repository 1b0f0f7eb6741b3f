//! A hub that orders what devices send, and can fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use mls_rs::MlsMessage;
use tertulia_mls::{CommitOutcome, ConversationId, MlsCommitBundle, MlsTransport, RejectReason};

/// What the hub does with the next commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// It orders them.
    #[default]
    Fair,
    /// It orders them, and the answer is lost.
    AnswerLost,
    /// They do not arrive.
    CommitLost,
    /// It refuses them.
    Strict,
}

/// The hub of one conversation.
#[derive(Clone, Default)]
pub(crate) struct Hub {
    state: Arc<Mutex<HubState>>,
}

#[derive(Default)]
pub(crate) struct HubState {
    pub(crate) mood: Mood,
    pub(crate) epoch: u64,
    pub(crate) log: Vec<Vec<u8>>,
    pub(crate) group_info: Vec<u8>,
    /// Each with the length of the log behind its commit.
    pub(crate) welcomes: Vec<(Vec<u8>, usize)>,
    /// What was sent last, whatever became of it.
    pub(crate) last: Option<MlsCommitBundle>,
}

impl Hub {
    pub(crate) fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }
}

impl HubState {
    fn order(&mut self, bundle: MlsCommitBundle) -> CommitOutcome {
        let epoch = MlsMessage::from_bytes(&bundle.commit).ok().and_then(|message| message.epoch());
        assert!(epoch.is_some(), "a device sends commits");
        if epoch != Some(self.epoch) {
            return CommitOutcome::Rejected(RejectReason::StaleEpoch { current: Some(self.epoch) });
        }
        self.epoch += 1;
        self.log.push(bundle.commit);
        self.group_info = bundle.group_info.payload;
        let behind = self.log.len();
        self.welcomes.extend(bundle.welcome.map(|welcome| (welcome, behind)));
        self.log.extend(bundle.encrypted_message);
        CommitOutcome::Accepted
    }
}

#[async_trait]
impl MlsTransport for Hub {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let mut state = self.state();
        state.last = Some(bundle.clone());
        match state.mood {
            Mood::Fair => state.order(bundle),
            Mood::AnswerLost => match state.order(bundle) {
                CommitOutcome::Accepted => CommitOutcome::Unknown { detail: "the answer is lost".to_owned() },
                refused => refused,
            },
            Mood::CommitLost => CommitOutcome::Unknown { detail: "the commit is lost".to_owned() },
            Mood::Strict => CommitOutcome::Rejected(RejectReason::Refused {
                code: "strict".to_owned(),
                detail: "not today".to_owned(),
            }),
        }
    }
}
