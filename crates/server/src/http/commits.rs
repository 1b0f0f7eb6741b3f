//! Commits, and what a device needs to join by one.

use super::{
    auth::{Authenticated, AuthenticatedDevice},
    conversations::ensure,
    extract::{Json, Mls, Path},
};
use crate::{
    delivery::{
        self,
        commits::{self, Begun, Sent},
        proposals,
    },
    error::ApiError,
    mls::{CommitBundle, ProposalMessage, message::CommitSender},
    state::{AppState, now_ms},
    storage::{
        groups,
        log::{Digest, Kind},
    },
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use mls_rs::time::MlsTime;
use std::{collections::BTreeSet, sync::Arc};
use tertulia_api::{
    Code, UserDevice,
    conversation::{CommitAccepted, MLS_MEDIA_TYPE, ProposalAccepted},
};
use tertulia_domain::ConversationId;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(send)).routes(routes!(propose)).routes(routes!(group_info))
}

/// Send a commit
///
/// The body is a bundle of concatenated `MLSMessage`s: the commit as `PublicMessage`, or as `PrivateMessage` where the
/// conversation's handshake policy is `ciphertext` and the sender does not join by it, the `GroupInfo` of the epoch that it makes with the ratchet tree and the external public key, the Welcome if it adds devices, and at most one
/// application message of the new epoch, no longer than one that is sent alone. All of it is accepted or none. Of several commits to one epoch exactly one wins;
/// the others get `stale-epoch`. Sending the same bytes again gives the same answer.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/commits", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body(content = [u8], content_type = "message/mls"),
    responses(
        (status = 201, description = "Where it stands in the log, and the epoch that it made.", body = CommitAccepted),
    ),
    extensions(("x-problems" = json!([
        "malformed-mls-message", "invalid-commit", "missing-proposals", "inconsistent-group-info", "unknown-role", "not-admitted", "not-connected", "action-denied", "role-elevation", "member-limit", "guest-denied", "invalid-operation", "last-admin", "wrong-protocol", "no-device", "parent-not-joined", "no-conversation", "proposal-not-found", "stale-epoch", "device-mismatch", "quota-exceeded", "rate-limited"
    ]))),
)]
async fn send(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Mls(body): Mls,
) -> Result<(StatusCode, Json<CommitAccepted>), ApiError> {
    let (sender, now) = (auth.address(), now_ms());
    ensure(&state, conversation, sender.user).await?;
    let (most, longest_message) = (state.limits.bytes_per_user, state.limits.message_bytes);
    let sent = blocking(move || {
        let bundle = CommitBundle::parse(&body)?;
        if bundle.message.as_ref().is_some_and(|message| message.bytes.len() > longest_message) {
            return Err(Code::PayloadTooLarge.into());
        }
        let digest = Digest::of(Kind::Commit, &body);
        Ok(Arc::new(Sent { conversation, sender, bundle, digest, most, now }))
    })
    .await?;

    let (user, domain) = (sender.user, state.domain.clone());
    let asked = Arc::clone(&sent);
    let begun = state.storage.read(move |connection| commits::begin(connection, &domain, &asked));
    let stored = match begun.await.inspect_err(|error| state.count_quota(error))? {
        Begun::Known(accepted) => return Ok((StatusCode::CREATED, Json(accepted))),
        Begun::Check(stored) => stored,
    };
    let (observer, checked) = (Arc::clone(&state.observer), Arc::clone(&sent));
    let valid = blocking(move || {
        let Sent { bundle, sender, .. } = checked.as_ref();
        Ok(match stored {
            stored if bundle.sender == CommitSender::Hidden => {
                observer.hidden_commit(stored.as_deref(), bundle, *sender, MlsTime::now())?
            }
            Some(stored) => observer.commit(&stored, bundle, *sender, MlsTime::now())?,
            None => observer.first_commit(bundle, *sender, MlsTime::now())?,
        })
    })
    .await?;
    let added = valid.added.iter().map(|leaf| leaf.device.user).filter(|added| *added != user);
    state.take_adds(user, added.collect::<BTreeSet<_>>().len())?;
    let observer = Arc::clone(&state.observer);
    let write = state.storage.write(move |tx| commits::accept(tx, &observer, &sent, &valid));
    let accepted = write.await.inspect_err(|error| state.count_quota(error))?;
    state.metrics.commit_accepted();
    Ok((StatusCode::CREATED, Json(accepted)))
}

/// Send a proposal
///
/// The body is one `PublicMessage` with a proposal for the current epoch, or a `PrivateMessage` where the conversation's
/// handshake policy is `ciphertext`; what is in that is for the members to look at. It is: new keys of the sender's leaf, a device of a member
/// to be added, or the request of a member's device to be added itself (an external Add). It is pending until the next
/// commit, which has to include it, and gone with the epoch. Before that it is withdrawn if it cannot be committed any more: the
/// device is removed, its user leaves, or its key package expires. Whole users are added and removed by commits. Sending the same
/// bytes again gives the same answer.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/proposals", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body(content = [u8], content_type = "message/mls"),
    responses(
        (status = 201, description = "Where it stands in the log, and the epoch that it is for.", body = ProposalAccepted),
    ),
    extensions(("x-problems" = json!([
        "malformed-mls-message", "invalid-commit", "invalid-key-package", "not-connected", "invalid-operation", "no-device", "parent-not-joined", "no-conversation", "stale-epoch", "proposal-limit", "quota-exceeded"
    ]))),
)]
async fn propose(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Mls(body): Mls,
) -> Result<(StatusCode, Json<ProposalAccepted>), ApiError> {
    let (sender, now) = (auth.address(), now_ms());
    ensure(&state, conversation, sender.user).await?;
    let proposal = ProposalMessage::parse(&body)?;
    let digest = Digest::of(Kind::Proposal, &body);
    let lifetime = state.limits.key_package_lifetime;
    let most = state.limits.bytes_per_user;
    let sent = proposals::Sent { conversation, sender, proposal, digest, lifetime, most, now };
    let observer = Arc::clone(&state.observer);
    let write = state.storage.write(move |tx| proposals::accept(tx, &observer, &sent));
    let accepted = write.await.inspect_err(|error| state.count_quota(error))?;
    Ok((StatusCode::CREATED, Json(accepted)))
}

/// Read the `GroupInfo` of the current epoch
///
/// With it a device of a member joins by an external commit.
#[utoipa::path(
    get, path = "/v1/conversations/{conversation}/group-info", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    responses(
        (status = 200, body = [u8], content_type = "message/mls", description = "The `MLSMessage` with the `GroupInfo`."),
    ),
    extensions(("x-problems" = json!([
        "no-conversation", "not-found", "no-device", "invalid-operation", "parent-not-joined"
    ]))),
)]
async fn group_info(
    State(state): State<AppState>,
    auth: Authenticated,
    Path(conversation): Path<ConversationId>,
) -> Result<Response, ApiError> {
    let (user, device) = (auth.user, auth.device);
    let group_info = state
        .storage
        .read(move |connection| {
            let access = delivery::access(connection, conversation, user)?;
            if access.parent.is_some() {
                let device = device.ok_or(Code::NoDevice)?;
                delivery::subconversations::check_device(connection, &access, UserDevice { user, device })?;
            }
            groups::group_info(connection, conversation)?
                .ok_or_else(|| ApiError::new(Code::NotFound, "The conversation has had no commit yet."))
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, MLS_MEDIA_TYPE)], group_info).into_response())
}

/// Does work that keeps a processor busy on a thread for such work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?
}
