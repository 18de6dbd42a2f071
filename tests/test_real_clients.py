"""Real MCP clients with the real memtomem: named right, and gone once the advice was followed."""

import pytest
from clients import Terminal, clients, real, server_of, world_of_clients
from support import linux

__all__ = ["clients", "real", "world_of_clients"]  # the fixtures

pytestmark = [linux, pytest.mark.slow]


@pytest.mark.parametrize("client", ["claude", "codex", "opencode", "gemini"])
def test_named(world_of_clients, client):
    Terminal(world_of_clients, client)
    assert server_of(world_of_clients)["command"] == "memtomem-server"
