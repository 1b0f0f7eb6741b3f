//! A commit of this device: sealed once, left at the carrier that orders, and settled by what stands in the topic before it.

use super::{OnMls, State, epochs, invitations, is_as_group, outside, receiving, state::Posted};
use crate::{
    Client, Error, Result, Suspicion, SyncReport,
    envelopes::{Work, posting::is_open, types::At},
    link::conversation_of,
    sync::tolerate,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tertulia_api::Base64;
use tertulia_conversation::{
    hint::Kind,
    topic::ContentTopic,
    types::{ConversationType as _, DirectV1, GroupV1},
};
use tertulia_domain::{ConversationId, Protocol};
use tertulia_mls::{CommitIntent, CommitOutcome, EngineError, MlsCommitBundle, Outcome, RejectReason};
use tertulia_store::EnvelopedRecord;
use tertulia_transport::Delivery;

/// Leaves a commit of the engine's at the carrier that orders, and finds out by its order what became of it.
pub(crate) async fn send_commit(
    client: &Client,
    group: &tertulia_mls::ConversationId,
    bundle: MlsCommitBundle,
) -> CommitOutcome {
    let Some(id) = conversation_of(group) else {
        return CommitOutcome::Unknown { detail: "it is no conversation's group".to_owned() };
    };
    match Box::pin(leave(client, id, bundle)).await {
        Ok(outcome) => outcome,
        // It is sealed or not, and left at the carrier or not: the next time goes on where this one ended.
        Err(error) => CommitOutcome::Unknown { detail: error.to_string() },
    }
}

async fn leave(client: &Client, id: ConversationId, bundle: MlsCommitBundle) -> Result<CommitOutcome> {
    let record = client.inner().store.read(|r| r.enveloped(id))?;
    let record = record.ok_or_else(|| Error::UnknownTarget { target: id.to_string() })?;
    let carrier = client.carriers().ordering(&record).cloned().ok_or(Error::NoOrder)?;
    let sealed = match crate::envelopes::number(&record) {
        number if number == DirectV1::DESCRIPTOR.id => seal::<DirectV1>(client, id, bundle).await?,
        number if is_as_group(number) => seal::<GroupV1>(client, id, bundle).await?,
        number => return Err(Error::UnknownType { number: number.number() }),
    };
    let Some(posted) = sealed else {
        return Ok(CommitOutcome::Unknown { detail: "it was settled meanwhile".to_owned() });
    };
    let topic = ContentTopic::of_conversation(&id);
    match carrier.publish(&topic, &posted.envelope.0).await {
        Ok(position) => note_position(client, id, &posted, carrier.id(), position.0).await?,
        Err(error) if is_open(&error) => return Ok(CommitOutcome::Unknown { detail: error.to_string() }),
        Err(error) => {
            withdraw(client, id, &posted).await?;
            let (code, detail) = (error.code().to_owned(), error.to_string());
            return Ok(CommitOutcome::Rejected(RejectReason::Refused { code, detail }));
        }
    }
    client.read_topic(&carrier, topic).await?;
    if is_waiting(client, id, &posted.commit.0)? {
        // The carrier has taken it, and does not show it where it said that it stands.
        let shown = client.inner().store.read(|r| r.shown_as(id))?;
        client.notice(shown, Suspicion::Withheld).await?;
        return Ok(CommitOutcome::Unknown {
            detail: "the relay has taken it and does not show it".to_owned(),
        });
    }
    // What follows from it: Welcomes, and the first message of the epoch. What cannot go out now is for the next synchronisation.
    tolerate(client.flush_envelopes(&mut SyncReport::default()).await)?;
    // What became of it is written down already, and the engine looks there first.
    Ok(CommitOutcome::Accepted)
}

/// Whether this is the commit that the engine waits for.
fn is_waiting(client: &Client, id: ConversationId, commit: &[u8]) -> Result<bool> {
    let pending = client.inner().session.pending_commit(&client.group_of(id)?)?;
    Ok(pending.is_some_and(|pending| pending.commit_sha256[..] == Sha256::digest(commit)[..]))
}

/// Puts a commit into an envelope, once, and keeps beside it what follows when it counts. None if the engine does not wait for it any more.
async fn seal<T: OnMls>(
    client: &Client,
    id: ConversationId,
    bundle: MlsCommitBundle,
) -> Result<Option<Posted>> {
    let MlsCommitBundle { commit, welcome, encrypted_message, .. } = bundle;
    let mut work = Work::begin(client).await?;
    let record = work.conversation(id)?;
    let mut state = State::of(&record)?;
    if !is_waiting(client, id, &commit)? {
        return Ok(None);
    }
    if let Some(posted) = state.posted.as_ref().filter(|posted| posted.commit.0 == commit) {
        return Ok(Some(posted.clone()));
    }
    let pending = client.inner().session.pending_commit(&client.group_of(id)?)?;
    let invited = match pending.and_then(|pending| pending.intent) {
        Some(CommitIntent::Members { add, .. }) => epochs::users_of(&add),
        _ => Vec::new(),
    };
    let restored = epochs::is_restored(&mut work, id).await?;
    let envelope = if restored {
        work.post_frame_salted::<T>(&record, &T::handshake(commit.clone()))?
    } else {
        post_handshake::<T>(&mut work, &record, commit.clone())?
    };
    work.await_echo(id, &envelope)?;
    let posted = Posted {
        commit: Base64(commit),
        envelope: Base64(envelope),
        welcome: welcome.map(Base64),
        invited,
        message: encrypted_message.map(Base64),
        restored,
        position: None,
    };
    state.posted = Some(posted.clone());
    state.write(&mut work, id)?;
    work.finish().await?;
    Ok(Some(posted))
}

/// Puts a proposal or a commit into an envelope, and that into line. What carriers have refused has used hints up, though nobody else has seen them: those are not used
/// again, and beyond the window others would not recognise what follows. A salted hint they recognise always, and who has written it stands inside.
pub(super) fn post_handshake<T: OnMls>(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    message: Vec<u8>,
) -> Result<Vec<u8>> {
    let frame = T::handshake(message);
    if work.hints().is_beyond_window(&record.conversation, Kind::Handshake) {
        return work.post_frame_salted::<T>(record, &frame);
    }
    work.post_frame::<T>(record, &frame, None)
}

/// Notes where the carrier has put a commit.
async fn note_position(
    client: &Client,
    id: ConversationId,
    posted: &Posted,
    carrier: &str,
    position: u64,
) -> Result<()> {
    let mut work = Work::begin(client).await?;
    let Some(record) = client.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
    let mut state = State::of(&record)?;
    if let Some(waiting) = state.posted.as_mut().filter(|waiting| waiting.envelope == posted.envelope) {
        waiting.position = Some(position);
        state.write(&mut work, id)?;
    }
    let (envelope, carrier) = (posted.envelope.0.clone(), carrier.to_owned());
    work.write(move |w| w.posted_as(&envelope, &carrier))?;
    work.finish().await.map(drop)
}

/// A carrier refuses the commit for good: nobody will have it.
async fn withdraw(client: &Client, id: ConversationId, posted: &Posted) -> Result<()> {
    let mut work = Work::begin(client).await?;
    let Some(record) = client.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
    let mut state = State::of(&record)?;
    state.posted = None;
    state.write(&mut work, id)?;
    let envelope = posted.envelope.0.clone();
    work.write(move |w| {
        w.echoed(&envelope)?;
        w.withdraw_envelope(&envelope)
    })?;
    work.finish().await.map(drop)
}

/// The place of an own commit is known: it counts, if nothing valid for its epoch stood before it. Says whether this was the carrier that orders.
pub(super) async fn see_own<T: OnMls>(work: &mut Work<'_>, id: ConversationId, at: At<'_>) -> Result<bool> {
    let record = work.conversation(id)?;
    if !is_ordering(work.client, &record, at.carrier) {
        return Ok(false);
    }
    let mut state = State::of(&record)?;
    let Some(posted) = state.posted.take() else { return Ok(true) };
    if posted.position.is_some_and(|said| said != at.position.0) {
        epochs::suspect(work, id, Suspicion::Reordered)?;
    }
    let group = work.client.group_of(id)?;
    let done = match work.tx.conversation(&group).await?.decrypt_message(&posted.commit.0) {
        Ok(done) => done,
        Err(EngineError::Store(error)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(conversation = %id.short(), %error, "an own commit cannot be applied");
            outside::lost(work, id, &mut state);
            state.write(work, id)?;
            return Ok(true);
        }
    };
    if done.outcome == Outcome::OwnCommitMerged {
        epochs::enter(work, &record).await?;
        epochs::note_further_devices(work, id, (&done.added, &done.removed)).await?;
        state.commit_at = None;
        if posted.restored {
            // The copy that was lost may have made commits which stand before this one for all others.
            outside::lost(work, id, &mut state);
        }
        state.let_in.retain(|user| !posted.invited.contains(user));
        match posted.message {
            // A copy of this home that had the same commit has sent the same after it, with the hint that it would have here.
            Some(_) if work.hints().must_update(&id) => {
                tracing::info!(conversation = %id.short(), "what a restored commit was to say is left out");
            }
            Some(message) => drop(work.post_frame::<T>(&record, &T::content(message.0), None)?),
            None => {}
        }
        if let (Some(of_two), Some(shown)) = (&mut state.of_two, record.continues) {
            of_two.invited |= posted.invited.contains(&of_two.peer);
            if of_two.invited {
                work.write(move |w| w.advance_protocol(shown, Protocol::Mixed).map(drop))?;
            }
        }
        if let Some(welcome) = posted.welcome {
            for user in posted.invited {
                invitations::invite_member(work, &record, user, &welcome.0)?;
            }
        }
        receiving::follow::<T>(work, &record, &mut state, done)?;
    }
    state.write(work, id)?;
    Ok(true)
}

/// Whether this is the carrier by whose order the commits of a conversation count.
pub(super) fn is_ordering(client: &Client, record: &EnvelopedRecord, carrier: &dyn Delivery) -> bool {
    client.carriers().ordering(record).is_some_and(|ordering| ordering.id() == carrier.id())
}

impl Client {
    /// Takes what others have made of a conversation meanwhile.
    pub(crate) async fn catch_up_with(&self, id: ConversationId) -> Result<()> {
        let record = self.inner().store.read(|r| r.enveloped(id))?;
        let Some(record) = record else { return self.catch_up(&mut SyncReport::default()).await };
        let carrier = self.carriers().ordering(&record).cloned().ok_or(Error::NoOrder)?;
        self.read_topic(&carrier, ContentTopic::of_conversation(&id)).await
    }

    /// Finds out what became of the pending commit of a conversation that no hub carries: by the topic, and if it is not there, by leaving it
    /// there once more.
    pub(crate) async fn settle_by_order(&self, id: ConversationId) -> Result<()> {
        let Some(record) = self.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
        let carrier: Arc<dyn Delivery> = self.carriers().ordering(&record).cloned().ok_or(Error::NoOrder)?;
        self.read_topic(&carrier, ContentTopic::of_conversation(&id)).await?;
        let group = self.group_of(id)?;
        let Some(pending) = self.inner().session.pending_commit(&group)? else { return Ok(()) };
        let mut tx = self.inner().session.new_transaction().await?;
        let settled = match tx.conversation(&group).await {
            Ok(mut guard) => guard.settle_pending(pending.epoch).await,
            // Another process of this home has settled it.
            Err(EngineError::ConversationNotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match settled? {
            tertulia_mls::Settlement::Refused { .. }
                if self.inner().session.pending_commit(&group)?.as_ref() == Some(&pending) =>
            {
                tx.conversation(&group).await?.give_up_pending_commit()?;
            }
            _ => {}
        }
        Ok(tx.finish().await?)
    }
}
