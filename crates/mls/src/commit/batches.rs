//! Adding very many members: several commits, one after the other.
//!
//! A Welcome holds the ratchet tree, and each new member's part of it is encrypted under the whole of it: a commit that adds
//! `k` members to a group of `n` costs in proportion to `k · n`, whoever makes it. So many at once also make one long
//! record, one long request, and one long time in which nobody else can commit. Hence the batches. Each is a commit in two
//! phases like any other, with its Welcome for its new members, and the next begins when the hub has accepted it.

use std::collections::HashSet;

use super::newcomers;
use crate::{
    ClientId, CommitOptions, CommitSummary, ConversationGuard, EngineError, KeyPackage, Result,
    history::HistoryChange,
};

impl ConversationGuard<'_> {
    /// Adds at most `most` with each commit. The first one removes, and takes the pending proposals, keys and group data along; each gives its
    /// new members their history; the last one takes the message, so that all new members can read it.
    pub(super) async fn change_in_batches(
        &mut self,
        add: &[KeyPackage],
        most: usize,
        remove: &[ClientId],
        options: CommitOptions,
    ) -> Result<CommitSummary> {
        // What can be known to fail of any batch, before the first of them is committed. What is left is a forged signature,
        // and what happens meanwhile.
        newcomers::check(&self.config(), &self.loaded()?.group, add, remove)?;
        let CommitOptions { mut encrypted_message, history, mut psks, mut group_data, readable } = options;
        let mut done: Option<CommitSummary> = None;
        let mut batches = add.chunks(most).peekable();
        while let Some(batch) = batches.next() {
            let encrypted_message = if batches.peek().is_none() { encrypted_message.take() } else { None };
            let options = CommitOptions {
                encrypted_message,
                history,
                psks: std::mem::take(&mut psks),
                group_data: group_data.take(),
                readable,
            };
            let remove = if done.is_none() { remove } else { &[] };
            let committed = match self.stage(batch, remove, options, HistoryChange::Keep) {
                Ok(record) => self.publish_only(record).await,
                Err(error) => Err(error),
            };
            match (committed, &mut done) {
                (Ok(summary), None) => done = Some(summary),
                (Ok(summary), Some(done)) => join(done, summary),
                (Err(error), None) => return Err(error),
                (Err(error), Some(done)) => {
                    return Err(EngineError::ChangedInPart {
                        done: Box::new(done.clone()),
                        source: Box::new(error),
                    });
                }
            }
        }
        let mut done = done.ok_or(EngineError::NothingToCommit)?;
        done.buffered_messages = self.replay(Vec::new())?.into_messages();
        Ok(done)
    }
}

/// Both commits as one. A client that was removed and added again is in its own place: neither.
fn join(done: &mut CommitSummary, next: CommitSummary) {
    let CommitSummary { epoch, added, removed, crl_new_distribution_points, .. } = next;
    done.epoch = epoch;
    done.added.extend(added);
    done.removed.extend(removed);
    let now: HashSet<&ClientId> = done.added.iter().collect();
    let again: HashSet<ClientId> =
        done.removed.iter().filter(|client| now.contains(client)).cloned().collect();
    done.added.retain(|client| !again.contains(client));
    done.removed.retain(|client| !again.contains(client));
    if let Some(points) = crl_new_distribution_points {
        let known = done.crl_new_distribution_points.get_or_insert_default();
        known.extend(points.into_iter().filter(|point| !known.contains(point)).collect::<Vec<_>>());
    }
}
