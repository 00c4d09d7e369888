"""What can keep the local cloud from starting, or end it.

LocalCloudError
├── MissingPartError   Node.js, Azurite or the app is not where it should be
├── DataFolderError    the data folder is in use by another local cloud
└── ProcessEndedError  a process ended, or did not become ready in time
"""


class LocalCloudError(Exception):
    """Its message says what is wrong, where, and what to do."""


class MissingPartError(LocalCloudError):
    """Something that ``make`` installs is not there."""


class DataFolderError(LocalCloudError):
    """Another local cloud uses the data folder."""


class ProcessEndedError(LocalCloudError):
    """A process of the local cloud ended by itself, or did not become ready; the end of its log is in the message."""
