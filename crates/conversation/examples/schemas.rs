//! Writes the schemas of `proto/`, compiled, into a directory: `schemas.binpb`, a `FileDescriptorSet` that any implementation of Protocol
//! Buffers can load. `docs/spec/decode.py` takes it.

use std::{error::Error, fs, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("the directory is missing")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let schemas = ["envelope", "frames", "bundle"]
        .map(|name| root.join(format!("tertulia/conversation/v1/{name}.proto")));
    let schemas = protox::compile(schemas, [&root])?;
    fs::create_dir_all(&directory)?;
    fs::write(Path::new(&directory).join("schemas.binpb"), schemas.encode_to_vec())?;
    Ok(())
}
