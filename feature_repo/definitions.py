"""The platform's feature views as Feast objects, for the `feast` command.

Nothing is defined here: `ml.features.definitions` says what a feature is, and the platform itself applies the very
same objects. The market is the one that the settings describe (BIDWRIGHT_SOURCE, BIDWRIGHT_MARKET, BIDWRIGHT_HOME).
"""

from ml.features.feast_objects import feast_objects
from ml.platform import Platform

_platform = Platform.from_environment()
objects = feast_objects(_platform.lake, _platform.settings.home)
# The feast command looks for objects among a module's names, not inside a list.
globals().update({f"{type(item).__name__}_{item.name}": item for item in objects})
