//! Ports for services that cannot say which one they took.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener, UdpSocket},
};

/// Below those that systems give out by themselves, so that no connection of somebody else takes it meanwhile.
const FIRST: u16 = 11_000;
const COUNT: u16 = 20_000;

/// A port of this machine that nobody listens on, neither with TCP nor with UDP.
pub fn free() -> u16 {
    let state = RandomState::new();
    let candidates = (0_u32..).map(|attempt| {
        let place = state.hash_one(attempt) % u64::from(COUNT);
        FIRST + u16::try_from(place).expect("less than the count, which is a u16")
    });
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    candidates.into_iter().find(is_free).expect("not all ports are taken")
}
