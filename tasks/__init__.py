"""What is run. Each module of this folder is imported, and its @task functions can be submitted by name.

Keep modules cheap to import, for the API imports them too: heavy libraries belong inside the functions.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
