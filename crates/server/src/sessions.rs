//! The sessions that were looked up lately, so that not every request begins with asking the database for its own.
//!
//! This says who a request is from, and never that the session is still there: another node may have ended it. Who acts on it
//! looks the session up in the transaction of what is done.

use crate::storage::accounts::TokenHash;
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tertulia_api::UserDevice;

/// Most sessions that are remembered, of about 100 bytes each.
const MOST: NonZeroUsize = NonZeroUsize::new(16 * 1024).expect("it is not zero");

/// For how long. After that it is looked at again whether the session was used for too long a time ago.
const LATELY: Duration = Duration::from_mins(1);

/// See the [module](self).
pub(crate) struct RecentSessions(Mutex<LruCache<TokenHash, Seen>>);

struct Seen {
    device: UserDevice,
    /// Since when its token is used, in milliseconds since 1970.
    token_at: i64,
    at: Instant,
}

impl RecentSessions {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }

    /// Notes the device of a session that was just looked up, and since when its token is used, in milliseconds since 1970.
    pub(crate) fn note(&self, token: TokenHash, device: UserDevice, token_at: i64) {
        let mut seen = self.lock();
        seen.put(token, Seen { device, token_at, at: Instant::now() });
        if seen.len() > MOST.get() {
            seen.pop_lru();
        }
    }

    /// The device of a session, if it was looked up lately and its token is not used since before `oldest`.
    pub(crate) fn lately(&self, token: &TokenHash, oldest: i64) -> Option<UserDevice> {
        let mut all = self.lock();
        let seen = all.get(token)?;
        (seen.at.elapsed() < LATELY && seen.token_at >= oldest).then_some(seen.device)
    }

    /// Whether a session with this token was ever looked up, as far as it is remembered: nobody has made the token up.
    pub(crate) fn knows(&self, token: &TokenHash) -> bool {
        self.lock().get(token).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<TokenHash, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tertulia_domain::{DeviceId, UserId};

    #[test]
    fn a_session_is_remembered_and_the_one_not_used_for_longest_is_forgotten_first() {
        let sessions = RecentSessions::new();
        let device = |number| UserDevice { user: UserId::from_bytes([7; 16]), device: DeviceId::new(number) };
        let token = |number: u64| {
            let mut token = [0; 32];
            token[..8].copy_from_slice(&number.to_be_bytes());
            token
        };
        let most = MOST.get() as u64;
        for number in 0..most {
            sessions.note(token(number), device(number), 1);
        }
        assert_eq!(sessions.lately(&token(0), 1), Some(device(0)));
        assert_eq!(sessions.lately(&token(0), 2), None, "its token is too old by now");
        sessions.note(token(most), device(most), 1);
        assert_eq!(sessions.lately(&token(0), 1), Some(device(0)), "it was just used");
        assert_eq!(sessions.lately(&token(1), 1), None);
        // However long ago it was, and whether or not its token is too old.
        sessions.lock().get_mut(&token(0)).unwrap().at -= 2 * LATELY;
        assert_eq!(sessions.lately(&token(0), 1), None);
        assert!(sessions.knows(&token(0)) && !sessions.knows(&token(1)));
    }
}
