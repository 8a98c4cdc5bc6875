#!/usr/bin/env python3
"""Asks an authority over MS-ICPR with Kerberos, for tests of our server's end; it shares no code with it (MIT's library through python-gssapi).

  client.py PORT CA CSR.der [--auth kerberos|spnego] [--level privacy|integrity] [--no-hdr] [--frag N] [--id N] [--template T] [--flags N] [--out FILE]
The host is localhost, the service HOST/localhost. Prints one line; exit 0 when the call was answered. --template '' sends no attributes;
--out writes the response, chain or CMC, and beside it, as FILE.cer, the certificate.
"""
import argparse, socket, struct, sys, uuid

import gssapi
from gssapi.raw import IOV, IOVBufferType, RequirementFlag as F

ap = argparse.ArgumentParser()
ap.add_argument("port", type=int)
ap.add_argument("ca")
ap.add_argument("csr")
ap.add_argument("--auth", default="kerberos", choices=["kerberos", "spnego"])
ap.add_argument("--level", default="privacy", choices=["privacy", "integrity"])
ap.add_argument("--no-hdr", action="store_true", help="do not ask for signed headers")
ap.add_argument("--frag", type=int, default=5840)
ap.add_argument("--template", default="User", help="its name, or attributes as they are sent")
ap.add_argument("--id", type=int, default=0)
ap.add_argument("--flags", type=lambda text: int(text, 0), default=0, help="dwFlags")
ap.add_argument("--out")
A = ap.parse_args()
U = lambda s: uuid.UUID(s).bytes_le
IFACE = (U("91ae6020-9e3c-11cf-8d7c-00aa00c091be"), 0)
TYPE = {"spnego": 9, "kerberos": 16}[A.auth]
LEVEL = {"integrity": 5, "privacy": 6}[A.level]


class Gss:
    def __init__(self):
        krb = gssapi.MechType.kerberos
        fl = F.mutual_authentication | F.integrity | F.confidentiality | F.replay_detection | F.out_of_sequence_detection | F.dce_style
        mech = krb if TYPE == 16 else gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
        name = gssapi.Name("HOST@localhost", gssapi.NameType.hostbased_service)
        self.c = gssapi.SecurityContext(name=name, mech=mech, flags=fl, usage="initiate")

    def step(self, t=None):
        return self.c.step(t)

    done = property(lambda s: s.c.complete)

    def _iov(self, h, d, t, tok, whole):
        T = IOVBufferType
        b = [(T.data, False, d)]
        if whole:
            b = [(T.sign_only, False, h)] + b + [(T.sign_only, False, t)]
        b.append((T.header, False, tok) if tok is not None else T.header)
        return IOV(*b, std_layout=False), (1 if whole else 0), len(b) - 1

    def toklen(self, h, d, t, whole):
        if LEVEL == 5:
            return 28
        v, i, j = self._iov(h, d, t, None, whole)
        gssapi.raw.wrap_iov_length(self.c, v, True, None)
        return v[j].value if isinstance(v[j].value, int) else len(v[j].value or b"")

    def seal(self, h, d, t, whole):
        if LEVEL == 5:
            return d, gssapi.raw.get_mic(self.c, h + d + t if whole else d)
        v, i, j = self._iov(h, d, t, None, whole)
        gssapi.raw.wrap_iov(self.c, v, True, None)
        return v[i].value, v[j].value

    def unseal(self, h, d, t, tok, whole):
        if LEVEL == 5:
            gssapi.raw.verify_mic(self.c, h + d + t if whole else d, tok)
            return d
        v, i, j = self._iov(h, d, t, tok, whole)
        gssapi.raw.unwrap_iov(self.c, v)
        return v[i].value


sock = socket.create_connection(("127.0.0.1", A.port), 10)
sec = Gss()


def recvn(n):
    b = b""
    while len(b) < n:
        c = sock.recv(n - len(b))
        if not c:
            sys.exit("connection closed")
        b += c
    return b


def recv():
    h = recvn(16)
    _, _, pt, fl, _, flen, alen, cid = struct.unpack("<BBBB4sHHI", h)
    return pt, fl, flen, alen, h + recvn(flen - 16)


def bindpdu(pt, tok, cid):
    ndr = U("8a885d04-1ceb-11c9-9fe8-08002b104860") + struct.pack("<HH", 2, 0)
    absx = IFACE[0] + struct.pack("<HH", IFACE[1], 0)
    ctxs = [struct.pack("<HBx", 0, 1) + absx + ndr]
    if pt == 11:
        ctxs.append(struct.pack("<HBx", 1, 1) + absx + U("6cb71c2c-9812-4540-0300-000000000000") + struct.pack("<HH", 1, 0))
    body = struct.pack("<HHIB3x", A.frag, A.frag, 0, len(ctxs)) + b"".join(ctxs)
    tr = struct.pack("<BBBBI", TYPE, LEVEL, 0, 0, 77)
    return struct.pack("<BBBB4sHHI", 5, 0, pt, 3 | (0 if A.no_hdr else 4), b"\x10\0\0\0", 16 + len(body) + 8 + len(tok), len(tok), cid) + body + tr + tok


tok, pt, cid = sec.step(), 11, 1
whole = not A.no_hdr
while tok:
    if pt == 14 and TYPE == 16:                                      # Kerberos ends with auth3
        tr = struct.pack("<BBBBI", TYPE, LEVEL, 0, 0, 77)
        sock.sendall(struct.pack("<BBBB4sHHI", 5, 0, 16, 3, b"\x10\0\0\0", 20 + 8 + len(tok), len(tok), cid) + b"    " + tr + tok)
        break
    sock.sendall(bindpdu(pt, tok, cid))
    rt, fl, flen, alen, p = recv()
    if rt not in (12, 15):
        sys.exit(f"bind refused: pdu {rt} {p[16:].hex()}")
    if pt == 11 and not A.no_hdr and not fl & 4:
        whole = False
    t = p[flen - alen:flen] if alen else None
    tok = sec.step(t) if t and not sec.done else None
    pt, cid = 14, cid + 1
if not sec.done:
    sys.exit("authentication did not finish")


def al(b, n=4):
    return b + b"\0" * (-len(b) % n)


ca, csr = A.ca, b"" if A.id else open(A.csr, "rb").read()
blob = lambda v, ref: al(struct.pack("<III", len(v), ref, len(v)) + v) if v else struct.pack("<II", 0, 0)
u = (ca + "\0").encode("utf-16le")
s = al(struct.pack("<IIII", 0x20004, len(u) // 2, 0, len(u) // 2) + u)
attributes = "\0" if not A.template else A.template + "\0" if ":" in A.template else f"CertificateTemplate:{A.template}\0"
stub = (struct.pack("<I", A.flags) + s + struct.pack("<I", A.id)
        + blob(attributes.encode("utf-16le") if csr and A.template else b"", 0x20008) + blob(csr, 0x2000C))
room = (A.frag - 24 - 8 - 128) & ~15
pos = 0
while pos == 0 or pos < len(stub):
    part = stub[pos:pos + room]
    fl = (1 if pos == 0 else 0) | (2 if pos + room >= len(stub) else 0)
    body = struct.pack("<IHH", len(stub) - pos, 0, 0)
    pos += room
    pad = -len(part) % 16
    tr = struct.pack("<BBBBI", TYPE, LEVEL, pad, 0, 77)
    data = part + b"\0" * pad
    tl = sec.toklen(b"\0" * 24, data, tr, whole)
    hdr = struct.pack("<BBBB4sHHI", 5, 0, 0, fl, b"\x10\0\0\0", 24 + len(data) + 8 + tl, tl, 9) + body
    enc, tk = sec.seal(hdr, data, tr, whole)
    assert len(tk) == tl, (len(tk), tl)
    sock.sendall(hdr + enc + tr + tk)
out, nfrag = b"", 0
while True:
    rt, fl, flen, alen, p = recv()
    nfrag += 1
    if rt == 3:
        sys.exit("fault %#x" % struct.unpack("<I", p[24:28])[0])
    if alen:
        o = flen - alen - 8
        d = sec.unseal(p[:24], p[24:o], p[o:o + 8], p[o + 8:flen], whole)
        out += d[:len(d) - p[o + 2]]
    else:
        out += p[24:flen]
    if fl & 2:
        break
rid, disp = struct.unpack_from("<II", out)
q, b = 8, []
for _ in range(3):
    q += -q % 4
    cb, ptr = struct.unpack_from("<II", out, q); q += 8
    if ptr:
        n, = struct.unpack_from("<I", out, q); q += 4
        b.append(out[q:q + n]); q += n
    else:
        b.append(b"")
q += -q % 4
if A.out:
    open(A.out, "wb").write(b[0])
    open(A.out + ".cer", "wb").write(b[1])
print("request", rid, "disposition %#x hresult %#x" % (disp, struct.unpack_from("<I", out, q)[0]), "chain", len(b[0]), "cert", len(b[1]),
      b[2].decode("utf-16le").rstrip("\0"), "|", A.auth, A.level, "header signing" if whole else "no header signing", nfrag, "fragments")
