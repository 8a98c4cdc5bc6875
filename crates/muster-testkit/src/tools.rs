//! curl and OpenSSL as functions: run, carry messages, make keys and requests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop here, at the first surprise")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::messages;
use crate::site::Site;

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// It ended with 0.
    pub ok: bool,
    /// Standard output.
    pub output: Vec<u8>,
    /// Standard error.
    pub errors: String,
}

impl Ran {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Both outputs, for messages and for programs that write results to standard error.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.text(), self.errors)
    }
}

/// Runs a program to its end.
pub fn run<A: AsRef<OsStr>>(program: &Path, arguments: &[A], input: &[u8]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments);
    run_command(command, input)
}

/// Runs a program to its end, as `command` says.
pub fn run_command(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command
        // Neither a proxy nor trust anchors of the machine take part.
        .env_remove("https_proxy")
        .env_remove("HTTPS_PROXY")
        .env_remove("ALL_PROXY")
        .env_remove("CURL_CA_BUNDLE")
        .env_remove("SSL_CERT_FILE")
        .env_remove("REQUESTS_CA_BUNDLE")
        .env("no_proxy", "localhost,127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that does not read its input is no fault.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        ok: output.status.success(),
        output: output.stdout,
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 if there was none.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// The command `curl` with the CA certificate of an installation.
#[derive(Clone, Debug)]
pub struct Curl {
    program: PathBuf,
    ca: PathBuf,
}

impl Curl {
    /// curl that trusts the CA of `site`.
    #[must_use]
    pub fn new(program: PathBuf, site: &Site) -> Self {
        Self { program, ca: site.ca() }
    }

    /// Runs curl with these arguments; never longer than a minute.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Ran {
        let mut all: Vec<&OsStr> =
            ["--silent", "--show-error", "--max-time", "60", "--cacert"].iter().map(OsStr::new).collect();
        all.push(self.ca.as_os_str());
        all.extend(arguments.iter().map(AsRef::as_ref));
        run(&self.program, &all, input)
    }

    /// POSTs a SOAP message; `options` go to curl.
    pub fn post(&self, url: &str, message: &str, options: &[&str]) -> Answer {
        let mut arguments = vec!["--header", "Content-Type: application/soap+xml; charset=utf-8"];
        arguments.extend(["--data-binary", "@-", "--write-out", "\n%{http_code}"]);
        arguments.extend(options);
        arguments.push(url);
        let ran = self.run(&arguments, message.as_bytes());
        let text = ran.text();
        let (body, status) = text.rsplit_once('\n').unwrap_or_default();
        Answer { status: status.trim().parse().unwrap_or_default(), body: format!("{body}{}", ran.errors) }
    }

    /// Issue with user name and password, at the address for them.
    pub fn issue(&self, site: &Site, user: &str, request: &[u8]) -> Answer {
        let message = messages::issue(&site.ces(), Some((user, crate::site::PASSWORD)), &base64(request));
        self.post(&site.ces(), &message, &[])
    }
}

/// Kinds of keys that requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// The command `openssl` in a folder of its own.
#[derive(Clone, Debug)]
pub struct OpenSsl {
    program: PathBuf,
    folder: PathBuf,
}

impl OpenSsl {
    /// openssl with files below the temporary folder of `site`.
    #[must_use]
    pub fn new(program: PathBuf, site: &Site) -> Self {
        let folder = site.path("openssl");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("req.cnf"), "[req]\ndistinguished_name = name\n[name]\n").unwrap();
        Self { program, folder }
    }

    /// A file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file in the folder and returns its path.
    #[must_use]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs `openssl`, whatever comes of it.
    pub fn try_run(&self, arguments: &[&str], input: &[u8]) -> Ran {
        run(&self.program, arguments, input)
    }

    /// Runs `openssl`, which has to succeed, and returns its standard output.
    pub fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let ran = self.try_run(arguments, b"");
        assert!(ran.ok, "openssl {arguments:?}: {}", ran.all());
        ran.output
    }

    /// Makes a key (PKCS#8, PEM) and returns its path.
    #[must_use]
    pub fn key(&self, kind: Key, name: &str) -> String {
        let path = self.path(&format!("{name}.key.pem"));
        let option = |text: &'static str| vec!["-pkeyopt", text];
        let (algorithm, options) = match kind {
            Key::Rsa2048 => ("RSA", option("rsa_keygen_bits:2048")),
            Key::Rsa3072 => ("RSA", option("rsa_keygen_bits:3072")),
            Key::P256 => ("EC", option("ec_paramgen_curve:P-256")),
            Key::P384 => ("EC", option("ec_paramgen_curve:P-384")),
            Key::Ed25519 => ("ED25519", Vec::new()),
        };
        let mut arguments = vec!["genpkey", "-algorithm", algorithm, "-out", &path];
        arguments.extend(options);
        self.run(&arguments);
        path
    }

    /// A PKCS#10 (DER) that names the template in 1.3.6.1.4.1.311.20.2; `extensions` as `-addext` takes them.
    #[must_use]
    pub fn request(&self, key: &str, template: &str, extensions: &[&str]) -> Vec<u8> {
        let config = self.path("req.cnf");
        let template = format!("1.3.6.1.4.1.311.20.2=ASN1:BMPSTRING:{template}");
        let mut arguments =
            vec!["req", "-new", "-config", &config, "-key", key, "-subj", "/", "-outform", "DER"];
        arguments.extend(["-addext", &template]);
        for extension in extensions {
            arguments.extend(["-addext", extension]);
        }
        self.run(&arguments)
    }

    /// A PKCS#10 (DER) like `request` that also carries `old` (DER) in the attribute 1.3.6.1.4.1.311.13.1, which
    /// makes it a renewal. OpenSSL has no option for that: the attribute is put in here and OpenSSL signs again.
    #[must_use]
    pub fn renewal_request(&self, key: &str, template: &str, extensions: &[&str], old: &[u8]) -> Vec<u8> {
        // 1.3.6.1.4.1.311.13.1
        let oid: &[u8] = &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0d, 0x01];
        self.request_with(key, template, extensions, oid, old)
    }

    /// A PKCS#10 (DER) like `request` that also carries a name-value pair (1.3.6.1.4.1.311.13.2.1).
    #[must_use]
    pub fn request_with_pair(&self, key: &str, template: &str, name: &str, value: &str) -> Vec<u8> {
        let oid: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0d, 0x02, 0x01];
        let text =
            |text: &str| element(0x1e, &text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
        self.request_with(key, template, &[], oid, &element(0x30, &[text(name), text(value)].concat()))
    }

    /// A PKCS#10 with one more attribute: the DER of its identifier and of its value.
    fn request_with(
        &self,
        key: &str,
        template: &str,
        extensions: &[&str],
        oid: &[u8],
        value: &[u8],
    ) -> Vec<u8> {
        let request = self.request(key, template, extensions);
        let [info, algorithm, _signature] = &elements(content(&request))[..] else { return Vec::new() };
        let [version, subject, public_key, attributes] = &elements(content(info))[..] else {
            return Vec::new();
        };
        let attribute = element(0x30, &[oid, &element(0x31, value)].concat());
        let attributes = element(0xa0, &[content(attributes), &attribute].concat());
        let info = element(0x30, &[*version, *subject, *public_key, &attributes].concat());
        let unsigned = self.write("renewal-info.der", &info);
        // Ed25519 signs the message itself, everything else its SHA-256, which is what `req` did as well.
        let hashed = ["dgst", "-sha256", "-sign", key, &unsigned];
        let whole = ["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", &unsigned];
        let ed25519 = algorithm.ends_with(&[0x2b, 0x65, 0x70]);
        let signature = if ed25519 { self.run(&whole) } else { self.run(&hashed) };
        let signature = element(0x03, &[&[0][..], &signature].concat());
        element(0x30, &[&info[..], algorithm, &signature].concat())
    }

    /// `openssl cms -sign` around a request, with signed attributes or without.
    #[must_use]
    pub fn cms(&self, request: &[u8], certificate: &str, key: &str, options: &[&str]) -> Vec<u8> {
        let content = self.write("to-sign.der", request);
        let mut arguments =
            vec!["cms", "-sign", "-binary", "-nodetach", "-md", "sha256", "-in", &content, "-outform", "DER"];
        arguments.extend(["-signer", certificate, "-inkey", key]);
        arguments.extend(options);
        self.run(&arguments)
    }

    /// Writes a certificate as PEM and returns its path.
    #[must_use]
    pub fn pem(&self, name: &str, der: &[u8]) -> String {
        let from = self.write(&format!("{name}.der"), der);
        let to = self.path(&format!("{name}.pem"));
        self.run(&["x509", "-inform", "DER", "-in", &from, "-out", &to]);
        to
    }

    /// A certificate that repeats issuer, subject and serial number of the one in `pem`, on a new key, signed by a key
    /// that calls itself by the CA's name. PEM, DER, key.
    #[must_use]
    pub fn forge(&self, pem: &str, name: &str) -> (String, Vec<u8>, String) {
        let field = |option| {
            let text =
                String::from_utf8(self.run(&["x509", "-in", pem, "-noout", option, "-nameopt", "compat"]))
                    .unwrap();
            text.trim().split_once('=').unwrap().1.to_owned()
        };
        let (serial, issuer, subject) = (field("-serial"), field("-issuer"), field("-subject"));
        let config = self.path("req.cnf");
        let ca_key = self.key(Key::P256, &format!("{name}-ca"));
        let ca = self.path(&format!("{name}-ca.pem"));
        self.run(&["req", "-x509", "-config", &config, "-key", &ca_key, "-subj", issuer.trim(), "-out", &ca]);
        let key = self.key(Key::P256, name);
        let request = self.path(&format!("{name}.csr"));
        self.run(&[
            "req",
            "-new",
            "-config",
            &config,
            "-key",
            &key,
            "-subj",
            subject.trim(),
            "-out",
            &request,
        ]);
        let forged = self.path(&format!("{name}.pem"));
        let serial = format!("0x{serial}");
        self.run(&[
            "x509",
            "-req",
            "-extfile",
            &self.write("forged.cnf", "keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n"),
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            &serial,
            "-days",
            "30",
            "-out",
            &forged,
        ]);
        let der = self.run(&["x509", "-in", &forged, "-outform", "DER"]);
        (forged, der, key)
    }

    /// Fetches the revocation list and writes it as PEM.
    #[must_use]
    pub fn revocation_list(&self, curl: &Curl, site: &Site) -> String {
        let ran = curl.run(&[&site.published("ca.crl")], b"");
        assert!(ran.ok, "{}", ran.errors);
        let der = self.write("list.der", &ran.output);
        let pem = self.path("list.pem");
        self.run(&["crl", "-inform", "DER", "-in", &der, "-out", &pem]);
        pem
    }
}

/// A DER element.
#[must_use]
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut length: Vec<u8> =
        content.len().to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
    if content.len() < 0x80 {
        length = vec![u8::try_from(content.len()).unwrap()];
    } else {
        length.insert(0, 0x80 | u8::try_from(length.len()).unwrap());
    }
    [&[tag][..], &length, content].concat()
}

/// The elements that follow one another in `der`.
#[must_use]
pub fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (head, length) = sizes(der);
        let (one, rest) = der.split_at(head + length);
        found.push(one);
        der = rest;
    }
    found
}

/// What is inside the first element of `der`.
#[must_use]
pub fn content(der: &[u8]) -> &[u8] {
    let (head, length) = sizes(der);
    der.get(head..head + length).unwrap()
}

fn sizes(der: &[u8]) -> (usize, usize) {
    let first = *der.get(1).unwrap();
    if first < 0x80 {
        return (2, usize::from(first));
    }
    let octets = usize::from(first & 0x7f);
    let length = der.get(2..2 + octets).unwrap();
    (2 + octets, length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
}

/// Base64 in one line.
#[must_use]
pub fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | u32::from(group.get(n).copied().unwrap_or_default()));
        for n in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * n) & 0x3f).unwrap();
            text.push(if n > group.len() { '=' } else { char::from(*DIGITS.get(digit).unwrap()) });
        }
    }
    text
}

/// Octets from base64; white space does not matter.
///
/// # Panics
/// On anything that is not base64.
#[must_use]
pub fn from_base64(text: &str) -> Vec<u8> {
    let (mut octets, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter(|octet| !octet.is_ascii_whitespace() && *octet != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other:#04x} is not base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    octets
}
