"""An index in, tools for assistants out by the Model Context Protocol: search, fetch and ask."""

from kogemma_rag.mcp_server.server import PAGE_URL, create_server, run

__all__ = ["PAGE_URL", "create_server", "run"]
