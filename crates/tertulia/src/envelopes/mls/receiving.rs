//! What comes: application messages from any carrier, proposals and commits from the one that orders.

use super::{OnMls, Part, State, commits, direct, epochs, outside};
use crate::{
    Result, Suspicion,
    envelopes::{
        Work,
        types::{At, Verdict},
    },
};
use tertulia_content::MimiContent;
use tertulia_conversation::{hint::Opened, wire::Outcome as Decoded};
use tertulia_domain::{ConversationId, DeviceAddress, role::Action};
use tertulia_mls::{EngineError, MlsConversationDecryptMessage, Outcome};
use tertulia_store::EnvelopedRecord;

/// Takes an envelope of a conversation.
pub(super) async fn receive<T: OnMls>(work: &mut Work<'_>, opened: &Opened, at: At<'_>) -> Result<Verdict> {
    let id = opened.place.epoch.conversation;
    let record = work.conversation(id)?;
    let frame = match opened.frame_in::<T>(opened.place.epoch.conversation_type) {
        Decoded::Decoded(frame) => frame,
        Decoded::Invalid(error) => return Ok(Verdict::Refused(error.to_string())),
        Decoded::Unsupported(_) => return Ok(Verdict::Unsupported),
        Decoded::NotForUs => return Ok(Verdict::Refused("it is of another conversation".to_owned())),
    };
    let (message, is_handshake, is_receipt) = match T::part(frame) {
        Part::Content(message) => (message, false, false),
        Part::Receipt(message) => (message, false, true),
        Part::Handshake(message) => (message, true, false),
        Part::Other => return Ok(Verdict::Refused("nothing is done with this kind of frame".to_owned())),
    };
    if is_handshake && (at.again || !commits::is_ordering(work.client, &record, at.carrier)) {
        return Ok(Verdict::Later);
    }
    let group = work.client.group_of(id)?;
    if !work.tx.conversation_exists(&group)? {
        return Ok(Verdict::Refused("this device is not in the group".to_owned()));
    }
    let before = work.tx.conversation(&group).await?.epoch()?;
    let decrypted = work.tx.conversation(&group).await?.decrypt_message(&message);
    let done = match decrypted {
        Ok(done) => done,
        Err(EngineError::Store(error)) => return Err(error.into()),
        // It is by a member, who may not do that: all members pass it over.
        Err(EngineError::RulesBroken(violation)) => {
            let reason = violation.to_string();
            epochs::suspect(work, id, Suspicion::ForbiddenCommit { reason: reason.clone() })?;
            return Ok(Verdict::Unreadable(reason));
        }
        Err(error) => return Ok(Verdict::Refused(error.to_string())),
    };
    match (is_handshake, done.outcome) {
        (false, Outcome::Application) => return content(work, &record, done, is_receipt).await,
        (false, Outcome::Duplicate | Outcome::StaleEpoch) => {
            return Ok(Verdict::Unreadable("its key is gone".to_owned()));
        }
        (false, _) | (true, Outcome::Application | Outcome::History | Outcome::OwnMessage) => {
            return Ok(Verdict::Refused("it is of another kind than its frame says".to_owned()));
        }
        (true, _) => {}
    }
    let mut state = State::of(&record)?;
    if done.dropped_pending {
        // Another's commit stood before; what this one was to do is looked at anew.
        state.posted = None;
    }
    if !done.is_active {
        return removed(work, id).map(|()| Verdict::Genuine);
    }
    if work.tx.conversation(&group).await?.epoch()? > before {
        epochs::enter(work, &record).await?;
        epochs::note_further_devices(work, id, (&done.added, &done.removed)).await?;
        state.commit_at = None;
    }
    match done.outcome {
        Outcome::Buffered => outside::lost(work, id, &mut state),
        Outcome::Proposal => {
            let delay = done.delay.and_then(|seconds| i64::try_from(seconds).ok());
            state.commit_at = delay.map(|seconds| work.now.saturating_add(seconds.saturating_mul(1000)));
        }
        _ => {}
    }
    follow::<T>(work, &record, &mut state, done)?;
    state.write(work, id)?;
    Ok(Verdict::Genuine)
}

/// Sends what the engine has made anew: proposals of this device that a commit has left out.
pub(super) fn follow<T: OnMls>(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    state: &mut State,
    done: MlsConversationDecryptMessage,
) -> Result<()> {
    if done.proposals.is_empty() || work.hints().must_update(&record.conversation) {
        return Ok(());
    }
    for proposal in done.proposals {
        commits::post_handshake::<T>(work, record, proposal.proposal)?;
    }
    state.commit_at = None;
    Ok(())
}

/// Takes a decrypted content into the home.
async fn content(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    done: MlsConversationDecryptMessage,
    is_receipt: bool,
) -> Result<Verdict> {
    let id = record.conversation;
    let author = done.sender_client_id.as_ref();
    let author = author.and_then(|author| DeviceAddress::from_identity(author.as_bytes()).ok());
    let (Some(author), Some(content)) = (author, done.app_msg) else {
        return Ok(Verdict::Unreadable("it has no author or no content".to_owned()));
    };
    if record.continues.is_some() {
        return direct::take(work, record, &author, content, is_receipt);
    }
    let announces = MimiContent::decode(&content).is_ok_and(|content| content.announced_name().is_some());
    let renames = announces && {
        let policy = epochs::policy_of(work, id).await?;
        policy.is_none_or(|policy| {
            policy.role_of(author.user).is_some_and(|role| role.allows(Action::ModifyName))
        })
    };
    if announces && !renames {
        epochs::suspect(work, id, Suspicion::ForgedName { user: author.user })?;
    }
    work.take_content_as(id, &author, content, renames)?;
    Ok(Verdict::Genuine)
}

/// This device is in the group no more: its keys are gone, its messages stay.
fn removed(work: &mut Work<'_>, id: ConversationId) -> Result<()> {
    work.applied.changed.push(work.client.inner().store.read(|r| r.shown_as(id))?);
    work.forget_conversation(id)?;
    work.write(move |w| {
        w.set_joined(id, false)?;
        w.set_active(id, false)
    })
}

#[cfg(test)]
mod tests;
