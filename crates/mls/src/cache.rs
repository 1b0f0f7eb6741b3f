//! Groups that stay in memory between transactions, so that a message need not load its group.
//!
//! The cache is never trusted: whoever takes a group out compares its serial number with the store's, since another process
//! may have written. What it holds is bounded by [`SessionConfig::cache_bytes`](crate::SessionConfig::cache_bytes).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use crate::loaded::Loaded;

/// Groups as they are in the store, the least recently used ones first to go.
pub(crate) struct GroupCache {
    max_bytes: usize,
    groups: Mutex<Groups>,
}

struct Groups {
    by_id: LruCache<Vec<u8>, Arc<Loaded>>,
    bytes: usize,
}

impl GroupCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, groups: Mutex::new(Groups { by_id: LruCache::unbounded(), bytes: 0 }) }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        // Nothing panics half-way through a change.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a group that the store has like this.
    pub(crate) fn put(&self, id: Vec<u8>, loaded: Loaded) {
        let size = loaded.size();
        let mut groups = self.groups();
        if size > self.max_bytes {
            groups.remove(&id);
            return;
        }
        groups.bytes += size;
        if let Some(old) = groups.by_id.put(id, Arc::new(loaded)) {
            groups.bytes -= old.size();
        }
        while groups.bytes > self.max_bytes {
            match groups.by_id.pop_lru() {
                Some((_, old)) => groups.bytes -= old.size(),
                None => break,
            }
        }
    }

    /// Takes out a group, if it is what the store has: at this serial number.
    pub(crate) fn take(&self, id: &[u8], serial: u64) -> Option<Loaded> {
        let loaded = self.groups().remove(id)?;
        // Somebody may be looking at it: then they keep it, and this is a copy.
        (loaded.serial() == serial).then(|| Arc::unwrap_or_clone(loaded))
    }

    /// A group to look at, if it is what the store has.
    pub(crate) fn look(&self, id: &[u8], serial: u64) -> Option<Arc<Loaded>> {
        let loaded = self.groups().by_id.get(id).cloned()?;
        (loaded.serial() == serial).then_some(loaded)
    }
}

impl Groups {
    fn remove(&mut self, id: &[u8]) -> Option<Arc<Loaded>> {
        let loaded = self.by_id.pop(id)?;
        self.bytes -= loaded.size();
        Some(loaded)
    }
}

impl fmt::Debug for GroupCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCache").field("bytes", &self.groups().bytes).finish_non_exhaustive()
    }
}
