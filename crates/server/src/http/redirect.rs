//! What is served over plain HTTP by a hub that speaks HTTPS: the way there, for people who type its name into a browser.
//!
//! Programs are not led there. What they send was readable on its way, a token for one, and should not go unnoticed.

use crate::error::ApiError;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, StatusCode, Uri, header, uri::Authority};
use tertulia_api::Code;

/// The port of HTTPS that no address has to name.
const HTTPS: u16 = 443;

/// Leads to the HTTPS that is served at `port`.
pub(crate) fn router(port: u16) -> Router {
    Router::new().fallback(move |request: Request| std::future::ready(answer(&request, port)))
}

fn answer(request: &Request, port: u16) -> Response {
    let is_for_eyes = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_for_eyes || request.headers().contains_key(header::AUTHORIZATION) {
        let detail = "This address only leads to HTTPS, and what was sent to it was readable on its way. Use https:// from the \
                      beginning, and get another token if there was one in the request.";
        return ApiError::new(Code::BadRequest, detail).into_response();
    }
    match target(request, port) {
        Some(target) => {
            let headers =
                [(header::LOCATION, target), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::PERMANENT_REDIRECT, headers).into_response()
        }
        None => {
            ApiError::new(Code::BadRequest, "The request has no host that could be led to.").into_response()
        }
    }
}

/// The same place over HTTPS.
fn target(request: &Request, port: u16) -> Option<HeaderValue> {
    let host: Authority = request.headers().get(header::HOST)?.to_str().ok()?.parse().ok()?;
    // Neither a name of somebody before the host, nor an empty one.
    if host.as_str().contains('@') || host.host().is_empty() {
        return None;
    }
    let authority = if port == HTTPS { host.host().to_owned() } else { format!("{}:{port}", host.host()) };
    let path = request.uri().path_and_query()?.clone();
    let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build().ok()?;
    uri.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;

    fn led(host: &str, path: &str, port: u16) -> Option<String> {
        let request = Request::builder().uri(path).header(header::HOST, host).body(Body::empty()).unwrap();
        Some(target(&request, port)?.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_same_place_is_led_to_at_the_port_of_https() {
        for (host, path, port, to) in [
            ("chat.example.org", "/v1/docs/?a=b", 443, "https://chat.example.org/v1/docs/?a=b"),
            ("chat.example.org:80", "/", 443, "https://chat.example.org/"),
            ("chat.example.org:8080", "/", 8443, "https://chat.example.org:8443/"),
            ("[2001:db8::1]:80", "/", 443, "https://[2001:db8::1]/"),
        ] {
            assert_eq!(led(host, path, port).as_deref(), Some(to));
        }
    }

    #[test]
    fn what_is_no_host_is_led_nowhere() {
        for host in ["", "somebody@chat.example.org", "chat example org", "chat.example.org/path", ":80"] {
            assert_eq!(led(host, "/", 443), None, "{host}");
        }
    }
}
