"""Requests that enrollment agents sign, encoded by pyasn1's modules of RFC 5652 and RFC 6402 (CMC) and signed by cryptography.

Reads a JSON object from standard input, writes the request in base64:

    {"form": "cms" | "cmc", "content": base64 of a PKCS#10 (or of what stands in its place),
     "reg_info": "Name=Value&Name=Value" | null,
     "signers": [{"certificate": PEM-FILE, "key": PEM-FILE, "requesters": [NAME, ...], "unsigned": [NAME, ...]}]}

Each of "requesters" becomes a name-value pair of the signed attributes (MS-WCCE 2.2.2.7.10), each of "unsigned" one of
the unsigned attributes. "reg_info" is a control of CMC.
"""
import base64
import hashlib
import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import char, namedtype, tag, univ
from pyasn1_alt_modules import rfc2986, rfc5280, rfc5652, rfc6402

NAME_VALUE_PAIR = univ.ObjectIdentifier("1.3.6.1.4.1.311.13.2.1")
SHA256 = univ.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
ECDSA_SHA256 = univ.ObjectIdentifier("1.2.840.10045.4.3.2")
RSA_SHA256 = univ.ObjectIdentifier("1.2.840.113549.1.1.11")
REG_INFO = univ.ObjectIdentifier("1.3.6.1.5.5.7.7.18")
PKI_DATA = univ.ObjectIdentifier("1.3.6.1.5.5.7.12.2")


class Pair(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType("name", char.BMPString()), namedtype.NamedType("value", char.BMPString())
    )



def attribute(oid, value):
    one = rfc5652.Attribute()
    one["attrType"] = oid
    one["attrValues"].append(univ.Any(encoder.encode(value)))
    return one


def requester(name):
    pair = Pair()
    pair["name"] = "requestername"
    pair["value"] = name
    return attribute(NAME_VALUE_PAIR, pair)


def signer_info(spec, content_type, content):
    with open(spec["certificate"], "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    with open(spec["key"], "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    der = certificate.public_bytes(serialization.Encoding.DER)
    parsed, _ = decoder.decode(der, asn1Spec=rfc5280.Certificate())
    attributes = [
        attribute(rfc5652.id_contentType, content_type),
        attribute(rfc5652.id_messageDigest, univ.OctetString(hashlib.sha256(content).digest())),
    ] + [requester(name) for name in spec.get("requesters", [])]
    signed = rfc5652.SignedAttributes()
    signed.extend(attributes)
    octets = encoder.encode(signed)
    info = rfc5652.SignerInfo()
    info["version"] = 1
    info["sid"]["issuerAndSerialNumber"]["issuer"] = parsed["tbsCertificate"]["issuer"]
    info["sid"]["issuerAndSerialNumber"]["serialNumber"] = parsed["tbsCertificate"]["serialNumber"]
    info["digestAlgorithm"]["algorithm"] = SHA256
    info["signedAttrs"].extend(attributes)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        info["signatureAlgorithm"]["algorithm"] = ECDSA_SHA256
        info["signature"] = key.sign(octets, ec.ECDSA(hashes.SHA256()))
    else:
        info["signatureAlgorithm"]["algorithm"] = RSA_SHA256
        info["signatureAlgorithm"]["parameters"] = univ.Any(encoder.encode(univ.Null("")))
        info["signature"] = key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    if spec.get("unsigned"):
        info["unsignedAttrs"].extend([requester(name) for name in spec["unsigned"]])
    return info, parsed


def pki_data(pkcs10, reg_info):
    data = rfc6402.PKIData()
    data["controlSequence"].clear()
    if reg_info is not None:
        control = rfc6402.TaggedAttribute()
        control["bodyPartID"] = 2
        control["attrType"] = REG_INFO
        control["attrValues"].append(univ.Any(encoder.encode(univ.OctetString(reg_info.encode()))))
        data["controlSequence"].append(control)
    request, _ = decoder.decode(pkcs10, asn1Spec=rfc2986.CertificationRequest())
    tagged = rfc6402.TaggedRequest()
    tagged["tcr"]["bodyPartID"] = 1
    # The PKCS#10 has to stay as it was signed: it is put in as it came.
    tagged["tcr"]["certificationRequest"] = request
    data["reqSequence"].append(tagged)
    data["cmsSequence"].clear()
    data["otherMsgSequence"].clear()
    octets = encoder.encode(data)
    if pkcs10 not in octets:
        raise SystemExit("pyasn1 has rewritten the PKCS#10")
    return octets


def main():
    spec = json.load(sys.stdin)
    content = base64.b64decode(spec["content"])
    content_type = rfc5652.id_data
    if spec["form"] == "cmc":
        content, content_type = pki_data(content, spec.get("reg_info")), PKI_DATA
    message = rfc5652.SignedData()
    message["version"] = 3 if spec["form"] == "cmc" else 1
    digest = rfc5652.DigestAlgorithmIdentifier()
    digest["algorithm"] = SHA256
    message["digestAlgorithms"].append(digest)
    message["encapContentInfo"]["eContentType"] = content_type
    message["encapContentInfo"]["eContent"] = univ.OctetString(content).subtype(
        explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 0)
    )
    for signer in spec["signers"]:
        info, certificate = signer_info(signer, content_type, content)
        message["signerInfos"].append(info)
        choice = rfc5652.CertificateChoices()
        choice["certificate"] = certificate
        message["certificates"].append(choice)
    outer = rfc5652.ContentInfo()
    outer["contentType"] = rfc5652.id_signedData
    outer["content"] = univ.Any(encoder.encode(message)).subtype(
        explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 0)
    )
    print(base64.b64encode(encoder.encode(outer)).decode())


main()
