//! The way from a device to where its conversations are carried.
//!
//! Owns the requests to a hub (HTTP) and the live stream of its events (WebSocket): addresses, tokens, time limits, size
//! limits. And what [carries envelopes](Delivery) where there is no hub, above all a [`Relay`], which takes those of whoever has done some work for
//! them. It repeats nothing by itself: what may be sent again is for its callers to know. Leaves to others what the bytes mean (`tertulia-mls`, `tertulia-content`) and what is
//! kept (`tertulia-store`).
//!
//! ```no_run
//! # async fn example() -> Result<(), tertulia_transport::TransportError> {
//! use tertulia_transport::Hub;
//!
//! let hub = Hub::new("https://chat.example.org")?;
//! let session = hub.log_in("alice", "correct horse battery").await?;
//! let hub = hub.with_token(session.token);
//! println!("{}", hub.me().await?.user);
//! # Ok(())
//! # }
//! ```

mod delivery;
mod error;
mod hub;
mod memory;
mod relay;
mod requests;
mod socket;
mod token;

pub use delivery::Delivery;
pub use error::TransportError;
pub use hub::{Hub, Token};
pub use memory::{Faults, Memory, MemoryNetwork};
pub use relay::{Cursor, InvalidCursor, Page, Position, Relay, RelayNews, RelaySocket};
pub use socket::{EventSocket, Frame};
pub use token::{KeptTokens, TokenKeeper};
