//! The description of the API, made of the handlers themselves.
//!
//! A handler lists the codes that it answers with in its extension `x-problems`. Here they become answers by status, and
//! the codes that every request can get are added, so that no handler repeats them.

use std::collections::BTreeMap;
use tertulia_api::{Code, Problem};
use utoipa::{
    OpenApi,
    openapi::{
        Content, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

const EXTENSION: &str = "x-problems";

/// Codes that any request can get.
const COMMON: [Code; 3] = [Code::Internal, Code::Unavailable, Code::RateLimited];

/// Codes that a request with a body can get.
const WITH_BODY: [Code; 4] =
    [Code::BadRequest, Code::UnsupportedMediaType, Code::PayloadTooLarge, Code::StorageFull];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tertulia hub",
        description = "Accounts, connections and the delivery of end-to-end encrypted conversations (MLS, RFC 9420). \
                       Errors are problem documents (RFC 9457) with a stable `code`."
    ),
    components(schemas(Problem)),
    tags(
        (name = "accounts", description = "Accounts, sessions, users"),
        (name = "devices", description = "Devices and the keys that they publish"),
        (name = "connections", description = "Who may write to whom"),
        (name = "teams", description = "Teams and their members"),
        (name = "conversations", description = "Conversations and their members"),
        (name = "messages", description = "What is sent into conversations: messages and commits"),
        (name = "events", description = "What happened, for each device in order"),
        (name = "relay", description = "Envelopes by content topics, without an account"),
        (name = "operation", description = "For who runs the hub")
    )
)]
struct Description;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tertulia relay",
        description = "Envelopes of end-to-end encrypted conversations, by content topics, without accounts. \
                       Errors are problem documents (RFC 9457) with a stable `code`."
    ),
    components(schemas(Problem)),
    tags(
        (name = "relay", description = "Envelopes by content topics, without an account"),
        (name = "operation", description = "For who runs the relay")
    )
)]
struct DescriptionOfRelay;

/// What the handlers of a relay are added to that is no hub.
pub(super) fn base_of_relay() -> utoipa::openapi::OpenApi {
    DescriptionOfRelay::openapi()
}

/// What the handlers are added to.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    let mut description = Description::openapi();
    let session = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a session, from sign-up or log-in."))
        .build();
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("session", SecurityScheme::Http(session));
    description.security = Some(vec![SecurityRequirement::new("session", [""; 0])]);
    description
}

/// Adds to every operation the problems that it answers with.
pub(super) fn document_problems(description: &mut utoipa::openapi::OpenApi) {
    for item in description.paths.paths.values_mut() {
        for operation in
            [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten()
        {
            add_problems(operation);
        }
    }
}

fn add_problems(operation: &mut Operation) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes(operation) {
        let codes = by_status.entry(code.status()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    for (status, mut codes) in by_status {
        codes.sort_unstable();
        add_answer(operation, status, &codes);
    }
}

fn add_answer(operation: &mut Operation, status: u16, codes: &[Code]) {
    let lines: Vec<_> = codes.iter().map(|code| format!("- `{code}`: {}", code.title())).collect();
    let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    let answer =
        ResponseBuilder::new().description(lines.join("\n")).content(Problem::MEDIA_TYPE, content).build();
    operation.responses.responses.insert(status.to_string(), answer.into());
}

fn codes(operation: &Operation) -> Vec<Code> {
    let own = operation.extensions.as_ref().and_then(|extensions| extensions.get(EXTENSION)?.as_array());
    let own = own.into_iter().flatten().filter_map(|name| name.as_str()?.parse().ok());
    let mut codes: Vec<Code> = own.collect();
    codes.extend(COMMON);
    // An empty requirement of its own opens an operation to everybody.
    if operation.security.is_none() {
        codes.extend([Code::Unauthenticated, Code::TokenExpired, Code::DeviceRemoved, Code::StorageFull]);
    }
    if operation.request_body.is_some() {
        codes.extend(WITH_BODY);
    } else if operation.parameters.is_some() {
        codes.push(Code::BadRequest);
    }
    codes
}
