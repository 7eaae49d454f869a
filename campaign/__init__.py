"""Does the emulation keep what it says, whatever befalls it?  This repository's own campaign.

Stories are played, and each is held against what does not come from the code that played it: the HSMs' own key stores,
`cryptography`, the sentences of the documentation read as naively as they are written, a model of a cluster in which
nothing goes wrong, and stories whose end is known.
"""
