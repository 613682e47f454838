"""LatentCRS, step by step: a conversational recommender in a shared latent-intent space.

The names of `__init__.pyi` are imported at first use, so that importing the package costs
milliseconds and a notebook pays only for the stages that it reaches.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
