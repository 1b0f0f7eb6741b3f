//! `GroupV1` and `DirectV1`: MLS through carriers that know nothing, one of which orders the commits.
//!
//! | step of a commit | where it stands |
//! |---|---|
//! | built by the engine | pending there |
//! | [sealed](commits), with the Welcome and the first message that belong to it | this type's state; the envelope in line |
//! | left at the ordering carrier | its topic, at a position |
//! | the topic read up to that position, by everybody alike | of the commits for one epoch the first that is valid counts |
//!
//! So all members apply the same commits in the same order, and whoever comes second finds that out by reading, and does anew what is still
//! to be done. What the other carriers have of commits is not looked at: who read it there first would be in another order.

mod begin;
mod commits;
mod direct;
mod epochs;
mod invitations;
mod outside;
mod receiving;
mod state;

use super::{
    Work,
    types::{At, EnvelopeType, Verdict},
};
use crate::{Client, Result, groups::Upkeep, receipts::is_report, sync::tolerate};
use async_trait::async_trait;
pub(crate) use commits::send_commit;
pub(crate) use direct::forget_all as forget_continuing;
pub(crate) use epochs::upkeep_options;
pub(crate) use invitations::{enter_group, take_group_invitation};
use state::State;
use std::marker::PhantomData;
use tertulia_conversation::{
    hint::Opened,
    types::{ConversationType, DirectV1, GroupV1, TypeId},
    wire::{DirectFrame, GroupFrame},
};
use tertulia_domain::ConversationId;
use tertulia_mls::EngineError;
use tertulia_store::{EnvelopedRecord, OutboxMessage};

/// Most members that one commit adds where each Welcome has to fit into an envelope: a quarter of the most that a group can have.
pub(crate) const ADDS_PER_COMMIT: usize = 250;

/// A type of conversations on MLS.
pub(crate) trait OnMls: ConversationType<Frame: Send + Sync> + Send + Sync {
    /// The frame with an application message.
    fn content(message: Vec<u8>) -> Self::Frame;
    /// The frame with an application message that tells of others.
    fn receipt(message: Vec<u8>) -> Self::Frame {
        Self::content(message)
    }
    /// The frame with a proposal or a commit.
    fn handshake(message: Vec<u8>) -> Self::Frame;
    /// What a frame is to MLS.
    fn part(frame: Self::Frame) -> Part;
}

/// What a frame is to MLS.
pub(crate) enum Part {
    /// An application message.
    Content(Vec<u8>),
    /// An application message that tells of others, or of nothing.
    Receipt(Vec<u8>),
    /// A proposal or a commit.
    Handshake(Vec<u8>),
    /// Something that this version does nothing with.
    Other,
}

impl OnMls for GroupV1 {
    fn content(message: Vec<u8>) -> GroupFrame {
        GroupFrame::Content(message)
    }

    fn handshake(message: Vec<u8>) -> GroupFrame {
        GroupFrame::Handshake(message)
    }

    fn part(frame: GroupFrame) -> Part {
        match frame {
            GroupFrame::Content(message) => Part::Content(message),
            GroupFrame::Handshake(message) => Part::Handshake(message),
            _ => Part::Other,
        }
    }
}

impl OnMls for DirectV1 {
    fn content(message: Vec<u8>) -> DirectFrame {
        DirectFrame::Content(message)
    }

    fn receipt(message: Vec<u8>) -> DirectFrame {
        DirectFrame::Receipt(message)
    }

    fn handshake(message: Vec<u8>) -> DirectFrame {
        DirectFrame::Handshake(message)
    }

    fn part(frame: DirectFrame) -> Part {
        match frame {
            DirectFrame::Content(message) => Part::Content(message),
            DirectFrame::Receipt(message) => Part::Receipt(message),
            DirectFrame::Handshake(message) => Part::Handshake(message),
            _ => Part::Other,
        }
    }
}

/// What types on MLS have in common.
pub(crate) struct OverMls<T>(PhantomData<fn() -> T>);

const GROUP: &OverMls<GroupV1> = &OverMls(PhantomData);
const DIRECT: &OverMls<DirectV1> = &OverMls(PhantomData);

/// The type with this number, if it is on MLS.
pub(crate) fn on_mls(number: TypeId) -> Option<&'static dyn EnvelopeType> {
    match number {
        number if number == DirectV1::DESCRIPTOR.id => Some(DIRECT),
        number if is_as_group(number) => Some(GROUP),
        _ => None,
    }
}

/// Whether conversations of the type with this number travel as groups do: `GroupV1` itself, and types of applications, whose frames stand in the contents. It does
/// not take an application that knows the type.
pub(crate) fn is_as_group(number: TypeId) -> bool {
    number == GroupV1::DESCRIPTOR.id || number.is_of_application()
}

#[async_trait]
impl<T: OnMls> EnvelopeType for OverMls<T> {
    async fn receive(&self, work: &mut Work<'_>, opened: &Opened, at: At<'_>) -> Result<Verdict> {
        receiving::receive::<T>(work, opened, at).await
    }

    async fn prepare(&self, client: &Client, conversation: ConversationId) -> Result<()> {
        client.ready(conversation).await
    }

    async fn seal(
        &self,
        work: &mut Work<'_>,
        record: &EnvelopedRecord,
        message: &OutboxMessage,
    ) -> Result<()> {
        let group = work.client.group_of(record.conversation)?;
        let encrypted = work.tx.conversation(&group).await?.encrypt_message(&message.content);
        match encrypted {
            Ok(encrypted) => {
                let is_report = is_report(&message.content);
                let frame = if is_report { T::receipt(encrypted) } else { T::content(encrypted) };
                work.post_frame::<T>(record, &frame, Some(message.id)).map(drop)
            }
            // Something came in between; the next round prepares for it.
            Err(
                EngineError::PendingCommit { .. }
                | EngineError::PendingProposals { .. }
                | EngineError::StateRestored,
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn see_own(&self, work: &mut Work<'_>, id: ConversationId, at: At<'_>) -> Result<bool> {
        commits::see_own::<T>(work, id, at).await
    }

    async fn missed(&self, work: &mut Work<'_>, id: ConversationId, at: &str) -> Result<()> {
        outside::missed(work, id, at)
    }

    async fn do_what_is_due(&self, client: &Client, id: ConversationId, now: i64) -> Result<()> {
        let Some(record) = client.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
        if record.continues.is_some() {
            let direct = direct::Direct::of(record)?;
            return Box::pin(direct::do_what_is_due(client, &direct, now)).await;
        }
        // First, for what follows changes the group if it can.
        tolerate(client.ask_to_come_back(id, now).await)?;
        let Some(record) = client.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
        let state = State::of(&record)?;
        if state.commit_at.is_some_and(|at| at <= now) {
            tolerate(client.upkeep(id, Upkeep::Proposals).await)?;
            client.proposals_seen_to(id).await?;
        }
        for user in state.let_in {
            // If it cannot be done, they ask again.
            tolerate(client.let_back_in(id, user).await)?;
            client.is_back_in(id, user).await?;
        }
        Ok(())
    }
}
