//! What a client tells of what its home notices.

use futures::{
    StreamExt as _,
    stream::{BoxStream, Stream},
};
use tertulia::{Client, ClientEvent, Noticed};
use tokio::sync::Mutex;

/// The events of a client from some time on, which tell everything that its home notices from then on.
pub(crate) struct Watch {
    client: Client,
    /// How much was noticed before.
    before: usize,
    told: Mutex<Told<BoxStream<'static, tertulia::Result<ClientEvent>>>>,
}

struct Told<S: Stream> {
    events: S,
    noticed: Vec<Noticed>,
}

impl Watch {
    pub(crate) async fn over(client: &Client) -> Self {
        let before = client.suspicions().await.expect("readable").len();
        let told = Told { events: client.events().boxed(), noticed: Vec::new() };
        Self { client: client.clone(), before, told: Mutex::new(told) }
    }

    /// Checks that all that was noticed so far is told, once and in its order. The client synchronises for that.
    pub(crate) async fn tells_all(&self) {
        let noticed = self.client.suspicions().await.expect("readable").split_off(self.before);
        let Told { events, noticed: told } = &mut *self.told.lock().await;
        while told.len() < noticed.len() {
            let event = events.next().await.expect("it goes on").expect("it works");
            if let ClientEvent::Suspicion(of_event) = event {
                told.push(of_event);
            }
        }
        assert_eq!(told[..noticed.len()], noticed);
    }
}
