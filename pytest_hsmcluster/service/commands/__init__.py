"""What can one HSM be asked to do?

A command passes three rungs inside an HSM: `admit` (may this user do it?), `work` (the
cryptography; nothing of the HSM changes) and `settle` (what changes, changes here, at
`hsm.commit`).  Every refusal is a `ClusterError`, which travels back as the answer.
"""

from .base import Command as Command
from .base import denied as denied
from .base import not_here as not_here
from .base import permit as permit
from .births import DeriveKey as DeriveKey
from .births import GenerateKey as GenerateKey
from .births import GenerateKeyPair as GenerateKeyPair
from .births import ImportKey as ImportKey
from .births import UnwrapKey as UnwrapKey
from .changes import DeleteKey as DeleteKey
from .changes import SetAttribute as SetAttribute
from .changes import ShareKey as ShareKey
from .changes import TombstoneKey as TombstoneKey
from .changes import UnshareKey as UnshareKey
from .changes import change_attribute as change_attribute
from .copies import ExtractMasked as ExtractMasked
from .copies import InsertMasked as InsertMasked
from .copies import masked as masked
from .copies import unmasked as unmasked
from .lookups import CheckKey as CheckKey
from .lookups import FindKeys as FindKeys
from .lookups import GetAttributes as GetAttributes
from .lookups import PublicKey as PublicKey
from .lookups import Random as Random
from .lookups import ReadAttributes as ReadAttributes
from .lookups import ValidateKey as ValidateKey
from .sessions import Login as Login
from .sessions import Logout as Logout
from .uses import Decrypt as Decrypt
from .uses import Encrypt as Encrypt
from .uses import Sign as Sign
from .uses import Verify as Verify
from .uses import WrapKey as WrapKey
