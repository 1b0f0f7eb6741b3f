//! Messages that are deleted by themselves (decision 17).

use crate::{Client, Error, Result, client::now};
use std::time::SystemTime;
use tertulia_content::{Expiration, MimiContent};
use tertulia_domain::ConversationId;
use tertulia_store::Expiry;

impl Client {
    /// Deletes for good the messages whose time is over at `now`, and says how many.
    ///
    /// Opening the home, reading and [`sync`](Self::sync) do it with the clock's time. An application that stays open for long
    /// without doing any of these calls it when it shows messages anew.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn expire_messages(&self, now: SystemTime) -> Result<usize> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(); // nothing expires before 1970
        self.expire(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).await
    }

    /// Does it with the clock's time. Where nothing is to be deleted, nothing is written.
    pub(crate) async fn expire_now(&self) -> Result<()> {
        self.expire(now()).await.map(drop)
    }

    async fn expire(&self, now: i64) -> Result<usize> {
        if !self.inner().store.read(|r| r.has_expired(now))? {
            return Ok(0);
        }
        let deleted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&deleted);
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            count.store(w.delete_expired(now)?, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })?;
        tx.finish().await?;
        Ok(deleted.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// The content with the time that the conversation's timer gives it: so long after it was read.
    pub(crate) fn timed(&self, conversation: ConversationId, content: MimiContent) -> Result<MimiContent> {
        let settings = self.inner().store.read(|r| r.conversation_settings(conversation))?;
        Ok(match settings.message_timer {
            Some(timer) => content.expiring(Expiration::Relative(timer.as_seconds())),
            None => content,
        })
    }
}

/// When this device deletes a message that the hub accepted at `sent_at`, milliseconds since 1970. What it says counts, and
/// neither the hub's word nor the timer that the conversation has by now. Its author, `own`, has read it when it was sent.
///
/// # Errors
///
/// [`Error::ImplausibleExpiry`] (draft-ietf-mimi-content-08, section 9.1).
pub(crate) fn expiry_of(content: &MimiContent, sent_at: i64, own: bool) -> Result<Option<Expiry>> {
    let Some(expires) = content.expires else { return Ok(None) };
    if !expires.is_plausible(u64::try_from(sent_at / 1000).unwrap_or_default()) {
        return Err(Error::ImplausibleExpiry);
    }
    Ok(Some(match expires {
        Expiration::Absolute(at) => Expiry::At(i64::from(at) * 1000),
        Expiration::Relative(after) if own => Expiry::At(sent_at.saturating_add(i64::from(after) * 1000)),
        Expiration::Relative(after) => Expiry::AfterReading(i64::from(after) * 1000),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SENT: i64 = 1_763_665_170_250;

    fn expiry(expires: Option<Expiration>, own: bool) -> Result<Option<Expiry>> {
        expiry_of(&MimiContent { expires, ..MimiContent::plain("soon gone") }, SENT, own)
    }

    #[test]
    fn a_relative_time_begins_with_reading_and_for_the_author_with_sending() {
        assert_eq!(expiry(None, false).unwrap(), None);
        let minute = Some(Expiration::Relative(60));
        assert_eq!(expiry(minute, false).unwrap(), Some(Expiry::AfterReading(60_000)));
        assert_eq!(expiry(minute, true).unwrap(), Some(Expiry::At(SENT + 60_000)));
    }

    #[test]
    fn an_absolute_time_is_what_it_is_for_everybody() {
        let at = Some(Expiration::Absolute(1_763_665_200));
        for own in [true, false] {
            assert_eq!(expiry(at, own).unwrap(), Some(Expiry::At(1_763_665_200_000)));
        }
    }

    #[test]
    fn a_time_of_more_than_a_year_is_not_believed() {
        for wrong in [Expiration::Relative(u32::MAX), Expiration::Absolute(0), Expiration::Absolute(u32::MAX)]
        {
            assert!(matches!(expiry(Some(wrong), false), Err(Error::ImplausibleExpiry)), "{wrong:?}");
        }
        assert!(expiry(Some(Expiration::Relative(365 * 24 * 60 * 60)), false).is_ok(), "the longest timer");
    }
}
