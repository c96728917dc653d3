"""What a person may ask of the recordings of their calls (GDPR art. 12 to 22), and how it is answered."""

from recproxy.subject.indexing import NumberIndexer

__all__ = ["NumberIndexer"]
