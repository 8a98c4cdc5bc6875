//! A realm, and the program that plays an authority in it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(dead_code, reason = "each suite uses a part")]

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_adcs::{AdcsError, Answer, Expected, Identity, Method, Settings, Submission, Timeouts};
use muster_gss::{Gss, Login};
use muster_rpc::wcce::{Form, RequestAttributes, RequestFlags};
use muster_testkit::kdc::Kdc;
use muster_testkit::peers::Peer;
use muster_testkit::tools;

pub(crate) const HOST: &str = "localhost";
const SID: &str = "S-1-5-21-1-2-3-1104";

/// The program, a realm, a CA and a request.
pub(crate) struct Bed {
    child: Child,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    pub(crate) mapper: u16,
    pub(crate) port: u16,
    pub(crate) issuer: Vec<u8>,
    pub(crate) request: Vec<u8>,
    public_key: Vec<u8>,
    log: PathBuf,
    host: &'static str,
    old: bool,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let ran = tools::run(program, arguments, b"");
    assert!(ran.ok, "{arguments:?}: {}", ran.all());
    ran.output
}

fn number(line: &str, name: &str) -> u16 {
    let (_, rest) = line.split_once(&format!("\"{name}\": ")).unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

impl Bed {
    /// In a realm of MIT's; `None` after having said what is missing.
    pub(crate) fn start(kdc: &Kdc, arguments: &[&str]) -> Option<Self> {
        if !kdc.path("ca1.keytab").exists() {
            kdc.add_user("alice", "alice-pw");
            kdc.add_user("bob", "bob-pw");
            kdc.add_service(&format!("HOST/{HOST}"), "ca1.keytab");
            kdc.add_service(&format!("RPCSS/{HOST}"), "ca1.keytab");
        }
        let folder = kdc.path("ca1.keytab").parent().unwrap().to_path_buf();
        Self::start_with(HOST, &folder, &kdc.path("ca1.keytab"), &kdc.krb5_conf(), arguments)
    }

    /// For the service with this host name and keytab; what it writes goes to `folder`.
    pub(crate) fn start_with(
        host: &'static str,
        folder: &Path,
        keytab: &Path,
        krb5_conf: &Path,
        arguments: &[&str],
    ) -> Option<Self> {
        let python = Peer::KerberosPython.or_not_run()?;
        let program = Peer::OpenSsl.or_not_run()?;
        let path = |name: &str| folder.join(name);
        let file = |name: &str| path(name).display().to_string();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            &program,
            &[
                &[
                    "req",
                    "-x509",
                    "-subj",
                    "/CN=CORP-CA",
                    "-keyout",
                    &file("ca.key"),
                    "-out",
                    &file("ca.pem"),
                ][..],
                &key,
            ]
            .concat(),
        );
        openssl(
            &program,
            &[
                &["req", "-new", "-subj", "/CN=alice", "-keyout", &file("key"), "-outform", "DER", "-out"][..],
                &[&file("request")],
                &key,
            ]
            .concat(),
        );
        let issuer = openssl(&program, &["x509", "-in", &file("ca.pem"), "-outform", "DER"]);
        let public_key = openssl(&program, &["pkey", "-in", &file("key"), "-pubout", "-outform", "DER"]);
        let request = std::fs::read(file("request")).unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/beds/adcs/authority.py");
        let mut command = Command::new(python);
        command.arg(script).args(["--ca", &file("ca.pem"), "--ca-key", &file("ca.key")]);
        command.args(["--keytab", &keytab.display().to_string(), "--sid", SID]).args(arguments);
        let errors = std::fs::File::create(path("authority.log")).unwrap();
        let mut child = command
            .env("KRB5_CONFIG", krb5_conf)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let log = path("authority.log");
        assert!(first.contains("mapper"), "{first}{}", std::fs::read_to_string(&log).unwrap_or_default());
        let lines = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || collect(output, &lines)
        });
        Some(Self {
            child,
            lines,
            mapper: number(&first, "mapper"),
            port: number(&first, "port"),
            issuer,
            request,
            public_key,
            log,
            host,
            old: arguments.iter().any(|argument| argument.starts_with("old")),
        })
    }

    pub(crate) fn settings(&self, method: Method) -> Settings {
        let mut settings = Settings::new(self.host, "CORP-CA".parse().unwrap(), vec![self.issuer.clone()]);
        settings.mapper_port = self.mapper;
        settings.method = method;
        let seconds = Duration::from_secs;
        settings.timeouts = Timeouts { connect: seconds(5), call: seconds(10), idle: seconds(30) };
        settings
    }

    pub(crate) fn expected(&self, template: &str) -> Expected {
        let public_key = self.public_key.clone();
        Expected { public_key, template: vec![template.to_owned()], sid: Some(SID.to_owned()) }
    }

    pub(crate) fn submission(&self, template: &str) -> Submission {
        Submission {
            request: self.request.clone(),
            flags: RequestFlags { form: Form::Pkcs10, full_response: true, on_behalf: false },
            attributes: RequestAttributes::NONE.with_template(template.parse().unwrap()),
            expected: self.expected(template),
        }
    }

    /// The lines with this word in them, once there are so many; or what there is after a while.
    pub(crate) fn calls(&self, word: &str, count: usize) -> Vec<String> {
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

    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn collect(output: BufReader<ChildStdout>, lines: &Mutex<Vec<String>>) {
    for line in output.lines().map_while(Result::ok) {
        lines.lock().unwrap().push(line);
    }
}

pub(crate) fn identity(name: &str) -> Identity {
    let principal = format!("{name}@CORP.TEST");
    let login = Login::Password { principal: principal.clone(), password: format!("{name}-pw").into() };
    Identity::new(&principal, Gss::load().unwrap().credential(&login).unwrap())
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn issued(answer: Result<Answer, AdcsError>, bed: &Bed) -> u32 {
    let Ok(Answer::Issued { request_id, issued, message }) = answer else {
        panic!("{answer:?}\n{}\n{:?}", bed.errors(), bed.lines.lock().unwrap())
    };
    assert!(issued.certificate.len() > 200);
    // Through the old interface there is a chain, which nobody has signed, and nothing else is kept.
    assert!(issued.response.is_empty() == bed.old, "{} octets", issued.response.len());
    assert_eq!(message, "Issued");
    request_id
}
