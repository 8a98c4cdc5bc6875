#!/usr/bin/python3
"""Runs a command on an island: in a network namespace of its own, which only the named ways leave or enter.

    island.py FOLDER [out ADDRESS:PORT | in ADDRESS:PORT]… -- COMMAND…

out    what COMMAND sends to that address on its side arrives at that address on ours
in     what we send to that address on our side arrives at that address on COMMAND's
All else leads nowhere: COMMAND's only interface is a loopback of its own. The two sides meet in sockets in FOLDER.
Ends as COMMAND ended; COMMAND ends with it.
"""
import asyncio
import os
import signal
import sys

TIED = ["setpriv", "--pdeathsig", "KILL"]


async def pour(reader, writer):
    try:
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


def bridge(connect):
    async def passed(reader, writer):
        try:
            other_reader, other_writer = await connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(pour(reader, other_writer), pour(other_reader, writer))
        other_writer.close()
        writer.close()
    return passed


async def ways(folder, directions, here):
    """The ends of the ways that are on this side."""
    for direction, address in directions:
        host, port = address.rsplit(":", 1)
        socket = os.path.join(folder, f"{direction}-{port}-{host.rsplit('.', 1)[-1]}")
        if direction == here:
            await asyncio.start_server(bridge(lambda socket=socket: asyncio.open_unix_connection(socket)), host, int(port))
        else:
            await asyncio.start_unix_server(bridge(lambda host=host, port=port: asyncio.open_connection(host, int(port))), socket)


async def main(folder, directions, command):
    inside = os.environ.pop("ISLAND", None) == folder
    await ways(folder, directions, "out" if inside else "in")
    if not inside:
        os.environ["ISLAND"] = folder
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
    child = await asyncio.create_subprocess_exec(*TIED, *command)
    for end in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(end, child.terminate)
    return await child.wait()


if __name__ == "__main__":
    before, after = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
    where, rest = before[0], before[1:]
    sys.exit(asyncio.run(main(where, list(zip(rest[::2], rest[1::2])), after)) & 0xFF)
