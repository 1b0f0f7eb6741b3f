//! One connection over HTTP/1.1, with as little around it as can be: what the load costs, the server cannot use.

use crate::Outcome;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// See the [module](self).
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

/// A request's head.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) media_type: &'a str,
}

impl Http {
    pub(crate) async fn connect(address: String) -> Outcome<Self> {
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection); // ends with the sender
        Ok(Self { sender, address })
    }

    /// Asks, and reads the whole answer, which has to be a success.
    pub(crate) async fn call(&mut self, head: Head<'_>, body: Vec<u8>) -> Outcome<Bytes> {
        let mut request =
            Request::builder().method(head.method).uri(head.path).header(HOST, self.address.as_str());
        if let Some(token) = head.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, head.media_type);
        }
        // The task of the connection may not yet have seen the end of the answer before.
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body.into()))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(format!(
            "{} {} was answered with {status}: {}",
            head.method,
            head.path,
            String::from_utf8_lossy(&body)
        )
        .into())
    }

    /// Reads what is there for everybody, or for the holder of the token.
    pub(crate) async fn get(&mut self, path: &str, token: Option<&str>) -> Outcome<Bytes> {
        self.call(Head { method: "GET", path, token, media_type: "" }, Vec::new()).await
    }
}
