//! What can go wrong between a client and its hub.

use tertulia_api::{Code, Problem};

/// An error of the transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address is not one that a hub can have. Correct it.
    #[error("\"{address}\" is not the address of a hub: {reason}")]
    InvalidAddress {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address is plain HTTP to another machine, where anybody on the way could read the password. Use `https`.
    #[error("\"{address}\" is not encrypted and not on this machine; use an https address")]
    Insecure {
        /// The address as it was given.
        address: String,
    },
    /// There was no answer. Whether the request was carried out is unknown; it can be sent again later.
    #[error("the hub at {hub} cannot be reached: {reason}")]
    Unreachable {
        /// The hub's address.
        hub: String,
        /// What failed on the way.
        reason: String,
    },
    /// The hub answered with an error.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The answer is not what a hub answers: another program, a broken proxy, or another version.
    #[error("the answer of {hub} is not a hub's: {reason}")]
    Protocol {
        /// The hub's address.
        hub: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl TransportError {
    /// The stable code of this error.
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidAddress { .. } => "invalid-hub-address",
            Self::Insecure { .. } => "insecure-hub-address",
            Self::Unreachable { .. } => "hub-unreachable",
            Self::Refused(problem) => &problem.code,
            Self::Protocol { .. } => "hub-protocol",
        }
    }

    /// The hub's code, when it was the hub that refused.
    pub fn hub_code(&self) -> Option<Code> {
        match self {
            Self::Refused(problem) => problem.known_code(),
            _ => None,
        }
    }

    /// Whether the request may have been carried out although there was an error.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Protocol { .. } => true,
            Self::Refused(problem) => problem.status >= 500,
            Self::InvalidAddress { .. } | Self::Insecure { .. } => false,
        }
    }

    /// Whether the same request can succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => problem.retryable || problem.status >= 500,
            _ => false,
        }
    }
}
