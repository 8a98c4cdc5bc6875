//! One question to the system's name servers: where a service is (RFC 2782).
//!
//! The system's own resolver gives addresses only. Asked over TCP (RFC 7766): answers with many controllers do not fit
//! into a datagram, and nobody can slip one in without being on the path. Who is on the path can name any host; it is
//! the bind that proves a domain controller.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower is preferred.
    pub priority: u16,
    /// More is chosen more often among those of one priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its host name, without the dot at the end.
    pub target: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The system's list of name servers cannot be read.
    #[error("/etc/resolv.conf cannot be read: {0}")]
    Configuration(io::Error),
    /// No answer, or the connection broke.
    #[error("the name server {0} does not answer: {1}")]
    Server(IpAddr, io::Error),
    /// The name does not exist.
    #[error("there is no such name in DNS")]
    NoName,
    /// The name server does not answer the question; its code (RFC 1035 4.1.1).
    #[error("the name server answers with error {0}")]
    Refused(u8),
    /// Octets that are no answer to this question.
    #[error("the name server's answer cannot be read")]
    Malformed,
}

const SRV: u16 = 33;
const INTERNET: u16 = 1;
/// Longest wait for one server when there is another.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many as the system's resolver asks.
const MAX_NAME_SERVERS: usize = 3;
/// Characters of the longest name, its dots included (RFC 1035 2.3.4).
const MAX_NAME: usize = 253;
/// More pointers than any name has.
const MAX_POINTERS: usize = 16;

/// The servers of `name`.
pub(crate) async fn srv(name: &str) -> Result<Vec<Srv>, DnsError> {
    let configuration =
        tokio::fs::read_to_string("/etc/resolv.conf").await.map_err(DnsError::Configuration)?;
    let mut last = DnsError::NoName;
    for server in name_servers(&configuration) {
        let asked = tokio::time::timeout(PATIENCE, ask(server, name)).await;
        match asked.unwrap_or_else(|_elapsed| Err(DnsError::Server(server, io::ErrorKind::TimedOut.into()))) {
            Err(error @ (DnsError::Server(..) | DnsError::Refused(_) | DnsError::Malformed)) => last = error,
            answer => return answer,
        }
    }
    Err(last)
}

fn name_servers(configuration: &str) -> Vec<IpAddr> {
    let line = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse().ok();
    let mut found: Vec<IpAddr> = configuration.lines().filter_map(line).take(MAX_NAME_SERVERS).collect();
    if found.is_empty() {
        found.push(IpAddr::from([127, 0, 0, 1]));
    }
    found
}

async fn ask(server: IpAddr, name: &str) -> Result<Vec<Srv>, DnsError> {
    let failed = |error| DnsError::Server(server, error);
    let mut id = [0; 2];
    rand::fill(&mut id).map_err(|_| failed(io::Error::other("no random numbers")))?;
    let question = question(id, name);
    let mut stream = TcpStream::connect(SocketAddr::new(server, 53)).await.map_err(failed)?;
    let length = u16::try_from(question.len()).map_err(|_| DnsError::NoName)?;
    stream.write_all(&[&length.to_be_bytes()[..], &question].concat()).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    parse(&answer, id)
}

/// A standard query with recursion (RFC 1035 4.1).
fn question(id: [u8; 2], name: &str) -> Vec<u8> {
    let mut out = id.to_vec();
    // RD; one question, nothing else.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend(label.bytes().take(63));
    }
    out.push(0);
    out.extend(SRV.to_be_bytes());
    out.extend(INTERNET.to_be_bytes());
    out
}

/// Reads the answer to a question with this id. At most as many records as the message has.
///
/// # Errors
/// [`DnsError::Malformed`], [`DnsError::NoName`], [`DnsError::Refused`].
pub fn parse(message: &[u8], id: [u8; 2]) -> Result<Vec<Srv>, DnsError> {
    let mut cursor = Cursor { message, at: 0 };
    let [a, b] = cursor.u16().ok_or(DnsError::Malformed)?.to_be_bytes();
    let flags = cursor.u16().ok_or(DnsError::Malformed)?;
    if [a, b] != id || flags & 0x8000 == 0 {
        return Err(DnsError::Malformed);
    }
    match flags & 15 {
        0 => records(&mut cursor).ok_or(DnsError::Malformed),
        3 => Err(DnsError::NoName),
        code => Err(DnsError::Refused(u8::try_from(code).unwrap_or_default())),
    }
}

fn records(cursor: &mut Cursor<'_>) -> Option<Vec<Srv>> {
    let (questions, answers) = (cursor.u16()?, cursor.u16()?);
    cursor.skip(4)?;
    for _ in 0..questions {
        cursor.name()?;
        cursor.skip(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        cursor.name()?;
        let (kind, class) = (cursor.u16()?, cursor.u16()?);
        cursor.skip(4)?;
        let end = cursor.at + 2 + usize::from(cursor.u16()?);
        if kind == SRV && class == INTERNET {
            let (priority, weight, port) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
            let target = cursor.name()?;
            // A single dot: the service is decidedly not there.
            if !target.is_empty() {
                found.push(Srv { priority, weight, port, target });
            }
        }
        cursor.at = end;
    }
    Some(found)
}

/// A place in a message.
struct Cursor<'a> {
    message: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn u16(&mut self) -> Option<u16> {
        let octets = self.message.get(self.at..)?.first_chunk::<2>()?;
        self.at += 2;
        Some(u16::from_be_bytes(*octets))
    }

    fn skip(&mut self, octets: usize) -> Option<()> {
        self.at = self.at.checked_add(octets).filter(|at| *at <= self.message.len())?;
        Some(())
    }

    /// A name, labels with dots between them; `None` if it is not of ASCII.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut end, mut pointers) = (self.at, None, 0);
        loop {
            let length = *self.message.get(at)?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.message.get(at + 1..)?.get(..usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    if !label.is_ascii() || name.len() + label.len() > MAX_NAME {
                        return None;
                    }
                    name.push_str(std::str::from_utf8(label).ok()?);
                    at += 1 + usize::from(length);
                }
                // A pointer to an earlier place (RFC 1035 4.1.4).
                192..=255 if pointers < MAX_POINTERS => {
                    let low = *self.message.get(at + 1)?;
                    end = end.or(Some(at + 2));
                    pointers += 1;
                    at = usize::from(length & 63) << 8 | usize::from(low);
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(at + 1);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of a domain controller for its own domain: one record, its name with a pointer.
    fn answer() -> Vec<u8> {
        let mut message = question([7, 7], "_ldap._tcp.corp.test");
        message[2] = 0x85;
        message[3] = 0x80;
        message[7] = 1;
        message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 3, 0x84, 0, 12]);
        // Priority 0, weight 100, port 389, "dc1" and the end of the question's name.
        message.extend([0, 0, 0, 100, 1, 0x85, 3, b'd', b'c', b'1', 0xc0, 23]);
        message
    }

    #[test]
    fn record_is_read() {
        let expected = Srv { priority: 0, weight: 100, port: 389, target: "dc1.corp.test".to_owned() };
        assert_eq!(parse(&answer(), [7, 7]).unwrap(), [expected]);
    }

    #[test]
    fn damaged_answers_are_errors_and_end() {
        let whole = answer();
        for end in 0..whole.len() {
            assert!(parse(&whole[..end], [7, 7]).is_err(), "cut at {end}");
        }
        assert!(matches!(parse(&whole, [7, 8]), Err(DnsError::Malformed)), "another question's answer");
        let mut loops = whole.clone();
        let last = loops.len() - 1;
        loops[last] = u8::try_from(last - 1).unwrap();
        assert!(parse(&loops, [7, 7]).is_err(), "a pointer to itself");
        for position in 0..whole.len() {
            for octet in [0, 1, 63, 64, 0xc0, 0xff] {
                let mut changed = whole.clone();
                changed[position] = octet;
                let _either = parse(&changed, [7, 7]);
            }
        }
    }

    /// Found by a fuzz target: the dots were not counted.
    #[test]
    fn names_are_no_longer_than_names_can_be() {
        let with = |last: u8| {
            let mut message = answer();
            message.truncate(message.len() - 6);
            for length in [63, 63, 63, last] {
                message.push(length);
                message.extend(std::iter::repeat_n(b'x', usize::from(length)));
            }
            message.push(0);
            parse(&message, [7, 7])
        };
        assert_eq!(with(61).unwrap().first().map(|srv| srv.target.len()), Some(253));
        assert!(with(62).is_err());
    }

    #[test]
    fn refusals_are_told_apart() {
        let mut message = answer();
        message[3] = 0x83;
        assert!(matches!(parse(&message, [7, 7]), Err(DnsError::NoName)));
        message[3] = 0x85;
        assert!(matches!(parse(&message, [7, 7]), Err(DnsError::Refused(5))));
    }

    #[test]
    fn name_servers_are_those_of_the_system() {
        let found =
            name_servers("# nameserver 9.9.9.9\nsearch corp.test\nnameserver 10.0.0.1\n nameserver\t::1 \n");
        assert_eq!(found, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(name_servers(""), [IpAddr::from([127, 0, 0, 1])]);
    }
}
