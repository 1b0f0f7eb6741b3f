//! What is done for envelopes as a whole: a synchronisation, and waiting for what comes.

use super::{taking::number, types::type_of};
use crate::{Client, Error, Result, SyncReport, apply::Applied, client::now, sync::tolerate};
use futures::{FutureExt as _, future::select_all};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};
use tertulia_conversation::topic::ContentTopic;
use tertulia_transport::{Cursor, Delivery, Page, TransportError};

/// How long a carrier is asked to wait at most.
const WAIT: Duration = Duration::from_secs(25);
/// For how long what could not be done is left, in milliseconds: an hour.
const POSTPONED: i64 = 60 * 60 * 1000;
/// How long one that failed is left alone.
const REST: Duration = Duration::from_secs(2);

impl Client {
    /// Takes what the carriers have, does what is due, and posts what waits.
    pub(crate) async fn synchronise_envelopes(&self, report: &mut SyncReport) -> Result<()> {
        if self.carriers().is_empty() {
            return Err(Error::NoCarrier);
        }
        self.look_at_kept(report).await?;
        self.take_envelopes(report).await?;
        self.tidy_inbox().await?;
        self.enter_waiting_groups().await?;
        self.do_what_is_due().await?;
        if self.inner().hub.is_none() {
            Box::pin(self.settle_pending_commits(report)).await?;
            self.flush_outbox(report).await?;
        }
        self.flush_envelopes(report).await?;
        if self.inner().hub.is_none() {
            report.rotated += self.rotate_keys(SystemTime::now()).await? as u64;
        }
        Ok(())
    }

    /// Has the types of conversations do what was to be done by now.
    pub(crate) async fn do_what_is_due(&self) -> Result<()> {
        let now = now();
        self.look_after_private(now).await?;
        for id in self.inner().store.read(|r| r.enveloped_due(now))? {
            let Some(record) = self.inner().store.read(|r| r.enveloped(id))? else { continue };
            let Some(of_type) = type_of(number(&record)) else { continue };
            if tolerate(of_type.do_what_is_due(self, id, now).await)?.is_none() {
                let mut tx = self.inner().session.new_transaction().await?;
                tx.store_write(move |w| w.postpone_enveloped(id, now.saturating_add(POSTPONED)))?;
                tx.finish().await?;
            }
        }
        Ok(())
    }
}

/// Where a stream of events waits for envelopes.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The carriers that could not be reached when they were asked last.
    failing: BTreeSet<String>,
    /// Those that had something and nothing new. They are not asked again at once.
    idling: BTreeSet<String>,
    /// The topics at carriers that had more than was given last. They are asked for after the others, which would have no room behind them.
    filled: BTreeSet<(String, ContentTopic)>,
}

/// A topic, and how far it was read.
type Place = (ContentTopic, Option<Cursor>);

/// What there is to be done next.
enum News {
    Pages(Vec<(ContentTopic, Page)>),
    Failed(TransportError),
    /// Other topics, or something is due.
    Again,
}

impl Waiting {
    /// Waits until something has come, or is due, and does what follows from it. It fails when no carrier can be reached.
    pub(crate) async fn next(&mut self, client: &Client) -> Result<Applied> {
        let carriers: Vec<_> = client.carriers().iter().cloned().collect();
        if carriers.is_empty() {
            return Err(Error::NoCarrier);
        }
        let mut topics = client.inner().topics.subscribe();
        let places = carriers.iter().map(|carrier| self.places(client, &**carrier));
        let places = places.collect::<Result<Vec<_>>>()?;
        let mut asking = Vec::new();
        for (carrier, places) in carriers.iter().zip(&places) {
            let rests = self.failing.contains(carrier.id()) || self.idling.contains(carrier.id());
            asking.push(ask(&**carrier, places, rests).boxed());
        }
        let due = client.inner().store.read(|r| r.next_due())?;
        let until_due =
            due.map(|at| Duration::from_millis(u64::try_from(at.saturating_sub(now())).unwrap_or(0)));
        let (news, index) = tokio::select! {
            (news, index, _) = select_all(asking) => (news, index),
            _ = topics.changed() => (News::Again, 0),
            () = sleep(until_due) => (News::Again, 0),
        };
        let mut applied = Applied::default();
        let carrier = &carriers[index];
        match news {
            News::Pages(pages) => {
                self.failing.remove(carrier.id());
                self.idling.insert(carrier.id().to_owned());
                for (topic, page) in pages {
                    // As it was asked for. What comes before it in the answer may have had the topic read from its beginning again.
                    let asked = places[index].iter().find(|(asked, _)| *asked == topic);
                    let Some((_, since)) = asked else { continue };
                    if since.as_ref() != Some(&page.cursor) {
                        self.idling.remove(carrier.id());
                    }
                    let of_carrier = (carrier.id().to_owned(), topic);
                    if page.more && !page.envelopes.is_empty() {
                        self.filled.insert(of_carrier);
                    } else {
                        self.filled.remove(&of_carrier);
                    }
                    applied.add(client.take_page_of(&**carrier, topic, since.as_ref(), page).await?);
                }
            }
            News::Failed(error) => {
                self.failing.insert(carrier.id().to_owned());
                if self.failing.len() == carriers.len() {
                    return Err(error.into());
                }
                tracing::info!(carrier = carrier.id(), code = error.code(), "a carrier cannot be reached");
            }
            News::Again => client.do_what_is_due().await?,
        }
        if !applied.connections.is_empty() {
            client.enter_waiting_groups().await?;
        }
        let mut report = SyncReport::default();
        client.flush_outbox(&mut report).await?;
        client.flush_envelopes(&mut report).await?;
        Ok(applied)
    }

    /// The topics of a home at a carrier, those that had their turn and have more still behind the others.
    fn places(&self, client: &Client, carrier: &dyn Delivery) -> Result<Vec<Place>> {
        let mut places = client.places(carrier)?;
        places.sort_by_key(|(topic, _)| self.filled.contains(&(carrier.id().to_owned(), *topic)));
        Ok(places)
    }
}

async fn ask(carrier: &dyn Delivery, places: &[Place], rests: bool) -> News {
    if rests {
        tokio::time::sleep(REST).await;
    }
    match carrier.wait(places, WAIT).await {
        Ok(pages) if pages.is_empty() => News::Again,
        Ok(pages) => News::Pages(pages),
        Err(error) => News::Failed(error),
    }
}

/// Waits for so long, or for ever.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
