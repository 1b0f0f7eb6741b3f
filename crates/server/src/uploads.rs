//! How much of the bodies of requests may be in hand at once.
//!
//! Each body is bounded by what it is for, and comes in time or not at all; many at once would still fill the memory. So those that
//! are not small take their size out of a budget before they are read, of which an address has a quarter. Small ones need no room:
//! what there is of them at once, the rates and the open connections bound.

use crate::{
    config::Limits, http::extract::ClientAddress, metrics::Metrics, places::Places, state::AppState,
};
use ::metrics::Gauge;
use axum::{
    body::HttpBody as _,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::IpAddr;

/// What is counted, in bytes: so much, and each that is begun.
const UNIT: usize = 1024;

/// The longest body that needs no room, in bytes. A message of usual size is shorter.
const SMALL: usize = 64 * 1024;

/// The room for the bodies of one hub.
pub(crate) struct Uploads {
    places: Places<IpAddr>,
    /// The longest body that any request may have, in bytes.
    longest: usize,
}

impl Uploads {
    /// Room for as many bytes as the limits say, and for the longest body that they allow at least.
    pub(crate) fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let longest = [
            limits.commit_bytes,
            limits.message_bytes,
            limits.pairwise_message_bytes,
            limits.key_packages_bytes,
            limits.json_bytes,
        ];
        let longest = longest.into_iter().max().unwrap_or_default();
        let all = limits.upload_bytes.max(longest).div_ceil(UNIT);
        let each = (all / 4).max(longest.div_ceil(UNIT));
        Self { places: Places::new(all, each, Gauge::noop(), metrics.refused("uploads")), longest }
    }

    /// How many units a body takes of which no more is known than this bound, in bytes; none if it is small. One that is longer
    /// than it may be is not read to its end.
    fn units(&self, bound: Option<u64>) -> Option<usize> {
        let bound = bound.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        let bytes = bound.min(self.longest);
        (bytes > SMALL).then(|| bytes.div_ceil(UNIT))
    }
}

/// Holds room for the request's body until it is answered. If there is none, nothing of the body is read.
pub(crate) async fn hold(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(units) = state.uploads.units(request.body().size_hint().upper()) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let ClientAddress(address) = ClientAddress::of(&parts, &state);
    let room = match state.uploads.places.take_many(address, units) {
        Ok(room) => room,
        Err(refused) => return refused.into_response(),
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    drop(room);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_body_takes_what_it_says_or_the_most_that_it_may_have() {
        let limits = Limits { upload_bytes: 32 << 20, ..Limits::default() };
        let uploads = Uploads::new(&limits, &Metrics::new());
        let small = u64::try_from(SMALL).unwrap();
        assert_eq!(uploads.units(Some(0)), None);
        assert_eq!(uploads.units(Some(small)), None);
        assert_eq!(uploads.units(Some(small + 1)), Some(65));
        let most = Some(uploads.longest / UNIT);
        assert_eq!(uploads.units(None), most, "who does not say how long it is may send all");
        assert_eq!(uploads.units(Some(u64::MAX)), most);
    }

    #[test]
    fn there_is_room_for_the_longest_body_however_little_room_there_is_to_be() {
        let uploads = Uploads::new(&Limits { upload_bytes: 1, ..Limits::default() }, &Metrics::new());
        let units = uploads.units(None).unwrap();
        let address = IpAddr::from([127, 0, 0, 1]);
        let held = uploads.places.take_many(address, units);
        assert!(held.is_ok());
        assert!(uploads.places.take_many(IpAddr::from([127, 0, 0, 2]), units).is_err());
        drop(held);
        assert!(uploads.places.take_many(address, units).is_ok());
    }
}
