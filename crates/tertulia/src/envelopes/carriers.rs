//! The carriers of a home: its relays, and what the application brings along.

use crate::{Client, Error, Result};
use std::sync::Arc;
use tertulia_store::{EnvelopedRecord, Store};
use tertulia_transport::{Delivery, Hub, Relay};

/// The carriers, in the order in which they are asked. The first of a conversation's orders its commits.
#[derive(Debug, Default)]
pub(crate) struct Carriers(Vec<Arc<dyn Delivery>>);

impl Carriers {
    /// The relays of this home, and behind them those that the application gives.
    pub(crate) fn of(store: &Store, given: Vec<Arc<dyn Delivery>>) -> Result<Self> {
        let mut carriers: Vec<Arc<dyn Delivery>> = Vec::new();
        for address in store.read(|r| r.relays())? {
            carriers.push(Arc::new(Relay::new(&address)?));
        }
        for one in given {
            if carriers.iter().all(|known| known.id() != one.id()) {
                carriers.push(one);
            }
        }
        Ok(Self(carriers))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Delivery>> {
        self.0.iter()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<dyn Delivery>> {
        self.0.iter().find(|carrier| carrier.id() == id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of all.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.iter().map(|carrier| carrier.id().to_owned()).collect()
    }

    /// The names of those by which a conversation travels.
    pub(crate) fn ids_of(&self, conversation: &EnvelopedRecord) -> Vec<String> {
        if conversation.carriers.is_empty() { self.ids() } else { conversation.carriers.clone() }
    }

    /// The one whose order decides between commits of a conversation that compete; none where nobody orders.
    pub(crate) fn ordering(&self, conversation: &EnvelopedRecord) -> Option<&Arc<dyn Delivery>> {
        let first = self.ids_of(conversation).into_iter().next()?;
        self.get(&first).filter(|carrier| carrier.is_ordered())
    }
}

impl Client {
    /// The hub of this home's account.
    ///
    /// # Errors
    ///
    /// [`Error::NoAccount`].
    pub(crate) fn hub(&self) -> Result<&Hub> {
        self.inner().hub.as_ref().ok_or(Error::NoAccount)
    }

    /// The carriers of this home.
    pub(crate) fn carriers(&self) -> &Carriers {
        &self.inner().carriers
    }
}
