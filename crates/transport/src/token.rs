//! The session's token, and how it is exchanged for another.
//!
//! A hub takes the old token until the new one is first used. So a new one is kept, with the old one beside it, before it is used;
//! whoever dies in between, or never hears the answer, goes on with the old one.

use crate::{Hub, Token, TransportError};
use futures::future::BoxFuture;
use reqwest::Method;
use std::{
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};
use tertulia_api::{Code, Problem, account::NewToken};

/// Tokens of a session as they are kept.
#[derive(Debug, Clone)]
pub struct KeptTokens {
    /// The one to use.
    pub token: Token,
    /// The one before it, which is good as long as that was never used; none once it was.
    pub before: Option<Token>,
}

/// Where the tokens of a session are kept, durable, and seen by all processes that use the session.
pub trait TokenKeeper: Debug + Send + Sync {
    /// What is kept; none if it cannot be read.
    fn kept(&self) -> BoxFuture<'_, Option<KeptTokens>>;

    /// Keeps these if the token that is kept is still `instead_of`, and says whether it does.
    fn keep<'a>(&'a self, tokens: &'a KeptTokens, instead_of: &'a Token) -> BoxFuture<'a, bool>;
}

/// The token that all clones of a hub use.
#[derive(Debug, Clone)]
pub(crate) struct CurrentToken(Arc<RwLock<Token>>);

impl CurrentToken {
    pub(crate) fn new(token: Token) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    pub(crate) fn get(&self) -> Token {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, token: Token) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl Hub {
    /// Exchanges the session's token for another, if the session has one that is kept.
    ///
    /// # Errors
    ///
    /// Those of every request: see [`TransportError`]. The session goes on with the token that it has.
    pub async fn renew_token(&self) -> Result<(), TransportError> {
        let (Some(used), Some(keeper)) = (self.token(), self.keeper()) else { return Ok(()) };
        let request = self.request(Method::POST, "v1/sessions/current/token")?;
        let body = self.bytes_as(Some(&used), request).await?;
        let answer: NewToken =
            serde_json::from_slice(&body).map_err(|error| self.protocol(format!("{error}")))?;
        let new = Token::from(answer.token);
        let tokens = KeptTokens { token: new.clone(), before: Some(used.clone()) };
        if !keeper.keep(&tokens, &used).await {
            // Another process was faster, or nothing can be written: the one that is kept is as good.
            if let Some(kept) = keeper.kept().await {
                self.set_token(kept.token);
            }
            return Ok(());
        }
        self.set_token(new.clone());
        // The first use makes the old one void, for whoever else may have it.
        if self.is_good(&new).await? {
            keeper.keep(&KeptTokens { token: new.clone(), before: None }, &new).await;
        }
        Ok(())
    }

    /// After a refusal: exchanges a token that is too old, and looks for the one that another process got. Says whether it is worth
    /// trying again.
    pub(crate) async fn find_better_token(
        &self,
        used: &Token,
        refused: &Problem,
    ) -> Result<bool, TransportError> {
        let Some(keeper) = self.keeper() else { return Ok(false) };
        match refused.known_code() {
            Some(Code::TokenExpired) => {
                self.renew_token().await?;
                return Ok(self.token().as_ref() != Some(used));
            }
            Some(Code::Unauthenticated) => {}
            _ => return Ok(false),
        }
        let Some(kept) = keeper.kept().await else { return Ok(false) };
        if kept.token != *used && self.is_good(&kept.token).await? {
            self.set_token(kept.token);
            return Ok(true);
        }
        let Some(before) = &kept.before else { return Ok(false) };
        if before != used && self.is_good(before).await? {
            // The new one never got there, or was followed by another.
            keeper.keep(&KeptTokens { token: before.clone(), before: None }, &kept.token).await;
            self.set_token(before.clone());
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether the hub takes a token. One that is too old can be exchanged.
    async fn is_good(&self, token: &Token) -> Result<bool, TransportError> {
        let request = self.request(Method::GET, "v1/self")?;
        match self.bytes_as(Some(token), request).await {
            Ok(_) => Ok(true),
            Err(TransportError::Refused(problem)) => Ok(problem.known_code() != Some(Code::Unauthenticated)),
            Err(error) => Err(error),
        }
    }
}
