//! The examples of the guide, one after the other. The documentation of the crate shows them, and runs each by itself.

mod certificates;
mod children;
mod commits;
mod credentials;
mod errors;
mod joining;
mod members;
mod observers;
mod proposals;
mod psks;
mod receiving;
mod rotation;
mod storage;
mod support;
mod transactions;

#[tokio::main(flavor = "current_thread")]
async fn main() -> tertulia_mls::Result<()> {
    transactions::run().await?;
    commits::run().await?;
    receiving::run().await?;
    proposals::run().await?;
    members::run().await?;
    joining::run().await?;
    children::run().await?;
    credentials::run().await?;
    certificates::run().await?;
    rotation::run().await?;
    psks::run().await?;
    observers::run().await?;
    errors::run().await?;
    storage::run().await
}
