"""Addresses and options as they may be shown: without the passwords that some of them carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, overload

SHOWN = "***"

# To the last @, for a password may hold one, and much else where nobody has quoted it.
_IN_ADDRESS = re.compile(r"(//[^:/@]*:).+@", re.DOTALL)
_IN_OPTION = re.compile(
    r"((?:^|[,;&?\s])[\w.-]*(?:password|passwd|secret|token|credential|access[._-]?key)[\w.-]*\s*=\s*)[^,;&\s]+", re.I
)
_NAME = re.compile(r"password|passwd|secret|token|credential|access[._-]?key", re.I)


@overload
def hidden(value: str, name: str = "") -> str: ...
@overload
def hidden(value: Any, name: str = "") -> Any: ...
def hidden(value: Any, name: str = "") -> Any:
    """The value without its passwords; what is no text, list or mapping of texts stays as it is.

    Args:
        value: such as a URL, or `host:port,password=...`.
        name: what it is called; of an option that is called a password, a secret, a token or an access key nothing is shown.

    >>> hidden("postgresql://bidwright:s3cret@db/bidwright")
    'postgresql://bidwright:***@db/bidwright'
    >>> hidden("redis:6379,db=0,password=s3cret,ssl=true")
    'redis:6379,db=0,password=***,ssl=true'
    """
    if isinstance(value, str):
        if name and value and _NAME.search(name):
            return SHOWN
        return _IN_OPTION.sub(rf"\g<1>{SHOWN}", _IN_ADDRESS.sub(rf"\g<1>{SHOWN}@", value))
    if isinstance(value, Mapping):
        return {key: hidden(inner, str(key)) for key, inner in value.items()}
    return value
