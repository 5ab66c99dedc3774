"""Refusal, silence and reset on loopback are the kernel's own."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from lab.loopback import Loopback
from lab.world import World


def test_a_refusing_place_refuses_on_tcp_and_udp() -> None:
    loopback = Loopback(World())
    address = loopback.refusing()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(1)
        udp.connect(address)
        udp.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            udp.recv(10)
    asyncio.run(loopback.close())


def test_a_swallowing_place_lets_no_connection_be_made() -> None:
    loopback = Loopback(World())
    address = loopback.swallowing()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.2)
        assert time.monotonic() - began >= 0.2
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.2)
        udp.connect(address)
        udp.send(b"?")
        with pytest.raises(TimeoutError):
            udp.recv(10)
    asyncio.run(loopback.close())


def test_a_mute_place_connects_and_says_nothing() -> None:
    loopback = Loopback(World())
    with socket.create_connection(loopback.mute(), timeout=1) as connection:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    asyncio.run(loopback.close())


def test_a_cutting_place_resets() -> None:
    async def meet() -> None:
        loopback = Loopback(World())
        address = await loopback.cutting()
        reader, writer = await asyncio.open_connection(*address)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 2)
        writer.close()
        await loopback.close()

    asyncio.run(meet())


def test_nothing_listens_after_the_end() -> None:
    loopback = Loopback(World())
    address = loopback.mute()
    asyncio.run(loopback.close())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
