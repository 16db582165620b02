"""What every room may use: errors, files, documents, seeds, statistics, child processes, ranks.

It knows no other room, and imports torch only inside functions.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
