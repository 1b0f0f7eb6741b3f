//! Prints the table of error codes: `cargo run -q -p tertulia-api --example errors`. It stands in `docs/errors.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(tertulia_api::error::table().as_bytes())
}
