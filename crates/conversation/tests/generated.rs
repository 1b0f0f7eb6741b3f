//! The checked-in code is what the schemas give.

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/protocol.rs"]
mod protocol;

#[test]
fn the_generated_code_is_that_of_the_schemas() {
    let current = protocol::generate().expect("the schemas compile");
    let checked_in = std::fs::read_to_string(protocol::PATH).expect("the code is in the tree");
    assert!(current == checked_in, "out of date: cargo run -p tertulia-conversation --example protocol");
}
