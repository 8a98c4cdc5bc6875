#!/usr/bin/env python3
"""Writes the files of this folder that Samba's encoders make (Debian's package python3-samba, 4.17): make_samba.py FOLDER.

Every value is chosen here; Samba only encodes.
"""
import sys
from pathlib import Path

from samba.dcerpc import dcerpc, misc
from samba.ndr import ndr_pack


def syntax(name, version):
    one = misc.ndr_syntax_id()
    one.uuid, one.if_version = misc.GUID(name), version
    return one


def command(number, value):
    one = dcerpc.sec_vt()
    one.command, one.u = number, value
    return one


context = dcerpc.sec_vt_pcontext()
context.abstract_syntax = syntax("91ae6020-9e3c-11cf-8d7c-00aa00c091be", 0)
context.transfer_syntax = syntax("8a885d04-1ceb-11c9-9fe8-08002b104860", 2)
header = dcerpc.sec_vt_header2()
header.ptype, header.drep, header.call_id, header.context_id, header.opnum = dcerpc.DCERPC_PKT_REQUEST, [0x10, 0, 0, 0], 2, 0, 7
trailer = dcerpc.sec_verification_trailer()
commands = [
    command(dcerpc.DCERPC_SEC_VT_COMMAND_BITMASK1, dcerpc.DCERPC_SEC_VT_CLIENT_SUPPORTS_HEADER_SIGNING),
    command(dcerpc.DCERPC_SEC_VT_COMMAND_PCONTEXT | dcerpc.DCERPC_SEC_VT_MUST_PROCESS, context),
    command(dcerpc.DCERPC_SEC_VT_COMMAND_HEADER2 | dcerpc.DCERPC_SEC_VT_MUST_PROCESS | dcerpc.DCERPC_SEC_VT_COMMAND_END, header),
]
trailer.commands = commands
trailer.count.count = len(commands)
(Path(sys.argv[1]) / "samba-verification-trailer.bin").write_bytes(ndr_pack(trailer))
