"""Addresses that a webhook must not reach, and those that it may."""

from __future__ import annotations

import socket

import httpx
import pytest

from observability.watch.channels.channel import ChannelError, ChannelRefused
from observability.watch.channels.guard import check_url, checked_addresses, guarded_client

PRIVATE = """
https://127.0.0.1/ https://127.1/ https://127.0.1/ https://2130706433/ https://0x7f000001/ https://017700000001/
https://0x7f.0.0.1/ https://0177.0.0.1/ https://[::1]/ https://[::]/ https://0.0.0.0/ https://0/
https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/ https://[0:0:0:0:0:ffff:169.254.169.254]/
https://169.254.169.254/latest/meta-data/ https://2852039166/ https://0xa9fea9fe/ https://0xa9.0xfe.0xa9.0xfe/
https://0251.0376.0251.0376/ https://169.254.43518/ https://[fe80::1]/ https://[fd00:ec2::254]/ https://169.254.170.2/
https://10.0.0.1/ https://10.255.255.255/ https://172.16.0.1/ https://172.31.255.255/ https://192.168.0.1/
https://192.168.255.255/ https://100.64.0.1/ https://192.0.0.1/ https://192.0.2.1/ https://198.18.0.1/ https://198.51.100.1/
https://203.0.113.1/ https://224.0.0.1/ https://239.255.255.255/ https://240.0.0.1/ https://255.255.255.255/
https://[fc00::1]/ https://[fd12:3456::1]/ https://[ff02::1]/ https://[2001:db8::1]/ https://[64:ff9b::7f00:1]/
https://[64:ff9b::a9fe:a9fe]/ https://[2002:7f00:1::]/ https://[2002:a9fe:a9fe::]/ https://localhost/ https://localhost./
http://93.184.216.34/ https://93.184.216.34:22/ https://93.184.216.34:6379/ https://user:secret@93.184.216.34/
https://93.184.216.34@127.0.0.1/ ftp://93.184.216.34/ file:///etc/passwd gopher://93.184.216.34/ //93.184.216.34/
https:/// data:text/plain,x javascript:alert(1) https://%31%32%37.0.0.1/
""".split()  # noqa: SIM905 - sixty of them read better so


def refuse(url, allow=()):
    parsed = check_url(url, allow)
    checked_addresses(parsed.host, parsed.port or 443, allow)


def test_there_are_60_of_them():
    assert len(PRIVATE) >= 60


@pytest.mark.parametrize("url", PRIVATE)
def test_private_and_disguised_addresses_are_refused(url):
    with pytest.raises(ChannelError):
        refuse(url)


@pytest.mark.parametrize(
    "url", ["https://93.184.216.34/", "https://8.8.8.8:443/x?y=z", "https://[2606:4700:4700::1111]/"]
)
def test_public_addresses_pass(url):
    refuse(url)


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("https://10.1.2.3/", ["10.0.0.0/8"]),
        ("http://127.0.0.1:8080/", ["127.0.0.1"]),
        ("http://localhost:9000/", ["localhost"]),
        ("https://[fd00::7]/", ["fd00::/8"]),
    ],
)
def test_what_is_allowed_passes(url, allow):
    refuse(url, allow)


def test_an_allowed_network_does_not_allow_others():
    with pytest.raises(ChannelRefused):
        refuse("https://169.254.169.254/", ["10.0.0.0/8"])


def test_a_name_that_changes_its_address_after_the_check_is_connected_to_the_checked_one(monkeypatch):
    asked = []
    answers = iter([("203.0.113.9",), ("127.0.0.1",)])

    def resolve(host, port, *_, **__):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers)[0], port))]

    connected = []
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(
        "observability.watch.channels.guard._may_use", lambda address, _allow: str(address) == "203.0.113.9"
    )

    def connect(address, *_, **__):
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with guarded_client([], 1.0) as client, pytest.raises(httpx.ConnectError):
        client.get("https://rebinding.example/")
    assert connected == ["203.0.113.9"]
    assert asked == ["rebinding.example"]


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(ChannelRefused, match=r"10\.0\.0\.1"):
        checked_addresses("two-faced.example", 443)
