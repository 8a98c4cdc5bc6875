//! The real executable over an installation: to see what it prints, and to end it without warning.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::peers::muster;

/// A server in a process of its own; killed when dropped.
#[derive(Debug)]
pub struct Executable {
    child: Child,
    log: Receiver<String>,
}

/// Runs a command of the executable to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(muster()).args(arguments).stdin(Stdio::null()).output().expect("the executable runs")
}

impl Executable {
    /// Starts `muster serve` and waits until `address` takes connections.
    ///
    /// # Panics
    /// If that takes longer than half a minute, or the executable ends.
    #[must_use]
    pub fn serve(config: &Path, address: SocketAddr) -> Self {
        let mut command = Command::new(muster());
        command.args(["serve", "--log", "json", "--config"]).arg(config);
        Self::spawn(command, address)
    }

    /// Starts a command that becomes a server.
    ///
    /// # Panics
    /// As [`Self::serve`].
    #[must_use]
    pub fn spawn(mut command: Command, address: SocketAddr) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the executable runs");
        let stderr = child.stderr.take().expect("its log");
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self { child, log };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begin.elapsed() < Duration::from_secs(30),
                "the server does not listen at {address}: {ended:?} {:?}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// What it logged since the last call.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// Ends it at once, as a power failure would.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and returns its exit code.
    ///
    /// # Panics
    /// If it does not end within a minute.
    pub fn wait(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of fresh installations, by name below a temporary folder.
#[must_use]
pub fn folder(below: &tempfile::TempDir) -> PathBuf {
    below.path().join("data")
}
