//! What a device sends, until the world takes it to the hub.

use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use tertulia_mls::{CommitOutcome, ConversationId, MlsCommitBundle, MlsTransport};
use tokio::sync::oneshot;

/// A commit on its way, and where the answer goes.
pub(crate) struct Sent {
    pub(crate) bundle: MlsCommitBundle,
    pub(crate) answer: oneshot::Sender<CommitOutcome>,
}

/// A device's transport: it holds what is sent, and waits for the world to answer.
#[derive(Default)]
pub(crate) struct Wire(Mutex<Option<Sent>>);

impl Wire {
    pub(crate) fn take(&self) -> Option<Sent> {
        self.0.lock().unwrap().take()
    }
}

#[async_trait]
impl MlsTransport for Wire {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let (answer, answered) = oneshot::channel();
        *self.0.lock().unwrap() = Some(Sent { bundle, answer });
        answered.await.unwrap_or(CommitOutcome::Unknown { detail: "the connection broke".to_owned() })
    }
}

/// Lets a future go as far as it can without waiting.
pub(crate) fn advance<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The result of a future that waits for nothing.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("only a commit waits for anything"),
    }
}
