"""Tests of people's labels, as the proxy serves and takes them."""
