//! Renewal-only endpoints that ask the authority as this service, for the holder of the certificate that is renewed.

use std::fs;

use muster_testkit::ad::Ad;
use muster_testkit::messages;
use muster_testkit::tools::{Answer, Key, base64, from_base64};

use crate::bed::{Bed, Plan};

const ENDPOINTS: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "delegate"

[[enrollment_endpoint]]
ca = "CA"
authentication = "client_certificate"
listener = "certificate"
identity = "renew_on_behalf"
renewal_only = true
key_based_renewal = true
"#;

/// The authority's revocation list, without which no certificate of it lets anybody in.
fn revocation_list(bed: &Bed) -> String {
    let (index, list) = (bed.openssl.write("index.txt", ""), bed.openssl.path("authority.crl"));
    let number = bed.openssl.write("crlnumber", "01\n");
    let config = bed.openssl.write(
        "crl.cnf",
        format!(
            "[ca]\ndefault_ca = a\n[a]\ndatabase = {index}\ncrlnumber = {number}\ndefault_md = sha256\n\
             default_crl_days = 7\n"
        ),
    );
    let (certificate, key) =
        (bed.authority.certificate.display().to_string(), bed.authority.key.display().to_string());
    bed.openssl.run(&[
        "ca",
        "-gencrl",
        "-config",
        &config,
        "-cert",
        &certificate,
        "-keyfile",
        &key,
        "-out",
        &list,
    ]);
    list
}

struct Holder {
    der: Vec<u8>,
    pem: String,
    key: String,
}

fn bed(name: &str, enabled: bool) -> Option<Bed> {
    let ad = Ad::or_not_run()?;
    let mut arguments = vec!["--sid-of".to_owned(), Bed::sid_of(&ad, "alice")];
    if enabled {
        arguments.push("--renew-on-behalf".to_owned());
    }
    let plan = Plan { name, templates: &["Plain"], protocol: "dcom", arguments, endpoints: ENDPOINTS };
    let mut bed = Bed::make(&plan)?;
    let list = revocation_list(&bed);
    bed.site.site.configure(&format!(
        "[[client_trust]]\nca_file = {:?}\ncrl_file = {list:?}\ndirectory = \"corp.test\"\n",
        bed.authority.certificate
    ));
    bed.site.site.serve();
    Some(bed)
}

/// A first certificate, by password.
fn enroll(bed: &Bed, ca: &str) -> Holder {
    let key = bed.openssl.key(Key::P256, "first");
    let answer = bed.by_password(ca, "alice", &bed.openssl.request(&key, "Plain", &[]));
    let certificate = messages::certificate(&answer.body)
        .unwrap_or_else(|| panic!("{}\n{}", answer.body, bed.site.site.log()));
    let der = from_base64(certificate);
    Holder { pem: bed.openssl.pem("first", &der), der, key }
}

fn with_certificate(bed: &Bed, ca: &str, holder: &Holder, request: &[u8]) -> Answer {
    let base = bed.site.site.certificate_base().replace("localhost", "ces.corp.test");
    let url = format!("{base}/{ca}_CES_Certificate/service.svc/CES").replace(' ', "%20");
    let message = messages::issue(&url, None, &base64(request));
    bed.site.curl.post(&url, &message, &["--cert", &holder.pem, "--key", &holder.key])
}

fn renewal(bed: &Bed, old: &Holder, name: &str) -> (String, Vec<u8>) {
    let key = bed.openssl.key(Key::P256, name);
    let request = bed.openssl.renewal_request(&key, "Plain", &[], &old.der);
    (key, bed.openssl.cms(&request, &old.pem, &old.key, &[]))
}

/// AC-4.1, AC-4.2, AC-4.6 and the first half of AC-5.8.
#[test]
fn ac_4_1_4_2_5_8_renewal_is_made_for_its_holder_and_nothing_else_reaches_the_authority() {
    let name = "Corp Renewing CA";
    let Some(bed) = bed(name, true) else { return };
    let first = enroll(&bed, name);

    // Nothing new: the authority hears nothing of it.
    let before = bed.authority.requests().len();
    let refused = with_certificate(&bed, name, &first, &bed.request("Plain"));
    assert_eq!(refused.status, 500, "{}", refused.body);
    assert_eq!(messages::error_code(&refused.body), Some(0x8007_0005), "{}", refused.body);
    assert_eq!(bed.authority.requests().len(), before);

    let (key, request) = renewal(&bed, &first, "second");
    let renewed = with_certificate(&bed, name, &first, &request);
    assert_eq!(renewed.status, 200, "{}\n{}", renewed.body, bed.site.site.log());
    let certificate = messages::certificate(&renewed.body).unwrap();
    assert!(bed.read(certificate, "second").replace('\n', "").contains(&bed.ad().sid("alice")));
    // The service asked, with the flag, and the authority took the account from the certificate.
    let seen = bed.authority.calls("on_behalf", 1).concat();
    assert!(seen.contains("svc-ces@CORP.TEST") && seen.contains(&bed.ad().sid("alice")), "{seen}");
    let call = bed.authority.requests().into_iter().next_back().unwrap();
    assert!(call.contains("\"flags\": \"0x240000\"") && call.contains("svc-ces@CORP.TEST"), "{call}");

    // Twice in a row, and then: tampered, of somebody else, after the time.
    let der = from_base64(certificate);
    let second = Holder { pem: bed.openssl.pem("second", &der), der, key };
    let (_, request) = renewal(&bed, &second, "third");
    assert_eq!(with_certificate(&bed, name, &second, &request).status, 200);
    let before = bed.authority.requests().len();
    let mut tampered = renewal(&bed, &second, "tampered").1;
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    assert_eq!(with_certificate(&bed, name, &second, &tampered).status, 500);
    // The connection is that of another certificate than the one that signed.
    let (_, request) = renewal(&bed, &first, "crossed");
    let crossed = with_certificate(&bed, name, &second, &request);
    assert_eq!(crossed.status, 500, "{}", crossed.body);
    assert_eq!(bed.authority.requests().len(), before);
}

/// AC-4.3: the switch of the authority is off.
#[test]
fn ac_4_3_authority_that_does_not_renew_on_behalf_says_so() {
    let name = "Corp Stern CA";
    let Some(bed) = bed(name, false) else { return };
    let first = enroll(&bed, name);
    let (_, request) = renewal(&bed, &first, "second");
    let refused = with_certificate(&bed, name, &first, &request);
    assert_eq!(refused.status, 500, "{}", refused.body);
    assert_eq!(messages::error_code(&refused.body), Some(0x8007_0005), "{}", refused.body);
    assert!(refused.body.contains("E_ACCESSDENIED"), "{}", refused.body);
    assert_eq!(bed.authority.calls("\"hresult\": \"0x80070005\"", 1).len(), 1);
}

/// A certificate of another CA of the same name renews nothing, and the authority hears nothing of it.
#[test]
fn ac_4_6_certificate_of_another_ca_renews_nothing() {
    let name = "Corp Strict CA";
    let Some(bed) = bed(name, true) else { return };
    let first = enroll(&bed, name);
    let (pem, der, key) = bed.openssl.forge(&first.pem, "forged");
    let forged = Holder { der, pem, key };
    let before = bed.authority.requests().len();
    // Over a good connection, so that the request itself is what is judged.
    let (_, request) = renewal(&bed, &forged, "from-forged");
    let refused = with_certificate(&bed, name, &first, &request);
    assert_eq!(refused.status, 500, "{}", refused.body);
    assert_eq!(with_certificate(&bed, name, &forged, &request).status, 500);
    assert_eq!(bed.authority.requests().len(), before);
    assert!(fs::exists(&bed.authority.certificate).unwrap());
}
