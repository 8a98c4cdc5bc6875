//! What became of a message, for every way in which a server can fail.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use muster_client::Endpoint;
use muster_client::tls::{ClientIdentity, Trust, client_config};
use muster_client::transport::{NotSent, Sent, Timeouts, Transport, Unknown};
use rustls::CertificateError;
use tokio::net::TcpListener;

use crate::server::{Reply, Server, TestCa};

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_millis(400) };
const MAX_ANSWER: usize = 1000;

fn transport(trust: &Trust, identity: Option<ClientIdentity>) -> Transport {
    Transport::new(client_config(trust, identity).unwrap(), TIMEOUTS)
}

async fn post(transport: &Transport, endpoint: &Endpoint) -> Sent {
    transport.post(endpoint, Bytes::from_static(b"<message/>"), MAX_ANSWER).await
}

/// One request to a server that behaves like this.
async fn outcome(reply: Reply) -> Sent {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.server_config(), move |_, _| reply.clone()).await;
    post(&transport(&ca.trust(), None), &server.endpoint("/CES")).await
}

#[tokio::test]
async fn soap_answer_and_fault_are_handed_over() {
    for status in [200, 500] {
        let sent = outcome(Reply::Soap(status, "<answer/>".into())).await;
        assert!(
            matches!(&sent, Sent::Answered { status: s, body } if s.as_u16() == status && body == "<answer/>")
        );
    }
}

#[tokio::test]
async fn request_is_a_soap_post_to_the_path() {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.server_config(), |_, _| Reply::Soap(200, "<a/>".into())).await;
    let _ = post(&transport(&ca.trust(), None), &server.endpoint("/A CA_CES/service.svc/CES")).await;
    let received = server.received().remove(0);
    let head = received.head.to_ascii_lowercase();
    assert!(received.head.starts_with("POST /A%20CA_CES/service.svc/CES HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: localhost:{}\r\n", server.address.port())), "{head}");
    assert!(head.contains("\r\ncontent-type: application/soap+xml; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-length: 10"), "{head}");
    assert_eq!(received.body, "<message/>");
}

#[tokio::test]
async fn connection_is_used_again() {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.server_config(), |_, _| Reply::Soap(200, "<a/>".into())).await;
    let transport = transport(&ca.trust(), None);
    for _ in 0..3 {
        assert!(matches!(post(&transport, &server.endpoint("/CES")).await, Sent::Answered { .. }));
    }
    assert_eq!((server.connections(), server.received().len()), (1, 3));
}

#[tokio::test]
async fn connection_that_the_server_closed_is_replaced() {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.server_config(), |number, _| match number {
        0 => Reply::Http(200, "application/soap+xml\r\nconnection: close", b"<a/>".to_vec()),
        _ => Reply::Soap(200, "<b/>".into()),
    })
    .await;
    let transport = transport(&ca.trust(), None);
    for body in ["<a/>", "<b/>"] {
        let sent = post(&transport, &server.endpoint("/CES")).await;
        assert!(matches!(&sent, Sent::Answered { body: b, .. } if b == body), "{sent:?}");
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn closed_port_is_not_sent() {
    let ca = TestCa::new("Test CA");
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = format!("https://{address}/CES").parse().unwrap();
    let sent = post(&transport(&ca.trust(), None), &endpoint).await;
    assert!(matches!(sent, Sent::NotSent(NotSent::Connect { .. })), "{sent:?}");
}

#[tokio::test]
async fn unknown_host_is_not_sent() {
    let ca = TestCa::new("Test CA");
    let endpoint = "https://no-such-host.invalid/CES".parse().unwrap();
    let sent = post(&transport(&ca.trust(), None), &endpoint).await;
    assert!(matches!(sent, Sent::NotSent(NotSent::Resolve { .. } | NotSent::NoAddress(_))), "{sent:?}");
}

#[tokio::test]
async fn server_of_unknown_issuer_is_not_sent() {
    let (ca, other) = (TestCa::new("Test CA"), TestCa::new("Other CA"));
    let server = Server::start(ca.server_config(), |_, _| Reply::Stall).await;
    let sent = post(&transport(&other.trust(), None), &server.endpoint("/CES")).await;
    let Sent::NotSent(error @ NotSent::ServerCertificate(CertificateError::UnknownIssuer)) = &sent else {
        panic!("{sent:?}")
    };
    assert!(error.hint().contains("--ca-file"));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn server_with_another_name_is_not_sent() {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.server_config(), |_, _| Reply::Stall).await;
    let endpoint = format!("https://[::ffff:127.0.0.1]:{}/CES", server.address.port()).parse().unwrap();
    let sent = post(&transport(&ca.trust(), None), &endpoint).await;
    assert!(
        matches!(
            sent,
            Sent::NotSent(NotSent::ServerCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        ),
        "{sent:?}"
    );
}

#[tokio::test]
async fn plain_http_port_is_not_sent() {
    use tokio::io::AsyncWriteExt as _;

    let ca = TestCa::new("Test CA");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let endpoint = format!("https://localhost:{}/CES", address.port()).parse().unwrap();
    let sent = post(&transport(&ca.trust(), None), &endpoint).await;
    assert!(matches!(sent, Sent::NotSent(NotSent::Tls(_))), "{sent:?}");
}

#[tokio::test]
async fn port_that_never_speaks_is_not_sent() {
    let ca = TestCa::new("Test CA");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint =
        format!("https://localhost:{}/CES", listener.local_addr().unwrap().port()).parse().unwrap();
    let timeouts = Timeouts { connect: Duration::from_millis(200), ..TIMEOUTS };
    let transport = Transport::new(client_config(&ca.trust(), None).unwrap(), timeouts);
    let sent = post(&transport, &endpoint).await;
    assert!(matches!(sent, Sent::NotSent(NotSent::TlsTimeout(_))), "{sent:?}");
}

/// In TLS 1.3 the refusal comes after the client's side of the handshake is done, perhaps after the request.
#[tokio::test]
async fn missing_client_certificate_is_not_sent() {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.strict_server_config(), |_, _| Reply::Soap(200, "<a/>".into())).await;
    let sent = post(&transport(&ca.trust(), None), &server.endpoint("/CES")).await;
    assert!(matches!(sent, Sent::NotSent(NotSent::Alert(_))), "{sent:?}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn client_certificate_is_shown() {
    let ca = TestCa::new("Test CA");
    let server = Server::start(ca.strict_server_config(), |_, _| Reply::Soap(200, "<a/>".into())).await;
    let transport = transport(&ca.trust(), Some(ca.identity("client.test")));
    let sent = post(&transport, &server.endpoint("/CES")).await;
    assert!(matches!(sent, Sent::Answered { .. }), "{sent:?}");
}

#[tokio::test]
async fn stalled_server_is_unknown() {
    let sent = outcome(Reply::Stall).await;
    assert!(matches!(sent, Sent::Unknown(Unknown::Timeout(_))), "{sent:?}");
}

#[tokio::test]
async fn cut_after_the_request_is_unknown() {
    for reply in [Reply::Cut, Reply::CutInAnswer] {
        let sent = outcome(reply).await;
        assert!(matches!(sent, Sent::Unknown(Unknown::Cut(_))), "{sent:?}");
    }
}

#[tokio::test]
async fn answers_without_soap_by_status() {
    for (status, turned_away) in [
        (302, true),
        (401, true),
        (404, true),
        (413, true),
        (500, true),
        (503, true),
        (200, false),
        (502, false),
        (504, false),
    ] {
        let sent = outcome(Reply::Http(status, "text/html", b"<html></html>".to_vec())).await;
        let code = StatusCode::from_u16(status).unwrap();
        match &sent {
            Sent::TurnedAway(away) => assert!(turned_away && away.status == code, "{status}"),
            Sent::Unknown(Unknown::NoSoap(s)) => assert!(!turned_away && *s == code, "{status}"),
            Sent::NotSent(_) | Sent::Unknown(_) | Sent::Answered { .. } => panic!("{status}: {sent:?}"),
        }
    }
}

#[tokio::test]
async fn empty_xml_body_counts_as_no_soap() {
    let sent = outcome(Reply::Soap(503, String::new())).await;
    assert!(
        matches!(&sent, Sent::TurnedAway(away) if away.status == StatusCode::SERVICE_UNAVAILABLE),
        "{sent:?}"
    );
}

#[tokio::test]
async fn answer_over_the_limit_is_unknown() {
    let sent = outcome(Reply::Soap(200, "x".repeat(MAX_ANSWER))).await;
    assert!(matches!(sent, Sent::Answered { .. }), "{sent:?}");
    let sent = outcome(Reply::Soap(200, "x".repeat(MAX_ANSWER + 1))).await;
    assert!(matches!(sent, Sent::Unknown(Unknown::TooLarge { limit: 1000 })), "{sent:?}");
}
