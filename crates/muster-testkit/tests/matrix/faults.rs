//! Every other refusal that a client can bring about: one golden file for each kind.

use muster_core::audit::Actor;
use muster_core::revocation::Reason;
use muster_core::template::AltNameFrom;
use muster_core::{Clock, Method, Template};
use muster_proto::wcce::{
    DigestAlgorithm, Pkcs10Builder, RequestedExtension, RequestedName, SignBytes, SignError,
    SignatureAlgorithm, TemplateId, TemplateSelector,
};
use muster_server::config::Service;
use muster_store::CertificateFilter;
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::tools::{content, element, elements};
use muster_testkit::{Answer, Identity, Key, SignIn, TestServer, log};

struct Case {
    server: TestServer,
}

impl Case {
    async fn new() -> Self {
        Self { server: TestServer::start().await }
    }

    /// Sends a message of `account`, made from the right one for a query, to the enrollment service.
    async fn message(&self, account: &str, change: impl FnOnce(String) -> String) -> Answer {
        let endpoint = self.server.endpoint(Service::Enrollment, Method::UsernamePassword);
        let messages = self.server.messages(endpoint, SignIn::Password(account, PASSWORD));
        self.server.post(endpoint, None, &change(messages.query("7"))).await
    }

    async fn submit(&self, account: &str, request: &[u8]) -> Answer {
        let endpoint = self.server.endpoint(Service::Enrollment, Method::UsernamePassword);
        let messages = self.server.messages(endpoint, SignIn::Password(account, PASSWORD));
        self.server.post(endpoint, None, &messages.issue(request)).await
    }

    async fn request(
        &self,
        account: &str,
        template: &str,
        names: &[RequestedName],
        extensions: &[(&str, &[u8])],
    ) -> Answer {
        let key = Key::generate();
        let template = TemplateSelector::Name(template.to_owned());
        let extensions: Vec<RequestedExtension> = extensions
            .iter()
            .map(|(oid, value)| RequestedExtension {
                oid: oid.parse().unwrap(),
                critical: false,
                value: value.to_vec(),
            })
            .collect();
        let builder = Pkcs10Builder {
            template: Some(&template),
            names,
            extensions: &extensions,
            ..Pkcs10Builder::new(key.spki())
        };
        self.submit(account, &builder.build(&key).unwrap()).await
    }

    async fn renew(&self, template: &str, old: &Identity) -> Answer {
        let request = Key::generate().renewal(template, &old.certificate, &old.key);
        self.submit("alice", &request).await
    }
}

/// Compares with the golden file of the code that the log has; the code must be this one.
fn golden(code: &str, answer: &Answer) {
    let event = log::event(&answer.reference());
    assert_eq!(event["outcome"], code, "{event}");
    assert_eq!(answer.status, 500, "{}", answer.text());
    let mut text = answer.golden();
    if let Some((before, rest)) = text.clone().split_once("<RequestID>") {
        let (id, after) = rest.split_once("</RequestID>").unwrap();
        text = format!("{before}<RequestID>[id]</RequestID>{after}")
            .replace(&format!("equest {id} "), "equest [id] ");
    }
    // Instants differ from run to run.
    let parts = ["(", " on "].iter().find_map(|before| text.split_once(&format!("{before}20")));
    if let Some((before, rest)) = parts {
        // 2026-11-23T06:42:00Z
        let rest: String = rest.chars().skip("26-11-23T06:42:00Z".len()).collect();
        let opened: String = text.chars().skip(before.chars().count()).take_while(|c| *c != '2').collect();
        text = format!("{before}{opened}[instant]{rest}");
    }
    insta::assert_snapshot!(code.to_lowercase(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages() {
    let case = Case::new().await;
    let endpoint = case.server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let (own, uri) = (endpoint.uri.clone(), endpoint.uri.replacen("CES", "XXX", 1));
    let answer = case.message("alice", |m| m.replace(&own, "https://elsewhere.example/CES")).await;
    golden("DESTINATION", &answer);
    assert_eq!(answer.codes(), "s:Sender f:DestinationUnreachable");
    let answer = case.message("alice", |m| m.replace(&own, &uri)).await;
    assert_eq!(answer.codes(), "s:Sender f:DestinationUnreachable");
    let answer = case.message("alice", |m| m.replace("RST/wstep", "RST/other")).await;
    golden("OPERATION", &answer);
    assert_eq!(answer.codes(), "s:Sender f:ActionNotSupported");

    // Other shapes of refusals, by their SOAP codes.
    for (from, to, codes) in [
        ("/QueryTokenStatus", "/Cancel", "s:Sender"),
        (">7</", "></", "s:Sender"),
        ("<TokenType>", "<RequestType/><TokenType>", "s:Sender"),
        (
            "http://www.w3.org/2003/05/soap-envelope",
            "http://schemas.xmlsoap.org/soap/envelope/",
            "s:VersionMismatch",
        ),
        ("<s:Header>", "<s:Header><x:Y xmlns:x=\"urn:x\" s:mustUnderstand=\"1\"/>", "s:MustUnderstand"),
        ("profile-1.0#PasswordText", "profile-1.0#PasswordDigest", "s:Sender f:InvalidSecurity"),
        ("<o:Username>", "<o:Username>bob</o:Username><o:Username>", "s:Sender f:InvalidSecurity"),
        ("</s:Body>", "</s:Body><s:Body/>", "s:Sender"),
        ("<s:Envelope", "<!DOCTYPE x [<!ENTITY y \"z\">]><s:Envelope", "s:Sender"),
        ("<s:Body", "<?pi x?><s:Body", "s:Sender"),
    ] {
        let answer = case
            .message("alice", |m| {
                assert!(m.contains(from), "{from}: {m}");
                m.replacen(from, to, if from.starts_with("http") { usize::MAX } else { 1 })
            })
            .await;
        assert_eq!((answer.status, answer.codes().as_str()), (500, codes), "{from}: {}", answer.text());
        let _ = log::event(&answer.reference());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests() {
    let case = Case::new().await;
    golden("NO_TEMPLATE", &case.submit("alice", &Key::generate().bare_request()).await);
    let oid = |name: &str| {
        let name = name.to_owned();
        let store = case.server.store.clone();
        async move {
            let all = store.catalog().await.unwrap();
            all.into_iter().find(|t| t.name == name).and_then(|t| t.oid).unwrap()
        }
    };
    let newer =
        TemplateId { oid: oid("User").await.as_str().parse().unwrap(), major: Some(900), minor: Some(0) };
    let key = Key::generate();
    let selector = TemplateSelector::Id(newer);
    let builder = Pkcs10Builder { template: Some(&selector), ..Pkcs10Builder::new(key.spki()) };
    golden("TEMPLATE_VERSION", &case.submit("alice", &builder.build(&key).unwrap()).await);

    let dns = |name: &str| RequestedName::Dns(name.to_owned());
    golden("NAME_MISSING", &case.request("host", "WebServer", &[], &[]).await);
    golden("NAME_NOT_YOURS", &case.request("host", "WebServer", &[dns("bank.example")], &[]).await);
    let uri = RequestedName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500".to_owned());
    golden("SID_IN_REQUEST", &case.request("alice", "User", &[uri], &[]).await);
    let ca: &[(&str, &[u8])] = &[("2.5.29.19", &[0x30, 3, 1, 1, 0xff])];
    golden("CA_REQUESTED", &case.request("alice", "User", &[], ca).await);

    let mut principal = case.server.store.account(&"host".parse().unwrap()).await.unwrap().unwrap().principal;
    principal.dns_names.clear();
    let actor = || Actor::Officer("officer".to_owned());
    case.server.store.put_account(principal, actor(), case.server.clock.now()).await.unwrap();
    golden("DNS_REQUIRED", &case.request("host", "Computer", &[], &[]).await);
    let mut principal = case.server.store.account(&"bob".parse().unwrap()).await.unwrap().unwrap().principal;
    principal.email = None;
    case.server.store.put_account(principal, actor(), case.server.clock.now()).await.unwrap();
    golden("EMAIL_REQUIRED", &case.request("bob", "UserEmail", &[], &[]).await);

    let weak = include_bytes!("../../../../vectors/pkcs10/openssl-rsa1024.der");
    golden("KEY_WEAK", &case.submit("alice", weak).await);
    let vector = include_bytes!("../../../../vectors/pkcs10/openssl-p256.der");
    let altered: Vec<u8> =
        vector.iter().enumerate().map(|(i, b)| if i == vector.len() - 1 { b ^ 1 } else { *b }).collect();
    let answer = case.submit("alice", &altered).await;
    assert_eq!(answer.detail().error_code.unwrap().code(), 0x8009_0006, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals() {
    let case = Case::new().await;
    let now = || case.server.clock.now();
    let actor = || Actor::Officer("officer".to_owned());
    let other = TestServer::start().await;
    let alice = case.server.enroll("alice", "User").await;
    golden("RENEW_TEMPLATE", &case.renew("UserEmail", &alice).await);
    golden("RENEW_UNKNOWN", &case.renew("User", &other.enroll("alice", "User").await).await);

    let summaries = case.server.store.certificates(CertificateFilter::default()).await.unwrap();
    let serial = summaries.iter().find(|c| c.account.as_str() == "alice").unwrap().serial;
    case.server.store.revoke(serial, Reason::KeyCompromise, actor(), now()).await.unwrap();
    golden("RENEW_REVOKED", &case.renew("User", &alice).await);
    // Its key is blocked for ever, for others, too.
    golden("KEY_BLOCKED", &case.submit("bob", &alice.key.request("User")).await);

    let again = case.server.enroll("alice", "User").await;
    case.server.clock.advance(366 * 86_400);
    golden("RENEW_EXPIRED", &case.renew("User", &again).await);

    // What policy refused is said again, not blamed on an officer.
    let refused = case.submit("alice", &Key::generate().request("Computer")).await;
    let id = refused.detail().request_id.unwrap().to_string();
    golden("DENIED_BEFORE", &case.message("alice", |m| m.replace(">7<", &format!(">{id}<"))).await);

    // Towards the end of the CA its certificates are not issued any more, but everything else goes on.
    case.server.clock.advance(9 * 366 * 86_400);
    golden("CA_EXPIRY", &case.submit("alice", &Key::generate().request("User")).await);
    let endpoint = case.server.endpoint(Service::Policy, Method::UsernamePassword);
    let messages = case.server.messages(endpoint, SignIn::Password("alice", PASSWORD));
    let mut connection = case.server.connect(endpoint, None).await;
    assert_eq!(connection.post(&path(endpoint), &messages.get_policies()).await.status, 200);
}

/// An RSA key of 2048 bits.
struct RsaKey(aws_lc_rs::rsa::KeyPair);

impl SignBytes for RsaKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        let padding = &aws_lc_rs::signature::RSA_PKCS1_SHA256;
        let signed = self.0.sign(padding, &random, message, &mut signature);
        signed.map(|()| signature).map_err(|_| SignError("the key cannot sign".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_accounts_that_do_not_fit_the_template() {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::signature::KeyPair;

    let case = Case::new().await;
    let key = RsaKey(aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap());
    let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = key.0.public_key().as_der().unwrap();
    let request = |template: &str| {
        let template = TemplateSelector::Name(template.to_owned());
        let builder = Pkcs10Builder { template: Some(&template), ..Pkcs10Builder::new(spki.as_ref()) };
        builder.build(&key).unwrap()
    };
    golden("KEY_ALGORITHM", &case.submit("alice", &request("Approved")).await);

    let change = async |name: &str, change: fn(&mut Template)| {
        let catalog = case.server.store.catalog().await.unwrap();
        let mut template = catalog.into_iter().find(|t| t.name == name).unwrap();
        change(&mut template);
        let actor = Actor::Officer("officer".to_owned());
        case.server.store.put_template(template, vec![9], actor, case.server.clock.now()).await.unwrap();
    };
    change("User", |template| template.key.minimum_rsa_bits = 3_072).await;
    golden("KEY_TOO_SHORT", &case.submit("alice", &request("User")).await);
    change("User", |template| {
        template.subject.alternatives = [AltNameFrom::Upn].into();
    })
    .await;
    golden("UPN_REQUIRED", &case.submit("alice", &Key::generate().request("User")).await);
}

/// A request of `key` that the holder of `agent` signs for `requester`: signed attributes are what counts.
fn on_behalf_of(requester: &str, template: &str, agent: &Identity) -> Vec<u8> {
    // The tails of 1.2.840.113549.1.(7.1, 7.2, 9.3, 9.4), and others, written out.
    let data = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1][..];
    let signed_data = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2][..];
    let content_type = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3][..];
    let message_digest = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4][..];
    let name_value_pair = &[0x06, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 13, 2, 1][..];
    let sha256 = element(0x30, &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]);
    let ecdsa = element(0x30, &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
    let bmp = |text: &str| {
        let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        element(0x1e, &octets)
    };
    let attribute = |oid: &[u8], value: &[u8]| element(0x30, &[oid, &element(0x31, value)].concat());

    let pkcs10 = Key::generate().request(template);
    let digest = DigestAlgorithm::Sha256.digest(&pkcs10);
    let pair = element(0x30, &[bmp("requestername"), bmp(requester)].concat());
    let mut attributes = [
        attribute(content_type, data),
        attribute(message_digest, &element(0x04, &digest)),
        attribute(name_value_pair, &pair),
    ];
    attributes.sort();
    let attributes = attributes.concat();
    let signature = agent.key.sign(&element(0x31, &attributes)).unwrap();
    let tbs = elements(content(&agent.certificate))[0];
    let fields = elements(content(tbs));
    let signer = element(0x30, &[fields[3], fields[1]].concat());
    let info = element(
        0x30,
        &[
            &[0x02, 1, 1][..],
            &signer,
            &sha256,
            &element(0xa0, &attributes),
            &ecdsa,
            &element(0x04, &signature),
        ]
        .concat(),
    );
    let inside = element(0x30, &[data, &element(0xa0, &element(0x04, &pkcs10))].concat());
    let signed = element(
        0x30,
        &[
            &[0x02, 1, 1][..],
            &element(0x31, &sha256),
            &inside,
            &element(0xa0, &agent.certificate),
            &element(0x31, &info),
        ]
        .concat(),
    );
    element(0x30, &[signed_data, &element(0xa0, &signed)].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_on_behalf_of_others() {
    let case = Case::new().await;
    let alice = case.server.enroll("alice", "User").await;
    golden("AGENT_PURPOSE", &case.submit("alice", &on_behalf_of("CORP\\bob", "User", &alice)).await);
    // For oneself as well.
    let answer = case.submit("alice", &on_behalf_of("alice", "User", &alice)).await;
    assert_eq!(log::event(&answer.reference())["outcome"], "AGENT_PURPOSE");
}
