//! Tells everything that waits that the hub is going to stop, and waits for what has to end in good order.

use tokio::sync::{mpsc, watch};

/// The side of who waits for events or holds a socket open. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shutdown {
    requested: watch::Receiver<bool>,
    open: mpsc::WeakSender<()>,
}

/// Keeps the hub from ending, within its time for ending, until it is dropped.
pub(crate) struct OpenSocket(#[expect(dead_code, reason = "held to be dropped")] Option<mpsc::Sender<()>>);

/// The side of the server.
pub(crate) struct Trigger {
    requested: watch::Sender<bool>,
    open: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

impl Trigger {
    pub(crate) fn new() -> (Self, Shutdown) {
        let (requested, requests) = watch::channel(false);
        let (open, ended) = mpsc::channel(1);
        let shutdown = Shutdown { requested: requests, open: open.downgrade() };
        (Self { requested, open, ended }, shutdown)
    }

    /// Tells everybody that the hub stops.
    pub(crate) fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Waits until every [`OpenSocket`] is gone.
    pub(crate) async fn sockets_closed(mut self) {
        drop(self.open);
        while self.ended.recv().await.is_some() {}
    }
}

impl Shutdown {
    /// Resolves once the hub is to stop.
    pub(crate) async fn requested(&self) {
        // Without its trigger the hub is gone already.
        let _ = self.requested.clone().wait_for(|requested| *requested).await;
    }

    /// Lets the hub wait for a socket's close frame.
    pub(crate) fn open_socket(&self) -> OpenSocket {
        OpenSocket(self.open.upgrade())
    }
}
