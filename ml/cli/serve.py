"""`bidwright serve`: the bid service in the foreground, until it is told to end."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from ml.cli import output
from ml.cli.options import open_platform
from ml.core.errors import UsageError

if TYPE_CHECKING:
    from ml.core.settings import Settings
    from ml.serving.workers import Workers


def serve(*, host: str | None, port: int | None, workers: int | None, wait: bool, as_json: bool) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        host: address to listen on; None for the setting.
        port: 0 for any that is free; None for the setting.
        workers: how many processes; None for the setting.
        wait: tell that it is up only when every worker can bid.
        as_json: one line of JSON when it is up.

    Raises:
        UsageError: there are no credentials to tell callers by, TLS is set half, or the port cannot be had.
    """
    from ml.serving import auth
    from ml.serving.follower import following
    from ml.serving.pacemaker import pacing
    from ml.serving.workers import Workers, listen

    platform = open_platform()
    settings = platform.settings
    guard = auth.guard(settings)
    tls = auth.tls(settings)
    count = workers if workers is not None else settings.serve_workers
    if count < 1:
        raise UsageError(f"{count} workers cannot serve", next="give --workers 1 or more")
    address = host or settings.serve_host
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    with listen(address, settings.serve_port if port is None else port) as listener:
        own = listener.getsockname()
        name = f"[{own[0]}]" if ":" in own[0] else own[0]
        url = f"{'https' if tls else 'http'}://{name}:{own[1]}"
        told = False

        def tell(state: Workers) -> None:
            nonlocal told
            if not told and state.up and (state.ready or not wait):
                told = True
                _show(url, state, settings, token=bool(guard.token), as_json=as_json)

        with following(settings), pacing(settings, platform.clock) as paced:
            Workers(listener, count=count, home=settings.home, paced=paced, changed=tell).run()


def _show(url: str, state: Workers, settings: Settings, *, token: bool, as_json: bool) -> None:
    found: dict[str, Any] = {
        "url": url,
        "pid": os.getpid(),
        "workers": state.pids,
        "market": settings.market_name,
        "ready": state.ready,
        "why_not": state.why_not,
    }
    if as_json:
        output.show_json(found)
    else:
        output.show_line(
            f"bidwright serves the market {settings.market_name} at {url} with {len(state.pids)} worker(s)"
        )
        if not state.ready:
            output.show_line(f"it cannot bid yet: {state.why_not}")
        header = " -H 'Authorization: Bearer '$BIDWRIGHT_SERVE_TOKEN" if token else " --cert YOURS --key YOURS"
        output.show_line(f"ask it:      curl {url}/v1/bids{header} -H 'Content-Type: application/json' \\")
        output.show_line(
            """               -d '{"key":"user-1","user":{"partner":"google","market":"DE","device":"mobile"},"""
            """"candidates":[{"id":"a","hotel_id":"h1","check_in":"2026-06-01","los_nights":2,"price_micros":100000000}]}'"""
        )
        output.show_line(f"what serves: curl {url}/v1/models{header}")
        output.show_line("Ctrl-C ends it; kill -HUP replaces the workers one by one")
    sys.stdout.flush()
