//! `cargo xtask api`: requests of all kinds, made up from the hub's own OpenAPI document, find no answer that is not in it.

use crate::{
    command::{self, Failure},
    demo::Hub,
    prerequisites, say,
};
use clap::Args;

#[derive(Args)]
pub(crate) struct Arguments {
    /// For how long.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// What the requests are made from, to have the same ones again.
    #[arg(long)]
    seed: Option<u128>,
}

/// No answer of the hub's own failing, and none whose status, media type or body is not documented.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// How long it is part of `cargo xtask test`.
pub(crate) const IN_TESTS: Arguments = Arguments { seconds: 60, seed: None };

pub(crate) fn api(arguments: &Arguments) -> Result<(), Failure> {
    let schemathesis = prerequisites::schemathesis()?;
    let binaries = command::build(true, &[])?;
    let place = command::target_directory().join("api");
    if place.exists() {
        std::fs::remove_dir_all(&place).map_err(Failure::file(&place))?;
    }
    std::fs::create_dir_all(&place).map_err(Failure::file(&place))?;
    let hub = Hub::start(&binaries, &place)?;
    say::note(format!("{} seconds of requests to {}", arguments.seconds, hub.url()));
    let mut run = schemathesis
        .arg("run")
        .arg(format!("{}/v1/openapi.json", hub.url()))
        .args("--no-color --request-timeout 30 --checks")
        .arg(CHECKS)
        .arg("--max-time")
        .arg(arguments.seconds.to_string())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", "xtask/api")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TERTULIA_HUB", hub.url());
    if let Some(seed) = arguments.seed {
        run = run.arg("--seed").arg(seed.to_string());
    }
    run.run()
}
