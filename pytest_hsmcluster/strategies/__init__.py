"""What can Hypothesis draw about HSM clusters, and which machine is tested with it?

Needs the extra `campaign` (`pip install 'pytest-hsmcluster[campaign]'`).
"""

from ..stories.playing import play as play
from ..stories.story import Ref as Ref
from ..stories.story import Shape as Shape
from ..stories.story import Step as Step
from ..stories.story import Story as Story
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
