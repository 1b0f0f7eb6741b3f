//! Passwords: Argon2id, never more at once than there are cores.

use crate::error::ApiError;
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use std::{sync::Arc, thread};
use tertulia_api::Code;
use tertulia_domain::limits::PASSWORD_BYTES;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Memory for one hash, in KiB: 19 MiB, the least that OWASP's cheat sheet on password storage names for two passes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Hashes and verifies passwords.
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    /// A hash that no password matches in practice: of random bytes that nobody kept. What an unknown handle is
    /// verified against, so that its refusal takes as long as that of a wrong password.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, argon2::password_hash::Error> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let nobody = hasher()?.hash_password(&rand::random::<[u8; 32]>())?.to_string().into();
        Ok(Self { running: Arc::new(Semaphore::new(cores)), nobody })
    }

    /// The hash of a new password, as a PHC string; `invalid-password` if it is too short or too long.
    pub(crate) async fn hash(&self, password: Zeroizing<String>) -> Result<String, ApiError> {
        if !PASSWORD_BYTES.contains(&password.len()) {
            let detail = format!(
                "A password has {} to {} bytes; this one has {}.",
                PASSWORD_BYTES.start(),
                PASSWORD_BYTES.end(),
                password.len()
            );
            return Err(ApiError::new(Code::InvalidPassword, detail));
        }
        self.run(move || {
            let hash = hasher().and_then(|hasher| hasher.hash_password(password.as_bytes()));
            hash.map(|hash| hash.to_string()).map_err(ApiError::internal)
        })
        .await
    }

    /// Whether the password is the one that was hashed. Without a hash it never is, and takes as long.
    pub(crate) async fn verify(
        &self,
        password: Zeroizing<String>,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        // Too long for any password, so that it costs nothing; the answer depends on what was sent only.
        if password.len() > *PASSWORD_BYTES.end() {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.map_or_else(|| Arc::clone(&self.nobody), Into::into);
        self.run(move || {
            let parsed = PasswordHash::new(&hash).map_err(ApiError::internal)?;
            let matches =
                hasher().map_err(ApiError::internal)?.verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(matches && known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(ApiError::internal)?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit; // held by the work, which goes on when the request is dropped
            work()
        });
        task.await.map_err(ApiError::internal)?
    }
}

fn hasher() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}
