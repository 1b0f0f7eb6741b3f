//! The application's rules of a group: who may make which commit.

use std::{error::Error, fmt, sync::Arc};

use crate::{ClientId, ConversationId};

/// The type of the extension of the group's context that holds the group data. Of the range for private use (RFC 9420,
/// section 17.3).
pub const GROUP_DATA_EXTENSION: u16 = 0xf7e1;

/// The type of the extension of the group's context that says that handshake messages are encrypted. It has no content.
pub const ENCRYPTED_HANDSHAKE_EXTENSION: u16 = 0xf7e2;

/// Decides which commits a group takes, beside what MLS itself asks. Set it as
/// [`SessionConfig::group_rules`](crate::SessionConfig::group_rules).
///
/// The rules can keep *group data*: bytes in the group's signed context (RFC 9420, section 8.1), such as who has which role.
/// All members see the same, and it changes with commits only. So what is decided by it is decided by all members alike, and
/// not by whoever delivers the messages. Every member of a group must decide alike, or the group falls apart: those who
/// refuse a commit that the others accept stay behind.
pub trait GroupRules: Send + Sync {
    /// The group data after a commit that this device is about to make. [`GroupChange::data_after`] is what the caller asked
    /// for with [`CommitOptions::with_group_data`](crate::CommitOptions::with_group_data), or what it is now.
    ///
    /// It is not asked when this device joins from outside, for who does so cannot change it.
    fn data_after(&self, change: &GroupChange) -> Result<Option<Vec<u8>>, RuleViolation>;

    /// Whether somebody's wish to have this client added is void by what else the commit does, so that a commit of this device
    /// leaves it out. All members, and who delivers, must agree that it may be left out. Unless overridden, none is.
    fn is_void(&self, change: &GroupChange, added: &ClientId, by: &Proposer) -> bool {
        let _ = (change, added, by);
        false
    }

    /// Whether commits of this device carry out what a member has proposed, in a group whose handshake messages are encrypted.
    /// Who delivers such a proposal cannot look at it. If it breaks the rules, every commit that has it is refused: it is to be
    /// left out, and is over with the epoch. It is asked of what lies pending only, not of what a commit does by itself. Unless
    /// overridden, everything is carried out.
    fn carries_out(&self, wish: Wish) -> bool {
        let _ = wish;
        true
    }

    /// Whether a commit is allowed: another's that was received, or an own one before it is sent.
    fn check(&self, change: &GroupChange) -> Result<(), RuleViolation>;

    /// Whether to be in a group that this device is let into by a Welcome.
    fn check_joined(&self, group: &JoinedGroup) -> Result<(), RuleViolation>;
}

/// What a member has proposed for others to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wish {
    /// New keys for its own leaf, which stays the same client's with the same signature key.
    Renewal,
    /// To add a client.
    Addition,
    /// To remove another client.
    Removal,
    /// To be removed itself: so a client leaves.
    Departure,
    /// Anything else, such as another signature key, or a change of what the group is set up with.
    Other,
}

/// Who makes a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Committer {
    /// A member.
    Member(ClientId),
    /// Somebody who joins from outside by it.
    Joiner(ClientId),
}

/// Who proposed something that a commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proposer {
    /// A client: the committer itself, another member, or who wants to be added.
    Client(ClientId),
    /// The external sender of this number. The hub is number 0.
    ExternalSender(u32),
}

/// What a commit does to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupChange {
    /// The conversation.
    pub conversation: ConversationId,
    /// Who makes the commit.
    pub committer: Committer,
    /// The members before it.
    pub members: Vec<ClientId>,
    /// Whom it adds, and who proposed that. Who joins from outside is the committer, and not here.
    pub added: Vec<(ClientId, Proposer)>,
    /// Whom it removes, and who proposed that. Of a joiner, their own earlier leaf.
    pub removed: Vec<(ClientId, Proposer)>,
    /// The group data before it.
    pub data_before: Option<Vec<u8>>,
    /// The group data after it.
    pub data_after: Option<Vec<u8>>,
}

/// A group that this device is let into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedGroup {
    /// The conversation.
    pub conversation: ConversationId,
    /// This device.
    pub own: ClientId,
    /// Who has signed the Welcome, and so lets it in.
    pub welcomed_by: ClientId,
    /// The members, this device among them.
    pub members: Vec<ClientId>,
    /// The group data.
    pub data: Option<Vec<u8>>,
}

/// Why the rules refuse something, in the application's own words and types. Cheap to clone.
#[derive(Clone)]
pub struct RuleViolation(Arc<dyn Error + Send + Sync>);

impl RuleViolation {
    /// For this reason.
    pub fn new(reason: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(reason))
    }

    /// The reason, if it is of this type.
    pub fn reason<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for RuleViolation {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
