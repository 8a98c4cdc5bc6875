//! What Wireshark makes of RPC on loopback: a capture by `tshark`, and its messages, sealed or opened with the key of the
//! service.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::peers::not_run;

/// What Wireshark calls an error; warnings are below it.
const ERROR: &str = "0x00800000";

/// A capture that goes on.
#[derive(Debug)]
pub struct Capture {
    tshark: Child,
    file: PathBuf,
    ports: Vec<u16>,
}

/// A capture that has ended.
#[derive(Debug)]
pub struct Captured {
    file: PathBuf,
    ports: Vec<u16>,
}

/// A message of DCE/RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The port that it comes from.
    pub from: u16,
    /// `ptype` of C706: 0 a call, 2 its answer, 3 a fault, 11 to 13 bind and its answers, 14 and 15 alter_context.
    pub kind: String,
    /// The level of protection, empty without one.
    pub level: String,
    /// What it is, in Wireshark's words.
    pub info: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}|{}|{}|{}", self.from, self.kind, self.level, self.info)
    }
}

impl Capture {
    /// Begins to capture what goes from and to these ports of loopback, into `file`; `None` after having said what is
    /// missing.
    ///
    /// # Panics
    /// If `tshark` cannot be read.
    #[must_use]
    pub fn start(file: &Path, ports: &[u16]) -> Option<Self> {
        let needs = "tshark (Debian's package tshark), and to be permitted to listen on loopback";
        let filter = ports.iter().map(|port| format!("tcp port {port}")).collect::<Vec<_>>().join(" or ");
        let tshark = Command::new("tshark")
            .args(["-i", "lo", "-f", &filter, "-w"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut tshark) = tshark else {
            not_run(needs);
            return None;
        };
        let mut said = BufReader::new(tshark.stderr.take().unwrap());
        let mut started = String::new();
        // It says so when it has begun, or why it cannot.
        while !started.contains("Capture started") {
            if said.read_line(&mut started).unwrap() == 0 {
                let _ = tshark.wait();
                not_run(needs);
                return None;
            }
        }
        // Its reader has to go on, or it stops when the pipe is full.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        std::thread::sleep(Duration::from_millis(500));
        Some(Self { tshark, file: file.to_owned(), ports: ports.to_vec() })
    }

    /// Ends it, once what was sent is in it.
    ///
    /// # Panics
    /// If it cannot be ended.
    #[must_use]
    pub fn stop(mut self) -> Captured {
        std::thread::sleep(Duration::from_millis(1_500));
        let stopped = Command::new("kill").args(["-INT", &self.tshark.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        self.tshark.wait().unwrap();
        Captured { file: self.file, ports: self.ports }
    }
}

impl Captured {
    /// The lines of fields for frames that pass the filter; `keytab` opens what is sealed.
    fn read(&self, keytab: Option<&Path>, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter, "-T", "fields", "-E", "separator=|"]);
        for port in &self.ports {
            command.args(["-d", &format!("tcp.port=={port},dcerpc")]);
        }
        if let Some(keytab) = keytab {
            command.args([
                "-o",
                "kerberos.decrypt:TRUE",
                "-o",
                &format!("kerberos.file:{}", keytab.display()),
            ]);
        }
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.stderr(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "tshark does not read what it wrote, or not with {filter}");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Every message.
    ///
    /// # Panics
    /// If `tshark` fails.
    #[must_use]
    pub fn messages(&self, keytab: Option<&Path>) -> Vec<Message> {
        let fields = ["tcp.srcport", "dcerpc.pkt_type", "dcerpc.auth_level", "_ws.col.Info"];
        let lines = self.read(keytab, "dcerpc", &fields);
        // A frame can hold several.
        let of_frame = |line: String| {
            let mut parts = line.splitn(fields.len(), '|').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            let (from, kinds, levels, info) = (next().parse().unwrap_or_default(), next(), next(), next());
            let levels: Vec<_> = levels.split(',').map(str::to_owned).collect();
            let kinds = kinds.split(',').map(str::to_owned).enumerate();
            let message = |(number, kind)| {
                let level = levels.get(number).cloned().unwrap_or_default();
                Message { from, kind, level, info: info.clone() }
            };
            kinds.map(message).collect::<Vec<_>>()
        };
        lines.into_iter().flat_map(of_frame).collect()
    }

    /// What Wireshark calls malformed or an error, in any frame: the port that it comes from, and why.
    ///
    /// # Panics
    /// If `tshark` fails.
    #[must_use]
    pub fn complaints(&self, keytab: Option<&Path>) -> Vec<(u16, String)> {
        let filter = format!("_ws.malformed or _ws.expert.severity >= {ERROR}");
        let lines = self.read(keytab, &filter, &["tcp.srcport", "_ws.expert.message", "_ws.col.Info"]);
        let complaint = |line: String| {
            let (from, why) = line.split_once('|').unwrap_or_default();
            (from.parse().unwrap_or_default(), why.to_owned())
        };
        lines.into_iter().map(complaint).collect()
    }
}
