//! `tests/beds/adcs/authority.py`, running: an authority of AD CS as its callers see it, which shares no code with us.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::peers::{self, Peer};
use crate::tools;

/// The program, and the CA that it plays.
#[derive(Debug)]
pub struct Authority {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Port of the endpoint mapper.
    pub mapper: u16,
    /// Port of everything else.
    pub port: u16,
    /// The CA's certificate, PEM.
    pub certificate: PathBuf,
    /// The CA's key, PEM.
    pub key: PathBuf,
    log: PathBuf,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(line: &str, name: &str) -> u16 {
    let (_, rest) = line.split_once(&format!("\"{name}\": ")).unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

impl Authority {
    /// A CA of this name for whoever has tickets for the services in `keytab`; what it writes goes to `folder`. `None` after
    /// having said what is missing.
    #[must_use]
    pub fn start(name: &str, folder: &Path, keytab: &Path, arguments: &[&str]) -> Option<Self> {
        let openssl = Peer::OpenSsl.or_not_run()?;
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        if !key.exists() {
            let subject = format!("/CN={name}");
            let made = tools::run(
                &openssl,
                &[
                    "req".as_ref(),
                    "-x509".as_ref(),
                    "-subj".as_ref(),
                    subject.as_ref(),
                    "-newkey".as_ref(),
                    "ec".as_ref(),
                    "-pkeyopt".as_ref(),
                    "ec_paramgen_curve:P-256".as_ref(),
                    "-nodes".as_ref(),
                    "-days".as_ref(),
                    "3650".as_ref(),
                    "-keyout".as_ref(),
                    key.as_os_str(),
                    "-out".as_ref(),
                    certificate.as_os_str(),
                ],
                b"",
            );
            assert!(made.ok, "{}", made.all());
        }
        Self::serve(name, folder, keytab, certificate, key, arguments)
    }

    fn serve(
        name: &str,
        folder: &Path,
        keytab: &Path,
        certificate: PathBuf,
        key: PathBuf,
        arguments: &[&str],
    ) -> Option<Self> {
        let python = Peer::KerberosPython.or_not_run()?;
        let log = folder.join(format!("{name}.log"));
        let mut child = Command::new(python)
            .arg(peers::script("../beds/adcs/authority.py"))
            .args(["--name", name, "--ca"])
            .arg(&certificate)
            .arg("--ca-key")
            .arg(&key)
            .arg("--keytab")
            .arg(keytab)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        assert!(first.contains("mapper"), "{first}{}", std::fs::read_to_string(&log).unwrap_or_default());
        let lines = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || collect(output, &lines)
        });
        let (mapper, port) = (number(&first, "mapper"), number(&first, "port"));
        Some(Self { child, lines, mapper, port, certificate, key, log })
    }

    /// What it wrote about calls with this word in them, once there are so many lines; or what there is after a while.
    #[must_use]
    pub fn calls(&self, word: &str, count: usize) -> Vec<String> {
        let started = Instant::now();
        loop {
            let lines = self.lines.lock().unwrap().clone();
            let found: Vec<String> = lines.into_iter().filter(|line| line.contains(word)).collect();
            if found.len() >= count || started.elapsed() > Duration::from_secs(3) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Requests for certificates that it got, queries for earlier ones left out; as soon as nothing more is written.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let count = || self.lines.lock().unwrap().len();
        let mut before = count();
        loop {
            std::thread::sleep(Duration::from_millis(150));
            let now = count();
            if now == before {
                break;
            }
            before = now;
        }
        let lines = self.lines.lock().unwrap().clone();
        lines
            .into_iter()
            .filter(|line| line.contains("\"request_len\"") && !line.contains("\"request_len\": 0"))
            .collect()
    }

    /// What it complained about.
    #[must_use]
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it, in the middle of whatever it does.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(output: BufReader<ChildStdout>, lines: &Mutex<Vec<String>>) {
    for line in output.lines().map_while(Result::ok) {
        lines.lock().unwrap().push(line);
    }
}
