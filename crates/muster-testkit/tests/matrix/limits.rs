//! Sizes, media types and framing; and a log that no input can break.

use std::fmt::Write;
use std::time::Duration;

use muster_core::Method;
use muster_server::config::{Endpoint, Service};
use muster_testkit::https::post;
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::{Answer, Key, SignIn, TestServer, log};

const LIMIT: usize = 64 * 1024;

struct Case {
    server: TestServer,
}

impl Case {
    async fn new() -> Self {
        Self { server: TestServer::start().await }
    }

    fn endpoint(&self) -> &Endpoint {
        self.server.endpoint(Service::Policy, Method::UsernamePassword)
    }

    /// GetPolicies, made this long by white space at its end.
    fn message(&self, length: usize) -> String {
        let messages = self.server.messages(self.endpoint(), SignIn::Password("alice", PASSWORD));
        let mut message = messages.get_policies();
        message.extend(std::iter::repeat_n(' ', length.saturating_sub(message.len())));
        message
    }

    /// Sends octets and returns the answer, if there is one, and whether the connection ends after it.
    async fn send(&self, octets: &[u8]) -> (Option<Answer>, bool) {
        let mut connection = self.server.connect(self.endpoint(), None).await;
        connection.send(octets).await;
        let answer = connection.answer().await;
        (answer, connection.is_closed().await)
    }

    async fn refused(&self, octets: &[u8], status: u16, sentence: &str) {
        let (answer, closed) = self.send(octets).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.is_soap()), (status, false), "{}", answer.text());
        assert!(answer.text().starts_with(sentence), "{}", answer.text());
        assert_eq!(log::event(&answer.reference())["status"], status);
        assert!(closed, "what is left of the message must not be taken for the next: {sentence}");
    }
}

fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/soap+xml; charset=utf-8\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(10_000) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_at_its_limit() {
    let case = Case::new().await;
    let path = path(case.endpoint());
    for length in [LIMIT - 1, LIMIT] {
        let message = case.message(length);
        for request in [post(&path, "", message.as_bytes()), chunked(&path, message.as_bytes())] {
            let (answer, closed) = case.send(&request).await;
            let answer = answer.unwrap();
            assert_eq!((answer.status, closed), (200, false), "{length}: {}", answer.text());
        }
    }
    let message = case.message(LIMIT + 1);
    case.refused(&chunked(&path, message.as_bytes()), 413, "The message is larger than 64 KiB.").await;
    // Refused for what it announces, before any of it has come.
    let request = post(&path, "", message.as_bytes());
    let head = request.len() - message.len();
    case.refused(&request[..head], 413, "The message is larger than 64 KiB.").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_limit_of_the_configuration() {
    for limit in [4_096, 262_144] {
        let server =
            TestServer::start_with(|config| format!("{config}\n[limits]\nbody_bytes = {limit}\n")).await;
        let case = Case { server };
        let path = path(case.endpoint());
        let (answer, _) = case.send(&post(&path, "", case.message(limit).as_bytes())).await;
        assert_eq!(answer.unwrap().status, 200);
        let sentence = format!("The message is larger than {} KiB.", limit / 1024);
        case.refused(&post(&path, "", case.message(limit + 1).as_bytes()), 413, &sentence).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_types_and_methods() {
    let case = Case::new().await;
    let path = path(case.endpoint());
    let message = case.message(0);
    let with = |headers: &str, method: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n{message}",
            message.len()
        )
        .into_bytes()
    };
    let wrong = "The message must be application/soap+xml in UTF-8, neither compressed nor in parts.";
    for headers in [
        "",
        "Content-Type: text/xml; charset=utf-8\r\n",
        "Content-Type: application/soap+xml; charset=utf-16\r\n",
        "Content-Type: multipart/related; type=\"application/xop+xml\"; start-info=\"application/soap+xml\"\r\n",
        "Content-Type: application/soap+xml\r\nContent-Encoding: gzip\r\n",
    ] {
        case.refused(&with(headers, "POST"), 415, wrong).await;
    }
    let soap = "Content-Type: application/soap+xml; charset=\"UTF-8\"; action=\"urn:any\"\r\n";
    let (answer, _) = case.send(&with(soap, "POST")).await;
    assert_eq!(answer.unwrap().status, 200);
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        case.refused(&with(soap, method), 405, "This address takes POST requests of SOAP 1.2.").await;
    }
    let elsewhere = String::from_utf8(with(soap, "POST")).unwrap().replacen(&path, "/elsewhere", 1);
    case.refused(elsewhere.as_bytes(), 404, "There is no enrollment service at this address").await;
    // The endpoint of the other listener does not exist here.
    let other = case.server.endpoint(Service::Policy, Method::ClientCertificate);
    let elsewhere = elsewhere.replacen("/elsewhere", &muster_testkit::server::path(other), 1);
    case.refused(elsewhere.as_bytes(), 404, "There is no enrollment service at this address").await;
    for method in ["GET", "HEAD"] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut connection = case.server.connect(case.endpoint(), None).await;
        connection.send(request.as_bytes()).await;
        if method == "GET" {
            let answer = connection.answer().await.unwrap();
            assert_eq!((answer.status, answer.header("www-authenticate")), (200, None));
        }
        assert!(connection.is_closed().await);
    }
}

/// One request gets at most one answer, and a doubtful one ends its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubtful_framing() {
    let case = Case::new().await;
    let path = path(case.endpoint());
    let message = case.message(0);
    let n = message.len();
    let hidden = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for headers in [
        format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n"),
        format!("Content-Length: {n}\r\nContent-Length: {}\r\n", n + 1),
        format!("Content-Length: +{n}\r\n"),
        format!("Content-Length: -{n}\r\n"),
        format!("Content-Length: {n}, {}\r\n", n + 1),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        format!("Content-Length : {n}\r\n"),
        format!("Content-Length: {n}\r\n folded: yes\r\n"),
        format!("Content-Length: {n}\r\nX: a\0b\r\n"),
        format!(
            "Content-Length: {n}\r\n{}",
            (0..70).fold(String::new(), |mut all, i| {
                let _ = write!(all, "X-{i}: y\r\n");
                all
            })
        ),
        format!("Content-Length: {n}\r\nX: {}\r\n", "y".repeat(17 * 1024)),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/soap+xml; charset=utf-8\r\n\
             {headers}\r\n{message}{hidden}"
        );
        let mut connection = case.server.connect(case.endpoint(), None).await;
        connection.send(request.as_bytes()).await;
        if let Some(answer) = connection.answer().await {
            assert!((400..500).contains(&answer.status), "{headers:?}: {}", answer.status);
            assert!(connection.answer().await.is_none(), "two answers: {headers:?}");
        }
        assert!(connection.is_closed().await, "{headers:?}");
    }
}

/// Two requests in one go get two answers, in their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests() {
    let case = Case::new().await;
    let request = post(&path(case.endpoint()), "", case.message(0).as_bytes());
    let mut connection = case.server.connect(case.endpoint(), None).await;
    connection.send(&[request.clone(), request].concat()).await;
    for _ in 0..2 {
        assert_eq!(connection.answer().await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_body_is_cut() {
    let server =
        TestServer::start_with(|config| config + "\n[limits]\nbody_seconds = 1\nheader_seconds = 1\n").await;
    let case = Case { server };
    let request = post(&path(case.endpoint()), "", case.message(0).as_bytes());
    case.refused(&request[..request.len() - 1], 408, "The message did not arrive in time.").await;
    let mut connection = case.server.connect(case.endpoint(), None).await;
    connection.send(&request[..40]).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(connection.is_closed().await, "headers that do not end");
}

/// Whoever asks and does not read the answers holds a connection for as long as the configuration says, and whoever
/// asks nothing more for as long as headers may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_those_who_do_not_read_end() {
    let limits = "\n[limits]\nconnections = 1\nwrite_seconds = 2\nheader_seconds = 2\n";
    let case = Case { server: TestServer::start_with(|config| config + limits).await };
    let address = case.server.address("password");
    let request = post(&path(case.endpoint()), "", case.message(0).as_bytes());
    let another = async || {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        case.server.https.shake_hands(socket, None).await
    };

    // Little room on this side, and far more answers than the network holds.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let socket = socket.connect(address).await.unwrap();
    let mut lazy = case.server.https.shake_hands(socket, None).await.unwrap();
    let begin = std::time::Instant::now();
    let many = request.repeat(3_000);
    let sent = tokio::time::timeout(Duration::from_millis(800), lazy.send(&many)).await;
    assert!(sent.is_err(), "the server takes no more, because it cannot answer");
    assert!(another().await.is_err(), "its connection is held");
    let mut next = loop {
        match another().await {
            Ok(connection) => break connection,
            Err(_) => assert!(begin.elapsed() < Duration::from_secs(20), "the connection is held for ever"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(begin.elapsed() >= Duration::from_secs(2), "before its time");

    next.send(&request).await;
    assert_eq!(next.answer().await.unwrap().status, 200);
    // Idle from here on.
    assert!(another().await.is_err());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(next.is_closed().await);
    assert!(another().await.is_ok());
}

/// A reader that is slow, but takes its answer in time, gets all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_get_their_answers() {
    let limits = "\n[limits]\nwrite_seconds = 2\n";
    let case = Case { server: TestServer::start_with(|config| config + limits).await };
    let request = post(&path(case.endpoint()), "", case.message(0).as_bytes());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let socket = socket.connect(case.server.address("password")).await.unwrap();
    let mut slow = case.server.https.shake_hands(socket, None).await.unwrap();
    // Longer than the deadline altogether, since each answer has its own.
    for _ in 0..5 {
        slow.send(&request).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(slow.answer().await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_address() {
    let server =
        TestServer::start_with(|config| config + "\n[limits]\nunauthenticated_connections_per_address = 3\n")
            .await;
    let case = Case { server };
    let request = post(&path(case.endpoint()), "", case.message(0).as_bytes());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(case.server.connect(case.endpoint(), None).await);
    }
    let address = case.server.address("password");
    for _ in 0..5 {
        let mut refused = tokio::net::TcpStream::connect(address).await.unwrap();
        let read = tokio::io::AsyncReadExt::read(&mut refused, &mut [0; 1]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "the fourth is closed");
    }
    // The log says so once, whoever else wrote into it.
    let events = log::events(&log::text());
    let said = |event: &&serde_json::Value| {
        event["message"] == "a connection was refused"
            && event["key"] == "limits.unauthenticated_connections_per_address"
            && event["limit"] == 3
    };
    assert_eq!(events.iter().filter(said).count(), 1, "{events:?}");
    // Whoever has signed in makes room.
    held[0].send(&request).await;
    assert_eq!(held[0].answer().await.unwrap().status, 200);
    held.push(case.server.connect(case.endpoint(), None).await);
}

/// Messages with a few octets changed, cut or doubled: each gets an answer that says what is wrong, and none is a
/// fault of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_messages_are_answered() {
    const ROUNDS: u64 = 400;
    let case = Case::new().await;
    let sign_in = SignIn::Password("alice", PASSWORD);
    let enrollment = case.server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let enroll = case.server.messages(enrollment, sign_in);
    let policy = case.server.messages(case.endpoint(), sign_in);
    let key = Key::generate();
    let old = case.server.enroll("alice", "User").await;
    let whole = [
        (case.endpoint(), policy.get_policies().into_bytes()),
        (enrollment, enroll.issue(&key.request("User")).into_bytes()),
        (enrollment, enroll.issue(&key.renewal("User", &old.certificate, &old.key)).into_bytes()),
        (enrollment, enroll.query("7").into_bytes()),
        (enrollment, enroll.key_exchange_token().into_bytes()),
    ];
    // xorshift64*: the same damage in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % below
    };
    for round in 0..ROUNDS {
        let (endpoint, message) = &whole[random(whole.len())];
        let mut message = message.clone();
        for _ in 0..=random(3) {
            let at = random(message.len());
            let end = (at + 1 + random(40)).min(message.len());
            match random(5) {
                0 => message[at] ^= 1 << random(8),
                1 => message[at] = b"<>&\"' \0/="[random(9)],
                2 => drop(message.drain(at..end)),
                3 => message.truncate(at.max(1)),
                _ => {
                    let part = message[at..end].to_vec();
                    message.splice(at..at, part);
                }
            }
        }
        let mut connection = case.server.connect(endpoint, None).await;
        connection.send(&post(&path(endpoint), "", &message)).await;
        let answer = connection.answer().await.unwrap();
        if answer.status != 200 {
            let event = log::event(&answer.reference());
            assert_eq!((answer.status, answer.is_soap()), (500, true), "{round}: {}", answer.text());
            assert!(!answer.fault().reason.is_empty());
            assert_ne!(event["outcome"], "INTERNAL", "{round}: {event}");
        }
        // Guesses at the password among them slow the account down.
        case.server.clock.advance(1);
    }
    assert!(!log::text().contains("panicked"));
}

/// Whatever is sent, the log stays one object in each line, of bounded length, and has one event for each exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_stay_whole() {
    let case = Case::new().await;
    let enrollment = case.server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let hostile = [
        "a\r\n{\"level\":\"ERROR\",\"forged\":true}",
        "&#13;&#10;{&quot;forged&quot;:true}",
        "\u{1b}[31mred\u{1b}[0m",
        "%s%n%x{}{{}}${jndi:ldap://x}",
        "\u{202e}\u{2066}txt.exe",
        "\",\"forged\":true,\"x\":\"",
        "\u{0}",
        "&#0;",
        "\u{85}\u{2028}\u{2029}",
        &"x".repeat(20_000),
    ];
    for text in hostile {
        let right = case.server.messages(enrollment, SignIn::Password("alice", PASSWORD));
        let markup = text.contains('&');
        let mut messages = vec![
            case.server.messages(enrollment, SignIn::Password(text, "x")).query("7"),
            right.query("7").replace(">7<", &format!(">{text}<")),
            right.query("7").replace("urn:uuid:", &format!("{text}urn:uuid:")),
            right.query("7").replace(&enrollment.uri, &format!("https://localhost/{text}")),
            right.query("7").replace("RST/wstep", &format!("RST/{text}")),
            right.query("7").replace("/QueryTokenStatus", &format!("/{text}")),
            right.query("7").replace("<TokenType>", &format!("<{text}/><TokenType>")),
            right.query("7").replace(
                "<s:Header>",
                &format!("<s:Header><x:{text} xmlns:x=\"urn:{text}\" s:mustUnderstand=\"1\"/>"),
            ),
        ];
        if !markup {
            messages.push(right.issue(&Key::generate().request(text)));
        }
        for message in messages {
            let mut connection = case.server.connect(enrollment, None).await;
            connection.send(&post(&path(enrollment), "", message.as_bytes())).await;
            let answer = connection.answer().await.unwrap();
            assert!(answer.status >= 400, "{}", answer.text());
            // The sentence is text of XML, or there would be no fault to read.
            let _ = answer.fault();
            let _ = log::event(&answer.reference());
        }
    }
    for path in [
        "/%0d%0a%7b%22forged%22:true%7d",
        "/%1b%5b31m",
        "/%s%n",
        "/\"forged\":true",
        &format!("/{}", "y".repeat(9_000)),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut connection = case.server.connect(enrollment, None).await;
        connection.send(request.as_bytes()).await;
        let answer = connection.answer().await.unwrap();
        assert_eq!(answer.status, 404, "{path}");
        let _ = log::event(&answer.reference());
    }
    let text = log::text();
    let events = log::events(&text);
    for (line, event) in text.lines().zip(&events) {
        assert!(event.get("forged").is_none(), "{line}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        for (field, value) in event.as_object().unwrap() {
            assert!(value.as_str().is_none_or(|v| v.len() <= 1_024), "{field} is too long: {line}");
        }
    }
}
