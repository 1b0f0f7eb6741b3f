//! What a commit does to history.

use std::time::Duration;

use mls_rs::{group::proposal::Proposal, time::MlsTime};

use super::{
    HistorySecret, HistorySharing, HistorySpan,
    frame::{LABEL, frame},
    keep::{self, Held, MAX_RIVALS_OF_ONE, Spans},
    secret::NewHistoryClient,
};
use crate::{
    ClientId, CommitOptions, ConversationGuard, ConversationId, EngineError, MlsCommitBundle, Result,
    conversation::ciphersuite, identity::client_id_of, overlay::Overlay, provider::MlsGroup,
};
use zeroize::Zeroizing;

/// How long before the end of its leaf's lifetime a history client is replaced. Its leaf is never updated, and others
/// may refuse to join a group with an expired one.
const RENEWAL: Duration = Duration::from_hours(28 * 24);

/// What the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryChange {
    /// As it is, with what the other changes demand.
    Keep,
    Enable,
    Disable,
    /// Another history client, and so another span.
    Rotate,
}

/// What is to be done.
#[derive(Default)]
pub(crate) struct HistoryPlan {
    /// Leaves of history clients to be removed.
    pub(crate) remove: Vec<u32>,
    /// A history client to be added.
    pub(crate) new: Option<NewHistoryClient>,
    /// Spans from before the commit that go with it.
    share: Vec<HistorySpan>,
}

/// A message to go with the commit.
pub(crate) struct CommitMessage {
    pub(crate) payload: Zeroizing<Vec<u8>>,
    pub(crate) authenticated_data: &'static [u8],
}

impl ConversationGuard<'_> {
    /// What a commit that removes the members at `leaves`, and adds some if `adds`, has to do besides.
    pub(crate) fn plan_history(
        &mut self,
        change: HistoryChange,
        leaves: &[u32],
        adds: bool,
        options: &CommitOptions,
    ) -> Result<HistoryPlan> {
        let config = self.config();
        let group = &self.loaded()?.group;
        let ciphersuite = ciphersuite(group)?;
        let proposed = Proposed::of(group);
        let clients = history_clients(group);
        let is_client = |leaf: &u32| clients.iter().any(|(client, _)| client == leaf);
        let going = || leaves.iter().chain(&proposed.removed);
        let staying: Vec<u32> =
            clients.iter().map(|(leaf, _)| *leaf).filter(|leaf| !going().any(|gone| gone == leaf)).collect();

        let mut plan = HistoryPlan::default();
        match change {
            HistoryChange::Enable if !clients.is_empty() => return Err(EngineError::HistoryEnabled),
            HistoryChange::Disable | HistoryChange::Rotate if clients.is_empty() => {
                return Err(EngineError::HistoryNotEnabled);
            }
            HistoryChange::Enable => plan.new = Some(NewHistoryClient::generate(ciphersuite, &config)?),
            HistoryChange::Disable => plan.remove = staying,
            HistoryChange::Rotate => {
                plan.new = Some(NewHistoryClient::generate(ciphersuite, &config)?);
                plan.remove = staying;
            }
            HistoryChange::Keep => {
                let somebody_leaves = going().any(|leaf| !is_client(leaf));
                let is_enabled = !staying.is_empty();
                if is_enabled
                    && (somebody_leaves || self.needs_history_rotation()? || self.is_renewal_due()?)
                {
                    plan.new = Some(NewHistoryClient::generate(ciphersuite, &config)?);
                    plan.remove = staying;
                }
            }
        }
        if adds || proposed.adds {
            plan.share = self.shared_spans(options.history)?;
        }
        Ok(plan)
    }

    /// The held spans that this choice means.
    pub(super) fn shared_spans(&mut self, sharing: HistorySharing) -> Result<Vec<HistorySpan>> {
        let spans = Spans::readable(self.overlay()?, &self.id)?;
        let open = || spans.iter().filter(|held| held.last_epoch.is_none());
        let is_verified = open().any(|held| held.is_verified);
        let shared = match sharing {
            HistorySharing::Nothing => Vec::new(),
            HistorySharing::Current => {
                one_from_each(open().filter(|held| held.is_verified == is_verified), |_, _| true)
            }
            HistorySharing::Since(epoch) => {
                let reach = spans.iter().filter(|held| held.last_epoch.is_none_or(|last| last >= epoch));
                let shared = one_from_each(reach, |a, b| a.first_epoch == b.first_epoch);
                if shared.is_empty() {
                    return Err(EngineError::HistoryNotHeld { epoch });
                }
                shared
            }
        };
        let mut readable = Vec::with_capacity(shared.len());
        for held in shared {
            match spans.span(held) {
                Ok(span) => readable.push(span),
                Err(EngineError::DamagedState { .. }) => {
                    tracing::warn!(conversation = %self.id, "a history secret cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(readable)
    }

    /// Whether the history client's leaf will expire soon, as far as its secret is held.
    fn is_renewal_due(&self) -> Result<bool> {
        let now = MlsTime::now().seconds_since_epoch();
        let spans = Spans::readable(self.overlay()?, &self.id)?;
        Ok(spans.iter().any(|held| held.last_epoch.is_none() && is_due(held.expiration, now)))
    }
}

/// Of those that are rivals, the first from each member, and not more than a receiver keeps: it finds out as well as this
/// device which of them is true.
fn one_from_each<'a>(
    spans: impl Iterator<Item = &'a Held>,
    are_rivals: impl Fn(&Held, &Held) -> bool,
) -> Vec<&'a Held> {
    let mut chosen: Vec<&Held> = Vec::new();
    for held in spans {
        let mut rivals = chosen.iter().filter(|other| are_rivals(other, held));
        let is_new = rivals.clone().count() < MAX_RIVALS_OF_ONE;
        if is_new && rivals.all(|other| other.shared_by != held.shared_by) {
            chosen.push(held);
        }
    }
    chosen
}

fn is_due(expiration: u64, now: u64) -> bool {
    expiration < now.saturating_add(RENEWAL.as_secs())
}

impl HistoryPlan {
    /// The message that goes with the commit, if there is one, and the secret that the commit begins.
    pub(crate) fn message(
        self,
        id: &ConversationId,
        new_epoch: u64,
        bundle: &MlsCommitBundle,
        application: Option<Vec<u8>>,
    ) -> Result<(Option<CommitMessage>, Option<HistorySecret>)> {
        let mut spans = self.share;
        let mut secret = None;
        if let Some(new) = self.new {
            for span in &mut spans {
                // The commit that begins the new span ends the open one.
                span.last_epoch.get_or_insert(new_epoch - 1);
            }
            let welcome = bundle.welcome.as_deref().unwrap_or_default();
            let begun = new.secret(id, new_epoch, welcome)?;
            spans.push(HistorySpan {
                first_epoch: new_epoch,
                last_epoch: None,
                secret: begun.clone(),
                is_verified: true,
                shared_by: None,
            });
            secret = Some(begun);
        }
        let message = if spans.is_empty() {
            application
                .map(|payload| CommitMessage { payload: Zeroizing::new(payload), authenticated_data: &[] })
        } else {
            Some(CommitMessage { payload: frame(&spans, application)?, authenticated_data: LABEL })
        };
        Ok((message, secret))
    }
}

/// Keeps the secret that a commit begins together with the pending commit.
pub(crate) fn keep_with_pending(
    overlay: &Overlay,
    id: &ConversationId,
    secret: Option<&HistorySecret>,
) -> Result<()> {
    secret.map_or(Ok(()), |secret| keep::keep_pending(overlay, id, secret))
}

/// What the pending proposals do to the members.
struct Proposed {
    adds: bool,
    removed: Vec<u32>,
}

impl Proposed {
    fn of(group: &MlsGroup) -> Self {
        let mut proposed = Self { adds: false, removed: Vec::new() };
        for cached in group.get_cached_proposals() {
            match cached.proposal() {
                Proposal::Add(_) => proposed.adds = true,
                Proposal::Remove(remove) => proposed.removed.push(remove.to_remove()),
                _ => {}
            }
        }
        proposed
    }
}

/// The members that keep history, with their leaves.
fn history_clients(group: &MlsGroup) -> Vec<(u32, ClientId)> {
    let roster = group.roster();
    roster
        .members_iter()
        .filter_map(|member| Some((member.index, client_id_of(&member.signing_identity).ok()?)))
        .filter(|(_, client)| client.is_history_client())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_client_is_replaced_four_weeks_before_its_leaf_expires() {
        let weeks = |n: u64| n * 7 * 24 * 3600;
        assert!(!is_due(weeks(12), weeks(8)));
        assert!(is_due(weeks(12), weeks(8) + 1));
        assert!(is_due(weeks(12), weeks(13)));
    }
}
