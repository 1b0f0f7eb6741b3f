//! One hub: its address, the session's token, and how a request is made.

use crate::{
    TransportError,
    token::{CurrentToken, TokenKeeper},
};
use bytes::BytesMut;
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Duration};
use tertulia_api::{Code, Problem, conversation::MLS_MEDIA_TYPE};
use url::{Host, Url};
use zeroize::Zeroizing;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take from end to end; longer than the hub's own limit of 30 s, so that its answer is seen.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);
/// The longest wait that a request takes because the hub asks for it, in seconds, and how often. Somebody may be looking.
const LONGEST_WAIT: u64 = 5;
const WAITS: u32 = 3;
/// The largest answer that is read: a page of events has at most 4 MiB of them before Base64 and JSON.
const MAX_ANSWER: usize = 16 << 20;

/// The session's opaque token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<Zeroizing<String>>);

impl Token {
    /// The token as it is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(Arc::new(Zeroizing::new(token)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A hub, with or without a session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    http: reqwest::Client,
    address: Url,
    token: Option<CurrentToken>,
    keeper: Option<Arc<dyn TokenKeeper>>,
}

impl Hub {
    /// The hub at this address, such as `https://chat.example.org`. Plain `http` is taken for this machine only.
    ///
    /// # Errors
    ///
    /// [`TransportError::InvalidAddress`] and [`TransportError::Insecure`].
    pub fn new(address: &str) -> Result<Self, TransportError> {
        let invalid = |reason| TransportError::InvalidAddress { address: address.to_owned(), reason };
        let mut url = Url::parse(address).map_err(|_| invalid("it is not a URL"))?;
        let host = url.host().ok_or_else(|| invalid("it names no host"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_this_machine(&host) => {}
            "http" => return Err(TransportError::Insecure { address: address.to_owned() }),
            _ => return Err(invalid("it begins neither with https:// nor with http://")),
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        url.set_query(None);
        url.set_fragment(None);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("tertulia/", env!("CARGO_PKG_VERSION")))
            // A redirect could carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| invalid("no TLS client could be made on this machine"))?;
        Ok(Self { http, address: url, token: None, keeper: None })
    }

    /// The same hub with the token of a session.
    #[must_use]
    pub fn with_token(&self, token: impl Into<Token>) -> Self {
        Self { token: Some(CurrentToken::new(token.into())), ..self.clone() }
    }

    /// The same hub with a session whose tokens are kept there: they are exchanged when they become too old, and when another
    /// process has done so, this one uses what it got.
    #[must_use]
    pub fn with_keeper(&self, token: impl Into<Token>, keeper: Arc<dyn TokenKeeper>) -> Self {
        Self { keeper: Some(keeper), ..self.with_token(token) }
    }

    /// The hub's address, ending in `/`.
    pub fn address(&self) -> &Url {
        &self.address
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.token.as_ref().map(CurrentToken::get)
    }

    pub(crate) fn set_token(&self, token: Token) {
        if let Some(current) = &self.token {
            current.set(token);
        }
    }

    pub(crate) fn keeper(&self) -> Option<&Arc<dyn TokenKeeper>> {
        self.keeper.as_ref()
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, TransportError> {
        self.address.join(path).map_err(|_| TransportError::InvalidAddress {
            address: self.address.to_string(),
            reason: "a path cannot be added to it",
        })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, TransportError> {
        Ok(self.request_to(method, self.url(path)?))
    }

    pub(crate) fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).timeout(REQUEST_TIMEOUT)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, TransportError> {
        self.read(self.request(Method::GET, path)?).await
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, TransportError> {
        self.read(self.request(method, path)?.json(body)).await
    }

    pub(crate) async fn send_mls<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, TransportError> {
        self.read(self.request(method, path)?.header(header::CONTENT_TYPE, MLS_MEDIA_TYPE).body(body)).await
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, TransportError> {
        let body = self.bytes(request).await?;
        serde_json::from_slice(&body).map_err(|error| self.protocol(format!("{error}")))
    }

    /// Sends the request and reads the answer's body, which is empty for `204`. A hub that wants a short wait first gets it.
    pub(crate) async fn bytes(&self, mut request: RequestBuilder) -> Result<Vec<u8>, TransportError> {
        for _ in 0..WAITS {
            let again = request.try_clone();
            let refused = match self.bytes_once(request).await {
                Err(TransportError::Refused(problem)) => problem,
                answer => return answer,
            };
            // Who has no session is looking at it: a log-in says at once that it has to wait.
            let wait = refused.retry_after.filter(|wait| *wait <= LONGEST_WAIT && self.token.is_some());
            let (Some(wait), Some(again)) = (wait, again) else {
                return Err(TransportError::Refused(refused));
            };
            tokio::time::sleep(Duration::from_secs(wait)).await;
            request = again;
        }
        self.bytes_once(request).await
    }

    /// The same without waiting. With a token that is not good any more it is sent once again, if there is a better one.
    async fn bytes_once(&self, request: RequestBuilder) -> Result<Vec<u8>, TransportError> {
        let (token, again) = (self.token(), request.try_clone());
        let refused = match self.bytes_as(token.as_ref(), request).await {
            Err(TransportError::Refused(problem)) if problem.status == StatusCode::UNAUTHORIZED => problem,
            answer => return answer,
        };
        match (token, again) {
            (Some(used), Some(again)) if self.find_better_token(&used, &refused).await? => {
                self.bytes_as(self.token().as_ref(), again).await
            }
            _ => Err(TransportError::Refused(refused)),
        }
    }

    /// Sends the request with a token and reads the answer's body.
    pub(crate) async fn bytes_as(
        &self,
        token: Option<&Token>,
        request: RequestBuilder,
    ) -> Result<Vec<u8>, TransportError> {
        let request = match token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = self.body(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => TransportError::Refused(Box::new(problem)),
            // A proxy in front of a hub that is down or overloaded answers for it.
            Err(_) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                TransportError::Refused(Box::new(Problem::new(
                    Code::Unavailable,
                    format!("The hub's address answered with status {status}."),
                )))
            }
            Err(_) => self.protocol(format!("status {status} without a problem document")),
        })
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, TransportError> {
        let mut body = BytesMut::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.unreachable(&error))?;
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.protocol(format!("the answer has more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    pub(crate) fn unreachable(&self, error: &dyn std::error::Error) -> TransportError {
        // The innermost cause says most: "connection refused", "certificate expired".
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        TransportError::Unreachable { hub: self.address.to_string(), reason: cause.to_string() }
    }

    pub(crate) fn protocol(&self, reason: String) -> TransportError {
        TransportError::Protocol { hub: self.address.to_string(), reason }
    }
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for address in
            ["http://127.0.0.1:8440", "http://localhost:1", "http://[::1]:1", "https://chat.example.org"]
        {
            assert!(Hub::new(address).is_ok(), "{address}");
        }
        assert!(matches!(Hub::new("http://chat.example.org"), Err(TransportError::Insecure { .. })));
        for address in ["chat.example.org", "ftp://localhost", "", "http://"] {
            assert!(matches!(Hub::new(address), Err(TransportError::InvalidAddress { .. })), "{address}");
        }
    }

    #[test]
    fn a_hub_may_live_below_a_path() {
        let hub = Hub::new("https://example.org/chat").expect("a valid address");
        assert_eq!(hub.url("v1/self").expect("joins").as_str(), "https://example.org/chat/v1/self");
    }

    #[test]
    fn a_token_is_not_printed() {
        let hub = Hub::new("http://localhost").expect("a valid address").with_token("sesame".to_owned());
        assert!(!format!("{hub:?}").contains("sesame"));
    }

    #[tokio::test]
    async fn a_hub_that_is_not_there_is_unreachable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let error =
            Hub::new(&format!("http://{address}")).expect("valid").me().await.expect_err("nobody listens");
        assert_eq!(error.code(), "hub-unreachable");
        assert!(error.is_transient() && error.outcome_unknown());
    }
}
