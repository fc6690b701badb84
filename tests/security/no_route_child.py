"""Runs in a network namespace of its own: a market day by `bidwright`, then the bid service; what the kernel counted, as JSON."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
OUTSIDE = ("192.0.2.1", 443)  # reserved for documents (RFC 5737)


def loopback_up() -> None:
    """What `ip link set lo up` does, which not every machine has."""
    with socket.socket() as probe:
        flags = struct.unpack("16sh", fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0))[:18])[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP))


def refused_by_the_kernel() -> int:
    """Packets and connections that had no route, in this namespace, since it began."""
    heads, values = (
        line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")
    )
    sixth = [
        int(line.split()[1]) for line in Path("/proc/net/snmp6").read_text().splitlines() if "Ip6OutNoRoutes" in line
    ]
    return int(dict(zip(heads, values, strict=True))["OutNoRoutes"]) + sum(sixth)


def ask(url: str, token: str = "") -> tuple[int, str]:
    """Status and everything of the answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, str(answer.headers) + answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, str(error.headers) + error.read().decode()


def bidwright(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ml.cli", *arguments]


def main(first: str, last: str, day: str) -> dict[str, Any]:
    loopback_up()
    found: dict[str, Any] = {"said": "", "codes": []}
    for arguments in (
        ["migrate"],
        ["history", "--from", first, "--to", last, "--json"],
        ["run-day", "--day", day, "--json"],
        ["status"],
    ):
        done = subprocess.run(bidwright(*arguments), capture_output=True, text=True, check=False)
        found["codes"].append(done.returncode)
        found["said"] += done.stdout + done.stderr
    token = os.environ["BIDWRIGHT_SERVE_TOKEN"]
    with subprocess.Popen(
        bidwright("serve", "--port", "0", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout
        first_line = service.stdout.readline()
        url = json.loads(first_line)["url"]
        answers = {
            path: ask(url + path) for path in ("/livez", "/readyz", "/v1/models", "/v1/bids", "/metrics", "/nothing")
        }
        known = {path: ask(url + path, token) for path in ("/v1/models", "/metrics", "/openapi.json")}
        wrong = ask(url + "/v1/models", token[:-1])
        service.terminate()
        rest, errors = service.communicate(timeout=120)
    bodies = "".join(body for _, body in (*answers.values(), *known.values(), wrong))
    found["said"] += first_line + rest + errors + bodies
    found["open"] = {path: status for path, (status, _) in answers.items()}
    found["known"] = {path: status for path, (status, _) in known.items()}
    found["wrong"] = wrong[0]
    found["no_route"] = refused_by_the_kernel()
    with socket.socket() as probe:
        found["outside"] = probe.connect_ex(OUTSIDE)
    found["no_route_after_trying"] = refused_by_the_kernel()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
