//! A transaction: everything that changes state.

mod client;
mod conversations;
mod trust;

pub use self::conversations::JoinOptions;
pub(crate) use self::conversations::{check_group_data, signer};

use std::{collections::HashMap, sync::Arc};

use mls_rs::{error::MlsError, time::MlsTime};
use tertulia_store::{StoreError, WriteTx, WriterGuard};

use crate::{
    ConversationId, EngineError, Result, Session, SessionConfig,
    events::Event,
    family, history,
    key_package::BACKDATE,
    loaded::Loaded,
    overlay::{Overlay, RecordKind},
    rotation,
};

/// The one writer of a store, until it is finished, aborted or dropped.
///
/// Reads inside see its writes; nothing outside does until [`finish`](Self::finish), which is one atomic and durable
/// write. [`abort`](Self::abort), or dropping it, leaves disk and memory as they were.
///
/// **A commit is the exception**: before it is sent, everything that the transaction did so far is written, so that the
/// commit survives a crash; then the lock is released while the network is waited for, and taken again. If the future of
/// such an operation is dropped on the way, the transaction is finished and the commit stays pending.
///
/// Cryptography runs on the calling thread. With groups of thousands of members a commit takes tens of milliseconds:
/// use `spawn_blocking` there.
#[derive(Debug)]
pub struct TransactionContext {
    pub(crate) session: Session,
    /// None once finished.
    state: Option<Writing>,
}

/// What a transaction holds while it is under way.
pub(crate) struct Writing {
    session: Session,
    pub(crate) overlay: Overlay,
    loaded: HashMap<Vec<u8>, Loaded>,
    application: Vec<ApplicationWrite>,
    /// What the observers are told once it is on disk.
    events: Vec<Event>,
    writer: Arc<WriterGuard>,
}

type ApplicationWrite = Box<dyn FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send>;

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("loaded", &self.loaded.len())
            .field("application", &self.application.len())
            .finish_non_exhaustive()
    }
}

impl TransactionContext {
    pub(crate) async fn begin(session: Session) -> Result<Self> {
        let mut context = Self { session, state: None };
        context.lock().await?;
        Ok(context)
    }

    /// Deletes a conversation from this device with all its secrets, its children, and what is pending and buffered for
    /// them. Nobody is told. It need not be readable, nor there.
    pub fn wipe_conversation(&mut self, id: &ConversationId) -> Result<()> {
        let writing = self.writing_mut()?;
        let overlay = writing.overlay.clone();
        let wiped = family::descendants(&overlay, id)?;
        let mut records = Vec::new();
        for id in &wiped {
            records.extend(family::ties(&overlay, id)?);
            let buffered = overlay.records(RecordKind::Buffered, id.as_bytes())?;
            records.extend(buffered.iter().map(|(key, _)| RecordKind::Buffered.of(id.as_bytes(), key)));
        }
        for key in records {
            overlay.delete_record(key);
        }
        for id in &wiped {
            history::wipe(&overlay, id)?;
            rotation::wipe(&overlay, id);
            overlay.delete_group(id.as_bytes());
            overlay.delete_pending(id.as_bytes());
            writing.unload(id);
        }
        Ok(())
    }

    // The application's part.

    /// Registers a write of the application that happens in the same atomic write as the engine's, in the order of
    /// registration, after the engine's own.
    ///
    /// It is carried out at [`finish`](Self::finish), or before the next commit is sent. If it fails, so does the whole
    /// write.
    pub fn store_write(
        &mut self,
        write: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<()> {
        self.writing_mut()?.application.push(Box::new(write));
        Ok(())
    }

    /// Sets the application's checkpoint, a blob of its own choosing.
    pub fn set_data(&mut self, data: Vec<u8>) -> Result<()> {
        self.writing()?.overlay.set_data(data);
        Ok(())
    }

    /// The application's checkpoint.
    pub fn get_data(&self) -> Result<Option<Vec<u8>>> {
        self.writing()?.overlay.data()
    }

    // The end.

    /// Writes everything, atomically and durably, and lets the next writer in.
    ///
    /// When it fails nothing is written, and the transaction is finished all the same. At last the observers are told what
    /// has happened, unless they are being told something already: then they are told this afterwards.
    pub async fn finish(&mut self) -> Result<()> {
        self.persist()?;
        self.state = None;
        fail_point!(FINISHED);
        self.session.deliver_events().await;
        Ok(())
    }

    /// Forgets everything since the last commit that was sent, and lets the next writer in.
    pub fn abort(&mut self) {
        self.unlock();
    }

    // Inside.

    pub(crate) fn writing(&self) -> Result<&Writing> {
        self.state.as_ref().ok_or(EngineError::TransactionFinished)
    }

    pub(crate) fn writing_mut(&mut self) -> Result<&mut Writing> {
        self.state.as_mut().ok_or(EngineError::TransactionFinished)
    }

    /// Writes everything and goes on. When it fails, the transaction is finished: the application's writes are spent.
    pub(crate) fn persist(&mut self) -> Result<()> {
        fail_point!(PERSIST);
        let writing = self.writing_mut()?;
        let overlay = writing.overlay.clone();
        let strict = self.session.config().strict;
        let writing = self.writing_mut()?;
        let flushed = writing.loaded.values_mut().try_for_each(|loaded| loaded.flush(&overlay, strict));
        let application = std::mem::take(&mut writing.application);
        let written = flushed.and_then(|()| {
            let writing = self.writing()?;
            self.session.store().write(&writing.writer, |tx| -> Result<()> {
                overlay.apply(tx)?;
                fail_point!(APPLICATION);
                for write in application {
                    write(tx)?;
                }
                Ok(())
            })
        });
        fail_point!(PERSISTED);
        match written {
            Ok(()) => {
                overlay.clear();
                let writing = self.writing_mut()?;
                writing.loaded.values_mut().for_each(Loaded::written);
                let events = std::mem::take(&mut writing.events);
                self.session.events().push(events);
                if strict {
                    self.erase_log()?;
                }
            }
            Err(_) => self.state = None,
        }
        written
    }

    /// Empties the database's write-ahead log, in which older states of the groups are.
    fn erase_log(&self) -> Result<()> {
        match self.session.store().erase_log(&self.writing()?.writer) {
            Ok(()) => Ok(()),
            // What was to be written is written, so that this is no error of the transaction; the next one tries again.
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be emptied");
                Ok(())
            }
        }
    }

    /// Lets other writers in. Whatever was not persisted is lost.
    pub(crate) fn unlock(&mut self) {
        self.state = None;
    }

    /// Becomes the writer, with nothing loaded: others may have written.
    pub(crate) async fn lock(&mut self) -> Result<()> {
        let writer = Arc::new(self.session.store().lock().await?);
        self.session.overlay().begin(&writer);
        self.session.overlay().trust().reset();
        self.state = Some(Writing {
            overlay: self.session.overlay().clone(),
            session: self.session.clone(),
            loaded: HashMap::new(),
            application: Vec::new(),
            events: Vec::new(),
            writer,
        });
        Ok(())
    }
}

impl Writing {
    /// The group of a conversation, loaded at most once: from the session's cache if the store has nothing newer.
    pub(crate) fn loaded(
        &mut self,
        id: &ConversationId,
        config: &SessionConfig,
    ) -> Result<Option<&mut Loaded>> {
        let key = id.as_bytes();
        if !self.loaded.contains_key(key) {
            let cached = if self.overlay.has_changes_of_group(key) {
                None
            } else {
                self.overlay.stored_serial(key)?.and_then(|serial| self.session.cache().take(key, serial))
            };
            let loaded = match cached {
                Some(loaded) => Some(loaded),
                None => Loaded::load(key, &self.overlay, config)?,
            };
            if let Some(loaded) = loaded {
                self.loaded.insert(key.to_vec(), loaded);
            }
        }
        Ok(self.loaded.get_mut(key))
    }

    /// Takes a new group into the transaction.
    pub(crate) fn insert(&mut self, mut loaded: Loaded) -> Result<()> {
        loaded.snapshot(&self.overlay)?;
        self.loaded.insert(loaded.group.group_id().to_vec(), loaded);
        Ok(())
    }

    /// Puts the group back to how it was before an operation that failed. If even that fails, it is loaded afresh when
    /// it is needed next.
    pub(crate) fn restore(&mut self, id: &ConversationId, config: &SessionConfig) -> Result<()> {
        if let Some(loaded) = self.loaded.remove(id.as_bytes()) {
            let restored = loaded.restored(&self.overlay, config)?;
            self.loaded.insert(id.as_bytes().to_vec(), restored);
        }
        Ok(())
    }

    /// Notes what the observers are told once it is on disk.
    pub(crate) fn note(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Forgets the loaded group: the overlay has another one now, or none.
    pub(crate) fn unload(&mut self, id: &ConversationId) {
        self.loaded.remove(id.as_bytes());
    }
}

impl Drop for Writing {
    /// Leaves the groups that are as the store has them for the next transaction, and forgets the rest. The lock goes last.
    fn drop(&mut self) {
        self.overlay.clear();
        for (id, loaded) in self.loaded.drain() {
            if !loaded.is_changed() {
                self.session.cache().put(id, loaded);
            }
        }
    }
}

/// The time from which something that is made now is valid.
pub(crate) fn backdated() -> MlsTime {
    MlsTime::from(MlsTime::now().seconds_since_epoch().saturating_sub(BACKDATE.as_secs()))
}

/// The error of an operation that only fails when the storage or the library does.
pub(crate) fn failure(overlay: &Overlay, error: MlsError) -> EngineError {
    overlay.take_failure().unwrap_or_else(|| EngineError::Library(Box::new(error)))
}
