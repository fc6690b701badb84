"""The ML Test Score (Breck et al. 2017): 28 items, and what the marked tests say of them."""
