"""The online path: wire formats, features, policy, upstreams, the ASGI app; and how a router is fitted."""
