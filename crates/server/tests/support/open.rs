//! Requests without the ceremony of a person: any path, any body, any token or none.

use super::hub::{Answer, Hub};
use reqwest::{Method, RequestBuilder};
use serde::Serialize;

/// Sends requests, with a token or without.
#[derive(Clone)]
pub struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// Without a token.
    pub fn new(hub: &Hub) -> Self {
        Self { base: hub.base.clone(), token: None, http: reqwest::Client::new() }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn answer(&self, request: RequestBuilder) -> Answer {
        Answer::to(request).await
    }

    pub async fn send(&self, method: Method, path: &str) -> Answer {
        self.answer(self.request(method, path)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        self.answer(self.request(Method::POST, path).json(body)).await
    }
}
