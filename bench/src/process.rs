//! Servers as processes of their own: started, waited for, stopped.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::installation::Installation;
use crate::wire::Target;

/// A server that does not listen after this time does not start.
const START: Duration = Duration::from_secs(30);
/// A server that does not end after this time is killed.
const END: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    /// How to reach it.
    pub(crate) target: Target,
}

impl Server {
    /// Starts `muster serve`; its log goes into a file.
    pub(crate) fn muster(program: &Path, installation: &Installation, log_level: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&installation.config).env("RUST_LOG", log_level);
        Self::start(command, installation.address, installation)
    }

    /// Starts a program that listens on `address` with the certificate of the installation.
    pub(crate) fn start(
        mut command: Command,
        address: SocketAddr,
        installation: &Installation,
    ) -> Result<Self> {
        let log = File::create(installation.directory.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let target = Target::new(address, &installation.ca_certificate())?;
        let child =
            command.spawn().with_context(|| format!("{:?} cannot be started", command.get_program()))?;
        let mut server = Self { child, target };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended ({status}); see {}", installation.directory.join("log").display());
            }
            if began.elapsed() > START {
                bail!("the server does not listen after {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_micros(250));
        }
        Ok(server)
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > END {
                bail!("the server does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Only after a failure: the run is over and its folder goes.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
