//! The session's token: where it is kept, and when it is exchanged.

use crate::{Client, Result, client::now, sync::tolerate};
use futures::future::BoxFuture;
use std::fmt;
use tertulia_store::{Setting, Store, StoreError};
use tertulia_transport::{KeptTokens, Token, TokenKeeper};

/// How old a token becomes before it is exchanged, in milliseconds: a week.
const RENEWED_AFTER: i64 = 7 * 24 * 60 * 60 * 1000;

/// Keeps the tokens in the home.
pub(crate) struct HomeKeeper(pub(crate) Store);

impl fmt::Debug for HomeKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HomeKeeper")
    }
}

impl TokenKeeper for HomeKeeper {
    fn kept(&self) -> BoxFuture<'_, Option<KeptTokens>> {
        Box::pin(async {
            let read = self.0.read(|r| {
                Ok::<_, StoreError>((r.setting(Setting::Token)?, r.setting(Setting::TokenBefore)?))
            });
            let (token, before) = read.ok()?;
            let before = before.filter(|before| !before.is_empty()).map(Token::from);
            Some(KeptTokens { token: token?.into(), before })
        })
    }

    fn keep<'a>(&'a self, tokens: &'a KeptTokens, instead_of: &'a Token) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let kept = async {
                let guard = self.0.lock().await?;
                let is_kept = self.0.read(|r| r.setting(Setting::Token))?;
                if is_kept.as_deref() != Some(instead_of.expose()) {
                    return Ok::<_, StoreError>(false);
                }
                self.0.write(&guard, |w| {
                    w.put_setting(Setting::Token, tokens.token.expose())?;
                    let before = tokens.before.as_ref().map_or("", Token::expose);
                    w.put_setting(Setting::TokenBefore, before)?;
                    w.put_setting(Setting::TokenAt, &now().to_string())
                })?;
                Ok(true)
            };
            kept.await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a token could not be kept, going on with the one before");
                false
            })
        })
    }
}

impl Client {
    /// Exchanges the session's token if it is old.
    pub(crate) async fn renew_token(&self) -> Result<()> {
        let kept = self.inner().store.read(|r| r.setting(Setting::TokenAt))?;
        let since: i64 = kept.and_then(|at| at.parse().ok()).unwrap_or_default();
        if now().saturating_sub(since) > RENEWED_AFTER {
            tolerate(self.hub()?.renew_token().await.map_err(Into::into))?;
        }
        Ok(())
    }
}
