//! Traces, sent to a collector over OTLP: HTTP with Protobuf, in batches, from a thread that no request waits for.

use std::{
    collections::HashMap,
    error::Error,
    fmt::Display,
    iter::successors,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::args::ServeArgs;

/// How long a collector may take to take a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer of a collector that is read, in bytes: it says at most which spans it did not take.
const MAX_ANSWER: usize = 64 * 1024;

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The client for the collector cannot be made, for want of certificates for instance.
    #[error("the collector of traces cannot be reached: {0}")]
    Client(#[source] reqwest::Error),
    /// The exporter does not take the settings.
    #[error("traces cannot be sent: {0}")]
    Exporter(#[source] ExporterBuildError),
}

/// The traces of this process.
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Traces, if there is a collector for them.
    pub(super) fn of(serve: &ServeArgs, runtime: &Handle) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = &serve.otlp_endpoint else { return Ok(None) };
        let mut endpoint = endpoint.clone();
        if endpoint.path() == "/" {
            endpoint.set_path("/v1/traces"); // where OTLP has them
        }
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(TelemetryError::Client)?;
        let headers: HashMap<_, _> =
            serve.otlp_header.iter().map(|header| (header.name.clone(), header.value.to_string())).collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { http, runtime: runtime.clone(), told: Arc::default() })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .with_headers(headers)
            .build()
            .map_err(TelemetryError::Exporter)?;
        let resource = Resource::builder()
            .with_service_name("tertulia-hub")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Some(Self { provider }))
    }

    /// What takes the spans that are made for traces, and nothing else.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("tertulia"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == tertulia_server::TRACE_TARGET))
    }

    /// Sends what is left, and makes no more.
    pub(super) fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The way to the collector. The thread that sends has no runtime of its own.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    told: Arc<Told>,
}

/// Whether the operator knows that the collector takes nothing: it is told once, not with every batch.
#[derive(Debug, Default)]
struct Told(AtomicBool);

impl Told {
    fn failed(&self, why: &dyn Display) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %why, "traces cannot be sent; the next ones are tried all the same");
        }
    }

    fn taken(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("traces are sent again");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let (http, told) = (self.http.clone(), Arc::clone(&self.told));
        let sent = self.runtime.spawn(async move {
            let answer = send(&http, request).await;
            match &answer {
                Ok(answer) if answer.status().as_u16() < 400 => told.taken(),
                Ok(answer) => told.failed(&format_args!("the collector answers {}", answer.status())),
                Err(error) => told.failed(&cause(&**error)),
            }
            answer
        });
        sent.await?
    }
}

/// The collector's answer. An error does not name the collector's address, in which a secret may stand.
async fn send(http: &reqwest::Client, request: reqwest::Request) -> Result<http::Response<Bytes>, HttpError> {
    let mut response = http.execute(request).await.map_err(reqwest::Error::without_url)?;
    let mut answer = http::Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        *headers = response.headers().clone();
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + piece.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&piece);
    }
    Ok(answer.body(Bytes::from(body))?)
}

/// What went wrong, with what that comes from: on top stands only that a request failed.
fn cause(error: &(dyn Error + 'static)) -> String {
    let all: Vec<String> =
        successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    all.join(": ")
}
