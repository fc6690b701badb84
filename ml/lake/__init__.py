"""Where data lies: named blobs in a folder or an S3 bucket, and tables partitioned by market day."""
