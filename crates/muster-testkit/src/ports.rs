//! Ports for servers whose configuration has to name them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where the system begins to hand out ports by itself; below it nobody takes one by accident.
const EPHEMERAL: u16 = 32_768;
const FIRST: u16 = 18_000;

/// The first of three free ports on loopback, one after the other. Another process can take them until they are
/// used, which is why every process begins its search elsewhere.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn three() -> u16 {
    static TURN: AtomicU16 = AtomicU16::new(0);
    let groups = (EPHEMERAL - FIRST) / 3;
    let start = u16::try_from(std::process::id() % u32::from(groups)).unwrap_or(0);
    loop {
        let turn = TURN.fetch_add(7, Ordering::Relaxed);
        let port = FIRST + 3 * ((start.wrapping_mul(11).wrapping_add(turn)) % groups);
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (port..port + 3).all(free) {
            return port;
        }
    }
}
