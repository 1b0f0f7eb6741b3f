//! A certificate that somebody else puts into files, and taking a new one without a restart.

use super::HTTP;
use crate::{ServerError, config::TlsFiles, shutdown::Shutdown};
use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{fs, path::Path, sync::Arc, time::SystemTime};
use tokio::sync::Notify;

/// A certificate that is in use, with the files that it came from.
pub(crate) struct Certificate {
    files: TlsFiles,
    config: RustlsConfig,
    asked: Arc<Notify>,
    /// When the files that are in use were written.
    written: [Option<SystemTime>; 2],
}

impl Certificate {
    /// Reads the files.
    pub(super) fn read(files: TlsFiles) -> Result<Self, ServerError> {
        let written = written(&files);
        let config = RustlsConfig::from_config(Arc::new(read(&files)?));
        Ok(Self { files, config, asked: Arc::default(), written })
    }

    /// What connections are accepted with; it follows the certificate.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// What has the files read again.
    pub(super) fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }

    /// Takes a new certificate when asked to, and when the files have changed, until the hub is to stop. Connections that are
    /// open keep the one that they began with.
    pub(super) async fn keep_current(mut self, shutdown: Shutdown) {
        loop {
            let asked = tokio::select! {
                () = self.asked.notified() => true,
                () = tokio::time::sleep(self.files.look_every) => false,
                () = shutdown.requested() => return,
            };
            let found = written(&self.files);
            if !asked && found == self.written {
                continue;
            }
            match read(&self.files) {
                Ok(config) => {
                    self.config.reload_from_config(Arc::new(config));
                    tracing::info!("a new certificate is in use");
                }
                // Both files are seldom written at the same moment: it is tried again when one changes.
                Err(error) => {
                    tracing::warn!(%error, "the certificate was not taken; the one before stays in use");
                }
            }
            self.written = found;
        }
    }
}

/// When the files were written; of one that is not there, nothing.
fn written(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.cert, &files.key].map(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
}

fn read(TlsFiles { cert, key, .. }: &TlsFiles) -> Result<rustls::ServerConfig, ServerError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerError::TlsFile { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let mut config = super::builder()?.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    Ok(config)
}
