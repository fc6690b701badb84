"""Whether what a container runs is well: exit code 0, or 1 and a sentence. Imports nothing but the standard library.

healthy http http://127.0.0.1:8080/api/v2/monitor/health [NAME]   answers, and NAME (where given) is "healthy" in it
healthy connected 6379                                            has an open connection to that port
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

_TIMEOUT_S = 4.0
_ESTABLISHED = "01"
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def trouble_with_page(url: str, part: str = "") -> str:
    """Why a page does not answer well, or a part that it tells of is not healthy; empty where all is well.

    Args:
        url: of http.
        part: a key of the JSON object that the page answers with, as Airflow's own health page has them.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", place.path or "/")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"
    finally:
        connection.close()
    if answer.status != http.client.OK:
        return f"{url} answers with {answer.status}"
    if not part:
        return ""
    try:
        state = json.loads(body)[part]["status"]
    except (ValueError, KeyError, TypeError):
        return f"{url} says nothing of {part}"
    return "" if state == "healthy" else f"{part} is {state}"


def trouble_with_connection(port: int, tables: Sequence[Path] = TABLES) -> str:
    """Why there is no open TCP connection to a remote port; empty where there is one.

    A Celery worker holds one to its broker for as long as it takes tasks; asking it by `inspect ping` costs seconds of a core.
    """
    for table in tables:
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, _, remote, state, *_ = line.split()
            if state == _ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                return ""
    return f"nothing is connected to port {port}"


def main(arguments: Sequence[str]) -> int:
    """Look, say what is wrong, and return the exit code."""
    match arguments:
        case ["http", url]:
            trouble = trouble_with_page(url)
        case ["http", url, part]:
            trouble = trouble_with_page(url, part)
        case ["connected", port]:
            trouble = trouble_with_connection(int(port))
        case _:
            trouble = "call it as: healthy http URL [NAME], or: healthy connected PORT"
    if trouble:
        sys.stdout.write(f"{trouble}\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
