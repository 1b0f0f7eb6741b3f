//! Key packages: there are enough of them, without anybody's doing.

use crate::support::{Hub, PASSWORD};
use serde_json::{Value, json};
use std::collections::HashSet;
use tertulia::Client;

/// Somebody who does nothing but claim key packages, over HTTP.
struct Claimer {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Claimer {
    async fn sign_up(hub: &Hub) -> Self {
        let claimer = Self { http: reqwest::Client::new(), url: hub.url.clone(), token: String::new() };
        let session =
            claimer.post("/v1/accounts", &json!({ "handle": "mallory", "password": PASSWORD })).await;
        let token = session["token"].as_str().expect("a token").to_owned();
        let claimer = Self { token, ..claimer };
        let key = "A".repeat(43) + "="; // 32 bytes in Base64
        let device = json!({
            "device": "00c0ffee00c0ffee", "label": "none", "signature_key": key, "key_packages": [], "last_resort": null
        });
        claimer.post("/v1/devices", &device).await;
        claimer
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body);
        let response = request.send().await.expect("the hub answers");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.expect("JSON")
    }

    async fn claim(&self, user: tertulia::UserId) -> String {
        let claimed = self.post("/v1/key-packages/claims", &json!({ "users": [user] })).await;
        claimed["key_packages"][0]["key_package"].as_str().expect("a key package").to_owned()
    }

    /// A key for a pairwise session with this device, and whether it is the fallback key.
    async fn claim_pairwise(&self, bob: &tertulia::Me) -> (String, bool) {
        let devices = json!({ "devices": [{ "user": bob.user, "device": bob.device }] });
        let claimed = self.post("/v1/pairwise-keys/claims", &devices).await;
        let key = claimed["keys"][0]["key"].as_str().expect("a key").to_owned();
        (key, claimed["keys"][0]["fallback"].as_bool().expect("it says"))
    }
}

/// Bob, whose keys mallory may claim, and who has all that he is to have.
async fn claimed_from() -> (Hub, Client, Claimer) {
    let hub = Hub::start().await;
    let bob = hub.sign_up("bob").await;
    let mallory = Claimer::sign_up(&hub).await;
    mallory.post("/v1/connections", &json!({ "handle": "bob" })).await;
    bob.sync().await.expect("sees the request");
    bob.accept(&"mallory".parse().expect("a handle")).await.expect("accepts");
    bob.sync().await.expect("has nothing to make");
    (hub, bob, mallory)
}

#[tokio::test]
async fn a_device_makes_more_key_packages_when_it_is_told_that_few_are_left() {
    let (_hub, bob, mallory) = claimed_from().await;

    // Of its fifty, forty are taken without a Welcome that would tell bob of it.
    let mut given = HashSet::new();
    for _ in 0..40 {
        given.insert(mallory.claim(bob.me().user).await);
    }
    bob.sync().await.expect("is told, and makes more");
    for _ in 0..40 {
        given.insert(mallory.claim(bob.me().user).await);
    }
    assert_eq!(given.len(), 80, "the last-resort one was not needed");
}

#[tokio::test]
async fn a_device_makes_more_one_time_keys_when_it_is_told_that_few_are_left() {
    let (_hub, bob, mallory) = claimed_from().await;

    // Of its fifty, forty are taken without a message that would tell bob of it.
    let mut given = HashSet::new();
    for _ in 0..40 {
        given.insert(mallory.claim_pairwise(bob.me()).await);
    }
    bob.sync().await.expect("is told, and makes more");
    for _ in 0..40 {
        given.insert(mallory.claim_pairwise(bob.me()).await);
    }
    assert_eq!(given.len(), 80);
    assert!(given.iter().all(|(_, is_fallback)| !is_fallback), "the fallback key was not needed");
}
