"""What can Hypothesis draw about HSM clusters, and which machine is tested with it?

Needs the extra `campaign` (`pip install 'pytest-hsmcluster[campaign]'`).
"""

from .machine import ChaosMachine as ChaosMachine
from .machine import ClusterMachine as ClusterMachine
from .values import calls as calls
from .values import effects as effects
from .values import faults as faults
from .values import hardships as hardships
from .values import schedules as schedules
from .values import shapes as shapes
from .values import stories as stories
from .values import whens as whens
