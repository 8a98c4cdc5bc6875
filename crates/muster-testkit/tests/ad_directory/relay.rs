//! A connection that a test can listen to, hold and cut: a relay on the domain controller's address.

use std::sync::{Arc, Mutex};

use muster_directory::ldap::Server;
use muster_testkit::ad::Forest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything.
    Open,
    /// Nothing any more, connections stay.
    Held,
    /// Connections are cut, new ones too.
    Cut,
}

/// A relay to one port of the domain controller of CORP.TEST.
pub(crate) struct Relay {
    pub(crate) server: Server,
    mode: watch::Sender<Mode>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Relay {
    pub(crate) async fn to(port: u16) -> Self {
        let address = Forest::Corp.address();
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let mode = watch::Sender::new(Mode::Open);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (modes, octets) = (mode.subscribe(), Arc::clone(&seen));
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                if *modes.borrow() == Mode::Cut {
                    continue;
                }
                let far = TcpStream::connect((address, port)).await.unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(pump(near_in, far_out, modes.clone(), Arc::clone(&octets)));
                tokio::spawn(pump(far_in, near_out, modes.clone(), Arc::clone(&octets)));
            }
        });
        let server = Server { host: Forest::Corp.dc().to_owned(), port: Some(own) };
        Self { server, mode, seen }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Everything that went through, in both directions.
    pub(crate) fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut mode: watch::Receiver<Mode>,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let now = *mode.borrow_and_update();
        tokio::select! {
            changed = mode.changed() => if changed.is_err() || *mode.borrow() == Mode::Cut { return },
            read = from.read(&mut buffer), if now == Mode::Open => {
                let Ok(1..) = &read else { return };
                let octets = &buffer[..read.unwrap()];
                seen.lock().unwrap().extend_from_slice(octets);
                if to.write_all(octets).await.is_err() {
                    return;
                }
            }
        }
    }
}
