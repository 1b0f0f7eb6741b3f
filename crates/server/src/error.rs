//! The one error of requests, and how it becomes a problem document (RFC 9457).

use crate::{
    mls::Rejection,
    storage::{SqlError, StorageError},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tertulia_api::{Code, Problem, UserDevice, event::MissedEntries, pairwise::DeviceMismatch};
use tertulia_domain::{
    account::AccountError, connection::ConnectionError, permission::PermissionError,
    subconversation::SubconversationError, team::TeamError,
};

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// It is refused, with what the client is told.
    #[error("{}: {}", .0.code, .0.detail)]
    Refused(Box<Problem>),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The hub failed. The client learns only that; the operator finds the cause in the log.
    #[error("{0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// A refusal; `detail` is a sentence on this request, for a person.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::Refused(Box::new(Problem::new(code, detail)))
    }

    /// A failure of the hub itself.
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// `stale-epoch`, with the epoch that the group is in.
    pub(crate) fn stale_epoch(current: u64) -> Self {
        let mut problem = Problem::new(Code::StaleEpoch, format!("The group is at epoch {current}."));
        problem.current_epoch = Some(current);
        Self::Refused(Box::new(problem))
    }

    /// `device-mismatch`, with the devices that the change leaves out.
    pub(crate) fn device_mismatch(missing: Vec<UserDevice>) -> Self {
        let detail = format!("The change leaves out {} devices.", missing.len());
        let mut problem = Problem::new(Code::DeviceMismatch, detail);
        problem.missing = missing;
        Self::Refused(Box::new(problem))
    }

    /// `device-mismatch` of a pairwise message, with all differences. The contract wants it with 412.
    pub(crate) fn incomplete_message(mismatch: DeviceMismatch) -> Self {
        let detail = format!("The message leaves out {} devices; it was not sent.", mismatch.missing.len());
        let mut problem = Problem::new(Code::DeviceMismatch, detail);
        problem.status = StatusCode::PRECONDITION_FAILED.as_u16();
        DeviceMismatch { missing: problem.missing, redundant: problem.redundant, deleted: problem.deleted } =
            mismatch;
        Self::Refused(Box::new(problem))
    }

    /// `rate-limited`, with the seconds to wait.
    pub(crate) fn rate_limited(seconds: u64) -> Self {
        let detail = format!("Too many requests; try again in {seconds} s.");
        let mut problem = Problem::new(Code::RateLimited, detail);
        problem.retry_after = Some(seconds);
        Self::Refused(Box::new(problem))
    }

    /// `events-missed`, with the cursor to go on after.
    pub(crate) fn events_missed(resume: String, detail: &str) -> Self {
        let mut problem = Problem::new(Code::EventsMissed, detail);
        problem.resume = Some(resume);
        Self::Refused(Box::new(problem))
    }

    /// `events-missed`, because they were cut out: which, and the cursor of who knows of it.
    pub(crate) fn events_cut(resume: String, missed: Vec<MissedEntries>) -> Self {
        let detail = "Events after this cursor were kept for as long as this hub keeps them, and are gone.";
        let mut problem = Problem::new(Code::EventsMissed, detail);
        (problem.resume, problem.missed) = (Some(resume), missed);
        Self::Refused(Box::new(problem))
    }

    /// What the client is told.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => *problem,
            Self::Storage(StorageError::Full) => {
                Problem::new(Code::StorageFull, "Nothing was stored. The hub's operator has to make room.")
            }
            Self::Storage(error @ StorageError::Unreachable(_)) => {
                tracing::error!(%error, "a request failed");
                let detail = "The hub's database is not there; whether something was stored is not known. The same request again settles it.";
                Problem::new(Code::Unavailable, detail)
            }
            Self::Storage(error @ StorageError::ReadOnly) => {
                tracing::error!(%error, "a request failed");
                Problem::new(
                    Code::Unavailable,
                    "The hub's database takes no writes for now. Nothing was stored.",
                )
            }
            Self::Storage(StorageError::Closed | StorageError::InUse) => {
                Problem::new(Code::Unavailable, "The hub is shutting down or busy.")
            }
            error => {
                tracing::error!(%error, "a request failed");
                Problem::new(Code::Internal, "The hub failed at this request; nothing was stored.")
            }
        }
    }
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self::new(code, code.title())
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error.code().parse::<Code>() {
            Ok(code) => Self::new(code, sentence(&error)),
            Err(_) => Self::internal(error),
        }
    }
}

impl From<ConnectionError> for ApiError {
    fn from(error: ConnectionError) -> Self {
        match error.code().and_then(|code| code.parse::<Code>().ok()) {
            Some(code) => Self::new(code, sentence(&error)),
            None => Self::internal(error),
        }
    }
}

impl From<PermissionError> for ApiError {
    fn from(error: PermissionError) -> Self {
        match error.code().parse::<Code>() {
            Ok(code) => Self::new(code, sentence(&error)),
            Err(_) => Self::internal(error),
        }
    }
}

impl From<SubconversationError> for ApiError {
    fn from(error: SubconversationError) -> Self {
        match error.code().parse::<Code>() {
            Ok(code) => Self::new(code, sentence(&error)),
            Err(_) => Self::internal(error),
        }
    }
}

impl From<TeamError> for ApiError {
    fn from(error: TeamError) -> Self {
        match error.code().parse::<Code>() {
            Ok(code) => Self::new(code, sentence(&error)),
            Err(_) => Self::internal(error),
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        match rejection.code() {
            Code::Internal => Self::internal(rejection),
            code => Self::new(code, sentence(&rejection)),
        }
    }
}

/// An error's message as a sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), characters.as_str()),
        None => text,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.into_problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default(); // strings and numbers always serialise
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
