//! What handlers take from a request. Every refusal is a problem document.

use crate::{error::ApiError, state::AppState};
use axum::{
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Request,
        rejection::{BytesRejection, FailedToBufferBody, JsonRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tertulia_api::{Code, conversation::MLS_MEDIA_TYPE};

/// A body of JSON, in requests and answers.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A body of JSON with the bytes that it was, to know them when they come again.
pub(crate) struct JsonBytes<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<T: serde::de::DeserializeOwned> FromRequest<AppState> for JsonBytes<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if media_type(request.headers()).is_none_or(|media| !media.eq_ignore_ascii_case("application/json")) {
            let detail = "The body's media type is to be application/json.";
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
        let bytes = Bytes::from_request(request, state).await?;
        let axum::Json(value) = axum::Json::from_bytes(&bytes)?;
        Ok(Self { value, bytes })
    }
}

/// The parts of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

/// The query.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);

/// A body of MLS messages (`message/mls`).
pub(crate) struct Mls(pub(crate) Bytes);

impl FromRequest<AppState> for Mls {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if !is_mls(request.headers()) {
            let detail = format!("The body's media type is to be {MLS_MEDIA_TYPE}.");
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
        Ok(Self(Bytes::from_request(request, state).await?))
    }
}

fn is_mls(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media| media.eq_ignore_ascii_case(MLS_MEDIA_TYPE))
}

/// The body's media type, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split_once(';').map_or(value, |(essence, _)| essence).trim())
}

/// Where a request comes from, as far as it matters for rates: an IPv4 address, or the /64 network that one customer of a
/// provider has.
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// What knows whether `X-Forwarded-For` is to be believed.
pub(crate) trait BehindProxy: Sync {
    /// Whether it is.
    fn is_behind_proxy(&self) -> bool;
}

impl BehindProxy for AppState {
    fn is_behind_proxy(&self) -> bool {
        self.behind_proxy
    }
}

impl<S: BehindProxy> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts, state))
    }
}

impl ClientAddress {
    /// Where this request comes from.
    pub(crate) fn of(parts: &Parts, state: &impl BehindProxy) -> Self {
        let forwarded = state.is_behind_proxy().then(|| forwarded_for(&parts.headers)).flatten();
        let address = forwarded.or_else(|| peer(parts)).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self(network(address))
    }
}

/// The other end of the connection.
fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

/// The address that the proxy saw: it appends to what its client sent, so the last one is the proxy's own word.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// What counts as one address: an IPv4 address, or the /64 network of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Code::PayloadTooLarge.into()
            }
            _ => Self::new(Code::BadRequest, "The body ended early."),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::BytesRejection(rejection) => rejection.into(),
            JsonRejection::MissingJsonContentType(_) => {
                Self::new(Code::UnsupportedMediaType, "The body's media type is to be application/json.")
            }
            rejection => Self::new(Code::BadRequest, rejection.body_text()),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::BadRequest, rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::BadRequest, rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_the_proxy_itself_wrote_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "1.1.1.1, 2.2.2.2".parse().unwrap());
        headers.append("x-forwarded-for", "3.3.3.3, 4.4.4.4".parse().unwrap());
        assert_eq!(forwarded_for(&headers), Some("4.4.4.4".parse().unwrap()));
    }

    #[test]
    fn a_customers_ipv6_network_counts_as_one() {
        let a: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        assert_eq!(network(a), "2001:db8:1:2::".parse::<IpAddr>().unwrap());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(network(mapped), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_media_type_may_have_parameters() {
        let mut headers = HeaderMap::new();
        assert!(!is_mls(&headers));
        headers.insert(header::CONTENT_TYPE, "Message/MLS; charset=binary".parse().unwrap());
        assert!(is_mls(&headers));
    }
}
