"""Asks an authority with Samba's client of RPC, which finds the port by the endpoint mapper: rpc_samba.py HOST CA OPTIONS [CSR TEMPLATE]

OPTIONS are those of a binding, such as seal,krb5 or sign,krb5 or ntlm,seal; `none` for nobody in particular. Without CSR it asks for
request 4242, which does not exist. Prints the request's number, disposition and HRESULT, or the error.
"""
import struct
import sys

from samba import credentials, param
from samba.dcerpc import base

host, authority, options = sys.argv[1:4]
lp = param.LoadParm()
lp.load_default()
lp.set("realm", "CORP.TEST")
creds = credentials.Credentials()
creds.guess(lp)
if options == "none":
    creds.set_anonymous()
elif "ntlm" in options:
    creds.set_username("alice")
    creds.set_password("Passw0rd!alice")
    creds.set_domain("CORP")
    creds.set_kerberos_state(credentials.DONT_USE_KERBEROS)
else:
    creds.set_kerberos_state(credentials.MUST_USE_KERBEROS)


def aligned(octets):
    return octets + b"\0" * (-len(octets) % 4)


def blob(octets, referent):
    if not octets:
        return struct.pack("<II", 0, 0)
    return aligned(struct.pack("<III", len(octets), referent, len(octets)) + octets)


csr = open(sys.argv[4], "rb").read() if len(sys.argv) > 4 else b""
attributes = f"CertificateTemplate:{sys.argv[5]}\0".encode("utf-16le") if csr else b""
name = (authority + "\0").encode("utf-16le")
text = aligned(struct.pack("<IIII", 0x20000, len(name) // 2, 0, len(name) // 2) + name)
stub = struct.pack("<I", 0) + text + struct.pack("<I", 0 if csr else 4242) + blob(attributes, 0x20004) + blob(csr, 0x20008)

binding = f"ncacn_ip_tcp:{host}" if options == "none" else f"ncacn_ip_tcp:{host}[{options}]"
try:
    connection = base.ClientConnection(binding, ("91ae6020-9e3c-11cf-8d7c-00aa00c091be", 0), lp, creds)
    answer = connection.request(0, stub)
    number, disposition = struct.unpack_from("<II", answer)
    (result,) = struct.unpack_from("<I", answer, len(answer) - 4)
    print(f"request {number} disposition {disposition:#x} result {result:#x}")
except Exception as error:  # whatever Samba makes of a refusal
    print(f"error: {error}")
