#!/usr/bin/env python3
"""Writes the files of this folder with impacket's encoders (impacket 0.13.1): make.py FOLDER.

Every value is chosen here; impacket only encodes. Where impacket has no declaration of a call (ICertRequestD, ICertRequestD2), the
arguments are declared here from MS-WCCE, and encoded by impacket's NDR.
"""
import struct
import sys
from pathlib import Path

from impacket import uuid
from impacket.dcerpc.v5 import dcomrt, epm, icpr, rpcrt
from impacket.dcerpc.v5.dtypes import DWORD, LONG, LPWSTR, NULL, ULONG
from impacket.dcerpc.v5.ndr import NDRCALL

folder = Path(sys.argv[1])
NDR = uuid.uuidtup_to_bin(("8a885d04-1ceb-11c9-9fe8-08002b104860", "2.0"))
ICPR = uuid.uuidtup_to_bin(("91ae6020-9e3c-11cf-8d7c-00aa00c091be", "0.0"))
IPID = uuid.string_to_bin("0000aa01-0002-0003-1111-222222222222")
IID2 = uuid.string_to_bin("5422fd3a-d4b8-4cef-a12e-e87d4ca22e90")
CLASS = uuid.string_to_bin("d99e6e74-fc88-11d0-b498-00a0c90312f3")
CAUSALITY = uuid.string_to_bin("11111111-2222-3333-4444-555555555555")


def write(name, octets):
    (folder / f"impacket-{name}.bin").write_bytes(octets)


def ndr(call):
    octets = call.getData()
    return octets + call.getDataReferents(len(octets)) if not isinstance(call, NDRCALL) else octets


def aligned(octets):
    return octets + b"\0" * (-len(octets) % 4)


# ---- messages
item = rpcrt.CtxItem()
item["AbstractSyntax"], item["TransferSyntax"], item["ContextID"], item["TransItems"] = ICPR, NDR, 0, 1
bind = rpcrt.MSRPCBind()
bind.addCtxItem(item)
header = rpcrt.MSRPCHeader()
header["type"], header["flags"], header["call_id"], header["pduData"] = rpcrt.MSRPC_BIND, 7, 1, bind.getData()
trailer = rpcrt.SEC_TRAILER()
trailer["auth_type"], trailer["auth_level"], trailer["auth_ctx_id"] = 16, 6, 79231
header["sec_trailer"], header["auth_data"] = trailer, b"a token of impacket"
write("bind", header.get_packet())

ack = rpcrt.MSRPCBindAck()
ack["type"], ack["flags"], ack["call_id"] = rpcrt.MSRPC_BINDACK, 7, 1
ack["max_tfrag"], ack["max_rfrag"], ack["assoc_group"] = 5840, 5840, 0x12345
ack["SecondaryAddr"], ack["SecondaryAddrLen"], ack["ctx_num"] = "49670", 6, 1
ack["Pad"] = b"\0" * ((4 - (6 + ack._SIZE) % 4) % 4)
result = rpcrt.CtxItemResult()
result["Result"], result["Reason"], result["TransferSyntax"] = 0, 0, NDR
ack["ctx_items"] = result.getData()
ack["sec_trailer"], ack["auth_data"], ack["auth_len"] = trailer.getData(), b"the answer", 10
ack["frag_len"] = len(ack.getData())
write("bind-ack", ack.getData())

request = rpcrt.MSRPCRequestHeader()
request["flags"], request["call_id"], request["ctx_id"], request["op_num"] = 0x83, 2, 0, 6
request["uuid"], request["pduData"], request["alloc_hint"] = IPID, b"arguments of a call.", 20
write("request-object", request.get_packet())
response = rpcrt.MSRPCRespHeader()
response["type"], response["flags"], response["call_id"] = rpcrt.MSRPC_RESPONSE, 3, 2
response["alloc_hint"], response["pduData"] = 8, b"results."
write("response", response.get_packet())
fault = rpcrt.MSRPCRespHeader()
fault["type"], fault["flags"], fault["call_id"] = rpcrt.MSRPC_FAULT, 0x23, 2
fault["alloc_hint"], fault["pduData"] = 32, struct.pack("<II", 5, 0)
write("fault", fault.get_packet())

# ---- endpoint mapper


def tower(port):
    floors = [epm.EPMRPCInterface(), epm.EPMRPCDataRepresentation(), epm.EPMProtocolIdentifier(), epm.EPMPortAddr(), epm.EPMHostAddr()]
    floors[0]["InterfaceUUID"], floors[0]["MajorVersion"], floors[0]["MinorVersion"] = ICPR[:16], 0, 0
    floors[1]["DataRepUuid"], floors[1]["MajorVersion"], floors[1]["MinorVersion"] = NDR[:16], 2, 0
    floors[2]["ProtIdentifier"] = epm.FLOOR_RPCV5_IDENTIFIER
    floors[3]["IpPort"] = port
    floors[4]["Ip4addr"] = bytes([192, 0, 2, 7]) if port else bytes(4)
    whole = epm.EPMTower()
    whole["NumberOfFloors"], whole["Floors"] = 5, b"".join(floor.getData() for floor in floors)
    return whole.getData()


write("tower", tower(49670))
call = epm.ept_map()
call["max_towers"], call["map_tower"]["tower_length"], call["map_tower"]["tower_octet_string"] = 4, len(tower(0)), tower(0)
call.fields["obj"].fields["ReferentID"] = 1
call.fields["map_tower"].fields["ReferentID"] = 2
write("ept-map-request", ndr(call))
call = epm.ept_mapResponse()
call["num_towers"] = 1
one = epm.twr_p_t()
one["tower_length"], one["tower_octet_string"] = len(tower(49670)), tower(49670)
call["ITowers"].append(one)
call["status"] = 0
write("ept-map-response", ndr(call))

# ---- MS-ICPR


def blob(at, octets):
    at["cb"] = len(octets)
    at["pb"] = list(octets[i:i + 1] for i in range(len(octets))) if octets else NULL


call = icpr.CertServerRequest()
call["dwFlags"], call["pwszAuthority"], call["pdwRequestId"] = 0x40100, "CORP-CA\0", 0
blob(call["pctbAttribs"], "CertificateTemplate:User\0".encode("utf-16le"))
blob(call["pctbRequest"], b"a request of some octets")
write("cert-server-request", ndr(call))
call = icpr.CertServerRequestResponse()
call["pdwRequestId"], call["pdwDisposition"] = 11, 3
blob(call["pctbCert"], b"a chain")
blob(call["pctbEncodedCert"], b"a certificate")
blob(call["pctbDispositionMessage"], "Issued\0".encode("utf-16le"))
# impacket's declaration ends before the result of the method.
write("cert-server-response", aligned(ndr(call)) + struct.pack("<I", 0))
call = icpr.CertServerRequestResponse()
call["pdwRequestId"], call["pdwDisposition"] = 12, 0x80094800
for name in ("pctbCert", "pctbEncodedCert"):
    blob(call[name], b"")
blob(call["pctbDispositionMessage"], "Denied by Policy Module\0".encode("utf-16le"))
write("cert-server-refused", aligned(ndr(call)) + struct.pack("<I", 0))

# ---- MS-WCCE


class Request(dcomrt.DCOMCALL):
    opnum = 3
    structure = (("dwFlags", DWORD), ("pwszAuthority", LPWSTR), ("pdwRequestId", DWORD), ("pwszAttributes", LPWSTR), ("pctbRequest", icpr.CERTTRANSBLOB))


class Request2(dcomrt.DCOMCALL):
    opnum = 6
    structure = (("pwszAuthority", LPWSTR), ("dwFlags", DWORD), ("pwszSerialNumber", LPWSTR), ("pdwRequestId", DWORD), ("pwszAttributes", LPWSTR), ("pctbRequest", icpr.CERTTRANSBLOB))


class Request2Response(dcomrt.DCOMANSWER):
    structure = (("pdwRequestId", DWORD), ("pdwDisposition", ULONG), ("pctbFullResponse", icpr.CERTTRANSBLOB), ("pctbEncodedCert", icpr.CERTTRANSBLOB), ("pctbDispositionMessage", icpr.CERTTRANSBLOB), ("ErrorCode", ULONG))


class GetCAProperty(dcomrt.DCOMCALL):
    opnum = 7
    structure = (("pwszAuthority", LPWSTR), ("PropID", LONG), ("PropIndex", LONG), ("PropType", LONG))


class GetCAPropertyResponse(dcomrt.DCOMANSWER):
    structure = (("pctbPropertyValue", icpr.CERTTRANSBLOB), ("ErrorCode", ULONG))


class Ping2(dcomrt.DCOMCALL):
    opnum = 9
    structure = (("pwszAuthority", LPWSTR),)


def this(call):
    call["ORPCthis"]["version"]["MajorVersion"], call["ORPCthis"]["version"]["MinorVersion"] = 5, 7
    call["ORPCthis"]["cid"], call["ORPCthis"]["extensions"], call["ORPCthis"]["flags"] = CAUSALITY, NULL, 0
    return call


def that(call):
    call["ORPCthat"]["extensions"] = NULL
    return call


for cls, name in ((Request, "request"), (Request2, "request2")):
    call = this(cls())
    call["pwszAuthority"], call["dwFlags"], call["pdwRequestId"] = "CORP-CA\0", 0x40100, 0
    call["pwszAttributes"] = "CertificateTemplate:User\0"
    if cls is Request2:
        call["pwszSerialNumber"] = NULL
    blob(call["pctbRequest"], b"a request of some octets")
    write(name, ndr(call))
call = that(Request2Response())
call["pdwRequestId"], call["pdwDisposition"], call["ErrorCode"] = 11, 5, 0
blob(call["pctbFullResponse"], b"a full response")
blob(call["pctbEncodedCert"], b"")
blob(call["pctbDispositionMessage"], "Taken Under Submission\0".encode("utf-16le"))
write("request2-response", ndr(call))
call = this(GetCAProperty())
call["pwszAuthority"], call["PropID"], call["PropIndex"], call["PropType"] = "CORP-CA\0", 0x1D, 0, 4
write("get-ca-property", ndr(call))
call = that(GetCAPropertyResponse())
blob(call["pctbPropertyValue"], "User\n1.3.6.1.4.1.311.21.8.1.1\n\0".encode("utf-16le"))
call["ErrorCode"] = 0
write("get-ca-property-response", ndr(call))
call = this(Ping2())
call["pwszAuthority"] = "CORP-CA\0"
write("ping2", ndr(call))

# ---- MS-DCOM


def bindings(port):
    strings = b"".join(struct.pack("<H", 7) + f"{host}[{port}]".encode("utf-16le") + b"\0\0" for host in ("ca1.corp.test", "192.0.2.7")) + b"\0\0"
    security = b"".join(struct.pack("<HH", kind, 0xFFFF) + b"\0\0" for kind in (9, 10, 16)) + b"\0\0"
    return strings, security


def standard(port):
    reference = dcomrt.OBJREF_STANDARD()
    reference["iid"], reference["flags"] = IID2, dcomrt.FLAGS_OBJREF_STANDARD
    std = reference["std"]
    std["flags"], std["cPublicRefs"], std["oxid"], std["oid"], std["ipid"] = 0, 5, 0x1122334455667788, 0x99AABBCCDDEEFF00, IPID
    strings, security = bindings(port)
    reference["saResAddr"] = struct.pack("<HH", len(strings + security) // 2, len(strings) // 2) + strings + security
    return reference.getData()


write("objref-standard", standard(135))

call = dcomrt.ServerAlive2Response()
call["pComVersion"]["MajorVersion"], call["pComVersion"]["MinorVersion"] = 5, 7
strings, security = bindings(135)
array = call["ppdsaOrBindings"]
array["wNumEntries"], array["wSecurityOffset"] = len(strings + security) // 2, len(strings) // 2
array["aStringArray"] = list(struct.unpack(f"<{len(strings + security) // 2}H", strings + security))
call["pReserved"], call["ErrorCode"] = NULL, 0
write("server-alive2-response", ndr(call))

call = dcomrt.RemRelease()
this(call)
reference = dcomrt.REMINTERFACEREF()
reference["ipid"], reference["cPublicRefs"], reference["cPrivateRefs"] = IPID, 5, 0
call["cInterfaceRefs"] = 1
call["InterfaceRefs"].append(reference)
write("rem-release", ndr(call))


def record_create_instance():
    """The arguments that impacket's own activation sends."""
    class Stop(Exception):
        pass

    class Port:
        def get_credentials(self):
            return ("",) * 8

        def bind(self, iid):
            pass

        def request(self, call):
            call["ORPCthis"]["cid"] = CAUSALITY
            write("remote-create-instance", ndr(call))
            raise Stop

    try:
        dcomrt.IRemoteSCMActivator(Port()).RemoteCreateInstance(CLASS, IID2)
    except Stop:
        pass


record_create_instance()


def activated():
    out = dcomrt.PropsOutInfo()
    out["cIfs"] = 1
    iid = dcomrt.IID()
    iid["Data"] = IID2
    out["piid"].append(iid)
    result = DWORD()
    result["Data"] = 0
    out["phresults"].append(result)
    interface = dcomrt.PMInterfacePointer()
    interface["ulCntData"] = len(standard(135))
    interface["abData"] = list(standard(135)[i:i + 1] for i in range(len(standard(135))))
    out["ppIntfData"].append(interface)
    reply = dcomrt.ScmReplyInfoData()
    reply["pdwReserved"] = 0
    remote = reply["remoteReply"]
    remote["Oxid"], remote["ipidRemUnknown"], remote["authnHint"] = 0x1122334455667788, uuid.string_to_bin("0000aa00-0001-0000-1111-222222222222"), 6
    remote["serverVersion"]["MajorVersion"], remote["serverVersion"]["MinorVersion"] = 5, 7
    strings, security = bindings(49670)
    array = remote["pdsaOxidBindings"]
    array["wNumEntries"], array["wSecurityOffset"] = len(strings + security) // 2, len(strings) // 2
    array["aStringArray"] = list(struct.unpack(f"<{len(strings + security) // 2}H", strings + security))
    blob = dcomrt.ACTIVATION_BLOB()
    blob["CustomHeader"]["destCtx"], blob["CustomHeader"]["pdwReserved"] = 2, NULL
    properties = b""
    for clsid, value in ((dcomrt.CLSID_PropsOutInfo, out), (dcomrt.CLSID_ScmReplyInfo, reply)):
        name = dcomrt.CLSID()
        name["Data"] = clsid
        blob["CustomHeader"]["pclsid"].append(name)
        octets = value.getData() + value.getDataReferents()
        octets += b"\xfa" * (-len(octets) % 8)
        size = DWORD()
        size["Data"] = len(octets)
        blob["CustomHeader"]["pSizes"].append(size)
        properties += octets
    blob["Property"] = properties
    reference = dcomrt.OBJREF_CUSTOM()
    reference["iid"] = dcomrt.IID_IActivationPropertiesOut[:-4]
    reference["clsid"] = dcomrt.CLSID_ActivationPropertiesOut
    reference["pObjectData"] = blob.getData()
    reference["ObjectReferenceSize"] = len(reference["pObjectData"]) + 8
    octets = reference.getData()
    write("objref-custom", octets)
    call = that(dcomrt.RemoteCreateInstanceResponse())
    call["ppActProperties"]["ulCntData"] = len(octets)
    call["ppActProperties"]["abData"] = list(octets[i:i + 1] for i in range(len(octets)))
    call["ErrorCode"] = 0
    write("remote-create-instance-response", ndr(call))


activated()
