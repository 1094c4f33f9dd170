"""Addresses that a webhook must not reach, and those that it may."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket

import certifi
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.http_client import usual_trust
from observability.watch.notify.channels.address_policy import may_use
from observability.watch.notify.channels.channel import ChannelError, ChannelRefused
from observability.watch.notify.channels.guarded_client import check_url, checked_addresses, guarded_client

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


@pytest.mark.parametrize(
    "host",
    [
        "metadata.google.internal", "METADATA.google.internal.", "host.docker.internal", "kubernetes.default.svc",
        "api.cluster.local", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost6", "kubernetes",
        "1.0.0.10.in-addr.arpa", "router.lan", "wiki.corp",
    ],
)  # fmt: skip
def test_a_name_that_no_public_host_has_is_refused_before_a_proxy_is_asked_for_it(host):
    with pytest.raises(ChannelRefused, match="not public"):
        check_url(f"https://{host}/")
    check_url(f"https://{host}/", [host])


def test_clients_share_their_trust_until_the_file_of_authorities_changes(tmp_path, monkeypatch):
    authorities = tmp_path / "authorities.pem"
    shutil.copy(certifi.where(), authorities)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    first = usual_trust()
    assert usual_trust() is first
    os.utime(authorities, ns=(1, 1))
    assert usual_trust() is not first


@pytest.mark.parametrize("url", ["https://xn--/", "https://example.com:0/"])
def test_an_odd_address_is_refused_and_never_an_error(url):
    with pytest.raises(ChannelRefused):
        check_url(url)


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
        "observability.watch.notify.channels.address_policy.may_use",
        lambda address, _allow=(): str(address) == "203.0.113.9",
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


INSIDE = """
::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b:1::7f00:1 64:ff9b:1::808:808 ::5efe:7f00:1 2606:4700::5efe:a00:1
2606:4700::200:5efe:a00:1 fec0::1 192.0.0.192 168.63.129.16 100.100.100.200 fd00:ec2::254 192.88.99.1
2001:0:808:808::80ff:fffe 2001:0:7f00:1::f7f7:f7f7 100:: 3fff::1 2001:db8::1 5f00::1 ::ffff:168.63.129.16
64:ff9b::a83f:8110 2002:a83f:8110:: fe80::1%eth0 ::1%lo
""".split()  # noqa: SIM905 - a list of addresses reads better so


@pytest.mark.parametrize("host", INSIDE)
def test_addresses_that_lead_inside_by_a_translator_a_tunnel_or_a_cloud_are_refused(host):
    with pytest.raises(ChannelRefused):
        checked_addresses(host, 443)


_PRIVATE_V4 = st.one_of(
    *(
        st.ip_addresses(v=4, network=network)
        for network in (
            "10.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "168.63.129.16/32",
        )
    )
)
_CARRIERS = (
    lambda inner: inner,
    lambda inner: 0xFFFF_0000_0000 | inner,
    lambda inner: 0xFFFF << 48 | inner,
    lambda inner: 0x64FF9B << 96 | inner,
    lambda inner: 0x64FF9B0001 << 80 | inner,
    lambda inner: 0x2002 << 112 | inner << 80,
    lambda inner: 0x20010000 << 96 | 0x08080808 << 64 | (inner ^ 0xFFFFFFFF),
    lambda inner: 0x20010000 << 96 | inner << 64 | (0x08080808 ^ 0xFFFFFFFF),
    lambda inner: 0x2606_4700 << 96 | 0x5EFE << 32 | inner,
    lambda inner: 0x2606_4700 << 96 | 0x0200_5EFE << 32 | inner,
)


@given(_PRIVATE_V4, st.sampled_from(_CARRIERS))
def test_no_form_of_ipv6_brings_a_private_ipv4_address_through(inner, carry):
    assert not may_use(ipaddress.IPv6Address(carry(int(inner))))


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_passes_is_public_or_carries_a_public_one(address):
    if may_use(address):
        assert address.is_global or address.ipv4_mapped or address.sixtofour or address.teredo
        assert not address.is_private or address.ipv4_mapped or address.sixtofour or address.teredo


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_that_passes_is_public(address):
    if may_use(address):
        assert address.is_global
        assert not address.is_multicast
