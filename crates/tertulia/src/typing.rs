//! Who is typing. The hub's word is all there is for it, and it is told in passing: nothing of it is kept.

use crate::{Client, ClientEvent, Result};
use std::{collections::BTreeMap, time::Duration};
use tertulia_api::typing::{Typing, TypingStatus};
use tertulia_domain::{ConversationId, UserId};
use tokio::time::Instant;

/// How long it is believed that somebody is typing who does not say so again.
const BELIEVED: Duration = Duration::from_secs(10);

/// Most people of whom it is known at once. A hub that makes them up does not fill memory.
const MOST: usize = 1000;

impl Client {
    /// Tells the others in a conversation that the user is typing, or no longer. Those who are connected at the moment see it as
    /// [`ClientEvent::Typing`], for 10 seconds: it is to be called again, every 5 seconds say, while the user goes on. Nothing is
    /// sent unless the application calls this.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-conversation`, `not-connected`, `invalid-operation`, `rate-limited`. None of it matters to what
    /// is being typed.
    pub async fn typing(&self, conversation: ConversationId, typing: bool) -> Result<()> {
        let status = if typing { TypingStatus::Started } else { TypingStatus::Stopped };
        Ok(self.hub()?.typing(conversation, status).await?)
    }
}

/// Who is typing as far as one stream of events has heard, each with the time until which it is believed.
#[derive(Debug, Default)]
pub(crate) struct TypingNow(BTreeMap<(ConversationId, UserId), Instant>);

impl TypingNow {
    /// Takes a notice, and says what is new.
    pub(crate) fn heard(&mut self, notice: Typing, now: Instant) -> Option<ClientEvent> {
        let Typing { conversation, user, status } = notice;
        if status == TypingStatus::Stopped {
            return self.stopped(conversation, user);
        }
        let known = self.0.contains_key(&(conversation, user));
        if !known && self.0.len() >= MOST {
            return None;
        }
        self.0.insert((conversation, user), now + BELIEVED);
        (!known).then_some(ClientEvent::Typing { conversation, user, typing: true })
    }

    /// Whose message is there is not typing it any more.
    pub(crate) fn stopped(&mut self, conversation: ConversationId, user: UserId) -> Option<ClientEvent> {
        let until = self.0.remove(&(conversation, user));
        until.map(|_| ClientEvent::Typing { conversation, user, typing: false })
    }

    /// When the next of them is to be taken as no longer typing.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Those of whom nothing was heard for long.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<ClientEvent> {
        let over: Vec<_> = self.0.iter().filter(|(_, until)| **until <= now).map(|(who, _)| *who).collect();
        over.into_iter().filter_map(|(conversation, user)| self.stopped(conversation, user)).collect()
    }

    /// All of them: the connection over which they were heard of is gone.
    pub(crate) fn all_gone(&mut self) -> Vec<ClientEvent> {
        let all: Vec<_> = self.0.keys().copied().collect();
        all.into_iter().filter_map(|(conversation, user)| self.stopped(conversation, user)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ConversationId = ConversationId::from_bytes([1; 16]);

    fn notice(user: UserId, status: TypingStatus) -> Typing {
        Typing { conversation: HERE, user, status }
    }

    fn told(user: UserId, typing: bool) -> ClientEvent {
        ClientEvent::Typing { conversation: HERE, user, typing }
    }

    #[test]
    fn who_goes_on_typing_is_told_once_and_who_stops_too() {
        let (mut now, start, bob) = (TypingNow::default(), Instant::now(), UserId::random());
        assert_eq!(now.heard(notice(bob, TypingStatus::Stopped), start), None);
        assert_eq!(now.heard(notice(bob, TypingStatus::Started), start), Some(told(bob, true)));
        assert_eq!(now.heard(notice(bob, TypingStatus::Started), start + BELIEVED / 2), None);
        assert_eq!(now.heard(notice(bob, TypingStatus::Stopped), start + BELIEVED), Some(told(bob, false)));
        assert_eq!(now.next_expiry(), None);
    }

    #[test]
    fn who_says_nothing_more_is_taken_as_done_after_ten_seconds() {
        let (mut now, start) = (TypingNow::default(), Instant::now());
        let (bob, carol) = (UserId::from_bytes([2; 16]), UserId::from_bytes([3; 16]));
        now.heard(notice(bob, TypingStatus::Started), start);
        now.heard(notice(carol, TypingStatus::Started), start);
        now.heard(notice(carol, TypingStatus::Started), start + BELIEVED / 2);
        assert_eq!(now.next_expiry(), Some(start + BELIEVED));
        assert!(now.expired(start + BELIEVED / 2).is_empty());
        assert_eq!(now.expired(start + BELIEVED), [told(bob, false)]);
        assert_eq!(now.next_expiry(), Some(start + BELIEVED + BELIEVED / 2));
        assert_eq!(now.all_gone(), [told(carol, false)]);
    }

    #[test]
    fn whose_message_arrives_is_done_typing_it() {
        let (mut now, bob) = (TypingNow::default(), UserId::random());
        now.heard(notice(bob, TypingStatus::Started), Instant::now());
        assert_eq!(now.stopped(HERE, bob), Some(told(bob, false)));
        assert_eq!(now.stopped(HERE, bob), None);
    }

    #[test]
    fn a_hub_that_makes_people_up_does_not_fill_memory() {
        let (mut now, start) = (TypingNow::default(), Instant::now());
        for _ in 0..2 * MOST {
            now.heard(notice(UserId::random(), TypingStatus::Started), start);
        }
        assert_eq!(now.0.len(), MOST);
    }
}
