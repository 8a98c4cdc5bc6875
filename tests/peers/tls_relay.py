"""A machine in the middle: takes TLS connections with its own certificate and repeats what they say to another server.

    tls_relay.py CERTIFICATE.pem KEY.pem PORT      of the other server, on 127.0.0.1

prints the port on which it listens. It has no need to understand anything: tickets pass through it like everything else.
"""
import asyncio
import ssl
import sys


async def pour(reader, writer):
    try:
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    writer.close()


async def main(certificate, key, port):
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certificate, key)
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE

    async def relay(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", int(port), ssl=blind, server_hostname="ces.corp.test")
        await asyncio.gather(pour(reader, there[1]), pour(there[0], writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=shown)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
