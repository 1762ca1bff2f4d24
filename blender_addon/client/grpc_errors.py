"""gRPC errors as sentences for an editor. The one place where they are made."""

from __future__ import annotations

from typing import Any

from ..core.errors import AddonError

HOW_TO_START = "Start the server in the add-on's preferences, or with the command `posedub serve`."
_TLS_SIGNS = ("ssl", "tls", "certificate", "wrong version number")
_CLOSED_SIGNS = ("socket closed", "connection reset")
_BROKEN_STREAM = "RST_STREAM"


def addon_error(error: Any, address: str) -> AddonError:
    """The sentence for a `grpc.RpcError` that came from `address`."""
    code, details = error.code().name, (error.details() or "").strip()
    if code == "UNAVAILABLE" or _BROKEN_STREAM in details:
        return _unavailable(details, address)
    if code == "UNAUTHENTICATED":
        return AddonError(f"The model server at {address} refused the token.", "Correct it in the preferences.", code)
    if code == "UNIMPLEMENTED":
        return AddonError(
            f"What answers at {address} is no PoseDub server of this version.",
            "Choose another port in the preferences, or update the server.",
            code,
        )
    if code == "DEADLINE_EXCEEDED":
        return AddonError(f"The model server at {address} did not answer in time.", "Look at its log.", code)
    return AddonError(_sentence(details, code, address), code=code)


def _unavailable(details: str, address: str) -> AddonError:
    if any(sign in details.lower() for sign in _TLS_SIGNS):
        return AddonError(
            f"No trusted connection to {address} could be made.",
            "Set the file of its certificate authority in the preferences.",
            "TLS",
        )
    if "failed to connect" in details and any(sign in details.lower() for sign in _CLOSED_SIGNS):
        return AddonError(
            f"What listens at {address} closes the connection at once.",
            "It may want TLS, or to know you by your certificate: set the files in the preferences.",
            "UNAVAILABLE",
        )
    return AddonError(f"No model server answers at {address}.", HOW_TO_START, "UNAVAILABLE")


def _sentence(details: str, code: str, address: str) -> str:
    return details or f"The model server at {address} stopped the call ({code}); look at its log."
