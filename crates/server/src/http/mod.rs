//! The API over HTTP. Handlers read the request, ask the domain inside one transaction, and answer.

mod accounts;
mod auth;
mod channels;
mod commits;
mod connections;
mod conversations;
mod devices;
mod events;
pub(crate) mod extract;
mod history;
mod joins;
mod key_packages;
mod layers;
mod messages;
mod openapi;
mod ops;
mod page;
mod pairwise;
mod password;
pub(crate) mod redirect;
mod sessions;
mod settings;
mod subconversations;
mod teams;
mod typing;
mod users;
mod ws;

pub(crate) use extract::{BehindProxy, ClientAddress, Json, media_type, network};
pub(crate) use ops::numbers;
pub(crate) use page::{page, pieces};

use crate::{
    answers,
    metrics::Metrics,
    relay::{self, RelayState},
    state::AppState,
    storage::Storage,
    uploads,
};
use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state, routing::get};
use bytes::Bytes;
use http::header;
use ops::Health;
use std::{future::ready, sync::Arc, time::Duration};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the description of the API is.
const DESCRIPTION: &str = "/v1/openapi.json";

/// Everything that the hub serves, with its relay if it has one.
pub(crate) fn app(state: AppState, relay: Option<RelayState>) -> Router {
    let limits = &state.limits;
    let json = DefaultBodyLimit::max(limits.json_bytes);
    let key_packages = DefaultBodyLimit::max(limits.key_packages_bytes);
    let quick = OpenApiRouter::with_openapi(openapi::base())
        .merge(ops::router().layer(json).with_state(Health::of(state.storage.clone())))
        .merge(accounts::router().layer(json))
        .merge(sessions::router().layer(json))
        .merge(teams::router().layer(json))
        .merge(channels::router().layer(json))
        .merge(users::router().layer(json))
        .merge(password::router().layer(json))
        .merge(devices::router().layer(key_packages))
        .merge(key_packages::router().layer(key_packages))
        .merge(connections::router().layer(json))
        .merge(conversations::router().layer(json))
        .merge(joins::router().layer(json))
        .merge(settings::router().layer(json))
        .merge(history::router().layer(json))
        .merge(subconversations::router().layer(json))
        .merge(typing::router().layer(json))
        .merge(pairwise::router().layer(json))
        .merge(pairwise::messages().layer(DefaultBodyLimit::max(limits.pairwise_message_bytes)))
        .merge(messages::router().layer(DefaultBodyLimit::max(limits.message_bytes)))
        .merge(commits::router().layer(DefaultBodyLimit::max(limits.commit_bytes)))
        .layer(from_fn_with_state(state.clone(), uploads::hold))
        .layer(from_fn_with_state(state.clone(), answers::hold))
        .layer(from_fn_with_state(limits.request_timeout, layers::time_out));
    // Waiting for events takes as long as it takes.
    let events = events::router().merge(ws::router()).layer(json);
    let mut all = quick.merge(events);
    if let Some(relay) = relay {
        all = all.merge(of_relay(limits.request_timeout).with_state(relay));
    }
    let metrics = Arc::clone(&state.metrics);
    served(all.with_state(state), metrics)
}

/// Everything that a relay serves that is no hub.
pub(crate) fn relay_app(
    relay: RelayState,
    storage: Storage,
    metrics: Arc<Metrics>,
    request_timeout: Duration,
) -> Router {
    let ops = ops::router()
        .layer(from_fn_with_state(request_timeout, layers::time_out))
        .with_state(Health::of(storage));
    let all = OpenApiRouter::with_openapi(openapi::base_of_relay()).merge(ops);
    served(all.merge(of_relay(request_timeout).with_state(relay)), metrics)
}

/// What a relay does, in a hub or alone. Reading takes as long as it takes.
fn of_relay(request_timeout: Duration) -> OpenApiRouter<RelayState> {
    let quick = relay::quick().layer(from_fn_with_state(request_timeout, layers::time_out));
    quick.merge(relay::long().layer(DefaultBodyLimit::max(relay::READ_BYTES)))
}

/// What is done with every request, and the description of all.
fn served(all: OpenApiRouter, metrics: Arc<Metrics>) -> Router {
    let (router, mut description) = all.split_for_parts();
    openapi::document_problems(&mut description);
    // Anybody may ask for it, as often as they like: all are given the same bytes.
    let json = serde_json::to_vec(&description).expect("it is lists, and maps with strings for keys");
    let json = Bytes::from(json);
    let describe = get(move || ready(([(header::CONTENT_TYPE, "application/json")], json.clone())));
    router
        .route(DESCRIPTION, describe)
        .merge(SwaggerUi::new("/v1/docs").config(Config::from(DESCRIPTION)))
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(metrics, layers::observe))
}
