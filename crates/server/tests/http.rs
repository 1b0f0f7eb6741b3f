//! The API as such: every refusal is a problem document, and everything is described.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};
use support::{
    hub::{Hub, PASSWORD, Person, one_to_one},
    open::Client,
};
use tertulia_api::{
    Code, Problem,
    account::Session,
    event::{Event, EventBody},
};
use tertulia_domain::{DeviceId, UserId};
use tertulia_server::{Rate, Server, ServerConfig, ServerError, TlsFiles};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Every route, with a value for each parameter.
fn routes(description: &Value) -> Vec<(Method, String)> {
    let mut routes = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let mut filled = path.clone();
        for parameter in ["{user}", "{conversation}"] {
            filled = filled.replace(parameter, &UserId::random().to_string());
        }
        filled = filled.replace("{role}", "scribe");
        filled = filled.replace("{device}", &DeviceId::random().to_string());
        for method in methods.as_object().unwrap().keys() {
            routes.push((method.to_uppercase().parse().unwrap(), filled.clone()));
        }
    }
    routes
}

async fn description(client: &Client) -> Value {
    client.get("/v1/openapi.json").await.done()
}

#[tokio::test]
async fn every_endpoint_is_described_with_its_problems() {
    let hub = Hub::start().await;
    let description = description(&Client::new(&hub)).await;
    let mut operations = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.insert(format!("{} {path}", method.to_uppercase()));
            assert!(operation["summary"].is_string(), "{method} {path} says not what it is");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status < &"400".to_owned()), "{method} {path}");
            assert!(answers["500"]["content"]["application/problem+json"].is_object(), "{method} {path}");
            for code in operation["x-problems"].as_array().into_iter().flatten() {
                let code: Code = code.as_str().unwrap().parse().unwrap();
                let text = answers[&code.status().to_string()]["description"].as_str().unwrap();
                assert!(text.contains(code.as_str()));
            }
        }
    }
    insta::assert_json_snapshot!(operations, @r#"
    [
      "DELETE /v1/conversations/{conversation}",
      "DELETE /v1/conversations/{conversation}/join",
      "DELETE /v1/conversations/{conversation}/link",
      "DELETE /v1/conversations/{conversation}/members/{user}",
      "DELETE /v1/conversations/{conversation}/subconversation",
      "DELETE /v1/key-packages",
      "DELETE /v1/sessions",
      "DELETE /v1/sessions/current",
      "DELETE /v1/sessions/{session}",
      "DELETE /v1/team/members/{user}",
      "DELETE /v1/team/roles/{role}",
      "GET /healthz",
      "GET /v1/connections",
      "GET /v1/conversations",
      "GET /v1/conversations/{conversation}",
      "GET /v1/conversations/{conversation}/group-info",
      "GET /v1/conversations/{conversation}/history",
      "GET /v1/conversations/{conversation}/link",
      "GET /v1/conversations/{conversation}/subconversation",
      "GET /v1/conversations/{conversation}/subconversations",
      "GET /v1/devices",
      "GET /v1/events",
      "GET /v1/events/stream",
      "GET /v1/key-packages/count",
      "GET /v1/mls/keys",
      "GET /v1/pairwise-keys/count",
      "GET /v1/relay",
      "GET /v1/relay/stream",
      "GET /v1/search/users",
      "GET /v1/self",
      "GET /v1/sessions",
      "GET /v1/team",
      "GET /v1/team/members",
      "GET /v1/team/roles",
      "GET /v1/teams/{team}/channels",
      "GET /v1/users",
      "GET /v1/users/{user}",
      "POST /v1/accounts",
      "POST /v1/connections",
      "POST /v1/conversations",
      "POST /v1/conversations/{conversation}/commits",
      "POST /v1/conversations/{conversation}/join",
      "POST /v1/conversations/{conversation}/leave",
      "POST /v1/conversations/{conversation}/members",
      "POST /v1/conversations/{conversation}/messages",
      "POST /v1/conversations/{conversation}/pairwise-messages",
      "POST /v1/conversations/{conversation}/proposals",
      "POST /v1/conversations/{conversation}/reset",
      "POST /v1/conversations/{conversation}/subconversation/leave",
      "POST /v1/conversations/{conversation}/typing",
      "POST /v1/devices",
      "POST /v1/devices/{device}/remove",
      "POST /v1/guests",
      "POST /v1/join",
      "POST /v1/join/preview",
      "POST /v1/key-packages",
      "POST /v1/key-packages/claims",
      "POST /v1/pairwise-keys",
      "POST /v1/pairwise-keys/claims",
      "POST /v1/relay/envelopes",
      "POST /v1/relay/read",
      "POST /v1/self/delete",
      "POST /v1/sessions",
      "POST /v1/sessions/current/token",
      "POST /v1/team",
      "POST /v1/team/invitations",
      "POST /v1/team/join",
      "POST /v1/team/leave",
      "POST /v1/team/roles",
      "POST /v1/teams/{team}/channels",
      "PUT /v1/connections/{user}",
      "PUT /v1/conversations/{conversation}/access",
      "PUT /v1/conversations/{conversation}/add-permission",
      "PUT /v1/conversations/{conversation}/channel-name",
      "PUT /v1/conversations/{conversation}/history",
      "PUT /v1/conversations/{conversation}/link",
      "PUT /v1/conversations/{conversation}/members/{user}/role",
      "PUT /v1/conversations/{conversation}/message-timer",
      "PUT /v1/conversations/{conversation}/name",
      "PUT /v1/conversations/{conversation}/protocol",
      "PUT /v1/conversations/{conversation}/receipt-mode",
      "PUT /v1/conversations/{conversation}/subconversation",
      "PUT /v1/key-packages",
      "PUT /v1/self/password",
      "PUT /v1/self/profile",
      "PUT /v1/team/members/{user}/role"
    ]
    "#);
}

#[tokio::test]
async fn the_description_can_be_read_as_a_page_without_the_internet() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let page = String::from_utf8(client.get("/v1/docs/").await.bytes()).unwrap();
    assert!(!page.contains("https://"), "the page loads something from elsewhere");
    assert!(!client.get("/v1/docs/swagger-ui-bundle.js").await.bytes().is_empty());
}

#[tokio::test]
async fn without_a_valid_token_nothing_private_is_answered() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let open = ["/v1/accounts", "/v1/guests", "/v1/sessions", "/healthz"];
    // The relay is for everybody, and for nobody in particular.
    let is_open = |path: &str| open.contains(&path) || path.starts_with("/v1/relay");
    let before = hub.rows();
    for (method, path) in routes(&description(&client).await) {
        if is_open(&path) {
            continue;
        }
        client.send(method.clone(), &path).await.refused(Code::Unauthenticated);
        client.with_token("made-up").send(method.clone(), &path).await.refused(Code::Unauthenticated);
        let basic = client.request(method, &path).basic_auth("alice", Some(PASSWORD));
        client.answer(basic).await.refused(Code::Unauthenticated);
    }
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn whatever_body_comes_the_answer_is_a_problem_and_nothing_is_stored() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let client = Client::new(&hub).with_token(&alice.token);
    let before = hub.rows();
    for (method, path) in routes(&description(&client).await) {
        if method == Method::GET || method == Method::DELETE || path == "/v1/sessions/current/token" {
            continue; // these take no body
        }
        for (media_type, body) in [
            ("application/json", "{"),
            ("application/json", "[]"),
            ("application/json", "\"\""),
            ("application/json", ""),
            ("text/plain", "{}"),
            ("message/mls", ""),
            ("message/mls", "\0\u{1}\0\u{2}"),
        ] {
            let request = client.request(method.clone(), &path).header("content-type", media_type).body(body);
            let answer = client.answer(request).await;
            assert!(answer.status.is_client_error(), "{method} {path} {body}: {}", answer.status);
            let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
            let code = problem.known_code().unwrap();
            assert_eq!(code.status(), answer.status.as_u16());
        }
    }
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn faults_have_their_codes() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    client.get("/v1/nothing").await.refused(Code::NotFound);
    client.get("/").await.refused(Code::NotFound);
    client.send(Method::PATCH, "/v1/accounts").await.refused(Code::MethodNotAllowed);
    let text = client.request(Method::POST, "/v1/sessions").body("{}");
    client.answer(text).await.refused(Code::UnsupportedMediaType);
    client.post("/v1/sessions", &json!({ "handle": "alice" })).await.refused(Code::BadRequest);
    let large = json!({ "handle": "alice", "password": "x".repeat(65 * 1024) });
    client.post("/v1/sessions", &large).await.refused(Code::PayloadTooLarge);

    let alice = Person::sign_up(&hub, "alice").await;
    let large = json!({ "key_packages": ["A".repeat(1 << 20)] });
    alice.post("/v1/key-packages", &large).await.refused(Code::PayloadTooLarge);
    let conversation = format!("/v1/conversations/{}", UserId::random());
    for (path, bytes) in [("messages", 256 * 1024 + 1), ("commits", 8 * 1024 * 1024 + 1)] {
        let path = format!("{conversation}/{path}");
        alice.mls(Method::POST, &path, vec![0; bytes]).await.refused(Code::PayloadTooLarge);
    }
}

#[tokio::test]
async fn a_refusal_says_so_in_its_headers() {
    let hub = Hub::start().await;
    let response = reqwest::get(format!("{}/v1/self", hub.base)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let header = |name| response.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("www-authenticate"), "Bearer");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("x-request-id").len(), 16);
}

#[tokio::test]
async fn the_hub_tells_that_it_is_well_and_counts_what_it_does() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.metrics = Some(([127, 0, 0, 1], 0).into());
        config.limits.searches = Rate { burst: 1, period: Duration::from_hours(1) };
    })
    .await;
    let client = Client::new(&hub);
    assert_eq!(client.get("/healthz").await.bytes(), b"ok\n");
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::sign_up(&hub, "bob").await;
    alice.get("/v1/users?handle=nobody").await.refused(Code::UnknownUser);
    client.send(Method::from_bytes(b"MADE-UP").unwrap(), "/v1/self").await.refused(Code::MethodNotAllowed);
    alice.get("/v1/search/users?beginning=bo").await.bytes();
    alice.get("/v1/search/users?beginning=bo").await.refused(Code::RateLimited);
    let (conversation, _, _) = one_to_one(&alice, &bob).await;
    let fetched = bob.events().await.len();
    let numbers = hub.numbers().await;
    for line in [
        r#"tertulia_requests_total{method="POST",path="/v1/accounts",status="201"} 2"#,
        r#"tertulia_requests_total{method="GET",path="/v1/users",status="404"} 1"#,
        r#"tertulia_request_seconds_count{method="POST",path="/v1/devices"} 2"#,
        r#"tertulia_requests_total{method="other",path="/v1/self",status="405"} 1"#,
        r#"tertulia_refused_total{limit="searches"} 1"#,
        r#"tertulia_refused_total{limit="log_ins"} 0"#,
        &format!(r#"tertulia_events_delivered_total{{way="fetched"}} {fetched}"#),
        r#"tertulia_events_delivered_total{way="pushed"} 0"#,
        "tertulia_messages_accepted_total 0",
        "tertulia_commits_accepted_total 1",
        "tertulia_sockets_open 0",
        "tertulia_writer_queue 0",
        "tertulia_writer_failures_total 0",
        concat!(r#"tertulia_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
    ] {
        assert!(numbers.lines().any(|found| found == line), "{line} is not in:\n{numbers}");
    }
    let value = |name: &str| {
        let line = numbers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{numbers}")).parse::<f64>().unwrap()
    };
    assert!(value("tertulia_database_bytes") >= 4096.0);
    assert!(value("tertulia_start_time_seconds") > 1.0e9);
    assert!(value("tertulia_writer_batch_seconds_count") >= 6.0);
    assert!(numbers.contains("tertulia_writer_batch_jobs_bucket"));
    for id in [alice.user.to_string(), conversation.to_string(), alice.handle] {
        assert!(!numbers.contains(&id), "{id} is in the numbers");
    }
}

#[tokio::test]
async fn numbers_are_told_at_their_own_address_only() {
    let hub = Hub::start().await;
    Client::new(&hub).get("/metrics").await.refused(Code::NotFound);
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.metrics = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    Client::new(&hub).get("/metrics").await.refused(Code::NotFound);
    let other = hub.numbers_at.unwrap();
    let answer = reqwest::get(format!("http://{other}/v1/docs/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(hub.numbers().await.contains("tertulia_requests_total"));
    // It goes with the hub.
    hub.stop().await;
    assert!(reqwest::get(format!("http://{other}/metrics")).await.is_err());
}

#[tokio::test]
async fn the_dashboard_asks_for_numbers_that_there_are() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.metrics = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let alice = Person::sign_up(&hub, "alice").await;
    alice.events().await;
    let numbers = hub.numbers().await;
    let there: BTreeSet<&str> = numbers
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../deploy/grafana/tertulia.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() >= 10, "{queries:?}");
    for query in queries {
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let asked: Vec<&str> = words.filter(|word| word.starts_with("tertulia_")).collect();
        assert!(!asked.is_empty(), "{query}");
        // What only a node with NATS tells is asked for in `nodes.rs`.
        for name in asked.into_iter().filter(|name| *name != "tertulia_nats_connected") {
            assert!(there.contains(name), "{name}, which {query} asks for, is not in:\n{numbers}");
        }
    }
}

#[tokio::test]
async fn a_request_that_stops_halfway_is_answered_in_time() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.request_timeout = Duration::from_millis(100);
    })
    .await;
    let address = hub.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"code\":\"unavailable\""), "{answer}");
}

fn config(listen: SocketAddr, data: &tempfile::TempDir) -> ServerConfig {
    ServerConfig::new(listen, data.path())
}

#[tokio::test]
async fn plain_http_is_for_this_machine_or_behind_a_proxy() {
    let data = tempfile::tempdir().unwrap();
    let mut everywhere = config(([0, 0, 0, 0], 0).into(), &data);
    let error = Server::bind(everywhere.clone()).await.unwrap_err();
    assert!(matches!(error, ServerError::PlainHttp { .. }), "{error}");
    assert!(data.path().read_dir().unwrap().next().is_none(), "something was stored");
    everywhere.behind_proxy = true;
    Server::bind(everywhere).await.unwrap();
    Server::bind(config("[::1]:0".parse().unwrap(), &tempfile::tempdir().unwrap())).await.unwrap();
}

#[tokio::test]
async fn the_domain_is_fixed_at_the_first_start() {
    let data = tempfile::tempdir().unwrap();
    let mut first = support::hub::config(data.path());
    first.domain = Some("chat.example.org".parse().unwrap());
    drop(Server::bind(first).await.unwrap());

    let mut other = support::hub::config(data.path());
    other.domain = Some("chat.example.com".parse().unwrap());
    let error = Server::bind(other).await.unwrap_err();
    assert!(matches!(error, ServerError::DomainFixed { .. }), "{error}");

    let hub = Hub::start_in(data).await;
    let credentials = json!({ "handle": "alice", "password": PASSWORD });
    let session: Session = Client::new(&hub).post("/v1/accounts", &credentials).await.done();
    assert_eq!(session.domain, "chat.example.org");
}

#[tokio::test]
async fn two_hubs_do_not_share_a_data_directory() {
    let data = tempfile::tempdir().unwrap();
    let first = Server::bind(config(([127, 0, 0, 1], 0).into(), &data)).await.unwrap();
    let error = Server::bind(config(([127, 0, 0, 1], 0).into(), &data)).await.unwrap_err();
    assert!(matches!(error, ServerError::InUse { .. }), "{error}");
    drop(first);
    Server::bind(config(([127, 0, 0, 1], 0).into(), &data)).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_missing_is_made_for_nobody_who_has_an_account() {
    let start = |dir| Hub::start_with(dir, |config| config.database = None);
    let dir = start(tempfile::tempdir().unwrap()).await.stop().await;
    let key = dir.path().join("hub.key");
    // As if the first start had ended before it was written: nobody knows it.
    std::fs::remove_file(&key).unwrap();
    let hub = start(dir).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let dir = hub.stop().await;

    // As if the database alone had been brought to another machine.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(&key, &elsewhere).unwrap();
    let alone = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
    let error = Server::bind(alone).await.unwrap_err();
    assert!(matches!(&error, ServerError::NoHubKey { path } if *path == key), "{error}");
    assert_eq!(error.code(), "missing-hub-key");
    assert!(!key.exists());

    std::fs::rename(&elsewhere, &key).unwrap();
    let hub = start(dir).await;
    assert_eq!(Person::log_in(&hub, "alice").await.hub_key, alice.hub_key);
}

#[tokio::test]
async fn a_damaged_key_or_certificate_is_named() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("hub.key"), "not a key").unwrap();
    let error = Server::bind(config(([127, 0, 0, 1], 0).into(), &data)).await.unwrap_err();
    assert!(matches!(&error, ServerError::HubKey { path } if path.ends_with("hub.key")), "{error}");

    let mut with_tls = config(([127, 0, 0, 1], 0).into(), &tempfile::tempdir().unwrap());
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    std::fs::write(&cert, "not a certificate").unwrap();
    with_tls.tls = Some(TlsFiles::new(cert, key).into());
    let error = Server::bind(with_tls).await.unwrap_err();
    assert!(matches!(error, ServerError::TlsFile { .. } | ServerError::Tls(_)), "{error}");
}

#[tokio::test]
async fn with_a_certificate_the_hub_speaks_https_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    std::fs::write(&cert, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let hub = Hub::start_with(data, |config| {
        config.listen = ([0, 0, 0, 0], 0).into();
        config.tls = Some(TlsFiles::new(cert, key).into());
    })
    .await;
    let port = hub.base.rsplit_once(':').unwrap().1;
    let trusted = reqwest::Certificate::from_pem(certificate.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let answer = client.get(format!("https://localhost:{port}/healthz")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok\n");
    assert!(reqwest::get(format!("http://localhost:{port}/healthz")).await.is_err());
    hub.stop().await;
}

/// A certificate in the files of a hub, and what trusts it.
fn new_certificate(directory: &Path) -> reqwest::Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

/// Whether somebody who comes new and trusts this certificate alone is served.
async fn is_trusted(hub: &Hub, certificate: &reqwest::Certificate) -> bool {
    let port = hub.base.rsplit_once(':').unwrap().1;
    let client = reqwest::Client::builder().tls_certs_only([certificate.clone()]).build().unwrap();
    client.get(format!("https://localhost:{port}/healthz")).send().await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_when_its_files_change() {
    let files = tempfile::tempdir().unwrap();
    let first = new_certificate(files.path());
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
        config.tls =
            Some(TlsFiles { look_every: Duration::from_millis(10), ..TlsFiles::new(cert, key) }.into());
    })
    .await;
    assert!(is_trusted(&hub, &first).await);
    let second = new_certificate(files.path());
    while !is_trusted(&hub, &second).await {
        tokio::task::yield_now().await;
    }
    assert!(!is_trusted(&hub, &first).await);
    // What is no certificate changes nothing.
    std::fs::write(files.path().join("cert.pem"), "not a certificate").unwrap();
    hub.reload.now();
    for _ in 0..10 {
        assert!(is_trusted(&hub, &second).await);
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_when_the_hub_is_told() {
    let files = tempfile::tempdir().unwrap();
    new_certificate(files.path());
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
        config.tls =
            Some(TlsFiles { look_every: Duration::from_hours(1), ..TlsFiles::new(cert, key) }.into());
    })
    .await;
    let second = new_certificate(files.path());
    assert!(!is_trusted(&hub, &second).await);
    hub.reload.now();
    while !is_trusted(&hub, &second).await {
        tokio::task::yield_now().await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn who_sends_the_head_of_a_request_byte_by_byte_is_cut_off() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.header_timeout = Duration::from_millis(200);
    })
    .await;
    let mut stream = TcpStream::connect(hub.base.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nx-slow: ").await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    // The head never ends; so without the limit neither would this.
    let cut_off = async {
        loop {
            ticks.tick().await;
            if stream.write_all(b"a").await.is_err() {
                return;
            }
        }
    };
    cut_off.await;
    Client::new(&hub).get("/healthz").await.bytes();
}

#[tokio::test]
async fn who_sends_a_body_byte_by_byte_is_answered_in_time_all_the_same() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.request_timeout = Duration::from_millis(200);
    })
    .await;
    let stream = TcpStream::connect(hub.base.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let head = "POST /v1/sessions HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n";
    writer.write_all(head.as_bytes()).await.unwrap();
    let trickle = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if writer.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        () = trickle => {}
        read = reader.read_exact(&mut answer) => { read.unwrap(); }
    }
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[tokio::test]
async fn who_opens_a_stream_and_does_not_read_it_is_cut_off() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.event_timeout = Duration::from_millis(200);
        config.metrics = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut group, _) = one_to_one(&alice, &bob).await;
    // More than the sockets between the two can hold.
    for number in 0..40_u32 {
        let text = [&number.to_be_bytes()[..], &vec![0; 200 * 1024]].concat();
        let message = group.encrypt_application_message(&text, Vec::new()).unwrap().to_bytes().unwrap();
        alice.sent(conversation, message).await;
    }
    let mut stream = TcpStream::connect(hub.base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "GET /v1/events/stream HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        bob.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let open = async |sockets: &str| {
        while !hub.numbers().await.lines().any(|line| line == format!("tertulia_sockets_open {sockets}")) {
            tokio::task::yield_now().await;
        }
    };
    // It shows that it is alive all the while, and reads nothing.
    let alive = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = alive => {}
        () = open("0") => {}
    }
    // The hub stopped reading its log when nobody took what it had read, and holds nothing of it. It all comes to who reads.
    let numbers = hub.numbers().await;
    let pushed = numbers
        .lines()
        .find_map(|line| line.strip_prefix("tertulia_events_delivered_total{way=\"pushed\"} "));
    assert!(pushed.unwrap().parse::<u64>().unwrap() < 40, "{pushed:?}");
    let mut socket = support::socket::open(&bob, "").await;
    let mut messages = 0;
    while messages < 40 {
        let event = support::socket::next(&mut socket).await;
        messages += u64::from(matches!(event.body, EventBody::Message { .. }));
    }
}

#[tokio::test]
async fn long_bodies_that_do_not_end_take_what_room_there_is_and_no_more() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.upload_bytes = 1; // room for one of the longest
    })
    .await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut group, _) = one_to_one(&alice, &bob).await;
    let mut message =
        |length| group.encrypt_application_message(&vec![0; length], Vec::new()).unwrap().to_bytes().unwrap();
    let address = hub.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/conversations/{conversation}/commits HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {}\r\n\
         content-type: message/mls\r\ncontent-length: {}\r\n\r\n",
        bob.token,
        8 * 1024 * 1024
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let long = message(100 * 1024);
    let problem = loop {
        let answer = alice.send(conversation, long.clone()).await;
        if !answer.status.is_success() {
            break answer.refused(Code::Unavailable);
        }
    };
    assert!(problem.retry_after.is_some());
    alice.sent(conversation, message(1024)).await; // what is short needs no room
    let chunked = alice.request(Method::POST, &format!("/v1/conversations/{conversation}/messages"));
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(message(100))]);
    let chunked = chunked.header("content-type", "message/mls").body(reqwest::Body::wrap_stream(pieces));
    alice.answer(chunked).await.refused(Code::Unavailable); // who does not say how long it is could send all
    drop(stream);
    while !alice.send(conversation, long.clone()).await.status.is_success() {}
}

#[tokio::test]
async fn who_asks_for_events_and_does_not_read_the_answer_is_cut_off() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.event_timeout = Duration::from_secs(1);
        config.limits.readers_per_device = 1;
    })
    .await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut group, _) = one_to_one(&alice, &bob).await;
    for number in 0..20_u32 {
        let text = [&number.to_be_bytes()[..], &vec![0; 200 * 1024]].concat();
        let message = group.encrypt_application_message(&text, Vec::new()).unwrap().to_bytes().unwrap();
        alice.sent(conversation, message).await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = hub.base.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head = format!("GET /v1/events HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {}\r\n\r\n", bob.token);
    // More pages than the sockets between the two can hold.
    stream.write_all(head.repeat(4).as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    // It shows that it is alive all the while, and reads nothing; so without the limit neither would this end.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while stream.write_all(b"a").await.is_ok() {
        ticks.tick().await;
    }
    // Its page is held no longer.
    while bob.get("/v1/events?limit=1").await.status == StatusCode::TOO_MANY_REQUESTS {
        tokio::task::yield_now().await;
    }
    let is_message = |event: &Event| matches!(event.body, EventBody::Message { .. });
    assert_eq!(bob.events().await.iter().filter(|event| is_message(event)).count(), 20);
}

/// A connection on which the hub has answered something.
async fn answered(address: SocketAddr, from: [u8; 4]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(address).await.ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: hub\r\n\r\n").await.ok()?;
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.ok()?;
    assert_eq!(&begin, b"HTTP/1.1 200");
    Some(stream)
}

#[tokio::test]
async fn an_address_has_a_quarter_of_the_connections_and_a_proxy_all() {
    for (behind_proxy, each) in [(false, 2), (true, 8)] {
        let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
            config.limits.connections = 8;
            config.behind_proxy = behind_proxy;
            config.metrics = Some(([127, 0, 0, 1], 0).into());
        })
        .await;
        let address = hub.base.strip_prefix("http://").unwrap().parse().unwrap();
        let here = [127, 0, 0, 1];
        let mut open = Vec::new();
        for _ in 0..each {
            open.push(answered(address, here).await.unwrap());
        }
        assert!(answered(address, here).await.is_none(), "one more than {each} was served");
        // The numbers have connections of their own.
        let refused = r#"tertulia_refused_total{limit="connections"} 1"#;
        assert!(hub.numbers().await.lines().any(|line| line == refused));
        // All of these addresses are this machine's only on Linux.
        if cfg!(target_os = "linux") {
            assert_eq!(answered(address, [127, 0, 0, 2]).await.is_some(), !behind_proxy);
        }
        // The place of one that is closed is another's.
        open.pop();
        while answered(address, here).await.is_none() {}
    }
}

#[tokio::test]
async fn the_head_of_a_request_is_taken_up_to_a_bound() {
    let hub = Hub::start().await;
    let address: SocketAddr = hub.base.strip_prefix("http://").unwrap().parse().unwrap();
    let begin = "GET /healthz HTTP/1.1\r\nhost: hub\r\nx-long: ";
    let long = |length: usize| format!("{begin}{}", "a".repeat(length - begin.len()));
    for (head, status) in [(long(48 * 1024) + "\r\n\r\n", "200"), (long(64 * 1024), "431")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test]
async fn the_page_of_the_api_shows_its_description() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let script = client.get("/v1/docs/swagger-initializer.js").await.bytes();
    assert!(String::from_utf8(script).unwrap().contains(r#""/v1/openapi.json""#));
    let response = reqwest::get(format!("{}/v1/openapi.json", hub.base)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.json::<Value>().await.unwrap()["paths"].is_object());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_data() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let server = Server::bind(ServerConfig::new(([127, 0, 0, 1], 0).into(), &data)).await.unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut names = BTreeSet::new();
    for entry in data.read_dir().unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.insert(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert!(names.is_superset(&["hub.db".into(), "hub.key".into(), "hub.lock".into()].into()), "{names:?}");

    server.run(async {}).await.unwrap();
    let after: BTreeSet<_> = data
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        after,
        ["hub.db".into(), "hub.key".into(), "hub.lock".into()].into(),
        "the log was not folded in"
    );
}
