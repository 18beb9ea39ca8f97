"""A network that fails on request: a proxy on loopback between a client and a server."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

CLIENT_PORTS = re.compile(rb"client_port=(\d+)-(\d+)")


class Proxy:
    """Forwards TCP; understands enough of RTSP to damage RTP packets in it, and to lose those of UDP.

    `flip` and `lose` are the share of RTP packets with flipped bits, or that are lost (over UDP). `clock_s` is added to
    the times of media (RTP), and from the moment it is set `skew` of what has passed, too; `wall_s` is added to the
    camera's wall clock (RTCP).
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._random = random.Random(0)
        self.flip = self.lose = 0.0
        self.clock_s = self.skew = self.wall_s = 0.0
        self._skewed_from: int | None = None
        self.passed = self.flipped = self.lost = 0
        self._writers: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self.port = self._call(self._listen)

    def hold(self, held: bool) -> None:
        """Nothing passes either way, and nothing is closed: a black hole."""

        async def change() -> None:
            (self._flows.clear if held else self._flows.set)()

        self._call(change)

    def reset(self) -> None:
        """Every connection is reset, both ways, in the middle of whatever it carries."""

        async def change() -> None:
            for pair in list(self._writers):
                for writer in pair:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()

        self._call(change)

    def half_open(self) -> None:
        """The server's side of every connection goes away, and the client is not told."""

        async def change() -> None:
            self._flows.clear()
            for _, server in list(self._writers):
                server.transport.abort()

        self._call(change)

    def close(self) -> None:
        async def change() -> None:
            self._server.close()
            for pair in list(self._writers):
                for writer in pair:
                    writer.transport.abort()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(change)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, function: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(5)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._writers.add(pair)
        relays: list[asyncio.DatagramTransport] = []
        up, down = self._up(reader, far_writer, relays), self._down(far_reader, writer)
        try:
            await asyncio.gather(up, down, return_exceptions=True)
        except asyncio.CancelledError:
            pass  # by `close`; before Python 3.12 asyncio logs it as an error of its own
        finally:
            self._writers.discard(pair)
            for relay in relays:
                relay.close()

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, relays: list[asyncio.DatagramTransport]
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                ways = partial(self._media, video=True), self._control
                if match := CLIENT_PORTS.search(data):
                    relays += [
                        await self._relay(int(port), pass_on)
                        for port, pass_on in zip(match.groups(), ways, strict=True)
                    ]
                    ports = [relay.get_extra_info("sockname")[1] for relay in relays[-2:]]
                    data = data.replace(match[0], b"client_port=%d-%d" % tuple(ports))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.read(1):
                await self._flows.wait()
                data = head
                if head == b"$":
                    data += await reader.readexactly(3)
                    payload = bytearray(await reader.readexactly(int.from_bytes(data[2:4])))
                    data += self._control(payload) if data[1] % 2 else self._media(payload, video=data[1] == 0)
                else:
                    data += await reader.readuntil(b"\n")
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        await self._flows.wait()
        writer.close()

    def _media(self, packet: bytearray, *, video: bool) -> bytearray:
        """An RTP packet, as it goes on."""
        self.passed += 1
        self._move(packet, 4)
        if video and self._random.random() < self.flip and len(packet) > 20:
            self.flipped += 1
            for _ in range(3):
                packet[self._random.randrange(14, len(packet))] ^= self._random.randrange(1, 256)
        return packet

    def _control(self, packet: bytearray) -> bytearray:
        """The same of RTCP: a sender report says which time of media is which of the wall clock."""
        if len(packet) >= 28 and packet[1] == 200:
            self._move(packet, 16)
            seconds = int.from_bytes(packet[8:12]) + round(self.wall_s)
            packet[8:12] = (seconds % 2**32).to_bytes(4)
        return packet

    def _move(self, packet: bytearray, at: int) -> None:
        if not self.clock_s and not self.skew:
            return
        ticks = int.from_bytes(packet[at : at + 4])
        if self._skewed_from is None:
            self._skewed_from = ticks
        passed = (ticks - self._skewed_from + 2**31) % 2**32 - 2**31
        moved = ticks + round(self.clock_s * 90_000 + self.skew * passed)
        packet[at : at + 4] = (moved % 2**32).to_bytes(4)

    async def _relay(self, port: int, pass_on: Callable[[bytearray], bytearray]) -> asyncio.DatagramTransport:
        """A UDP port that forwards to the client's, and loses some."""
        proxy = self

        class Relay(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, _: object) -> None:
                if proxy._random.random() < proxy.lose or not proxy._flows.is_set():
                    proxy.lost += 1
                else:
                    self.transport.sendto(pass_on(bytearray(data)), ("127.0.0.1", port))

        transport, _ = await self._loop.create_datagram_endpoint(Relay, local_addr=("127.0.0.1", 0))
        return transport
