//! Pages and other long answers, which may be taken slowly.

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
    let head = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, json.len().to_string()),
    ];
    Ok((head, pieces(json.into(), place)).into_response())
}

/// A body that holds the place until it is handed over, or the connection has ended.
pub(crate) fn pieces<K>(body: Bytes, place: Place<K>) -> Body
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
{
    Body::from_stream(stream::unfold((body, place), |(mut left, place)| async {
        if left.is_empty() {
            return None;
        }
        let piece = left.split_to(left.len().min(PIECE));
        Some((Ok::<_, Box<dyn Error + Send + Sync>>(piece), (left, place)))
    }))
}
