"""Drives enrollment over RPC with impacket: the endpoint mapper, MS-ICPR and MS-WCCE over DCOM; and tries what must not succeed.

  rpc_impacket.py alive PORT                          ServerAlive2, nobody in particular
  rpc_impacket.py map PORT                            the port of ICertPassage
  rpc_impacket.py icpr PORT [options]                 CertServerRequest
  rpc_impacket.py dcom PORT [options]                 activation at the mapper's PORT; properties, Request2, IRemUnknown
  rpc_impacket.py hold PORT [options]                 --count connections with a call for request 99 on each; says when they end
Options: --host NAME, --ca NAME, --csr FILE, --id N, --serial TEXT (Request2's argument; for icpr and with --old in place of
attributes), --old (ICertRequestD::Request), --neither (a query that names nothing), --properties, --attributes TEXT (\\n between), --flags N, --out FILE (the certificate),
--auth kerberos|ntlm|none, --level connect|call|packet|integrity|privacy, --activation (of the activation alone, for dcom),
--user DOMAIN/NAME:PASSWORD for ntlm. With kerberos the cache KRB5CCNAME (a path) has to hold a ticket for HOST/NAME already.
--count N, --every S (a call that often), --interface cert|alive, --seconds S (no longer than that), for hold.
Prints a JSON object; `error` in it says why not.
"""
import argparse
import json
import select
import struct
import sys
import time

from impacket.dcerpc.v5 import epm, icpr, transport
from impacket.dcerpc.v5.dcomrt import DCOMANSWER, DCOMCALL, DCOMConnection, IID_IObjectExporter, IObjectExporter, IRemUnknown, ServerAlive2
from impacket.dcerpc.v5.dtypes import DWORD, LPWSTR, ULONG
from impacket.dcerpc.v5.ndr import NDRCALL
from impacket.dcerpc.v5.rpcrt import (
    RPC_C_AUTHN_GSS_NEGOTIATE,
    RPC_C_AUTHN_WINNT,
    DCERPCException,
)
from impacket.uuid import string_to_bin, uuidtup_to_bin

LEVELS = {"connect": 2, "call": 3, "packet": 4, "integrity": 5, "privacy": 6}
CLSID = string_to_bin("d99e6e74-fc88-11d0-b498-00a0c90312f3")
IID_D = uuidtup_to_bin(("d99e6e70-fc88-11d0-b498-00a0c90312f3", "0.0"))
IID_D2 = uuidtup_to_bin(("5422fd3a-d4b8-4cef-a12e-e87d4ca22e90", "0.0"))

parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["alive", "map", "icpr", "dcom", "hold"])
parser.add_argument("port", type=int)
parser.add_argument("--host", default="localhost")
parser.add_argument("--ca", default="")
parser.add_argument("--csr")
parser.add_argument("--id", type=int, default=0)
parser.add_argument("--serial", default="")
parser.add_argument("--old", action="store_true")
parser.add_argument("--properties", action="store_true", help="list them, and ask for all that there could be")
parser.add_argument("--neither", action="store_true", help="a query that names nothing")
parser.add_argument("--attributes", default="")
parser.add_argument("--flags", type=lambda text: int(text, 0), default=0)
parser.add_argument("--out")
parser.add_argument("--auth", default="kerberos", choices=["kerberos", "ntlm", "none"])
parser.add_argument("--level", default="privacy", choices=list(LEVELS))
parser.add_argument("--activation", choices=list(LEVELS))
parser.add_argument("--user", default="CORP/alice:alice-pw")
parser.add_argument("--count", type=int, default=1)
parser.add_argument("--every", type=float)
parser.add_argument("--interface", default="cert", choices=["cert", "alive"])
parser.add_argument("--seconds", type=float, default=20)
A = parser.parse_args()


class DCERPCSessionError(DCERPCException):
    """impacket looks for this one in the module of a call."""

    def __init__(self, error_string=None, error_code=None, packet=None):
        DCERPCException.__init__(self, error_string, error_code, packet)


class Request2(DCOMCALL):
    opnum = 6
    structure = (
        ("pwszAuthority", LPWSTR),
        ("dwFlags", DWORD),
        ("pwszSerialNumber", LPWSTR),
        ("pdwRequestId", DWORD),
        ("pwszAttributes", LPWSTR),
        ("pctbRequest", icpr.CERTTRANSBLOB),
    )


class Request2Response(DCOMANSWER):
    structure = (
        ("pdwRequestId", DWORD),
        ("pdwDisposition", ULONG),
        ("pctbFullResponse", icpr.CERTTRANSBLOB),
        ("pctbEncodedCert", icpr.CERTTRANSBLOB),
        ("pctbDispositionMessage", icpr.CERTTRANSBLOB),
        ("ErrorCode", ULONG),
    )


class Request(DCOMCALL):
    opnum = 3
    structure = (
        ("dwFlags", DWORD),
        ("pwszAuthority", LPWSTR),
        ("pdwRequestId", DWORD),
        ("pwszAttributes", LPWSTR),
        ("pctbRequest", icpr.CERTTRANSBLOB),
    )


class RequestResponse(Request2Response):
    pass


class GetCAPropertyInfo(DCOMCALL):
    opnum = 8
    structure = (("pwszAuthority", LPWSTR),)


class GetCAPropertyInfoResponse(DCOMANSWER):
    structure = (("pcProperty", DWORD), ("pctbPropInfo", icpr.CERTTRANSBLOB), ("ErrorCode", ULONG))


class GetCAProperty(DCOMCALL):
    opnum = 7
    structure = (("pwszAuthority", LPWSTR), ("PropID", DWORD), ("PropIndex", DWORD), ("PropType", DWORD))


class GetCAPropertyResponse(DCOMANSWER):
    structure = (("pctbPropertyValue", icpr.CERTTRANSBLOB), ("ErrorCode", ULONG))


class GetCACert(DCOMCALL):
    opnum = 4
    structure = (("fchain", DWORD), ("pwszAuthority", LPWSTR))


class GetCACertResponse(DCOMANSWER):
    structure = (("pctbOut", icpr.CERTTRANSBLOB), ("ErrorCode", ULONG))


class Ping2(DCOMCALL):
    opnum = 9
    structure = (("pwszAuthority", LPWSTR),)


class Ping2Response(DCOMANSWER):
    structure = (("ErrorCode", ULONG),)


def octets(blob):
    return b"".join(blob["pb"]) if blob["cb"] else b""


def asks():
    return bool(A.id or A.serial or A.neither)


def words(value):
    return value.decode("utf-16le").rstrip("\0")


def blob(value):
    made = icpr.CERTTRANSBLOB()
    made["cb"] = len(value)
    made["pb"] = value
    return made


def nul(text):
    return text + "\0"


def connect(port):
    link = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{A.host}[{port}]")
    if A.auth == "kerberos":
        link.set_credentials("", "")
        link.set_kerberos(True, "127.0.0.1")
    elif A.auth == "ntlm":
        link.set_credentials(*credentials())
    dce = link.get_dce_rpc()
    if A.auth != "none":
        dce.set_auth_level(LEVELS[A.level])
        dce.set_auth_type(RPC_C_AUTHN_GSS_NEGOTIATE if A.auth == "kerberos" else RPC_C_AUTHN_WINNT)
    dce.connect()
    return dce


def credentials():
    domain, rest = A.user.split("/", 1)
    name, password = rest.split(":", 1)
    return name, password, domain


def result(response, message, certificate):
    if A.out:
        open(A.out, "wb").write(certificate)
    return {
        "id": response["pdwRequestId"],
        "disposition": hex(response["pdwDisposition"]),
        "result": hex(response["ErrorCode"]),
        "message": message,
        "certificate": len(certificate),
    }


class Passage(NDRCALL):
    """With the status behind it, which impacket's own answer leaves out."""

    structure = icpr.CertServerRequestResponse.structure + (("ErrorCode", ULONG),)


def passage(dce, csr):
    request = icpr.CertServerRequest()
    request["dwFlags"] = A.flags
    request["pwszAuthority"] = nul(A.ca)
    request["pdwRequestId"] = A.id
    request["pctbAttribs"] = blob(nul(A.attributes.replace("\\n", "\n")).encode("utf-16le"))
    request["pctbRequest"] = blob(csr)
    dce.call(request.opnum, request)
    answer = dce.recv()
    return Passage(answer, isNDR64=False)


def over_icpr():
    csr = b"" if asks() else open(A.csr, "rb").read()
    A.attributes = A.attributes or A.serial
    dce = connect(A.port)
    dce.bind(icpr.MSRPC_UUID_ICPR)
    response = passage(dce, csr)
    return result(response, words(octets(response["pctbDispositionMessage"])), octets(response["pctbEncodedCert"]))


class CertRequest2(IRemUnknown):
    def __init__(self, interface):
        IRemUnknown.__init__(self, interface)
        self._iid = IID_D2

    def ask(self, request):
        return self.request(request, self._iid, uuid=self.get_iPid())

    def value(self, number, index, kind):
        request = GetCAProperty()
        request["pwszAuthority"] = nul(A.ca)
        request["PropID"], request["PropIndex"], request["PropType"] = number, index, kind
        return self.ask(request)


def listed(authority):
    """The properties of GetCAPropertyInfo: number, type, indexed, name."""
    request = GetCAPropertyInfo()
    request["pwszAuthority"] = nul(A.ca)
    response = authority.ask(request)
    value = octets(response["pctbPropInfo"])
    found = []
    for at in range(0, 12 * response["pcProperty"], 12):
        number, kind, zero, flags, name = struct.unpack_from("<iBBHI", value, at)
        assert zero == 0 and name % 4 == 0 and name >= 12 * response["pcProperty"]
        end = next(end for end in range(name, len(value), 2) if value[end : end + 2] == b"\0\0")
        found.append([number, kind, flags, value[name:end].decode("utf-16le")])
    return found


def answered(authority):
    """Number and type of whatever GetCAProperty has a value for."""
    found = []
    for number in range(0x40):
        for kind in (1, 2, 3, 4):
            if status(lambda: authority.value(number, 0, kind)) == "0x0":
                found.append([number, kind])
    return found


def status(call):
    """The HRESULT of a call that may fail: impacket makes an exception of it."""
    try:
        return hex(call()["ErrorCode"])
    except DCERPCException as error:
        return hex(error.get_error_code() & 0xFFFFFFFF) if error.get_error_code() else str(error)


def over_dcom():
    # impacket dials no other port of the mapper than 135.
    transport.TCPTransport.__init__.__defaults__ = (A.port,) + transport.TCPTransport.__init__.__defaults__[1:]
    who = credentials() if A.auth == "ntlm" else ("", "", "")
    level = LEVELS[A.activation or A.level]
    dcom = DCOMConnection(
        A.host, *who, authLevel=level, oxidResolver=False, doKerberos=A.auth == "kerberos", kdcHost="127.0.0.1"
    )
    try:
        interface = dcom.CoCreateInstanceEx(CLSID, IID_D2)
        interface.get_cinstance().set_auth_level(LEVELS[A.level])
        authority = CertRequest2(interface)
        ping = Ping2()
        ping["pwszAuthority"] = nul(A.ca)
        said = {"ping": status(lambda: authority.ask(ping))}
        other = Ping2()
        other["pwszAuthority"] = nul("Another CA")
        said["other"] = status(lambda: authority.ask(other))
        for name, number, index, kind in [
            ("name", 6, 0, 4), ("sanitized", 7, 0, 4), ("kind", 10, 0, 1), ("signing", 12, 0xFFFFFFFF, 3),
            ("chain", 13, 0, 3), ("exchange", 15, 0, 3), ("dns", 22, 0, 4), ("templates", 29, 0, 4), ("short", 40, 0, 4),
        ]:
            value = octets(authority.value(number, index, kind)["pctbPropertyValue"])
            said[name] = words(value) if kind == 4 else value.hex()
        said["unknown"] = status(lambda: authority.value(0x77, 0, 4))
        said["wrong type"] = status(lambda: authority.value(6, 0, 3))
        certificate = GetCACert()
        certificate["fchain"], certificate["pwszAuthority"] = 0, nul(A.ca)
        said["certificate is signing"] = octets(authority.ask(certificate)["pctbOut"]).hex() == said["signing"]
        if A.properties:
            said["listed"], said["answered"] = listed(authority), answered(authority)
        info = GetCAPropertyInfo()
        info["pwszAuthority"] = nul("Another CA")
        said["listed of another"] = status(lambda: authority.ask(info))
        for name, which in [("name without a name", 0x6E616D65), ("info", 0x696E666F), ("type", 0x74797065)]:
            certificate = GetCACert()
            certificate["fchain"], certificate["pwszAuthority"] = which, nul("" if "without" in name else A.ca)
            said[name] = octets(authority.ask(certificate)["pctbOut"]).hex()
        request = Request() if A.old else Request2()
        request["pwszAuthority"] = nul(A.ca)
        request["dwFlags"] = A.flags
        if not A.old:
            request["pwszSerialNumber"] = nul(A.serial)
        request["pdwRequestId"] = A.id
        request["pwszAttributes"] = nul((A.attributes or (A.serial if A.old else "")).replace("\\n", "\n"))
        request["pctbRequest"] = blob(b"" if asks() else open(A.csr, "rb").read())
        response = authority.ask(request)
        message = words(octets(response["pctbDispositionMessage"]))
        said.update(result(response, message, octets(response["pctbEncodedCert"])))
        said["full"] = octets(response["pctbFullResponse"]).hex()
        authority.RemAddRef()
        older = authority.RemQueryInterface(1, (IID_D[:16],))
        said["queried"] = older.get_iPid() != authority.get_iPid()
        authority.RemRelease()
        return said
    finally:
        dcom.disconnect()


def alive():
    dce = connect(A.port)
    bindings = IObjectExporter(dce).ServerAlive2()
    return {"bindings": [words(b"".join(one["aNetworkAddr"].encode("utf-16le") for one in [binding])) for binding in bindings]}


def hold():
    """What a call on each connection came to, and after how many seconds the connection was ended."""
    calls, ends, held = [], [], []

    def call(dce):
        if A.interface == "alive":
            return hex(dce.request(ServerAlive2())["ErrorCode"])
        return hex(passage(dce, b"")["ErrorCode"])

    for _ in range(A.count):
        dce = connect(A.port)
        dce.bind(icpr.MSRPC_UUID_ICPR if A.interface == "cert" else IID_IObjectExporter)
        began = time.monotonic()
        try:
            calls.append(call(dce))
        except Exception as error:  # noqa: BLE001
            calls.append(f"{type(error).__name__}: {error}")
        held.append((dce, began))
    stop = time.monotonic() + A.seconds
    last = time.monotonic()
    while held and time.monotonic() < stop:
        for dce, began in list(held):
            readable, _, _ = select.select([dce.get_rpc_transport().get_socket()], [], [], 0.05)
            ended = bool(readable)
            if not ended and A.every and time.monotonic() - last >= A.every:
                last = time.monotonic()
                try:
                    call(dce)
                except Exception:  # noqa: BLE001, it ended meanwhile
                    ended = True
            if ended:
                ends.append(round(time.monotonic() - began, 1))
                held.remove((dce, began))
    return {"calls": calls, "ends": ends}


def main():
    try:
        if A.command == "alive":
            A.auth = "none"
            said = alive()
        elif A.command == "map":
            A.auth = "none"
            dce = connect(A.port)
            said = {"binding": epm.hept_map(A.host, icpr.MSRPC_UUID_ICPR, protocol="ncacn_ip_tcp", dce=dce)}
        elif A.command == "icpr":
            said = over_icpr()
        elif A.command == "hold":
            A.id = 99
            said = hold()
        else:
            said = over_dcom()
    except Exception as error:  # noqa: BLE001, whatever impacket makes of a refusal
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said))
    # Its pings and its threads are not waited for.
    sys.stdout.flush()


main()
