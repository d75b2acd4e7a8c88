//! Ports that no other test takes.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::folder;

const FIRST: u16 = 16_000;
const COUNT: u16 = 16_000;

/// A port of the loopback interface, claimed until it is dropped: by a lock on a file that all test
/// processes of this user know. It lies below the range from which the kernel serves outgoing connections,
/// so nobody takes it (and no client connects to itself) while the program that owns it is down.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    /// # Panics
    /// When none is left.
    pub fn claim() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let claims = folder::shared().join("ports");
        fs::create_dir_all(&claims).expect("the shared folder can be written");
        let start = std::process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let n = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = FIRST + (n % u32::from(COUNT)) as u16;
            let claim = File::create(claims.join(number.to_string())).expect("a claim can be written");
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _claim: claim };
            }
        }
        panic!("no port from {FIRST} to {} is free", FIRST + COUNT);
    }

    pub const fn number(&self) -> u16 {
        self.number
    }

    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    /// A number from 0 to 15,999 that no other claim has.
    pub(crate) const fn index(&self) -> u16 {
        self.number - FIRST
    }
}
