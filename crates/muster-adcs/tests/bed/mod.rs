//! A realm, and the program that plays an authority in it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(dead_code, reason = "each suite uses a part")]

use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use muster_adcs::{AdcsError, Answer, Expected, Identity, Method, Settings, Submission, Timeouts};
use muster_gss::{Gss, Login};
use muster_rpc::wcce::{Form, RequestAttributes, RequestFlags};
use muster_testkit::adcs::Authority;
use muster_testkit::kdc::Kdc;
use muster_testkit::peers::Peer;
use muster_testkit::tools;

pub(crate) const HOST: &str = "localhost";
const NAME: &str = "CORP-CA";
const SID: &str = "S-1-5-21-1-2-3-1104";

/// The program, a realm, a CA and a request.
pub(crate) struct Bed {
    authority: Authority,
    pub(crate) issuer: Vec<u8>,
    pub(crate) request: Vec<u8>,
    public_key: Vec<u8>,
    host: &'static str,
    old: bool,
}

impl Deref for Bed {
    type Target = Authority;

    fn deref(&self) -> &Authority {
        &self.authority
    }
}

fn openssl(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let ran = tools::run(program, arguments, b"");
    assert!(ran.ok, "{arguments:?}: {}", ran.all());
    ran.output
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
        Self::start_with(HOST, &folder, &kdc.path("ca1.keytab"), arguments)
    }

    /// In the realm of this process, for the service with this host name and keytab; what it writes goes to `folder`.
    pub(crate) fn start_with(
        host: &'static str,
        folder: &Path,
        keytab: &Path,
        arguments: &[&str],
    ) -> Option<Self> {
        let program = Peer::OpenSsl.or_not_run()?;
        let file = |name: &str| folder.join(name).display().to_string();
        let arguments = [&["--sid", SID][..], arguments].concat();
        let authority = Authority::start(NAME, folder, keytab, &arguments)?;
        let (key, request) = (file("key"), file("request"));
        openssl(
            &program,
            &[
                "req",
                "-new",
                "-subj",
                "/CN=alice",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-outform",
                "DER",
                "-out",
                &request,
            ],
        );
        let certificate = authority.certificate.display().to_string();
        let issuer = openssl(&program, &["x509", "-in", &certificate, "-outform", "DER"]);
        let public_key = openssl(&program, &["pkey", "-in", &key, "-pubout", "-outform", "DER"]);
        let request = std::fs::read(request).unwrap();
        let old = arguments.iter().any(|argument| argument.starts_with("old"));
        Some(Self { authority, issuer, request, public_key, host, old })
    }

    pub(crate) fn settings(&self, method: Method) -> Settings {
        let mut settings = Settings::new(self.host, NAME.parse().unwrap(), vec![self.issuer.clone()]);
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
        panic!("{answer:?}\n{}\n{:?}", bed.errors(), bed.calls("", 0))
    };
    assert!(issued.certificate.len() > 200);
    // Through the old interface there is a chain, which nobody has signed, and nothing else is kept.
    assert!(issued.response.is_empty() == bed.old, "{} octets", issued.response.len());
    assert_eq!(message, "Issued");
    request_id
}
