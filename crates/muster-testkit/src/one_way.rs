//! Loses answers: lets requests through to a server and, while told so, nothing back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop here, at the first surprise")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::site::Site;

/// Starts a site behind a listener that keeps the URL of its endpoints for passwords; answers are lost while the value
/// is true.
#[must_use]
pub fn in_front_of(site: &mut Site) -> Arc<AtomicBool> {
    let behind = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = site.installed("muster.toml");
    let front = format!("127.0.0.1:{}\"", site.port());
    let moved =
        std::fs::read_to_string(&config).unwrap().replacen(&front, &format!("127.0.0.1:{behind}\""), 1);
    std::fs::write(&config, moved).unwrap();
    site.serve();
    let mute = Arc::new(AtomicBool::new(false));
    listen_before(site.port(), behind, Arc::clone(&mute));
    mute
}

fn listen_before(listen: u16, server: u16, mute: Arc<AtomicBool>) {
    /// More than a client's handshake, less than handshake and request.
    const HANDSHAKE: usize = 3_400;

    let listener = TcpListener::bind(("127.0.0.1", listen)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else {
                continue;
            };
            let sent = Arc::new(AtomicUsize::new(0));
            let pump = |mut from: TcpStream,
                        mut to: TcpStream,
                        count: Option<Arc<AtomicUsize>>,
                        mute,
                        sent: Arc<AtomicUsize>| {
                std::thread::spawn(move || {
                    let mute: Arc<AtomicBool> = mute;
                    let mut buffer = [0; 16_384];
                    while let Ok(read @ 1..) = from.read(&mut buffer) {
                        match &count {
                            Some(count) => {
                                count.fetch_add(read, Ordering::SeqCst);
                            }
                            None if mute.load(Ordering::SeqCst)
                                && sent.load(Ordering::SeqCst) > HANDSHAKE =>
                            {
                                continue;
                            }
                            None => {}
                        }
                        if to.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Both);
                })
            };
            let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            pump(client, server, Some(Arc::clone(&sent)), Arc::clone(&mute), Arc::clone(&sent));
            pump(server_too, client_too, None, Arc::clone(&mute), sent);
        }
    });
}
