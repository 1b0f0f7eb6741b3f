//! The form of what is stored: it changes only where a review sees it, and with a way to read the old one.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use serde_json::Value;
use support::Device;

/// The same without what is random: of lists of numbers their length, and of the rest what sort of value it is.
fn form(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, form(value))).collect(),
        Value::Array(values) if values.iter().all(Value::is_number) => {
            format!("{} numbers", values.len()).into()
        }
        Value::Array(values) => values.into_iter().map(form).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        other => other,
    }
}

#[test]
fn what_is_stored_keeps_its_form() {
    let (mut alice, mut bob) = (Device::new(1, 1), Device::new(2, 1));
    alice.publish(1, support::NOW + 7 * support::DAY);
    alice.tell(&mut bob, "hello");
    bob.tell(&mut alice, "hello");
    let late = alice.send(&mut bob, "late");
    alice.tell(&mut bob, "before it");
    let account = alice.store().read(|r| r.pairwise_account()).unwrap().unwrap();
    let account: Value = serde_json::from_slice(&account.state).unwrap();
    let session: Value = serde_json::from_slice(&bob.sessions(&alice)[0].state).unwrap();
    insta::assert_snapshot!("account", serde_json::to_string_pretty(&form(account)).unwrap());
    insta::assert_snapshot!("session", serde_json::to_string_pretty(&form(session)).unwrap());
    assert_eq!(bob.receive(&alice, &late).unwrap(), "late");
}
