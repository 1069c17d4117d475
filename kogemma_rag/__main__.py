"""python -m kogemma_rag: the command line."""

from kogemma_rag.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
