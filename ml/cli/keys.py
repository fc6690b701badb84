"""Keys that sign bundles, on the command line: make a pair, see which count, sign a version again."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ml.cli import output
from ml.cli.options import Json, open_platform
from ml.core.errors import UsageError

app = typer.Typer(
    help="Keys that sign bundles: make a pair, see which count here, sign a version again.",
    epilog="Example: bidwright keys new --out signing.key",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: bidwright keys new --out signing.key --json")
def new(
    out: Annotated[Path, typer.Option("--out", help="new file for the secret half, readable by its owner only")],
    json: Json = False,
) -> None:
    """Make a pair of keys: the secret half in a new file, the settings to set on the screen."""
    from ml.core.settings import load_settings
    from ml.promotion.keyring import keep_secret
    from ml.promotion.signature import Kind, SecretKey

    trusted = load_settings().trusted_keys
    secret = SecretKey.generate(Kind.RELEASE)
    if not keep_secret(out.absolute(), secret):
        raise UsageError(f"{out} is there already", left="it was not touched", next="give another file")
    both = json_module.dumps([*trusted, secret.public.text])
    made: dict[str, Any] = {
        "key": secret.public.id,
        "secret_file": str(out.absolute()),
        "public": secret.public.text,
        "where bundles are read": f"BIDWRIGHT_TRUSTED_KEYS='{both}'",
        "where models are trained": f'the same, and BIDWRIGHT_SIGNING_KEY="$(cat {out.absolute()})"',
    }
    output.show_json(made) if json else output.show_mapping("a pair of keys was made", made)


@app.command("list", epilog="Example: bidwright keys list")
def list_(json: Json = False) -> None:
    """Show the keys whose signatures count here, and which one signs."""
    from ml.core.settings import load_settings
    from ml.promotion.keyring import keyring

    keys = keyring(load_settings())
    signs = keys.secret.public.id if keys.secret else None
    found = {
        "trusted": [{"key": key.id, "kind": key.kind.value, "public": key.text} for key in keys.trusted],
        "signs": signs,
        "development_keys_refused_because": keys.refuses_development or None,
    }
    if json:
        output.show_json(found)
        return
    for key in keys.trusted:
        output.show_line(f"{key.id}  {key.kind.value}  {key.text}{'  signs' if key.id == signs else ''}")
    if not keys.trusted:
        output.show_line("no key counts here yet, so every bundle is refused")
    output.show_line(
        f"development keys do not count, because {keys.refuses_development}"
        if keys.refuses_development
        else "a development key counts in the working folder that made it, and nowhere else"
    )


@app.command(epilog="Example: bidwright keys sign 3fa9c1")
def sign(
    version: Annotated[str, typer.Argument(help="digest of a registered version, or its first characters")],
    json: Json = False,
) -> None:
    """Sign a registered version with the present key, after its digests and golden predictions held.

    For a key that is to go, and for versions from before there were signatures. Whoever signs vouches for the version.
    """
    from ml.ledger import versions
    from ml.promotion.bundle import read_bundle, sign_bundle
    from ml.promotion.keyring import signing_keyring
    from ml.promotion.sandbox import verify_in_child

    platform = open_platform()
    digest = versions.find(platform.db, platform.market, version).digest
    keys = signing_keyring(platform.settings)
    sign_bundle(platform.blobs, digest, keys, check=verify_in_child)
    found = {"version": digest, "signed_by": read_bundle(platform.blobs, digest, keys).signed_by}
    output.show_json(found) if json else output.show_mapping("signed", found)
