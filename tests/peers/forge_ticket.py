"""Makes the tokens of `Authorization: Negotiate` octet by octet, right and wrong ones, out of real tickets (impacket).

    forge_ticket.py

reads a JSON object from each line of standard input and answers each with {"token": base64} on standard output:

    "cache"         file of a credential cache that holds the ticket
    "service"       of which service in it, such as HTTP/ces.corp.test@CORP.TEST
    "certificate"   PEM of the server: the binding is the right one for it; without it the binding is absent (16 zeros)
    "binding"       or these 16 octets, in hexadecimal
    "checksum"      false: none in the authenticator; "short": one that is cut off
    "skew"          seconds by which the client's clock is wrong
    "frame"         "spnego" (default); "microsoft": SPNEGO that offers 1.2.840.48018.1.2.2 first; "kerberos": without SPNEGO;
                    "ntlm-first": SPNEGO that offers NTLM first; "iakerb", "negoex", "pku2u": SPNEGO around such a mechanism
    "keytab"        keys of the service: the ticket is opened, changed and closed again
    "change"        "ended", "future": its times; "pac-signature", "pac-user": the PAC; "no-pac"; "name": its client
    "token"         instead of all that: "ntlm" (raw), "spnego-ntlm"
"""
import base64
import datetime
import hashlib
import json
import struct
import sys

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from impacket.krb5 import constants, types
from impacket.krb5.asn1 import AD_IF_RELEVANT, AP_REQ, TGS_REP, Authenticator, EncTicketPart, seq_set
from impacket.krb5.ccache import CCache
from impacket.krb5.crypto import Key, _enctype_table
from impacket.krb5.keytab import Keytab
from impacket.ntlm import getNTLMSSPType1
from pyasn1.codec.der import decoder, encoder
from pyasn1.type.univ import noValue

SPNEGO = "1.3.6.1.5.5.2"
KERBEROS, MICROSOFT, NTLM = "1.2.840.113554.1.2.2", "1.2.840.48018.1.2.2", "1.3.6.1.4.1.311.2.2.10"
OTHERS = {"iakerb": "1.3.6.1.5.2.5", "negoex": "1.3.6.1.4.1.311.2.2.30", "pku2u": "1.3.6.1.5.2.7"}
# Mutual authentication, replay detection, sequence, confidentiality, integrity.
FLAGS = 0x02 | 0x04 | 0x08 | 0x10 | 0x20
PAC_LOGON_INFO, PAC_SERVER_CHECKSUM = 1, 6


def tlv(tag, content):
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(text):
    first, second, *rest = map(int, text.split("."))
    octets = bytearray([first * 40 + second])
    for arc in rest:
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.append(arc & 0x7F | 0x80)
        octets += bytes(reversed(group))
    return tlv(0x06, bytes(octets))


def spnego(mechanisms, token):
    types_ = tlv(0xA0, tlv(0x30, b"".join(oid(mechanism) for mechanism in mechanisms)))
    init = tlv(0xA0, tlv(0x30, types_ + tlv(0xA2, tlv(0x04, token))))
    return tlv(0x60, oid(SPNEGO) + init)


def binding(certificate):
    """MD5 over the channel binding of RFC 5929 as RFC 4121 4.1.1.2 packs it."""
    with open(certificate, "rb") as file:
        read = x509.load_pem_x509_certificate(file.read())
    name = read.signature_hash_algorithm.name
    hashed = hashlib.new("sha256" if name in ("md5", "sha1") else name, read.public_bytes(Encoding.DER)).digest()
    data = b"tls-server-end-point:" + hashed
    return hashlib.md5(struct.pack("<IIIII", 0, 0, 0, 0, len(data)) + data).digest()


def ap_req(call):
    cache = CCache.loadFile(call["cache"])
    credential = cache.getCredential(call["service"], anySPN=False)
    if credential is None:
        raise ValueError(f"no ticket for {call['service']}")
    tgs = credential.toTGS()
    reply = decoder.decode(tgs["KDC_REP"], asn1Spec=TGS_REP())[0]
    ticket = reply["ticket"]
    if call.get("change"):
        ticket["enc-part"]["cipher"] = changed(call, ticket)
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=call.get("skew", 0))
    authenticator = Authenticator()
    authenticator["authenticator-vno"] = 5
    authenticator["crealm"] = str(reply["crealm"])
    client = types.Principal(str(cache.principal.prettyPrint().decode().split("@")[0]), type=constants.PrincipalNameType.NT_PRINCIPAL.value)
    seq_set(authenticator, "cname", client.components_to_asn1)
    authenticator["cusec"] = now.microsecond
    authenticator["ctime"] = types.KerberosTime.to_asn1(now)
    checksum = struct.pack("<I", 16) + channel(call) + struct.pack("<I", FLAGS)
    if call.get("checksum") == "short":
        checksum = checksum[:12]
    if call.get("checksum") is not False:
        authenticator["cksum"] = noValue
        authenticator["cksum"]["cksumtype"] = 0x8003
        authenticator["cksum"]["checksum"] = checksum
    authenticator["seq-number"] = 1
    key = tgs["sessionKey"]
    request = AP_REQ()
    request["pvno"], request["msg-type"] = 5, int(constants.ApplicationTagNumbers.AP_REQ.value)
    request["ap-options"] = constants.encodeFlags([constants.APOptions.mutual_required.value])
    parsed = types.Ticket()
    parsed.from_asn1(ticket)
    seq_set(request, "ticket", parsed.to_asn1)
    request["authenticator"] = noValue
    request["authenticator"]["etype"] = key.enctype
    request["authenticator"]["cipher"] = _enctype_table[key.enctype].encrypt(key, 11, encoder.encode(authenticator), None)
    return encoder.encode(request)


def channel(call):
    if call.get("binding"):
        return bytes.fromhex(call["binding"])
    return binding(call["certificate"]) if call.get("certificate") else bytes(16)


def service_key(call, ticket):
    block = Keytab.loadFile(call["keytab"]).getKey(call["service"], specificEncType=int(ticket["enc-part"]["etype"]))
    return Key(block["keytype"], block["keyvalue"]["data"])


def changed(call, ticket):
    """The ticket's encrypted part with what a forger who has the service's key would write."""
    key = service_key(call, ticket)
    cipher = _enctype_table[key.enctype]
    part = decoder.decode(cipher.decrypt(key, 2, bytes(ticket["enc-part"]["cipher"])), asn1Spec=EncTicketPart())[0]
    what = call["change"]
    now = datetime.datetime.now(datetime.timezone.utc)
    if what in ("ended", "future"):
        start = now + datetime.timedelta(hours=-9 if what == "ended" else 1)
        part["authtime"] = part["starttime"] = types.KerberosTime.to_asn1(start)
        part["endtime"] = types.KerberosTime.to_asn1(start + datetime.timedelta(hours=8))
    elif what == "name":
        part["cname"]["name-string"][0] = "administrator"
    elif what == "no-pac":
        part["authorization-data"].clear()
    else:
        relevant = decoder.decode(bytes(part["authorization-data"][0]["ad-data"]), asn1Spec=AD_IF_RELEVANT())[0]
        relevant[0]["ad-data"] = changed_pac(bytes(relevant[0]["ad-data"]), what)
        part["authorization-data"][0]["ad-data"] = encoder.encode(relevant)
    return cipher.encrypt(key, 2, encoder.encode(part), None)


def changed_pac(octets, what):
    octets = bytearray(octets)
    count = struct.unpack_from("<I", octets)[0]
    for number in range(count):
        kind, size, offset = struct.unpack_from("<IIQ", octets, 8 + 16 * number)
        if what == "pac-signature" and kind == PAC_SERVER_CHECKSUM:
            octets[offset + 4] ^= 1
        if what == "pac-user" and kind == PAC_LOGON_INFO:
            # The user's relative identifier becomes the administrator's: 16 + 4 octets of headers, then
            # MS-PAC 2.5 puts six times, six strings and two counters before it.
            struct.pack_into("<I", octets, offset + 20 + 6 * 8 + 6 * 8 + 4, 500)
    return bytes(octets)


def token(call):
    if call.get("token"):
        ntlm = bytes(getNTLMSSPType1("", "").getData())
        return ntlm if call["token"] == "ntlm" else spnego([NTLM], ntlm)
    framed = tlv(0x60, oid(KERBEROS) + b"\x01\x00" + ap_req(call))
    frame = call.get("frame", "spnego")
    if frame == "kerberos":
        return framed
    if frame in OTHERS:
        return spnego([OTHERS[frame], KERBEROS], framed)
    return spnego({"spnego": [KERBEROS], "microsoft": [MICROSOFT, KERBEROS, NTLM], "ntlm-first": [NTLM, KERBEROS]}[frame], framed)


for line in sys.stdin:
    print(json.dumps({"token": base64.b64encode(token(json.loads(line))).decode()}), flush=True)
