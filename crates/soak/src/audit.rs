//! Who reads the log and compares it with what was acknowledged: a device that was in the group from the beginning.

use crate::{
    Outcome,
    ledger::{Broken, Logged},
    member::Member,
    world::{PATIENCE, World},
};
use std::time::{Duration, Instant};
use tertulia_api::event::{EventPage, EventQuery};
use tertulia_transport::Hub;

/// Events on a page.
const PAGE: u32 = 1000;

/// Where the events of a device end.
pub(crate) async fn end_of_events(hub: &Hub) -> Outcome<String> {
    let mut query = EventQuery { since: None, limit: Some(PAGE), wait: None };
    loop {
        let page = patiently(hub, &query).await?;
        if !page.more {
            return Ok(page.cursor);
        }
        query.since = Some(page.cursor);
    }
}

/// The log as it was read so far.
pub(crate) struct Audit {
    member: Member,
    log: Vec<Logged>,
    cursor: Option<String>,
}

impl Audit {
    pub(crate) fn new(member: Member) -> Self {
        Self { member, log: Vec::new(), cursor: None }
    }

    pub(crate) fn log(&self) -> &[Logged] {
        &self.log
    }

    /// Reads on at this node, and says what is not as was promised before.
    pub(crate) async fn read_on(&mut self, url: &str, world: &World) -> Outcome<Vec<Broken>> {
        let promised = world.ledger().acknowledged();
        let hub = self.member.hub_at(url)?;
        let mut more = Vec::new();
        self.cursor = self.pages(&hub, self.cursor.clone(), |logged| more.push(logged)).await?;
        self.log.extend(more);
        Ok(world.ledger().check(&self.log, promised))
    }

    /// Reads all of it anew at this node.
    pub(crate) async fn read_anew(&self, url: &str) -> Outcome<Vec<Logged>> {
        let mut log = Vec::new();
        self.pages(&self.member.hub_at(url)?, None, |logged| log.push(logged)).await?;
        Ok(log)
    }

    /// Reads all pages after a cursor, and says where the last one ended.
    async fn pages(
        &self,
        hub: &Hub,
        mut cursor: Option<String>,
        mut take: impl FnMut(Logged),
    ) -> Outcome<Option<String>> {
        loop {
            let query = EventQuery { since: cursor.clone(), limit: Some(PAGE), wait: None };
            let page = patiently(hub, &query).await?;
            for event in &page.events {
                if let Some(logged) = Logged::of(event, self.member.conversation()) {
                    take(logged);
                }
            }
            cursor = Some(page.cursor);
            if !page.more {
                return Ok(cursor);
            }
        }
    }
}

/// A page, as soon as there is one.
async fn patiently(hub: &Hub, query: &EventQuery) -> Outcome<EventPage> {
    let begun = Instant::now();
    loop {
        match hub.events(query).await {
            Ok(page) => return Ok(page),
            Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(format!("the log cannot be read: {error}").into()),
        }
    }
}
