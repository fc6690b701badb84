"""The Feast repository: its configuration, and the platform's feature views as Feast knows them."""
