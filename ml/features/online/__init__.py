"""The embedded online store: the newest row of each entity in memory-mapped files, one writer, many readers.

It knows nothing of Feast; `feature_repo` hangs it in there. How the files look is in docs/online-store.md.
"""
