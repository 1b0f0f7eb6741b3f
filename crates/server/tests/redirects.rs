//! Plain HTTP beside HTTPS: it leads there, and does nothing else.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::{Method, StatusCode, redirect};
use support::hub::Hub;
use tertulia_api::{Code, Problem};
use tertulia_server::{Server, ServerError, TlsFiles};

/// A hub with a certificate for `localhost`, and who trusts it and follows nobody.
async fn hub() -> (Hub, reqwest::Client) {
    let data = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let hub = Hub::start_with(data, |config| {
        config.tls = Some(TlsFiles::new(cert, key).into());
        config.redirect_http = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).redirect(redirect::Policy::none());
    (hub, client.build().unwrap())
}

#[tokio::test]
async fn what_a_browser_asks_for_over_plain_http_is_found_over_https() {
    let (hub, client) = hub().await;
    let port = hub.redirects_at.unwrap().port();
    for path in ["/healthz", "/v1/docs/?deep=link", "/"] {
        let answer = client.get(format!("http://localhost:{port}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
        let to = answer.headers()["location"].to_str().unwrap().to_owned();
        let https = hub.base.rsplit_once(':').unwrap().1;
        assert_eq!(to, format!("https://localhost:{https}{path}"));
        if path == "/healthz" {
            assert_eq!(client.get(to).send().await.unwrap().text().await.unwrap(), "ok\n");
        }
    }
    hub.stop().await;
}

async fn refused(request: reqwest::RequestBuilder) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let problem: Problem = answer.json().await.unwrap();
    assert_eq!(problem.code, Code::BadRequest.as_str());
    assert!(problem.detail.contains("https://"), "{}", problem.detail);
}

#[tokio::test]
async fn programs_are_told_that_what_they_sent_was_readable() {
    let (hub, client) = hub().await;
    let at = format!("http://localhost:{}", hub.redirects_at.unwrap().port());
    for (method, path) in
        [(Method::POST, "/v1/sessions"), (Method::PUT, "/v1/self/password"), (Method::DELETE, "/v1/sessions")]
    {
        refused(client.request(method, format!("{at}{path}"))).await;
    }
    refused(client.get(format!("{at}/v1/self")).bearer_auth("a token")).await;
    hub.stop().await;
}

#[tokio::test]
async fn without_https_there_is_nothing_to_lead_to() {
    let mut config = support::hub::config(tempfile::tempdir().unwrap().path());
    config.redirect_http = Some(([127, 0, 0, 1], 0).into());
    let error = Server::bind(config).await.unwrap_err();
    assert!(matches!(error, ServerError::RedirectWithoutTls), "{error}");
}
