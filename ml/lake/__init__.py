"""Where data lies: named blobs in a folder or an S3 bucket, and tables partitioned by market day."""

from ml.lake.blobs import BlobStore, open_blobs
from ml.lake.lake import Lake

__all__ = ["BlobStore", "Lake", "open_blobs"]
