//! What stands in `docs/` is what the source says.
#![allow(clippy::unwrap_used)]

use tertulia_conversation::types::{BUILT_IN, Registry, markdown};

const TYPES: &str = include_str!("../../../docs/conversation-types.md");

#[test]
fn the_published_table_of_types_is_that_of_the_source() {
    let (_, rest) = TYPES.split_once("crates/conversation/src/types. -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- End of what is generated. -->").unwrap();
    assert!(table == markdown(&Registry::built_in()), "out of date: cargo xtask docs");
}

#[test]
fn each_type_on_envelopes_has_a_page() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec");
    for descriptor in BUILT_IN {
        let name = descriptor.title.strip_suffix("V1").unwrap().to_lowercase();
        let page = std::fs::read_to_string(docs.join(format!("{name}-v1.md"))).unwrap();
        assert!(page.contains(&format!("title: {}", descriptor.title)), "{name}");
        for frame in descriptor.frames {
            assert!(page.contains(&format!("`{}`", frame.name)), "{} lacks {}", descriptor.title, frame.name);
        }
    }
}
