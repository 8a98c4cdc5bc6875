#!/usr/bin/env python3
"""Plays the RPC face of an authority of AD CS, for tests of the connector: MS-ICPR and MS-WCCE over DCOM, with Kerberos alone.

It shares no code with what it tests: the encodings are written out here from the published documents; Kerberos is MIT's library through
python-gssapi.

  authority.py --name CORP-CA --ca ca.pem --ca-key ca.key --keytab ca1.keytab [--lie LIE]

It listens on two free ports of 127.0.0.1 and says so in its first line, a JSON object with "mapper" and "port":
  mapper  endpoint mapper (ept_map), IObjectExporter (ServerAlive2), IRemoteSCMActivator (RemoteCreateInstance)
  port    ICertPassage (CertServerRequest), IRemUnknown, ICertRequestD, ICertRequestD2, ICertAdminD, ICertAdminD2 (MS-CSRA)
Every call is one further line: who, authentication, level, arguments and the answer.

What it does with a request is the name of the template: Pending, Denied, Failed, HResult, WrongKey, WrongIssuer, OtherSigner, WrongSid, Garbage, Empty,
Truncated, Slow, Drop, Half, Lost (issued, and then the connection ends), LostBare (the same, and the database keeps no request), LostAlien and LostOther (the same, and the
database has it of somebody else, or of another template), LostPending and LostAll (pending, of which the database keeps nothing, or all), Forged (issued, and then a fault without a verifier says that the
call was not begun, as somebody on the way could), Unsigned (the same, and nothing is issued), Signed (nothing is issued, and a sealed
fault says so), AskedX (names are those of the request and there is no security identifier; X is nothing, Fewer, More: an organization beside them,
Dns, Upn and Cn: a name beside them that nobody asked for, OwnSid, OtherSid), NamedX (an alternative name that is the caller's, or for X = Upn,
Dns, Mail and Uri somebody else's); with every other name it issues. A pending request is issued
at the second query, or by an officer. Who may what is --roles: names with the masks of MS-CSRA 3.1.1.7; others may enroll.
LIE is what it does with connections: level (answers with packet integrity), ntlm, no-token, no-header-signing, other-syntax, nak, unsealed
(answers calls in clear), replay (answers a call twice), mapper-none, mapper-garbage, close (after the bind), old and older (no ICertRequestD2:
old says so of the interface, older of the activation), chain (never a CMC response), no-exchange, other-exchange (the certificate for exchange is another authority's).
"""
import argparse, base64, datetime, hashlib, json, os, re, socket, struct, subprocess, tempfile, threading, time, uuid

ap = argparse.ArgumentParser()
ap.add_argument("--ip", default="127.0.0.1")
ap.add_argument("--host", default="ca1.corp.test", help="name placed in the OXID bindings, besides the address")
ap.add_argument("--name", default="CORP-CA")
ap.add_argument("--ca", required=True)
ap.add_argument("--ca-key", required=True)
ap.add_argument("--keytab", required=True)
ap.add_argument("--max-frag", type=int, default=5840)
ap.add_argument("--sid", default="S-1-5-21-1-2-3-1104", help="placed into certificates")
ap.add_argument("--roles", default="", help="alice=0x200,officer=0x2,svc-ces=0x100")
ap.add_argument("--sid-of", action="append", default=[], metavar="PRINCIPAL=SID", help="placed into certificates of this caller")
ap.add_argument("--behave", action="append", default=[], metavar="TEMPLATE=NAME", help="treat this template as one of the names above")
ap.add_argument("--template", action="append", default=[], metavar="OID=NAME", help="the name of the template that requests name by this identifier")
ap.add_argument("--renew-on-behalf", action="store_true", help="flag EDITF_ENABLERENEWONBEHALFOF of the authority is set")
ap.add_argument("--lie")
A = ap.parse_args()
SIDS = dict(pair.split("=", 1) for pair in A.sid_of)
TEMPLATES = dict(pair.split("=", 1) for pair in A.template)
BEHAVE = dict(pair.split("=", 1) for pair in A.behave)
os.environ["KRB5_KTNAME"] = "FILE:" + os.path.abspath(A.keytab)
os.environ.setdefault("KRB5RCACHENAME", "none:")

from cryptography import x509                                        # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization     # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec             # noqa: E402
from cryptography.hazmat.primitives.serialization import pkcs7       # noqa: E402
from cryptography.x509.oid import ObjectIdentifier                   # noqa: E402


U = lambda s: uuid.UUID(s).bytes_le
EPM = U("e1af8308-5d1f-11c9-91a4-08002b14a0fa")
OBJEXP = U("99fcfec4-5260-101b-bbcb-00aa0021347a")
ACTIVATOR = U("000001a0-0000-0000-c000-000000000046")
ICPR = U("91ae6020-9e3c-11cf-8d7c-00aa00c091be")
REMUNK = U("00000131-0000-0000-c000-000000000046")
REMUNK2 = U("00000143-0000-0000-c000-000000000046")
UNKNOWN = U("00000000-0000-0000-c000-000000000046")
FACTORY = U("00000001-0000-0000-c000-000000000046")
REQD = U("d99e6e70-fc88-11d0-b498-00a0c90312f3")
REQD2 = U("5422fd3a-d4b8-4cef-a12e-e87d4ca22e90")
ADMD = U("d99e6e71-fc88-11d0-b498-00a0c90312f3")
ADMD2 = U("7fe0d935-dda6-443f-85d0-1cfb58fe41dd")
CLSID_CERTREQUEST = U("d99e6e74-fc88-11d0-b498-00a0c90312f3")
CLSID_CERTADMIN = U("d99e6e73-fc88-11d0-b498-00a0c90312f3")
ACTOUT_CLSID = U("00000339-0000-0000-c000-000000000046")
ACTOUT_IID = U("000001a3-0000-0000-c000-000000000046")
INSTINFO = U("000001ab-0000-0000-c000-000000000046")
SCMREPLY = U("000001b6-0000-0000-c000-000000000046")
NDR = U("8a885d04-1ceb-11c9-9fe8-08002b104860") + struct.pack("<HH", 2, 0)
BTFN = U("6cb71c2c-9812-4540-0000-000000000000")[:8]
KRB5OID = bytes.fromhex("2a864886f712010202")
MSKRBOID = bytes.fromhex("2a864882f712010202")
OXID, OID = 0x1122334455667788, 0x99AABBCCDDEEFF00
IPID_REMUNK = uuid.UUID("0000aa00-0001-0000-1111-222222222222").bytes_le
IPIDS, IPID_COUNT = {}, [0]                                          # ipid -> [iid, references]
AUTHN = {9: "spnego", 16: "kerberos"}
LEVEL = {2: "connect", 3: "call", 4: "packet", 5: "integrity", 6: "privacy"}
LOGLOCK = threading.Lock()


def log(**kw):
    kw["t"] = round(time.time(), 3)
    line = json.dumps(kw)
    with LOGLOCK:
        print(line, flush=True)


class Fault(Exception):
    def __init__(self, status, sealed=False):
        self.status, self.sealed = status, sealed


class Cut(Exception):
    """The connection ends in the middle of the call."""


class Short(Exception):
    """The results end in the middle."""


# ---------------------------------------------------------------- NDR
class R:
    def __init__(self, b, pos=0):
        self.b, self.p = b, pos

    def align(self, n):
        self.p += -self.p % n

    def raw(self, n):
        if self.p + n > len(self.b):
            raise Fault(0x000006F7)                                  # RPC_X_BAD_STUB_DATA
        v = self.b[self.p:self.p + n]
        self.p += n
        return v

    def u16(self):
        self.align(2)
        return struct.unpack("<H", self.raw(2))[0]

    def u32(self):
        self.align(4)
        return struct.unpack("<I", self.raw(4))[0]

    def u64(self):
        self.align(8)
        return struct.unpack("<Q", self.raw(8))[0]

    def guid(self):
        self.align(4)
        return self.raw(16)

    def wstr(self):                                                  # [string, unique] wchar_t *
        if not self.u32():
            return None
        self.u32(), self.u32()
        n = self.u32()
        return self.raw(2 * n).decode("utf-16le").split("\0")[0]

    def blob(self):                                                  # [ref] CERTTRANSBLOB *
        cb, ptr = self.u32(), self.u32()
        if not ptr:
            return b""
        n = self.u32()
        return self.raw(n)[:cb]


class W:
    def __init__(self):
        self.b = bytearray()
        self.ref = 0x20000

    def align(self, n):
        self.b += b"\0" * (-len(self.b) % n)

    def u16(self, *v):
        for x in v:
            self.align(2)
            self.b += struct.pack("<H", x)
        return self

    def u32(self, *v):
        for x in v:
            self.align(4)
            self.b += struct.pack("<I", x & 0xFFFFFFFF)
        return self

    def u64(self, v):
        self.align(8)
        self.b += struct.pack("<Q", v)
        return self

    def raw(self, v):
        self.b += v
        return self

    def ptr(self, present=True):
        self.ref += 4
        return self.u32(self.ref if present else 0)

    def blob(self, v):
        self.u32(len(v)).ptr(bool(v))
        if v:
            self.u32(len(v)).raw(v).align(4)
        return self

    def get(self):
        return bytes(self.b)


def dual_string(port):
    """DUALSTRINGARRAY contents as (entries, security offset, octets)."""
    s = b""
    for a in (A.host, A.ip):
        s += struct.pack("<H", 7) + f"{a}[{port}]".encode("utf-16le") + b"\0\0"
    s += b"\0\0"
    off = len(s) // 2
    for svc in (9, 10, 16):
        s += struct.pack("<HH", svc, 0xFFFF) + b"\0\0"
    s += b"\0\0"
    return len(s) // 2, off, s


def packed_dual_string(port):
    n, off, s = dual_string(port)
    return struct.pack("<HH", n, off) + s


def w_dual_string(w, port):                                          # conformant structure: the maximum count comes first
    n, off, s = dual_string(port)
    w.u32(n).u16(n, off).raw(s).align(4)


def type_serialization(body):
    body += b"\0" * (-len(body) % 8)
    return struct.pack("<BBHI", 1, 0x10, 8, 0xCCCCCCCC) + struct.pack("<II", len(body), 0) + body


def new_ipid(iid):
    IPID_COUNT[0] += 1
    ipid = struct.pack("<IHH", 0x00009C00 + IPID_COUNT[0], 0x0AAA, 0x0BBB) + os.urandom(8)
    IPIDS[ipid] = [iid, 5]
    return ipid


def std_objref(iid, ipid):
    return struct.pack("<II", 0, 5) + struct.pack("<QQ", OXID, OID) + ipid


def objref_standard(iid, ipid):
    return b"MEOW" + struct.pack("<I", 1) + iid + std_objref(iid, ipid) + packed_dual_string(A.mapper)


# ---------------------------------------------------------------- the "CA"
CA = x509.load_pem_x509_certificate(open(A.ca, "rb").read())
CAKEY = serialization.load_pem_private_key(open(A.ca_key, "rb").read(), None)
DER = serialization.Encoding.DER
REQUESTS, NEXT_ID, CALOCK = {}, [11], threading.Lock()


def exchange():
    """The authority's certificate for the exchange of keys (WCCE 3.2.1.4.3.2.15), or none."""
    if A.lie == "no-exchange":
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    b = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, A.name + "-Xchg")]))
         .issuer_name(CA.subject).public_key(EXCHANGE_KEY.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(now - datetime.timedelta(minutes=10)).not_valid_after(now + datetime.timedelta(days=7)))
    return b.sign(OTHER_KEY if A.lie == "other-exchange" else CAKEY, hashes.SHA256()).public_bytes(DER)


def find_csr(data):
    if data[:1] != b"\x30":                                          # PEM or bare base64
        t = re.sub(rb"-----[^-]+-----|\s", b"", data)
        try:
            data = base64.b64decode(t, validate=True)
        except Exception:
            return None
    for i in range(0, min(len(data), 4096)):                         # the PKCS#10 may sit inside a CMC or PKCS#7 message
        if data[i] == 0x30 and i + 4 < len(data):
            n = data[i + 1]
            ln = 2 + n if n < 0x80 else 2 + (n & 0x7F) + int.from_bytes(data[i + 2:i + 2 + (n & 0x7F)], "big") if n & 0x7F <= 3 else 0
            if 64 < ln <= len(data) - i:
                try:
                    return x509.load_der_x509_csr(data[i:i + ln])
                except Exception:
                    pass
    return None


def find_old(data):
    """The certificate of this authority that a renewal was signed with, and its security identifier."""
    for i in range(0, len(data)):
        if data[i] == 0x30 and data[i + 1:i + 2] == b"\x82":
            ln = 4 + int.from_bytes(data[i + 2:i + 4], "big")
            if ln <= len(data) - i:
                try:
                    cert = x509.load_der_x509_certificate(data[i:i + ln])
                    if cert.issuer != CA.subject:
                        continue
                    CA.public_key().verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(cert.signature_hash_algorithm))
                except Exception:
                    continue
                for e in cert.extensions:
                    if e.oid.dotted_string == "1.3.6.1.4.1.311.25.2":
                        return cert, re.search(rb"S-1-[0-9-]+", e.value.public_bytes()).group(0).decode()
                return cert, None
    return None, None


def find_requester(data):
    """For whom an enrollment agent of this authority has signed, or an error; None if nobody says so. OpenSSL judges the signature."""
    named = re.search(rb"\x1e\x1a" + re.escape("requestername".encode("utf-16be")) + rb"\x1e(.)", data, re.S)
    if not named:
        return None, 0
    value = data[named.end():named.end() + named.group(1)[0]].decode("utf-16be")
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        open(path("request"), "wb").write(data)
        ran = subprocess.run(["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", path("request"), "-CAfile", A.ca, "-purpose", "any",
                              "-signer", path("signer"), "-out", path("content")], capture_output=True, text=True)
        if ran.returncode:
            log(agent="refused", why=ran.stderr[-300:])
            return None, 0x8009480B                                  # CERTSRV_E_SIGNATURE_REJECTED
        signer = x509.load_pem_x509_certificate(open(path("signer"), "rb").read())
    purposes = [p.dotted_string for e in signer.extensions if isinstance(e.value, x509.ExtendedKeyUsage) for p in e.value]
    if "1.3.6.1.4.1.311.20.2.1" not in purposes:
        return None, 0x8009480B
    return value, 0


def template_oid(value):
    """The identifier at the start of 1.3.6.1.4.1.311.21.7 (WCCE 2.2.2.7.7.2), dotted."""
    octets, arcs, arc = value[4:4 + value[3]], [], 0
    for octet in octets:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    return ".".join(map(str, [arcs[0] // 40, arcs[0] % 40] + arcs[1:]))


def template_of(csr, attribs):
    m = re.search(r"CertificateTemplate:\s*([^\r\n\0]+)", attribs or "", re.I)
    if m:
        return m.group(1).strip()
    for e in csr.extensions:
        if e.oid.dotted_string == "1.3.6.1.4.1.311.20.2":
            v = e.value.public_bytes()
            return v[2:].decode("utf-16be" if v[0] == 0x1E else "utf-8", "replace")
        if e.oid.dotted_string == "1.3.6.1.4.1.311.21.7":
            return TEMPLATES.get(template_oid(e.value.public_bytes()), "v2-oid")
    return ""


OTHER_KEY, EXCHANGE_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def sid_extension(sid):                                              # MS-WCCE 2.2.2.7.7.4, by hand
    tlv = lambda tag, v: bytes([tag, len(v)]) + v
    value = tlv(0x04, sid.encode())
    other = tlv(0x06, bytes.fromhex("2b060104018237190201")) + tlv(0xA0, value)
    return x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.311.25.2"), tlv(0x30, tlv(0xA0, other)))


def sign(csr, template, sid, how=None, who="nobody"):
    subject = csr.subject if len(list(csr.subject)) else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who.split("@")[0])])
    how = how or template
    asked, names = how.startswith("Asked"), []
    upn = lambda name: x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), bytes([0x0C, len(name)]) + name.encode())
    if asked:
        names = [n for e in csr.extensions if isinstance(e.value, x509.SubjectAlternativeName) for n in e.value]
        more = [x509.NameAttribute(x509.NameOID.COMMON_NAME, "dc1.corp.test")] if how == "AskedCn" else []
        more += [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Corp")] if how == "AskedMore" else []
        subject = x509.Name(more + list(csr.subject))
    names = names[:1] if how == "AskedFewer" else names
    names += [x509.DNSName("dc1.corp.test")] if how in ("AskedDns", "NamedDns") else []
    names += [upn("administrator@corp.test")] if how in ("AskedUpn", "NamedUpn") else []
    names += [x509.RFC822Name("boss@corp.test")] if how == "NamedMail" else []
    names += [x509.UniformResourceIdentifier("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500")] if how == "NamedUri" else []
    names += [upn(who)] if how == "Named" else []
    now = datetime.datetime.now(datetime.timezone.utc)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Another CA")]) if how == "WrongIssuer" else CA.subject
    key = OTHER_KEY.public_key() if how == "WrongKey" else csr.public_key()
    b = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
         .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=10))
         .not_valid_after(now + datetime.timedelta(days=365))
         .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
         .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), False)
         .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(CA.public_key()), False))
    if not asked or how in ("AskedOwnSid", "AskedOtherSid"):
        b = b.add_extension(sid_extension("S-1-5-21-1-2-3-500" if how in ("WrongSid", "AskedOtherSid") else sid), False)
    if names:
        b = b.add_extension(x509.SubjectAlternativeName(names), False)
    by_oid = [e for e in csr.extensions if e.oid.dotted_string == "1.3.6.1.4.1.311.21.7"]
    if by_oid:
        b = b.add_extension(x509.UnrecognizedExtension(by_oid[0].oid, by_oid[0].value.public_bytes()), False)
    elif template:
        name = template.encode("utf-16be")
        b = b.add_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.311.20.2"), bytes([0x1E, len(name)]) + name), False)
    return b.sign(OTHER_KEY if how in ("OtherSigner", "WrongIssuer") else CAKEY, hashes.SHA256())


def tlv(tag, *parts):
    value = b"".join(parts)
    length = bytes([len(value)]) if len(value) < 0x80 else b"\x82" + struct.pack(">H", len(value))
    return bytes([tag]) + length + value


def full_response(status, words, cert=None):
    """A CMC full PKI response (RFC 5272, WCCE 3.2.1.4.2.1.4.8.2), written by hand and signed by OpenSSL."""
    number = lambda n: tlv(0x02, bytes([n]))
    oid = lambda hexadecimal: tlv(0x06, bytes.fromhex(hexadecimal))
    info = tlv(0x30, number(status), tlv(0x30, number(1)), tlv(0x0C, words.encode()))
    controls = tlv(0x30, number(1), oid("2b06010505070701"), tlv(0x31, info))             # id-cmc-statusInfo
    if cert:
        digest = tlv(0x04, cert.fingerprint(hashes.SHA1()))
        hash_attribute = tlv(0x30, oid("2b0601040182371511"), tlv(0x31, digest))           # 1.3.6.1.4.1.311.21.17
        added = tlv(0x30, number(0), tlv(0x30, number(1)), tlv(0x31, hash_attribute))
        controls += tlv(0x30, number(2), oid("2b0601040182370a0a01"), tlv(0x31, added))    # CMC add attributes
    body = tlv(0x30, tlv(0x30, controls), tlv(0x30), tlv(0x30))
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        open(path("body"), "wb").write(body)
        more = []
        if cert:
            open(path("cert"), "wb").write(cert.public_bytes(serialization.Encoding.PEM))
            more = ["-certfile", path("cert")]
        return subprocess.run(["openssl", "cms", "-sign", "-binary", "-nodetach", "-md", "sha256", "-in", path("body"), "-outform", "DER",
                               "-econtent_type", "1.3.6.1.5.5.7.12.3", "-signer", A.ca, "-inkey", A.ca_key, *more],
                              capture_output=True, check=True).stdout


def answer(flags, status, words, cert=None):
    """What stands in pctbFullResponse: as asked for by the flag 0x00040000, or a chain."""
    return full_response(status, words, cert) if flags & 0x00040000 and A.lie != "chain" else chain(cert) if cert else b""


def chain(cert):
    return pkcs7.serialize_certificates([cert, CA] if cert else [CA], DER)


READ, ENROLL, OFFICER, ADMIN = 0x100, 0x200, 0x2, 0x1
ROLES = {k: int(v, 0) for k, v in (pair.split("=") for pair in A.roles.split(",") if pair)}


def role(who):
    return ROLES.get(who.split("@")[0], ENROLL)


def now_filetime():
    return int((time.time() + 11644473600) * 10_000_000)


def cert_server_request(flags, authority, request_id, attribs, request, who):
    """The common part of ICertPassage::CertServerRequest and ICertRequestD(2)::Request(2).
    -> hresult, request id, disposition, chain, certificate, message"""
    msg = lambda s: (s + "\0").encode("utf-16le")
    if authority and authority.lower() != A.name.lower():
        return 0x80070057, 0, 0, b"", b"", b""                       # E_INVALIDARG
    if not request and request_id:                                   # retrieve
        with CALOCK:
            st = REQUESTS.get(request_id)
            if not st:
                return 0, request_id, 0x80094004, b"", b"", msg("no such request")   # CERTSRV_E_PROPERTY_EMPTY
            if st["state"] == "pending":
                st["polls"] += 1
                if st["polls"] < 2:
                    return 0, request_id, 5, answer(flags, 3, "Taken Under Submission"), b"", msg("Taken Under Submission")
                st["cert"], st["state"] = sign(st["csr"], st["template"], st["sid"], who=who), "issued"
            if st["state"] == "issued":
                return 0, request_id, 3, answer(flags, 0, "Issued", st["cert"]), st["cert"].public_bytes(DER), msg("Issued")
            return 0, request_id, 2, b"", b"", msg("Denied by Policy Module")
    if not role(who) & ENROLL and not flags & 0x200000:
        return 0x80070005, 0, 0, b"", b"", b""                       # E_ACCESSDENIED
    csr = find_csr(request)
    with CALOCK:
        rid = NEXT_ID[0]
        NEXT_ID[0] += 1
    if csr is None or not csr.is_signature_valid:
        return 0, rid, 0x8009310B, b"", b"", msg("ASN1 bad tag value met.")          # CRYPT_E_ASN1_BADTAG
    sid = SIDS.get(who, A.sid)
    if flags & 0x00200000:                                           # renewal on behalf of another (WCCE 3.2.2.6.2.1.2.4)
        if not A.renew_on_behalf:
            return 0x80070005, 0, 0, b"", b"", b""                   # E_ACCESSDENIED
        old, sid = find_old(request)
        if old is None:
            return 0, rid, 0x8009400E, b"", b"", msg("The request is no renewal.")   # CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE
        log(on_behalf=rid, by=who, end_entity=sid)
    requester, refused = find_requester(request)
    if refused:
        return 0, rid, refused, b"", b"", msg("The signature of the agent is no good.")
    if requester:
        log(agent=rid, by=who, requester=requester)
        who, sid = requester, SIDS.get(requester, A.sid)
    name = template_of(csr, attribs)
    t = BEHAVE.get(name, name)
    if t == "HResult":
        return 0x80094011, 0, 0, b"", b"", b""                       # CERTSRV_E_ENROLL_DENIED
    if t == "Slow":
        time.sleep(3)
    if t in ("Drop", "Half"):
        raise Cut(t)
    if t in ("Unsigned", "Signed"):
        raise Fault(5, sealed=t == "Signed")
    st = dict(csr=csr, template=name, sid=sid or A.sid, state="issued", polls=0, cert=None, raw=request, who=who, when=now_filetime(), resolved=now_filetime(),
              message="Issued", status=0)
    REQUESTS[rid] = st
    if t in ("Denied", "Failed"):
        st["message"], st["status"] = "Denied by Policy Module", 0x80094012
    if t == "Denied":
        st["state"] = "denied"
        return 0, rid, 2, answer(flags, 2, "Denied by Policy Module"), b"", msg("Denied by Policy Module")
    if t == "Failed":
        st["state"] = "denied"
        return 0, rid, 0x80094012, b"", b"", msg("The permissions on the certificate template do not allow the current user to enroll")
    if t in ("Pending", "LostPending", "LostAll"):
        st["state"], st["resolved"], st["message"] = "pending", 0, "Taken Under Submission"
        if t != "Pending":
            st["raw"] = None if t == "LostPending" else request
            raise Cut(t)
        return 0, rid, 5, answer(flags, 3, "Taken Under Submission"), b"", msg("Taken Under Submission")
    st["cert"] = sign(csr, name, sid or A.sid, t, who)
    if t == "Garbage":
        return 0, rid, 3, b"", bytes(range(200)), msg("Issued")
    if t == "Empty":
        return 0, rid, 3, b"", b"", msg("Issued")
    if t == "Truncated":
        raise Short(rid)
    if t.startswith("Lost"):
        st["raw"] = None if t == "LostBare" else request
        st["who"] = "mallory@CORP.TEST" if t == "LostAlien" else who
        st["template"] = "Other" if t == "LostOther" else name
        raise Cut(t)
    if t == "Forged":
        raise Fault(5)
    return 0, rid, 3, answer(flags, 0, "Issued", st["cert"]), st["cert"].public_bytes(DER), msg("Issued")


def ca_property(prop, index, typ):
    s = lambda v: (v + "\0").encode("utf-16le")
    n = lambda v: struct.pack("<I", v)
    table = {1: s("6.3:9600.17415"), 2: s("6.3.9600.17415"), 3: n(1), 5: s("test"), 6: s(A.name), 7: s(A.name), 10: n(1), 11: n(1),
             12: CA.public_bytes(DER), 13: chain(None), 14: n(1), 15: exchange(), 19: b"\x03", 20: b"\x03", 21: n(0x32),
             22: s(A.host), 23: n(0), 28: n(1), 29: s("User\n1.3.6.1.4.1.311.21.8.1.1\nMachine\n1.3.6.1.4.1.311.21.8.1.2\n"),
             34: n(0), 39: n(0), 40: s(A.name)}
    return table.get(prop)


# ---------------------------------------------------------------- one security context
class Gss:
    """Kerberos, or SPNEGO carrying Kerberos, straight on MIT's library (three legs in DCE style)."""

    def __init__(self):
        import gssapi
        self.g = gssapi

        class Ctx(gssapi.SecurityContext):
            pass
        Ctx.__DEFER_STEP_ERRORS__ = False                            # the metaclass sets it to True at definition
        self.c = Ctx(usage="accept")

    loose = False

    def step(self, tok):
        if self.loose:
            return self.loose_step(tok)
        try:
            return self.c.step(tok)
        except self.g.exceptions.GSSError as x:
            # Windows takes a DCE-style AP-REQ inside the RFC 2743 frame as well; MIT's library only takes it bare.
            # impacket sends it framed, so carry the SPNEGO layer here and hand the bare AP-REQ to the mechanism.
            if not (tok[:1] == b"\x60" and x.maj_code == 589824):
                raise
            self.c, self.loose = self.c.__class__(usage="accept"), True
            return self.loose_step(tok)

    def loose_step(self, tok):
        def tlv(tag, v):
            n = len(v)
            ln = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else b"\x82" + n.to_bytes(2, "big")
            return bytes([tag]) + ln + v

        if tok[:1] == b"\x60":
            i = tok.index(b"\x6e\x82")                               # the AP-REQ
            self.mech = MSKRBOID if MSKRBOID in tok[:60] else KRB5OID
            out = self.c.step(tok[i:i + 4 + int.from_bytes(tok[i + 2:i + 4], "big")])
            return tlv(0xA1, tlv(0x30, tlv(0xA0, b"\x0a\x01\x01") + tlv(0xA1, tlv(6, self.mech)) + tlv(0xA2, tlv(4, out))))
        i = tok.index(b"\x6f")                                       # the third leg's AP-REP
        n = tok[i + 1]
        self.c.step(tok[i:i + 2 + n] if n < 128 else tok[i:i + 3 + tok[i + 2]])
        return tlv(0xA1, tlv(0x30, tlv(0xA0, b"\x0a\x01\x00")))

    complete = property(lambda self: self.c.complete)
    flags = property(lambda self: int(self.c.actual_flags))

    def who(self):
        return str(self.c.initiator_name), "kerberos" + (" dce-style" if self.flags & 0x1000 else "") + (
            " delegated-tgt" if self.c.delegated_creds is not None else "")

    def iov(self, hdr, data, tr, tok, whole):
        from gssapi.raw import IOV, IOVBufferType as T
        b = [(T.data, False, data)]
        if whole:
            b = [(T.sign_only, False, hdr)] + b + [(T.sign_only, False, tr)]
        b.append((T.header, False, tok) if tok is not None else T.header)
        v = IOV(*b, std_layout=False)
        return v, v[1 if whole else 0], v[len(b) - 1]

    def unwrap(self, hdr, data, tr, tok, whole):
        v, d, h = self.iov(hdr, data, tr, tok, whole)
        r = self.g.raw.unwrap_iov(self.c, v)
        if not r.encrypted:
            raise ValueError("not encrypted")
        return d_value(v, 1 if whole else 0)

    def wrap(self, hdr, data, tr, whole):
        v, d, h = self.iov(hdr, data, tr, None, whole)
        self.g.raw.wrap_iov(self.c, v, True, None)
        return d_value(v, 1 if whole else 0), d_value(v, 3 if whole else 1)

    def token_length(self, hdr, data, tr, whole):
        v, d, h = self.iov(hdr, data, tr, None, whole)
        self.g.raw.wrap_iov_length(self.c, v, True, None)
        x = v[3 if whole else 1]
        return x.value if isinstance(x.value, int) else len(x.value or b"")

    def sign(self, data):
        return self.g.raw.get_mic(self.c, data)

    def verify(self, data, mic):
        self.g.raw.verify_mic(self.c, data, mic)


def d_value(v, i):
    return v[i].value or b""


class Sec:
    def __init__(self, typ, level, ctxid, hdr):
        self.type, self.level, self.ctxid, self.hdr = typ, level, ctxid, hdr
        self.ctx = Gss()
        self.whole = hdr

    def step(self, tok):
        return self.ctx.step(tok)

    @property
    def done(self):
        return self.ctx.complete

    def who(self):
        return self.ctx.who()

    def token_length(self, hdr, data, tr):
        if self.level == 6:
            return self.ctx.token_length(hdr, data, tr, self.whole)
        return 28                                                    # RFC 4121 MIC with a 12 octet checksum

    def unprotect(self, hdr, data, tr, tok):
        if self.level == 6:
            return self.ctx.unwrap(hdr, data, tr, tok, self.whole)
        self.ctx.verify(hdr + data + tr if self.whole else data, tok)
        return data

    def protect(self, hdr, data, tr):
        if self.level == 6:
            return self.ctx.wrap(hdr, data, tr, self.whole)
        return data, self.ctx.sign(hdr + data + tr if self.whole else data)


# ---------------------------------------------------------------- one connection
class Conn(threading.Thread):
    assoc = [0x100]

    def __init__(self, sock, port, ifaces):
        super().__init__(daemon=True)
        self.s, self.port, self.ifaces = sock, port, ifaces
        self.ctxs, self.sec, self.frags = {}, {}, {}
        self.max_tx = A.max_frag
        Conn.assoc[0] += 1
        self.assoc_id = Conn.assoc[0]

    def recvn(self, n):
        b = b""
        while len(b) < n:
            c = self.s.recv(n - len(b))
            if not c:
                raise EOFError
            b += c
        return b

    def run(self):
        try:
            while True:
                h = self.recvn(16)
                ver, minor, pt, fl, drep, flen, alen, cid = struct.unpack("<BBBB4sHHI", h)
                if ver != 5 or drep[0] != 0x10 or flen < 16:
                    return
                pdu = h + self.recvn(flen - 16)
                if pt in (11, 14):
                    self.bind(pt, fl, pdu, flen, alen, cid)
                elif pt == 16:
                    self.auth3(pdu, flen, alen)
                elif pt == 0:
                    self.request(fl, pdu, flen, alen, cid)
                elif pt in (18, 19):
                    self.frags.pop(cid, None)
        except (EOFError, ConnectionError):
            pass
        except Exception as x:                                       # a broken peer must be visible in the log
            log(event="error", error=repr(x))
            import traceback
            traceback.print_exc()
        finally:
            self.s.close()

    def verifier(self, pdu, flen, alen):
        o = flen - alen - 8
        t, l, pad, _, cid = struct.unpack("<BBBBI", pdu[o:o + 8])
        return o, t, l, pad, cid, pdu[o + 8:flen]

    def bind(self, pt, fl, pdu, flen, alen, cid):
        mtx, mrx, assoc, n = struct.unpack("<HHIB3x", pdu[16:28])
        if pt == 11:                                                 # an alter_context may say 0 here
            self.max_tx = min(self.max_tx, mrx if mrx >= 512 else 1432)
        p, results = 28, []
        for _ in range(n):
            ctx, nt = struct.unpack("<HBx", pdu[p:p + 4])
            abstract, p = pdu[p + 4:p + 24], p + 24
            ts = [pdu[p + 20 * i:p + 20 * i + 20] for i in range(nt)]
            p += 20 * nt
            if ts and ts[0][:8] == BTFN:
                results.append((3, 3, b"\0" * 20))                   # bind time features: multiplexing, keep on orphan
            elif abstract[:16] not in self.ifaces:
                results.append((2, 1, b"\0" * 20))                   # abstract syntax not supported
            elif NDR not in ts:
                results.append((2, 2, b"\0" * 20))                   # NDR64 only: not supported
            else:
                self.ctxs[ctx] = abstract[:16]
                results.append((0, 0, NDR))
        rfl, out, tr = 3, b"", b""
        if A.lie == "other-syntax" and alen:
            results = [(0, 0, U("71710533-beba-4937-8319-b5dbef9ccc36") + struct.pack("<HH", 1, 0))]
        if A.lie == "nak" and alen:
            return self.send(struct.pack("<BBBB4sHHI", 5, 0, 13, 3, b"\x10\0\0\0", 24, 0, cid) + struct.pack("<HBB4x", 8, 1, 5))
        if alen:
            o, t, l, pad, acid, tok = self.verifier(pdu, flen, alen)
            if t not in AUTHN:
                return self.send(struct.pack("<BBBB4sHHI", 5, 0, 13, 3, b"\x10\0\0\0", 24, 0, cid) + struct.pack("<HBB4x", 8, 1, 5))
            sec = self.sec.get(acid)
            if sec is None:
                sec = self.sec[acid] = Sec(t, l, acid, bool(fl & 4))
            try:
                out = sec.step(tok) or b""
            except Exception as x:
                log(event="auth-failed", auth=AUTHN[t], error=str(x)[:200], because=repr(x.__context__)[:300])
                if pt == 14:
                    return self.fault(cid, 0, 5)
                return self.send(struct.pack("<BBBB4sHHI", 5, 0, 13, 3, b"\x10\0\0\0", 24, 0, cid) + struct.pack("<HBB4x", 8, 1, 5))
            if sec.hdr and A.lie != "no-header-signing":
                rfl |= 4
            if A.lie == "no-token":
                out = b""
            if out:
                tr = struct.pack("<BBBBI", 10 if A.lie == "ntlm" else t, 5 if A.lie == "level" else l, 0, 0, acid)
        addr = (str(self.port) + "\0").encode() if pt == 11 else b""
        body = struct.pack("<HHIH", min(mtx or A.max_frag, A.max_frag), min(mrx or A.max_frag, A.max_frag), assoc or self.assoc_id, len(addr)) + addr
        body += b"\0" * (-(16 + len(body)) % 4)
        body += struct.pack("<B3x", len(results)) + b"".join(struct.pack("<HH", a, b) + c for a, b, c in results)
        self.send(struct.pack("<BBBB4sHHI", 5, 0, 12 if pt == 11 else 15, rfl, b"\x10\0\0\0", 16 + len(body) + len(tr) + len(out), len(out), cid)
                  + body + tr + out)

    def auth3(self, pdu, flen, alen):
        o, t, l, pad, acid, tok = self.verifier(pdu, flen, alen)
        sec = self.sec.get(acid)
        if sec:
            try:
                sec.step(tok)
            except Exception as x:
                sec.failed = True
                log(event="auth-failed", auth=AUTHN[t], error=str(x)[:200], because=repr(x.__context__)[:300])

    def request(self, fl, pdu, flen, alen, cid):
        hint, ctx, op = struct.unpack("<IHH", pdu[16:24])
        ho = 40 if fl & 0x80 else 24
        obj = pdu[24:40] if fl & 0x80 else None
        sec, end = None, flen
        if alen:
            o, t, l, pad, acid, tok = self.verifier(pdu, flen, alen)
            sec, end = self.sec.get(acid), o
            if sec is None:
                return self.fault(cid, ctx, 0x1C01000B)
        elif self.sec:
            sec = next(iter(self.sec.values()))
            if sec.level > 2:
                return self.fault(cid, ctx, 5)                       # unprotected call on a protected association
        if sec and (getattr(sec, "failed", False) or not sec.done):
            return self.fault(cid, ctx, 5)
        data = pdu[ho:end]
        if alen and sec.level >= 4:
            try:
                data = sec.unprotect(pdu[:ho], data, pdu[end:end + 8], pdu[end + 8:flen])
            except Exception as x:
                log(event="bad-verifier", error=str(x)[:200], level=LEVEL.get(sec.level), hdr=sec.hdr)
                return self.fault(cid, ctx, 0x00000721)              # RPC_S_SEC_PKG_ERROR
            data = data[:len(data) - pad] if pad else data
        if fl & 1:
            self.frags[cid] = (ctx, op, obj, b"")
        c, o_, ob, acc = self.frags.get(cid, (ctx, op, obj, b""))
        self.frags[cid] = (c, o_, ob, acc + data)
        if not fl & 2:
            return
        c, o_, ob, stub = self.frags.pop(cid)
        iface = self.ctxs.get(c)
        try:
            if iface is None:
                raise Fault(0x1C010003)
            if A.lie == "close" and sec:
                raise Cut("close")
            answer = dispatch(self, iface, o_, ob, stub, sec)
            if A.lie == "unsealed" and sec:
                sec = None
            self.respond(cid, c, answer, sec)
            if A.lie == "replay":
                self.send(self.last)
        except Cut as x:
            log(event="cut", how=str(x))
            if str(x) == "Half":
                self.send(b"\x05\0\x02\x03\x10\0\0\0\xff\0")
            raise ConnectionError
        except Short as x:
            self.respond(cid, c, (orpcthat() if iface == REQD2 else W()).u32(x.args[0], 3, 500, 0x20000, 500).raw(b"x" * 100).get(), sec)
        except Fault as f:
            log(event="fault", status=hex(f.status), opnum=o_, sealed=f.sealed)
            self.fault(cid, c, f.status, sec if f.sealed else None)

    def fault(self, cid, ctx, status, sec=None):
        body, tr, tl = struct.pack("<IHBBII", 0x20, ctx, 0, 0, status, 0), b"", 0
        if sec:
            tr = struct.pack("<BBBBI", sec.type, sec.level, 0, 0, sec.ctxid)
            tl = sec.token_length(b"\0" * 32, b"", tr)
        hdr = struct.pack("<BBBB4sHHI", 5, 0, 3, 0x23, b"\x10\0\0\0", 32 + len(tr) + tl, tl, cid) + body
        self.send(hdr + tr + (sec.protect(hdr, b"", tr)[1] if sec else b""))

    def respond(self, cid, ctx, stub, sec):
        prot = sec and sec.level >= 4
        room = (self.max_tx - 24 - (8 + 128 if prot else 0)) & ~15
        pos, first = 0, True
        while first or pos < len(stub):
            part = stub[pos:pos + room]
            pos += len(part)
            fl = (1 if first else 0) | (2 if pos >= len(stub) else 0)
            first = False
            body = struct.pack("<IHBB", len(stub) - pos + len(part), ctx, 0, 0)
            if not prot:
                self.send(struct.pack("<BBBB4sHHI", 5, 0, 2, fl, b"\x10\0\0\0", 24 + len(part), 0, cid) + body + part)
                continue
            pad = -len(part) % 16
            data = part + b"\0" * pad
            tr = struct.pack("<BBBBI", sec.type, sec.level, pad, 0, sec.ctxid)
            tl = sec.token_length(b"\0" * 24, data, tr)
            hdr = struct.pack("<BBBB4sHHI", 5, 0, 2, fl, b"\x10\0\0\0", 24 + len(data) + 8 + tl, tl, cid) + body
            enc, tok = sec.protect(hdr, data, tr)
            if len(tok) != tl:
                raise RuntimeError(f"token length {len(tok)} instead of {tl}")
            self.send(hdr + enc + tr + tok)

    def send(self, b):
        self.last = b
        self.s.sendall(b)


# ---------------------------------------------------------------- calls
def caller(sec):
    if not sec:
        return dict(who="anonymous", auth="none", level="none", hdr=False)
    who, proto = sec.who()
    return dict(who=who, auth=AUTHN[sec.type], proto=proto, level=LEVEL.get(sec.level), hdr=sec.hdr)


def orpcthis(r):
    maj, mnr, flags, res = r.u16(), r.u16(), r.u32(), r.u32()
    cid = r.guid()
    if r.u32():                                                      # extensions
        size, _, ptr = r.u32(), r.u32(), r.u32()
        if ptr:
            ptrs = [r.u32() for _ in range(r.u32())]
            for p in ptrs:
                if p:
                    n = r.u32()
                    r.guid(), r.u32(), r.raw(n)
    return (maj, mnr), flags, cid


def orpcthat(w=None):
    w = w or W()
    return w.u32(0, 0)


def dispatch(conn, iface, op, obj, stub, sec):
    r = R(stub)
    if iface == EPM:
        return ept(op, r)
    if iface == OBJEXP:
        return objexp(op, r, sec)
    if iface == ACTIVATOR:
        return activate(op, r, sec)
    if iface == ICPR:
        if op != 0:
            raise Fault(0x1C010002)
        check_level(sec)
        flags, auth, rid, att, req = r.u32(), r.wstr(), r.u32(), r.blob(), r.blob()
        att = att.decode("utf-16le", "replace").split("\0")[0]
        hr, rid2, disp, ch, cert, msg = cert_server_request(flags, auth, rid, att, req, caller(sec).get("who"))
        log(call="ICertPassage.CertServerRequest", flags=hex(flags), authority=auth, request_id=rid, attributes=att, request_len=len(req),
            request_sha256=hashlib.sha256(req).hexdigest(), hresult=hex(hr), disposition=hex(disp), issued_id=rid2, **caller(sec))
        return W().u32(rid2, disp).blob(ch).blob(cert).blob(msg).u32(hr).get()
    # object calls
    this = orpcthis(r)
    if iface in (REMUNK, REMUNK2):
        if obj != IPID_REMUNK:
            raise Fault(0x80010108)                                  # RPC_E_DISCONNECTED
        check_level(sec)
        return remunk(op, r, obj)
    if iface in (REQD, REQD2, ADMD, ADMD2, UNKNOWN):
        if obj not in IPIDS or IPIDS[obj][0] != iface:
            raise Fault(0x80010108)                                  # RPC_E_DISCONNECTED
        if iface == REQD and op > 5 or iface == ADMD and op > 30:
            raise Fault(0x1C010002)
        if iface in (ADMD, ADMD2):
            return certadmin(op, r, sec, obj)
        return certrequest(op, r, sec, this)
    raise Fault(0x1C010003)


def check_level(sec):
    if not sec or sec.level < 6:
        raise Fault(5)


def certrequest(op, r, sec, this):
    check_level(sec)
    w = orpcthat()
    if op == 3:
        flags, auth, rid, att, req = r.u32(), r.wstr(), r.u32(), r.wstr(), r.blob()
        hr, rid2, disp, ch, cert, msg = cert_server_request(flags, auth, rid, att, req, caller(sec).get("who"))
        log(call="ICertRequestD.Request", flags=hex(flags), authority=auth, request_id=rid, attributes=att, request_len=len(req),
            request_sha256=hashlib.sha256(req).hexdigest(), hresult=hex(hr), disposition=hex(disp), issued_id=rid2, version=this[0], **caller(sec))
        return w.u32(rid2, disp).blob(ch).blob(cert).blob(msg).u32(hr).get()
    if op == 4:
        what, auth = r.u32(), r.wstr()
        log(call="ICertRequestD.GetCACert", fchain=hex(what), authority=auth, **caller(sec))
        s = lambda v: (v + "\0").encode("utf-16le")
        out = {0: CA.public_bytes(DER), 1: exchange()}.get(what)
        if what == 0x6E616D65:                                       # GETCERT_CANAME
            out = s(A.name)
        elif what == 0x6361696E:                                     # GETCERT_CAINFO
            out = struct.pack("<12I", 48, 1, 1, 1, 0x32, 0, 0, 0, 0, 0, 0, 0)
        return w.blob(out or b"").u32(0 if out else 0x80070057).get()
    if op in (5, 9):
        auth = r.wstr()
        log(call="Ping" if op == 5 else "Ping2", authority=auth, **caller(sec))
        return w.u32(0).get()
    if op == 6:
        auth, flags, serial, rid, att, req = r.wstr(), r.u32(), r.wstr(), r.u32(), r.wstr(), r.blob()
        hr, rid2, disp, ch, cert, msg = cert_server_request(flags, auth, rid, att, req, caller(sec).get("who"))
        log(call="ICertRequestD2.Request2", flags=hex(flags), authority=auth, serial=serial, request_id=rid, attributes=att,
            request_len=len(req), hresult=hex(hr), disposition=hex(disp), issued_id=rid2, version=this[0], **caller(sec))
        return w.u32(rid2, disp).blob(ch).blob(cert).blob(msg).u32(hr).get()
    if op == 7:
        auth, prop, index, typ = r.wstr(), r.u32(), r.u32(), r.u32()
        v = ca_property(prop, index, typ)
        log(call="ICertRequestD2.GetCAProperty", authority=auth, prop=prop, index=index, type=typ, found=v is not None, **caller(sec))
        if not role(sec.who()[0]) & ENROLL:
            return w.blob(b"").u32(0x80070005).get()
        return w.blob(v or b"").u32(0 if v is not None else 0x80070057).get()
    if op == 8:
        log(call="ICertRequestD2.GetCAPropertyInfo", authority=r.wstr(), **caller(sec))
        return w.u32(0).blob(b"").u32(0).get()
    raise Fault(0x1C010002)


# ---------------------------------------------------------------- officers (MS-CSRA)
# Numbers of the Request table of Windows Server 2012 and later: number, type, largest, name, display name.
COLUMNS = [(0x1000, 0x10001, 4, "Request.RequestID", "Request ID"), (0x1001, 3, 65536, "Request.RawRequest", "Binary Request"),
           (0x1005, 4, 32768, "Request.RequestAttributes", "Request Attributes"), (0x1008, 1, 4, "Request.StatusCode", "Request Status Code"),
           (0x1009, 0x10001, 4, "Request.Disposition", "Request Disposition"), (0x100A, 4, 8192, "Request.DispositionMessage", "Request Disposition Message"),
           (0x100B, 0x10002, 8, "Request.SubmittedWhen", "Request Submission Date"), (0x100C, 0x10002, 8, "Request.ResolvedWhen", "Request Resolution Date"),
           (0x1010, 0x10004, 2048, "Request.RequesterName", "Requester Name"), (0x2000, 0x10001, 4, "RequestID", "Issued Request ID"),
           (0x2001, 3, 16384, "RawCertificate", "Binary Certificate"),
           (0x2003, 0x10004, 254, "CertificateTemplate", "Certificate Template"), (0x2007, 0x10004, 128, "SerialNumber", "Serial Number"),
           (0x200C, 3, 4096, "RawPublicKey", "Binary Public Key")]
STATES = {"pending": 9, "issued": 20, "revoked": 21, "denied": 31}
VIEWS = {}                                                           # ipid -> rows


def key_octets(key):
    """What stands in the BIT STRING of a SubjectPublicKeyInfo."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return key.public_bytes(DER, serialization.PublicFormat.PKCS1)


def cell(rid, st, number):
    """-> the value of a column, None if it is empty."""
    return {0x1000: rid, 0x2000: rid if st["cert"] else None,
            0x2001: st["cert"].public_bytes(DER) if st["cert"] else None, 0x1001: st["raw"], 0x1008: st["status"], 0x1009: STATES[st["state"]],
            0x100A: st["message"], 0x100B: st["when"], 0x100C: st["resolved"] or None, 0x1010: "CORP\\" + st["who"].split("\\")[-1].split("@")[0],
            0x2003: st["template"] or None, 0x2007: serial(st), 0x1005: None,
            0x200C: key_octets(st["cert"].public_key()) if st["cert"] else None}[number]


def serial(st):
    return st["cert"].serial_number.to_bytes(20, "big").lstrip(b"\0").hex() if st["cert"] else None


def encoded(kind, v):
    if v is None:
        return b""
    return {1: lambda: struct.pack("<I", v), 2: lambda: struct.pack("<Q", v), 3: lambda: v, 4: lambda: (v + "\0").encode("utf-16le")}[kind & 0xFF]()


def decoded(kind, b):
    return {1: lambda: struct.unpack("<I", b)[0], 2: lambda: struct.unpack("<Q", b)[0], 3: lambda: b, 4: lambda: b.decode("utf-16le").rstrip("\0")}[kind & 0xFF]()


def marshal(rows, columns, first, count):
    """2.2.3.1: the rows, and at the end one more with the number of all and its inverse. -> fetched, octets, result"""
    out, part = b"", rows[first - 1:first - 1 + count]
    for rid, st in part:
        head, data = b"", b""
        for c in columns:
            kind = next(k for n, k, *_ in COLUMNS if n == c)
            v = encoded(kind, cell(rid, st, c))
            head += struct.pack("<IIII", kind, c, 12 + 16 * len(columns) + len(data), len(v))
            data += v + b"\0" * (-len(v) % 4)
        out += struct.pack("<III", rid, len(columns), 12 + len(head) + len(data)) + head + data
    end = first - 1 + count >= len(rows)
    if end:
        out += struct.pack("<III", len(rows), ~len(rows) & 0xFFFFFFFF, 0)
    return len(part), out, 1 if end else 0


def certadmin(op, r, sec, obj):
    check_level(sec)
    w, who = orpcthat(), sec.who()[0]
    mine, auth = role(who), r.wstr()
    may = lambda mask: bool(mine & mask)
    right = auth.lower() == A.name.lower()
    named = lambda **kw: log(authority=auth, **kw, **caller(sec))
    if op in (5, 6):                                                 # ResubmitRequest, DenyRequest
        rid = r.u32()
        named(call="ICertAdminD.ResubmitRequest" if op == 5 else "ICertAdminD.DenyRequest", request_id=rid)
        st = REQUESTS.get(rid)
        result = 0 if right and may(OFFICER) else 0x80070005 if right else 0x80070057
        waiting = st and st["state"] in ("pending", "denied") and (op == 5 or st["state"] == "pending")
        if op == 5:
            disp = 0x80094004 if not st else 3 if waiting else 0x80094003
            if not result and disp == 3:
                st["cert"], st["state"], st["message"], st["resolved"] = sign(st["csr"], st["template"], st["sid"], who=st["who"]), "issued", "Resubmitted by CORP\\" + who.split("@")[0], now_filetime()
            return w.u32(0 if result else disp, result).get()
        if not result and not waiting:
            result = 0x80094003 if st else 0x80094004
        if not result:
            st["state"], st["status"], st["message"], st["resolved"] = "denied", 0x80094014, "Denied by CORP\\" + who.split("@")[0], now_filetime()
        return w.u32(result).get()
    if op == 10:                                                     # RevokeCertificate
        number, reason, low, high = r.wstr(), r.u32(), r.u32(), r.u32()
        named(call="ICertAdminD.RevokeCertificate", serial=number, reason=reason, since=(high << 32 | low) // 10_000_000 - 11644473600)
        if not may(OFFICER):
            return w.u32(0x80070005).get()
        st = next((s for s in REQUESTS.values() if serial(s) == number), None)
        if not right or not st or reason not in (0, 1, 2, 3, 4, 5, 6, 8, 0xFFFFFFFF):
            return w.u32(0x80070057).get()
        held = st["state"] == "revoked" and st.get("reason") == 6
        if reason == 0xFFFFFFFF and not held or st["state"] not in ("issued", "revoked") or st["state"] == "revoked" and reason == 6 and not held:
            return w.u32(0x8007000D).get()
        st["state"], st["reason"] = "issued" if reason == 0xFFFFFFFF else "revoked", reason
        st["message"] = "Revoked by CORP\\" + who.split("@")[0]
        return w.u32(0).get()
    if op == 11:                                                     # EnumViewColumn
        first, count = r.u32(), r.u32()
        named(call="ICertAdminD.EnumViewColumn", first=first, count=count)
        if not may(READ | ENROLL | OFFICER | ADMIN):
            return w.u32(0).blob(b"").u32(0x80070005).get()
        part, head, texts = COLUMNS[first:first + count], b"", b""
        for number, kind, largest, name, display in part:
            offsets = []
            for text in (name, display):
                offsets.append(20 * len(part) + len(texts))
                texts += (text + "\0").encode("utf-16le")
                texts += b"\0" * (-len(texts) % 4)
            head += struct.pack("<IIIII", kind, number, largest, *offsets)
        return w.u32(len(part)).blob(head + texts).u32(0).get()
    if op == 14:                                                     # OpenView
        limits = []
        count = r.u32()
        heads = [(r.u32(), r.u32(), r.u32(), r.u32(), r.u32()) for _ in range(r.u32())]
        for number, seek, order, ptr, length in heads:
            value = b""
            if ptr:
                n = r.u32()
                value = r.raw(n)[:length]
                r.align(4)
            limits.append((number, seek, order, value))
        r.u32()
        columns = [r.u32() for _ in range(r.u32())]
        first, wanted = r.u32(), r.u32()
        named(call="ICertAdminD.OpenView", restrictions=[[hex(n), s, o] for n, s, o, _ in limits], columns=len(columns), first=first, count=wanted)
        if not may(READ | ENROLL | OFFICER | ADMIN):
            return w.u32(0).blob(b"").u32(0x80070005).get()
        if obj in VIEWS:
            return w.u32(0).blob(b"").u32(0x8000FFFF).get()
        kinds = {n: k for n, k, *_ in COLUMNS}
        if count != len(limits) or len([1 for _, _, o, _ in limits if o]) > 1 or not right or any(c not in kinds for c in columns + [n for n, *_ in limits]):
            return w.u32(0).blob(b"").u32(0x80070057).get()
        rows = sorted(REQUESTS.items())
        for number, seek, order, value in limits:
            v = decoded(kinds[number], value)
            test = {1: lambda x: x == v, 2: lambda x: x < v, 4: lambda x: x <= v, 8: lambda x: x >= v, 0x10: lambda x: x > v}[seek]
            rows = [(i, s) for i, s in rows if cell(i, s, number) is not None and test(cell(i, s, number))]
            if order:
                rows.sort(key=lambda one: cell(*one, number), reverse=order == 2)
        VIEWS[obj] = rows, columns
        n, b, result = marshal(rows, columns, first, wanted)
        return w.u32(n).blob(b).u32(result).get()
    if op == 15:                                                     # EnumView
        first, wanted = r.u32(), r.u32()
        named(call="ICertAdminD.EnumView", first=first, count=wanted)
        if obj not in VIEWS:
            return w.u32(0).blob(b"").u32(0x80070006).get()
        n, b, result = marshal(*VIEWS[obj], first, wanted)
        return w.u32(n).blob(b).u32(result).get()
    if op == 16:                                                     # CloseView
        named(call="ICertAdminD.CloseView")
        return w.u32(0 if VIEWS.pop(obj, None) else 0x80070006).get()
    if op == 19:                                                     # GetServerState
        return w.u32(1 if mine else 0, 0).get()
    if op == 32:                                                     # ICertAdminD2::GetCAProperty
        prop, index, typ = r.u32(), r.u32(), r.u32()
        v = ca_property(prop, index, typ)
        named(call="ICertAdminD2.GetCAProperty", prop=prop)
        allowed = may(READ | ENROLL | OFFICER | ADMIN)
        return w.blob(v if v and allowed else b"").u32(0x80070005 if not allowed else 0 if v is not None else 0x80070057).get()
    if op == 47:                                                     # ICertAdminD2::GetMyRoles
        named(call="ICertAdminD2.GetMyRoles", roles=hex(mine))
        allowed = may(READ | ENROLL | OFFICER | ADMIN)
        return w.u32(mine if allowed else 0, 0 if allowed else 0x80070005).get()
    raise Fault(0x1C010002)


def remunk(op, r, obj):
    w = orpcthat()
    if op == 3:                                                      # RemQueryInterface
        ripid, refs, n = r.guid(), r.u32(), r.u16()
        iids = [r.guid() for _ in range(r.u32())]
        w.ptr().u32(n)
        w.align(8)
        bad = 0
        for iid in iids:
            ok = iid in (REQD, REQD2, UNKNOWN)
            bad += not ok
            w.u32(0 if ok else 0x80004002)
            w.align(8)
            w.raw(std_objref(iid, new_ipid(iid)) if ok else b"\0" * 40)
        log(call="RemQueryInterface", iids=[str(uuid.UUID(bytes_le=i)) for i in iids])
        return w.u32(0 if not bad else 1 if bad < n else 0x80004002).get()
    if op in (4, 5):                                                 # RemAddRef, RemRelease
        n = r.u16()
        refs = [(r.guid(), r.u32(), r.u32()) for _ in range(r.u32())]
        if op == 4:
            w.u32(n)
        gone = 0
        for ipid, public, _ in refs:
            if op == 4:
                w.u32(0)
            if ipid not in IPIDS:
                raise Fault(0x80010114)                              # RPC_E_INVALID_OBJECT
            IPIDS[ipid][1] += public if op == 4 else -public
            if IPIDS[ipid][1] <= 0:
                del IPIDS[ipid]
                gone += 1
        log(call="RemAddRef" if op == 4 else "RemRelease", count=n, gone=gone, left=len(IPIDS))
        return w.u32(0).get()
    raise Fault(0x1C010002)


def objexp(op, r, sec):
    w = W()
    if op in (0, 4):                                                 # ResolveOxid, ResolveOxid2
        oxid = r.u64()
        log(call="ResolveOxid", oxid=hex(oxid))
        w.ptr()
        w_dual_string(w, A.port)
        w.raw(IPID_REMUNK).u32(2)
        if op == 4:
            w.u16(5, 7)
        return w.u32(0).get()
    if op == 1:
        return w.u32(0).get()
    if op == 2:                                                      # ComplexPing
        setid = r.u64()
        return w.u64(setid or 0x1234).u16(0).u32(0).get()
    if op == 3:
        return w.u32(0).get()
    if op == 5:                                                      # ServerAlive2
        log(call="ServerAlive2", **caller(sec))
        w.u16(5, 7).ptr()
        w_dual_string(w, A.mapper)
        return w.u32(0).u32(0).get()
    raise Fault(0x1C010002)


def activate(op, r, sec):
    """RemoteGetClassObject (3), RemoteCreateInstance (4)."""
    this = orpcthis(r)
    if op == 4 and r.u32():
        raise Fault(0x000006F7)                                      # aggregation is not offered remotely
    if not r.u32():
        raise Fault(0x000006F7)
    r.u32()
    n = r.u32()
    blob = r.raw(n)
    # OBJREF_CUSTOM: MEOW, 4, iid, clsid, extension, size, then the activation properties
    if blob[:4] != b"MEOW" or struct.unpack("<I", blob[4:8])[0] != 4:
        raise Fault(0x80070057)
    q = R(blob[48:])
    dwsize, _ = q.u32(), q.u32()
    h = R(q.b[q.p:], 16)                                             # custom header after its two serialisation headers
    total, hsize, _, dest, cifs = h.u32(), h.u32(), h.u32(), h.u32(), h.u32()
    h.guid(), h.u32(), h.u32(), h.u32()
    clsids = [h.guid() for _ in range(h.u32())]
    sizes = [h.u32() for _ in range(h.u32())]
    props, p = {}, q.p + hsize
    for c, s in zip(clsids, sizes):
        props[c] = q.b[p:p + s]
        p += s
    ii = R(props[INSTINFO], 16)
    clsid = ii.guid()
    classctx, actv, surrogate, ciid, instflag, piid, thissize = (ii.u32() for _ in range(7))
    ii.u16(), ii.u16()
    iids = [ii.guid() for _ in range(ii.u32())] if piid else []
    ok = clsid in (CLSID_CERTREQUEST, CLSID_CERTADMIN)
    log(call="RemoteCreateInstance" if op == 4 else "RemoteGetClassObject", clsid=str(uuid.UUID(bytes_le=clsid)),
        iids=[str(uuid.UUID(bytes_le=i)) for i in iids], version=this[0], properties=len(clsids), sizes_sum=sum(sizes), total=total, **caller(sec))
    w = orpcthat()
    if not ok or op == 3:
        return w.ptr(False).u32(0x80040154).get()                    # REGDB_E_CLASSNOTREG
    older, newer = (REQD, REQD2) if clsid == CLSID_CERTREQUEST else (ADMD, ADMD2)
    known = (older, UNKNOWN) if A.lie in ("old", "older") else (older, newer, UNKNOWN)
    if A.lie == "older" and not any(i in known for i in iids):
        return w.ptr(False).u32(0x80004002).get()                    # E_NOINTERFACE
    # PropsOutInfo
    b = W()
    b.u32(len(iids)).ptr().ptr().ptr()
    b.u32(len(iids))
    for i in iids:
        b.raw(i)
    hrs = [0 if i in known else 0x80004002 for i in iids]
    b.u32(len(iids)).u32(*hrs)
    b.u32(len(iids))
    for hr in hrs:
        b.ptr(hr == 0)
    for i, hr in zip(iids, hrs):
        if hr == 0:
            o = objref_standard(i, new_ipid(i))
            b.u32(len(o), len(o)).raw(o).align(4)
    out1 = type_serialization(b.get())
    # ScmReplyInfoData
    b = W()
    b.u32(0).ptr()
    b.u64(OXID).ptr().raw(IPID_REMUNK).u32(6).u16(5, 7)
    w_dual_string(b, A.port)
    out2 = type_serialization(b.get())
    hd = W()
    hd.u32(0, 0, 0, 2, 2).raw(b"\0" * 16).ptr().ptr().u32(0)
    hd.u32(2).raw(ACTOUT_CLSID).raw(SCMREPLY).u32(2).u32(len(out1), len(out2))
    hs = len(type_serialization(hd.get()))
    struct.pack_into("<II", hd.b, 0, hs + len(out1) + len(out2), hs)
    data = type_serialization(hd.get()) + out1 + out2
    data = struct.pack("<II", len(data), 0) + data
    ref = b"MEOW" + struct.pack("<I", 4) + ACTOUT_IID + ACTOUT_CLSID + struct.pack("<II", 0, len(data) + 8) + data
    w.ptr().u32(len(ref), len(ref)).raw(ref).align(4)
    return w.u32(0).get()


KNOWN = {ICPR, REQD, REQD2, REMUNK, REMUNK2}


def ept(op, r):
    if op != 3:
        raise Fault(0x1C010002)
    tower = None
    if r.u32():
        r.guid()
    if r.u32():
        n = r.u32()
        r.u32()
        tower = r.raw(n)
    r.align(4)
    r.raw(20)
    r.u32()
    iface = tower[2 + 2 + 1:2 + 2 + 1 + 16]
    known = set() if A.lie == "mapper-none" else KNOWN
    if A.lie == "mapper-garbage":
        return bytes(range(120))
    log(call="ept_map", interface=str(uuid.UUID(bytes_le=iface)), known=iface in known)
    w = W()
    w.raw(b"\0" * 20)
    if iface not in known:
        return w.u32(0).u32(1, 0, 0).u32(0x16C9A0D6).get()           # ept_s_not_registered
    floors = tower[2:]
    f = []
    for _ in range(3):                                               # interface, transfer syntax, protocol: as asked
        a = struct.unpack("<H", floors[:2])[0]
        b = struct.unpack("<H", floors[2 + a:4 + a])[0]
        f.append(floors[:4 + a + b])
        floors = floors[4 + a + b:]
    f.append(struct.pack("<HB", 1, 7) + struct.pack("<H", 2) + struct.pack(">H", A.port))
    f.append(struct.pack("<HB", 1, 9) + struct.pack("<H", 4) + socket.inet_aton(A.ip))
    t = struct.pack("<H", 5) + b"".join(f)
    w.u32(1).u32(1, 0, 1).ptr().u32(len(t), len(t)).raw(t).align(4)
    return w.u32(0).get()


def listener():
    s = socket.socket()
    s.bind((A.ip, 0))
    s.listen(64)
    return s


def serve(s, ifaces):
    while True:
        c, _ = s.accept()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Conn(c, s.getsockname()[1], ifaces).start()


mapper, ca = listener(), listener()
A.mapper, A.port = mapper.getsockname()[1], ca.getsockname()[1]
threading.Thread(target=serve, args=(mapper, {EPM, OBJEXP, ACTIVATOR}), daemon=True).start()
log(mapper=A.mapper, port=A.port)
serve(ca, {ICPR, REQD, REQD2, ADMD, ADMD2, REMUNK, REMUNK2, UNKNOWN})
