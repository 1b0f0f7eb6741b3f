//! How many long answers one device may have in hand at once.
//!
//! An answer is kept until the other side has taken it, or has taken nothing for as long as it may. So each that is not small takes one
//! of the places in which a device reads, whatever it answers, and holds it until it is handed over. Small ones need none: what there is
//! of them at once, the open connections bound. What was done for a request whose answer finds no place is done, as it is if an answer
//! is lost on the way: sending it again is safe, though key packages that were claimed are gone and others are claimed.

use crate::{error::ApiError, http::pieces, state::AppState};
use axum::{
    body::{self, HttpBody as _},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{header, request::Parts};
use std::sync::{Arc, OnceLock};
use tertulia_api::UserDevice;
use tertulia_domain::{DeviceId, UserId};

/// The longest answer that needs no place, in bytes.
const SMALL: u64 = 64 * 1024;

/// The sessions of a user that have no device yet share the places of this one.
const NO_DEVICE: DeviceId = DeviceId::new(0);

/// Whose session a request came with, once that is known.
#[derive(Clone, Default)]
pub(crate) struct Asker(Arc<OnceLock<UserDevice>>);

impl Asker {
    /// Notes whose session this request came with.
    pub(crate) fn note(parts: &Parts, user: UserId, device: Option<DeviceId>) {
        if let Some(asker) = parts.extensions.get::<Self>() {
            let device = UserDevice { user, device: device.unwrap_or(NO_DEVICE) };
            asker.0.get_or_init(|| device);
        }
    }
}

/// Has a long answer hold a place of who asked until it is handed over. If there is none, it is not given.
pub(crate) async fn hold(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let asker = Asker::default();
    request.extensions_mut().insert(asker.clone());
    let response = next.run(request).await;
    // What is answered to who has no session is short.
    let Some(&reader) = asker.0.get() else { return response };
    if response.body().size_hint().lower() <= SMALL {
        return response;
    }
    let place = match state.readers.take(reader) {
        Ok(place) => place,
        Err(refused) => return refused.into_response(),
    };
    let (mut parts, body) = response.into_parts();
    // It is in memory already, and was bounded where it was made.
    let bytes = match body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return ApiError::internal(error).into_response(),
    };
    parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    Response::from_parts(parts, pieces(bytes, place))
}
