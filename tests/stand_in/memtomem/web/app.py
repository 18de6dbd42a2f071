"""The application that an application server is given."""

from memtomem.web import main as app

__all__ = ["app"]
