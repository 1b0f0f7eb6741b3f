//! Reading a conversation's log from before one came.

use crate::event::EventBody;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What of the log is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only commits that made this epoch or a later one, and what was sent in these epochs.
    pub from_epoch: Option<u64>,
    /// Entries after this cursor; from the first on unless given.
    pub after: Option<String>,
    /// At most so many entries (1–1000, 200 unless given).
    pub limit: Option<u32>,
}

/// A page of a conversation's log: commits, proposals, and application messages as far as the reader may have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// The entries, by their numbers: `conversation.commit`, `conversation.proposal`, `conversation.message` and
    /// `conversation.name`, as events have them. A commit is without its Welcome, and without its message if the reader may not
    /// have that.
    pub entries: Vec<EventBody>,
    /// Where the next page begins. Opaque: it is given back, never looked into.
    pub cursor: String,
    /// Whether there were more when the page was made.
    pub more: bool,
}
