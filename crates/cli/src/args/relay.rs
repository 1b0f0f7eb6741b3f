//! The arguments of `tertulia relay`, and those of a hub's relay.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, value_parser};
use tertulia_server::{Rate, RelayLimits};

use super::{ServingArgs, StartArgs, link::span, serve::rate};

/// Whether something is on.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is
    #[default]
    On,
    /// It is not
    Off,
}

/// The terms of a relay. Their flags have other names in a hub, which has much else.
macro_rules! relay_limits {
    ($(#[$doc:meta])* $name:ident, $flag:literal, $id:literal, $rate:literal, $rate_id:literal, $difficulty:literal) => {
        $(#[$doc])*
        #[derive(Args)]
        #[command(next_help_heading = "Relay")]
        pub(crate) struct $name {
            #[doc = $difficulty]
            ///
            /// Each more doubles the work: 18 take some tenths of a second on a telephone. 0: none.
            #[arg(
                long = concat!($flag, "difficulty"),
                id = concat!($id, "difficulty"),
                value_name = "BITS",
                default_value_t = RelayLimits::default().difficulty,
                env = "TERTULIA_RELAY_DIFFICULTY",
                hide_env_values = true,
                value_parser = value_parser!(u8).range(0..=28)
            )]
            difficulty: u8,

            /// For how long envelopes are kept, 4h at least
            #[arg(
                long = concat!($flag, "retention"),
                id = concat!($id, "retention"),
                value_name = "TIME",
                default_value = "14d",
                value_parser = retention,
                env = "TERTULIA_RELAY_RETENTION",
                hide_env_values = true
            )]
            retention: Duration,

            /// Most that all envelopes may take; beyond half of it the oldest go after a day
            #[arg(
                long = concat!($flag, "max-storage"),
                id = concat!($id, "max_storage"),
                value_name = "SIZE",
                default_value = "4GiB",
                env = "TERTULIA_RELAY_MAX_STORAGE",
                hide_env_values = true
            )]
            max_storage: ByteSize,

            /// Most that the envelopes of one topic may take; beyond half of it the oldest go after a day
            #[arg(
                long = concat!($flag, "max-topic"),
                id = concat!($id, "max_topic"),
                value_name = "SIZE",
                default_value = "512MiB",
                env = "TERTULIA_RELAY_MAX_TOPIC",
                hide_env_values = true,
                hide_short_help = true
            )]
            max_topic: ByteSize,

            /// Longest message in an envelope; what stands around it comes on top
            #[arg(
                long = concat!($flag, "max-envelope"),
                id = concat!($id, "max_envelope"),
                value_name = "SIZE",
                default_value = "1MiB",
                env = "TERTULIA_RELAY_MAX_ENVELOPE",
                hide_env_values = true,
                hide_short_help = true
            )]
            max_envelope: ByteSize,

            /// Most requests and sockets at once
            #[arg(
                long = concat!($flag, "max-places"),
                id = concat!($id, "max_places"),
                value_name = "N",
                default_value_t = RelayLimits::default().places,
                env = "TERTULIA_RELAY_MAX_PLACES",
                hide_env_values = true,
                hide_short_help = true
            )]
            max_places: usize,

            /// Most requests and sockets of one address at once
            #[arg(
                long = concat!($flag, "max-address-places"),
                id = concat!($id, "max_address_places"),
                value_name = "N",
                default_value_t = RelayLimits::default().places_per_address,
                env = "TERTULIA_RELAY_MAX_ADDRESS_PLACES",
                hide_env_values = true,
                hide_short_help = true
            )]
            max_address_places: usize,

            /// Envelopes from one address: so many at once, then one for each time; or `none`, without limit
            #[arg(
                long = concat!($rate, "posts"),
                id = concat!($rate_id, "posts"),
                value_name = "RATE",
                default_value = "300/200ms",
                value_parser = rate,
                env = "TERTULIA_RATE_RELAY_POSTS",
                hide_env_values = true,
                hide_short_help = true
            )]
            rate_posts: Rate,

            /// Reads from one address
            #[arg(
                long = concat!($rate, "reads"),
                id = concat!($rate_id, "reads"),
                value_name = "RATE",
                default_value = "1000/100ms",
                value_parser = rate,
                env = "TERTULIA_RATE_RELAY_READS",
                hide_env_values = true,
                hide_short_help = true
            )]
            rate_reads: Rate,
        }

        impl $name {
            /// The relay's terms, those that have no flag as by default.
            pub(crate) fn limits(&self) -> RelayLimits {
                RelayLimits {
                    difficulty: self.difficulty,
                    retention: self.retention,
                    bytes: self.max_storage.as_u64(),
                    topic_bytes: self.max_topic.as_u64(),
                    max_envelope: with_head(self.max_envelope),
                    places: self.max_places,
                    places_per_address: self.max_address_places,
                    posts: self.rate_posts,
                    reads: self.rate_reads,
                    ..RelayLimits::default()
                }
            }
        }
    };
}

relay_limits!(
    /// The terms of a relay that is no hub.
    RelayLimitArgs, "", "", "rate-", "rate_", "The zero bits that the stamp of a short envelope needs, 0 to 28"
);
relay_limits!(
    /// The terms of a hub's relay.
    HubRelayArgs,
    "relay-",
    "relay_",
    "rate-relay-",
    "rate_relay_",
    "The zero bits that the stamp of a short envelope needs at the hub's relay, 0 to 28"
);

/// `relay`.
///
/// Every setting can be given by a flag, by an environment variable, and in the file of --config, under the flag's name; the
/// first of these counts.
#[derive(Args)]
#[command(after_help = super::help::RELAY)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) start: StartArgs,

    /// Address and port to listen on; port 0 takes a free one
    ///
    /// Plain HTTP is served on loopback addresses only, unless --behind-proxy says that something in front of the relay
    /// does TLS.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8441",
        env = "TERTULIA_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) common: ServingArgs,

    #[command(flatten)]
    pub(crate) limits: RelayLimitArgs,
}

/// The longest envelope with a message of this size.
fn with_head(size: ByteSize) -> usize {
    let around = RelayLimits::default().max_envelope - (1 << 20);
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX).saturating_add(around)
}

/// A time of at least four hours: a stamp is good for three.
fn retention(text: &str) -> Result<Duration, String> {
    match span(text)? {
        time if time < Duration::from_hours(4) => {
            Err("it is 4h at least: a stamp is good for three".to_owned())
        }
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn what_the_command_line_says_by_default_is_what_a_relay_does_by_default() {
        let by_default = format!("{:?}", RelayLimits::default());
        let Command::Relay(args) = Cli::parse_from(["tertulia", "relay"]).command else { panic!("relay") };
        assert_eq!(format!("{:?}", args.limits.limits()), by_default);
        let Command::Serve(args) = Cli::parse_from(["tertulia", "serve"]).command else { panic!("serve") };
        assert_eq!(format!("{:?}", args.relay_limits.limits()), by_default);
    }

    #[test]
    fn envelopes_are_kept_for_longer_than_a_stamp_is_good() {
        assert_eq!(retention("4h"), Ok(Duration::from_hours(4)));
        assert!(retention("3h").is_err());
        assert!(retention("soon").is_err());
    }
}
