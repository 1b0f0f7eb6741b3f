//! The certificate for HTTPS: from files, or from a certificate authority.

mod acme;
mod files;
mod issuing;
mod resolver;

use crate::{ServerError, config::Tls, shutdown::Shutdown};
use axum_server::tls_rustls::RustlsConfig;
use rustls::{ConfigBuilder, ServerConfig, WantsVersions, server::WantsServerCert};
use std::{path::Path, sync::Arc};
use tokio::sync::Notify;

/// HTTP/1.1, as it is agreed on when a connection begins (RFC 7301).
const HTTP: &[u8] = b"http/1.1";

/// The certificate of a hub, and where the next one comes from.
pub(crate) enum Certificate {
    Files(files::Certificate),
    Acme(acme::Certificate),
}

/// Has the certificate of a running hub read again. Cheap to clone; without files to read it does nothing.
#[derive(Debug, Clone, Default)]
pub struct Reload(Option<Arc<Notify>>);

impl Reload {
    /// Reads certificate and key again, soon. If they cannot be used, those in use stay, and the log says so.
    pub fn now(&self) {
        if let Some(asked) = &self.0 {
            asked.notify_one();
        }
    }
}

impl Certificate {
    /// Reads the files, or what an authority has issued before; that is kept in the data directory.
    pub(crate) fn open(tls: Tls, data: &Path) -> Result<Self, ServerError> {
        match tls {
            Tls::Files(files) => files::Certificate::read(files).map(Self::Files),
            Tls::Acme(acme) => acme::Certificate::open(acme, data).map(Self::Acme),
        }
    }

    /// What connections are accepted with; it follows the certificate.
    pub(crate) fn config(&self) -> RustlsConfig {
        match self {
            Self::Files(files) => files.config(),
            Self::Acme(acme) => acme.config(),
        }
    }

    pub(crate) fn reload(&self) -> Reload {
        match self {
            Self::Files(files) => Reload(Some(files.asked())),
            Self::Acme(_) => Reload::default(),
        }
    }

    /// Takes new certificates until the hub is to stop. Connections that are open keep the one that they began with.
    pub(crate) async fn keep_current(self, shutdown: Shutdown) {
        match self {
            Self::Files(files) => files.keep_current(shutdown).await,
            Self::Acme(acme) => acme.keep_current(shutdown).await,
        }
    }
}

/// TLS as the hub speaks it, up to the certificate.
fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder: ConfigBuilder<ServerConfig, WantsVersions> = ServerConfig::builder_with_provider(provider);
    Ok(builder.with_safe_default_protocol_versions()?.with_no_client_auth())
}
