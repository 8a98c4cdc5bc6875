"""Plays an enrollment service (CES, MS-WSTEP) in front of an authority of AD CS, for tests of the relay; it lies on request.

It shares no code with what it tests: messages, certificates and CMC responses are written out here from the published
documents. What it does with a message stands in the path, DOING_SIGNIN: /pending_UsernamePassword/service.svc/CES.

    upstream.py CERTIFICATE.pem KEY.pem CA.pem CA.key CLIENT-CA.pem [--keytab FILE] [--host NAME] [--password NAME=WORD]… [--sid NAME=SID]…

The first line of its output is a JSON object with "port"; every message is one further line. Accounts: those of --password, by
default alice and bob, whose passwords are their names and "-pw"; with --keytab whoever has a ticket for HTTP/NAME that is bound to
CERTIFICATE. Certificates for the accounts of --sid bear their security identifiers.

DOING is issue (which issues), or one of these:
  pending             issues at the second query                deny                decides against it
  deny-query          pending, and denied at the first query    wrong-key           a certificate for another key
  wrong-issuer        a certificate of another authority        other-signer        the authority's name, another key's signature
  other-template      names another template                    two                 another certificate inside of the CMC response
  forged-response     a CMC response that another key signed    no-response         no CMC response
  other-message       answers another message                   no-number           gives no RequestID
  other-number        answers a query with another RequestID    key-exchange        a key exchange token, whatever was asked
  garbage             XML that is no SOAP                       half                half of the answer
  drop                closes after the message                  slow                answers after two seconds
  huge                two megabytes                             gzip                compressed
  redirect            to /issue                                 basic               401 with Basic
  unavailable         503 of a web server                       iis-error           500 of a web server
  internal            fault of WCF itself                       bare-fault          fault without detail
  no-authority        RPC_S_SERVER_UNAVAILABLE                  broken-call         RPC_S_CALL_FAILED, after it issued
  no-permission       E_ACCESSDENIED of the authority           wrong-address       DestinationUnreachable
  odd-code            E_UNEXPECTED, after it issued
"""
import argparse
import base64
import datetime
import gzip
import hashlib
import http.server
import json
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

parser = argparse.ArgumentParser()
for argument in ("certificate", "key", "ca", "ca_key", "client_ca"):
    parser.add_argument(argument)
parser.add_argument("--keytab")
parser.add_argument("--host", default="localhost")
parser.add_argument("--password", action="append")
parser.add_argument("--sid", action="append", default=[])
ARGS = parser.parse_args()
CERTIFICATE, KEY, CA_FILE, CA_KEY_FILE = ARGS.certificate, ARGS.key, ARGS.ca, ARGS.ca_key
PASSWORDS = dict(one.split("=", 1) for one in ARGS.password or ["alice=alice-pw", "bob=bob-pw"])
SIDS = dict(one.split("=", 1) for one in ARGS.sid)
DER = serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
CA = x509.load_pem_x509_certificate(open(CA_FILE, "rb").read())
CA_KEY = serialization.load_pem_private_key(open(CA_KEY_FILE, "rb").read(), None)
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())

S = "http://www.w3.org/2003/05/soap-envelope"
A = "http://www.w3.org/2005/08/addressing"
WST = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
WSTEP = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
X509V3 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
WCF = "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher"

LOCK = threading.Lock()
REQUESTS = {}


def log(entry):
    with LOCK:
        print(json.dumps(entry), flush=True)


# DER, as much as is needed.


def tlv(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def integer(n):
    return tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big"))


def oid(dotted):
    arcs = [int(arc) for arc in dotted.split(".")]
    octets = bytearray()
    for arc in [arcs[0] * 40 + arcs[1]] + arcs[2:]:
        part = [arc & 0x7F]
        while arc := arc >> 7:
            part.append(arc & 0x7F | 0x80)
        octets += bytes(reversed(part))
    return tlv(6, bytes(octets))


def sequence(*parts):
    return tlv(0x30, *parts)


def set_of(*parts):
    return tlv(0x31, *sorted(parts))


def cmc_response(status, text, number=None, certificate=None, key=None):
    """CMC full PKI response (RFC 5272, MS-WCCE 3.2.1.4.2.1.4.8.2), signed like one of the authority's."""
    info = [integer(status), sequence(integer(1)), tlv(0x0C, text.encode())]
    if status == 3:
        info.append(sequence(tlv(4, str(number).encode()), tlv(0x18, b"20260101000000Z")))
    controls = [sequence(integer(1), oid("1.3.6.1.5.5.7.7.1"), set_of(sequence(*info)))]
    if certificate:
        digest = tlv(4, hashlib.sha1(certificate).digest())
        added = sequence(oid("1.3.6.1.4.1.311.21.17"), set_of(digest))
        add = sequence(integer(0), sequence(integer(1)), set_of(added))
        controls.append(sequence(integer(2), oid("1.3.6.1.4.1.311.10.10.1"), set_of(add)))
    body = sequence(sequence(*controls), sequence(), sequence())
    kind = oid("1.3.6.1.5.5.7.12.3")
    sha256 = sequence(oid("2.16.840.1.101.3.4.2.1"))
    attributes = [
        sequence(oid("1.2.840.113549.1.9.3"), set_of(kind)),
        sequence(oid("1.2.840.113549.1.9.4"), set_of(tlv(4, hashlib.sha256(body).digest()))),
    ]
    signature = (key or CA_KEY).sign(set_of(*attributes), ec.ECDSA(hashes.SHA256()))
    signer = sequence(
        integer(1),
        sequence(CA.issuer.public_bytes(), integer(CA.serial_number)),
        sha256,
        tlv(0xA0, *sorted(attributes)),
        sequence(oid("1.2.840.10045.4.3.2")),
        tlv(4, signature),
    )
    certificates = sorted([CA.public_bytes(DER)] + ([certificate] if certificate else []))
    signed = sequence(
        integer(3), set_of(sha256), sequence(kind, tlv(0xA0, tlv(4, body))), tlv(0xA0, *certificates), set_of(signer)
    )
    return sequence(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed))


def csr_in(octets):
    """The PKCS#10 in a request of any form."""
    for at in (at for at, octet in enumerate(octets) if octet == 0x30):
        first = octets[at + 1 : at + 2] or b"\0"
        long = first[0] - 0x80 if first[0] > 0x80 else 0
        length = int.from_bytes(octets[at + 2 : at + 2 + long], "big") if long else first[0]
        try:
            csr = x509.load_der_x509_csr(octets[at : at + 2 + long + length])
            if csr.is_signature_valid:
                return csr
        except ValueError:
            pass
    return None


def template_of(csr):
    try:
        value = csr.extensions.get_extension_for_oid(ObjectIdentifier("1.3.6.1.4.1.311.20.2")).value.public_bytes()
        return value[2:].decode("utf-16be")
    except x509.ExtensionNotFound:
        return "User"


def certify(doing, csr, who):
    now = datetime.datetime.now(datetime.timezone.utc)
    public = OTHER_KEY.public_key() if doing == "wrong-key" else csr.public_key()
    other = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    name = ("Other" if doing == "other-template" else template_of(csr)).encode("utf-16be")
    template = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.311.20.2"), bytes([0x1E, len(name)]) + name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(other if doing == "wrong-issuer" else CA.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=10))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(template, False)
    )
    if who in SIDS:
        inside = tlv(0xA0, oid("1.3.6.1.4.1.311.25.2.1"), tlv(0xA0, tlv(4, SIDS[who].encode())))
        extension = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.311.25.2"), sequence(inside))
        builder = builder.add_extension(extension, False)
    key = OTHER_KEY if doing in ("wrong-issuer", "other-signer") else CA_KEY
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


# SOAP, with the line ends that Windows puts into base64.


def base64_of(octets):
    return "&#xD;\n".join(base64.encodebytes(octets).decode().split())


def token(kind, octets):
    return (
        f'<BinarySecurityToken ValueType="{kind}" EncodingType="{WSSE}#base64binary" xmlns="{WSSE}">'
        f"{base64_of(octets)}</BinarySecurityToken>"
    )


def envelope(action, relates_to, body):
    return (
        f'<s:Envelope xmlns:s="{S}" xmlns:a="{A}"><s:Header><a:Action s:mustUnderstand="1">{action}</a:Action>'
        f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def collection(relates_to, inside, action=WSTEP + "/RSTRC/wstep"):
    return 200, envelope(
        action,
        relates_to,
        f'<RequestSecurityTokenResponseCollection xmlns="{WST}"><RequestSecurityTokenResponse>'
        f"<TokenType>{X509V3}</TokenType>{inside}</RequestSecurityTokenResponse></RequestSecurityTokenResponseCollection>",
    )


def disposition(words):
    return f'<DispositionMessage xml:lang="en-US" xmlns="{WSTEP}">{words}</DispositionMessage>'


def numbered(number):
    return "" if number is None else f'<RequestID xmlns="{WSTEP}">{number}</RequestID>'


def issued(relates_to, number, certificate, response):
    cmc = token(WSSE + "#PKCS7", response) if response else ""
    bare = f"<RequestedSecurityToken>{token(X509V3, certificate)}</RequestedSecurityToken>"
    return collection(relates_to, disposition("Issued") + cmc + bare + numbered(number))


def pending(relates_to, number, url):
    words = "Taken Under Submission"
    cmc = token(WSSE + "#PKCS7", cmc_response(3, words, number=number or 0))
    reference = f'<SecurityTokenReference xmlns="{WSSE}"><Reference URI="{escape(url)}"/></SecurityTokenReference>'
    inside = f"<RequestedSecurityToken>{reference}</RequestedSecurityToken>"
    return collection(relates_to, disposition(words) + cmc + inside + numbered(number))


def fault(relates_to, code, subcode, reason, detail="", action="http://www.w3.org/2005/08/addressing/soap/fault"):
    sub = f"<s:Subcode><s:Value xmlns:c=\"{subcode[0]}\">c:{subcode[1]}</s:Value></s:Subcode>" if subcode else ""
    return 500, envelope(
        action,
        relates_to,
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value>{sub}</s:Code><s:Reason>"
        f'<s:Text xml:lang="en-US">{reason}</s:Text></s:Reason>{detail}</s:Fault>',
    )


def refusal(relates_to, hresult, reason, invalid, number=None, response=None):
    nil = '<{} xsi:nil="true"/>'
    detail = (
        f'<s:Detail><CertificateEnrollmentWSDetail xmlns="{WSTEP}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        + (f"<BinaryResponse>{base64_of(response)}</BinaryResponse>" if response else nil.format("BinaryResponse"))
        + f"<ErrorCode>{hresult - (1 << 32)}</ErrorCode><InvalidRequest>{str(invalid).lower()}</InvalidRequest>"
        + (f"<RequestID>{number}</RequestID>" if number else nil.format("RequestID"))
        + "</CertificateEnrollmentWSDetail></s:Detail>"
    )
    action = WSTEP + "/RequestSecurityTokenCertificateEnrollmentWSDetailFault"
    return fault(relates_to, "Receiver", None, reason, detail, action)


def denied(relates_to, number):
    words = "Denied by Policy Module"
    return refusal(relates_to, 0x80094012, words, True, number, cmc_response(2, words))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body, kind="application/soap+xml; charset=utf-8", headers=()):
        octets = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def who(self, sign_in, message, saw):
        """The caller; None if there is none."""
        saw["username"] = message.findtext(f".//{{{WSSE}}}Username")
        peer = self.connection.getpeercert()
        if peer:
            saw["certificate"] = [value for rdn in peer["subject"] for name, value in rdn if name == "commonName"]
        if sign_in == "UsernamePassword":
            password = message.findtext(f".//{{{WSSE}}}Password")
            return saw["username"] if PASSWORDS.get(saw["username"], "") == password else None
        if sign_in == "Certificate":
            return ",".join(saw["certificate"]) if peer else None
        return self.ticket(saw)

    def ticket(self, saw):
        import gssapi
        import gssapi.raw

        try:
            own = ssl.PEM_cert_to_DER_cert(open(CERTIFICATE).read())
            binding = b"tls-server-end-point:" + hashlib.sha256(own).digest()
            key = gssapi.Credentials(usage="accept", store={"keytab": ARGS.keytab})
            context = gssapi.SecurityContext(
                creds=key, usage="accept", channel_bindings=gssapi.raw.ChannelBindings(application_data=binding)
            )
            scheme, sent = self.headers.get("Authorization", " ").split(" ", 1)
            proof = context.step(base64.b64decode(sent))
            saw["bound"] = bool(int(context.actual_flags) & 0x800)
            self.proof = [("WWW-Authenticate", scheme + " " + base64.b64encode(proof).decode())]
            return str(context.initiator_name)
        except Exception as error:
            saw["ticket"] = str(error)
            return None

    def do_POST(self):
        self.proof = []
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        doing, sign_in = self.path.split("/")[1].split("_")
        message = ET.fromstring(octets)
        relates_to = message.findtext(f".//{{{A}}}MessageID")
        body = message.find(f".//{{{WST}}}RequestSecurityToken")
        asked = body.findtext(f"{{{WST}}}RequestType").rsplit("/", 1)[1]
        sent = body.find(f"{{{WSSE}}}BinarySecurityToken")
        number = body.findtext(f"{{{WSTEP}}}RequestID") or None
        saw = {"doing": doing, "asked": asked, "connection": self.client_address[1], "number": number}
        saw["to"] = message.findtext(f".//{{{A}}}To")
        saw["language"] = body.get("PreferredLanguage")
        saw["context"] = len(body.findall(".//{http://schemas.xmlsoap.org/ws/2006/12/authorization}ContextItem"))
        saw["headers"] = sorted(name.lower() for name in self.headers)
        if sent is not None:
            saw["kind"] = sent.get("ValueType").rsplit("#", 1)[1]
            saw["sha256"] = hashlib.sha256(base64.b64decode(sent.text)).hexdigest()
        who = saw["who"] = self.who(sign_in, message, saw)
        log(saw)
        if who is None and sign_in == "Kerberos":
            self.say(401, "no good ticket", "text/plain", [("WWW-Authenticate", "Negotiate")])
        elif who is None:
            self.say(*fault(relates_to, "Sender", (WSSE, "FailedAuthentication"), "no"))
        elif not self.refuse(doing, relates_to):
            request = csr_in(base64.b64decode(sent.text)) if sent is not None else None
            self.answer(doing, relates_to, asked, who, number, request)

    def refuse(self, doing, relates_to):
        """What comes of a message without anything being done; whether that was all."""
        url = f"https://{ARGS.host}:{PORT}/issue_UsernamePassword/service.svc/CES"
        html = "<html>error</html>"
        if doing == "redirect":
            self.say(307, html, "text/html", [("Location", url)])
        elif doing == "basic":
            self.say(401, html, "text/html", [("WWW-Authenticate", 'Basic realm="ces"')])
        elif doing == "unavailable":
            self.say(503, html, "text/html")
        elif doing == "iis-error":
            self.say(500, html, "text/html")
        elif doing == "garbage":
            self.say(200, "<hello/>")
        elif doing == "huge":
            self.say(200, "<a>" + "x" * (2 << 20) + "</a>")
        elif doing == "internal":
            action = "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher/fault"
            words = "The server was unable to process the request due to an internal error."
            self.say(*fault(relates_to, "Receiver", (WCF, "InternalServiceFault"), words, action=action))
        elif doing == "bare-fault":
            self.say(*fault(relates_to, "Receiver", None, "The authority said something unheard of."))
        elif doing == "wrong-address":
            self.say(*fault(relates_to, "Sender", (A, "DestinationUnreachable"), "no endpoint listening"))
        elif doing == "no-authority":
            self.say(*refusal(relates_to, 0x800706BA, "The RPC server is unavailable.", False))
        elif doing == "no-permission":
            self.say(*refusal(relates_to, 0x80070005, "Access is denied.", False))
        else:
            return False
        return True

    def answer(self, doing, relates_to, asked, who, number, request):
        status, said = self.decide(doing, relates_to, asked, who, number, request)
        if doing == "slow":
            time.sleep(2)
        if doing == "drop":
            self.close_connection = True
        elif doing == "half":
            octets = said.encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: {len(octets)}\r\n\r\n"
            self.wfile.write(head.encode() + octets[: len(octets) // 2])
            self.close_connection = True
        elif doing == "gzip":
            self.say(status, gzip.compress(said.encode()), headers=[("Content-Encoding", "gzip")])
        else:
            self.say(status, said, headers=self.proof)

    def decide(self, doing, relates_to, asked, who, number, request):
        url = f"https://{ARGS.host}:{PORT}{self.path}"
        if asked == "KET" or doing == "key-exchange":
            inside = f"<KeyExchangeToken>{token(X509V3, CA.public_bytes(DER))}</KeyExchangeToken>"
            inside = f"<RequestedSecurityToken>{inside}</RequestedSecurityToken>"
            return collection(relates_to, inside, WST + "/RSTR/KETFinal")
        if asked == "QueryTokenStatus":
            entry = REQUESTS.get(int(number))
            if not entry or entry["who"] != who:
                return refusal(relates_to, 0x80094004, "The requested property value is empty.", False)
            entry["queries"] += 1
            if entry["doing"] == "deny-query":
                return denied(relates_to, number)
            if entry["queries"] < 2:
                return pending(relates_to, number, url)
            certificate = certify(doing, entry["request"], who)
            shown = int(number) + 1 if doing == "other-number" else number
            return issued(relates_to, shown, certificate, cmc_response(0, "Issued", certificate=certificate))
        with LOCK:
            number = 4711 + len(REQUESTS)
            REQUESTS[number] = {"who": who, "doing": doing, "request": request, "queries": 0}
        if doing == "deny":
            return denied(relates_to, number)
        if doing in ("pending", "deny-query"):
            return pending(relates_to, number, url)
        certificate = certify(doing, request, who)
        if doing == "broken-call":
            return refusal(relates_to, 0x800706BE, "The remote procedure call failed.", False)
        if doing == "odd-code":
            return refusal(relates_to, 0x8000FFFF, "Catastrophic failure", False)
        other = certify("issue", request, who) if doing == "two" else certificate
        key = OTHER_KEY if doing == "forged-response" else None
        response = None if doing == "no-response" else cmc_response(0, "Issued", certificate=other, key=key)
        if doing == "other-message":
            relates_to = "urn:uuid:00000000-0000-4000-8000-000000000000"
        return issued(relates_to, None if doing == "no-number" else number, certificate, response)


server = http.server.ThreadingHTTPServer((socket.gethostbyname(ARGS.host), 0), Handler)
PORT = server.server_address[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
context.load_verify_locations(ARGS.client_ca)
context.verify_mode = ssl.CERT_OPTIONAL
server.socket = context.wrap_socket(server.socket, server_side=True)
print(json.dumps({"port": PORT}), flush=True)
server.serve_forever()
