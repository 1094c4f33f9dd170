"""The proxy that the environment names, as curl reads it."""

from __future__ import annotations

import os

import pytest

from observability.proxies import proxy_for, spare_loopback

PROXY = "http://proxy.corp:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_without_variables_there_is_none():
    assert proxy_for("https", "hooks.example.com", 443) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_each_variable_is_obeyed(environment, name):
    environment.setenv(name, PROXY)
    assert proxy_for("https", "hooks.example.com", 443) == PROXY


def test_the_scheme_decides_before_the_proxy_of_all(environment):
    environment.setenv("HTTP_PROXY", "http://plain:1")
    environment.setenv("ALL_PROXY", "socks5h://all:2")
    assert proxy_for("http", "host.example", 80) == "http://plain:1"
    assert proxy_for("https", "host.example", 443) == "socks5h://all:2"


def test_a_proxy_without_scheme_is_one_by_http(environment):
    environment.setenv("HTTPS_PROXY", "proxy.corp:3128")
    assert proxy_for("https", "host.example", 443) == PROXY


def test_a_scripts_header_is_no_proxy(environment):
    environment.setenv("HTTP_PROXY", PROXY)
    environment.setenv("REQUEST_METHOD", "POST")
    assert proxy_for("http", "host.example", 80) is None


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1", "::ffff:127.0.0.1", "localhost."]
)
def test_this_machine_lies_behind_no_proxy(environment, host):
    environment.setenv("HTTPS_PROXY", PROXY)
    assert proxy_for("https", host, 443) is None


@pytest.mark.parametrize(
    ("spared", "host", "direct"),
    [
        ("*", "hooks.example.com", True),
        ("example.com", "hooks.example.com", True),
        (".example.com", "hooks.example.com", True),
        ("*.example.com", "hooks.example.com", True),
        ("example.com", "badexample.com", False),
        ("EXAMPLE.com", "Hooks.Example.COM.", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "[fd00::7]", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("example.com:8443", "example.com", False),
        ("example.com:443", "example.com", True),
        ("a.b, example.com", "example.com", True),
        ("a.b example.com", "example.com", True),
        ("a.b\texample.com:443\n10.0.0.0/8", "example.com", True),
        ("a.b 10.0.0.0/8", "10.1.2.3", True),
        ("a.b 10.0.0.0/8", "11.1.2.3", False),
        (" , ,", "example.com", False),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks(environment, spared, host, direct):
    environment.setenv("HTTPS_PROXY", PROXY)
    environment.setenv("NO_PROXY", spared)
    assert (proxy_for("https", host, 443) is None) == direct


@pytest.mark.parametrize(("spared", "direct"), [("example.com:443", True), ("example.com:80", False)])
def test_an_address_without_a_port_has_that_of_its_scheme(environment, spared, direct):
    environment.setenv("HTTPS_PROXY", PROXY)
    environment.setenv("NO_PROXY", spared)
    assert (proxy_for("https", "example.com") is None) == direct


def test_libraries_that_read_the_environment_themselves_spare_this_machine_too(environment):
    environment.setenv("HTTPS_PROXY", PROXY)
    environment.setenv("NO_PROXY", "example.com")
    environment.setenv("no_proxy", "example.com")
    spare_loopback()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.com,localhost,127.0.0.1,::1"


def test_what_blanks_divide_is_divided_by_commas_for_libraries_that_know_no_others(environment):
    environment.setenv("HTTPS_PROXY", PROXY)
    environment.setenv("NO_PROXY", "a.b  example.com")
    spare_loopback()
    assert os.environ["no_proxy"] == "a.b,example.com,localhost,127.0.0.1,::1"


def test_without_a_proxy_the_environment_stays_as_it_is():
    spare_loopback()
    assert "NO_PROXY" not in os.environ
