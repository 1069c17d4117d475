"""What can go wrong with an index on disk, by type. Each message says what to do."""


class StorageError(Exception):
    """The index cannot be read or written; the message says why and what to do."""


class StorageLockedError(StorageError, TimeoutError):
    """Somebody else kept writing to the index for longer than the time-out."""


class StorageReadOnlyError(StorageError, PermissionError):
    """The index may be read here, not written."""


class StorageFullError(StorageError, OSError):
    """The disk is full; nothing of the change was kept, all that was there is."""


class StorageDamagedError(StorageError):
    """What is on disk is not what was written."""


class EmbedderMismatchError(StorageError, ValueError):
    """The index was made with another embedding model than the one given."""
