//! Writes `src/wire/generated.rs` from the schemas in `proto/`: `cargo run -p tertulia-conversation --example protocol`. No compiler
//! for them has to be installed. A test compares, and fails when the file is out of date.

use std::{error::Error, fs, path::Path};

/// The schemas, below `proto/tertulia/conversation/v1`.
const SCHEMAS: [&str; 4] = ["envelope.proto", "frames.proto", "bundle.proto", "stored.proto"];

/// Where the code belongs.
pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/generated.rs");

fn main() -> Result<(), Box<dyn Error>> {
    fs::write(PATH, generate()?)?;
    Ok(())
}

/// The code that belongs to the schemas.
pub fn generate() -> Result<String, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files = SCHEMAS.map(|name| root.join("tertulia/conversation/v1").join(name));
    let schemas = protox::compile(files, [&root])?;
    let directory = tempfile::tempdir()?;
    prost_build::Config::new().out_dir(directory.path()).compile_fds(schemas)?;
    let code = fs::read_to_string(directory.path().join("tertulia.conversation.v1.rs"))?;
    Ok(format!("// By `cargo run -p tertulia-conversation --example protocol`, from proto/.\n{code}"))
}
