//! Pages, which are long, and may be taken slowly.

use crate::{error::ApiError, places::Place};
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::stream;
use http::header;
use serde::Serialize;
use std::{error::Error, hash::Hash};

/// An answer is handed over in pieces of so many bytes, so that who does not take it holds little beyond its page.
const PIECE: usize = 16 << 10;

/// An answer in JSON. The place is held until it is handed over, or the connection has ended.
pub(crate) fn page<K>(page: &impl Serialize, place: Place<K>) -> Result<Response, ApiError>
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
{
    let json = serde_json::to_vec(page).map_err(ApiError::internal)?;
    let length = json.len();
    let pieces = stream::unfold((Bytes::from(json), place), |(mut left, place)| async {
        if left.is_empty() {
            return None;
        }
        let piece = left.split_to(left.len().min(PIECE));
        Some((Ok::<_, Box<dyn Error + Send + Sync>>(piece), (left, place)))
    });
    let head =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok((head, Body::from_stream(pieces)).into_response())
}
