use mls_rs::error::{ExtensionError, MlsError};
use tertulia_api::{Code, policy::PolicyFormatError};

/// Why MLS bytes of a client are refused. Each is the client's doing; the caller answers with [`Rejection::code`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Rejection {
    /// The bytes are not the MLS messages that belong there.
    #[error("{0}")]
    Malformed(&'static str),
    /// The commit breaks a rule of this hub.
    #[error("{0}")]
    Invalid(&'static str),
    /// The group's policy cannot be read.
    #[error("the group's policy is not valid: {0}")]
    Policy(#[from] PolicyFormatError),
    /// The commit breaks a rule of MLS.
    #[error("the commit is not valid: {0}")]
    Mls(#[source] MlsError),
    /// The commit refers to a proposal that the hub does not hold for this epoch.
    #[error("the commit refers to a proposal that is not pending in this epoch")]
    ProposalNotFound,
    /// A pending proposal is left out.
    #[error("the commit leaves out a pending proposal; fetch the events and commit it too")]
    MissingProposals,
    /// The `GroupInfo` is not that of the group after the commit.
    #[error("{0}")]
    GroupInfo(&'static str),
    /// The `GroupInfo` is not that of the group after the commit, by a rule of MLS.
    #[error("the GroupInfo is not that of the group after the commit: {0}")]
    GroupInfoMls(#[source] MlsError),
    /// The stored state of the group cannot be used. No fault of the client.
    #[error("the stored group cannot be used: {0}")]
    Stored(#[source] MlsError),
}

impl Rejection {
    /// The code of the answer.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => Code::MalformedMls,
            Self::Invalid(_) | Self::Mls(_) | Self::Policy(_) => Code::InvalidCommit,
            Self::ProposalNotFound => Code::ProposalNotFound,
            Self::MissingProposals => Code::MissingProposals,
            Self::GroupInfo(_) | Self::GroupInfoMls(_) => Code::InconsistentGroupInfo,
            Self::Stored(_) => Code::Internal,
        }
    }

    /// A commit that MLS refuses.
    pub(super) fn of_commit(error: MlsError) -> Self {
        match error {
            MlsError::ProposalNotFound => Self::ProposalNotFound,
            other => Self::Mls(other),
        }
    }

    /// An extension of the `GroupInfo` that cannot be read.
    pub(super) fn of_extension(_: ExtensionError) -> Self {
        Self::GroupInfo("an extension of the GroupInfo cannot be read")
    }
}
