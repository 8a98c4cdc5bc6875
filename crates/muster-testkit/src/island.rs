//! What can be reached and what listens: networks that only named ways leave or enter, and the sockets of a process.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::peers;

/// A network of its own for some commands (`tests/beds/ad/island.py`); to be used inside of the bed.
#[derive(Debug)]
pub struct Island {
    folder: TempDir,
    ways: Vec<String>,
    commands: AtomicU32,
}

impl Island {
    /// `out`: addresses with ports that can be reached from there. `into`: those there that can be reached from here.
    #[must_use]
    pub fn new(out: &[String], into: &[String]) -> Self {
        let way = |direction: &str, address: &String| [direction.to_owned(), address.clone()];
        let ways = out.iter().flat_map(|address| way("out", address));
        let ways = ways.chain(into.iter().flat_map(|address| way("in", address))).collect();
        let folder = tempfile::Builder::new().prefix("muster-island-").tempdir().unwrap();
        Self { folder, ways, commands: AtomicU32::new(0) }
    }

    /// Runs `program`, with the arguments that are added, there. Each has a network of its own with the same ways.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let sockets = self.folder.path().join(number.to_string());
        fs::create_dir(&sockets).unwrap();
        let mut command = Command::new(peers::script("../beds/ad/island.py"));
        command.arg(&sockets).args(&self.ways).args(["--", "sh", "-c", r#"echo $$ >"$0" && exec "$@""#]);
        command.arg(self.process_file()).arg(program);
        command
    }

    fn process_file(&self) -> PathBuf {
        self.folder.path().join("process")
    }

    /// The process of the last command.
    #[must_use]
    pub fn process(&self) -> u32 {
        fs::read_to_string(self.process_file()).unwrap().trim().parse().unwrap()
    }

    /// Which of these ports of an address are open from there.
    #[must_use]
    pub fn open(&self, address: &str, ports: &[u16]) -> Vec<u16> {
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        let script = format!(
            "for port in {ports}; do (exec 3<>/dev/tcp/{address}/$port) 2>/dev/null && echo $port; done; :"
        );
        let mut command = self.command(Path::new("bash"));
        let output = command.args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        said.lines().map(|port| port.parse().unwrap()).collect()
    }
}

/// Where anybody in the network of a process listens, TCP or UDP.
#[must_use]
pub fn listening_around(process: u32) -> BTreeSet<String> {
    sockets(process, |_| true)
}

/// Where a process listens, TCP or UDP.
#[must_use]
pub fn listening(process: u32) -> BTreeSet<String> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let own: BTreeSet<String> = links
        .filter_map(|link| fs::read_link(link.path()).ok())
        .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    sockets(process, |inode| own.contains(inode))
}

fn sockets(process: u32, counts: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // TCP_LISTEN; a UDP socket that is bound and not connected has state 7.
    for (table, listens) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let field = |number: usize| *fields.get(number).unwrap();
            if field(3) == listens && counts(field(9)) {
                found.insert(format!("{table} {}", readable(field(1))));
            }
        }
    }
    found
}

/// `0100007F:01BB` is 127.0.0.1:443; addresses of IPv6 stay as they are.
fn readable(local: &str) -> String {
    let (address, port) = local.split_once(':').unwrap();
    let port = u16::from_str_radix(port, 16).unwrap();
    match u32::from_str_radix(address, 16) {
        Ok(address) => format!("{}:{port}", Ipv4Addr::from(address.swap_bytes())),
        Err(_) => format!("{address}:{port}"),
    }
}

/// A counter of the network of a process: `counter(process, "Tcp", "AttemptFails")`.
#[must_use]
pub fn counter(process: u32, protocol: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/net/snmp")).unwrap();
    let prefix = format!("{protocol}: ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(known, _)| *known == name).unwrap().1.parse().unwrap()
}
