"""Upstreams: the models' own APIs, behind one seam.

Invariant: a vendor's or a transport's error leaves this package only as an `UpstreamError`. Nothing here
knows why a model is asked or who asked.
"""

from router.upstream.base import Reply, Upstream
from router.upstream.factory import Model, UpstreamFactory, open_models

__all__ = ["Model", "Reply", "Upstream", "UpstreamFactory", "open_models"]
