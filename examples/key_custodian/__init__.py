"""What does the key custodian consist of?

`naive.NaiveCustodian` and `hardened.Custodian` do the same nightly job over the same inventory and ledger;
`company` is the world around it, and `demo` tells the story of both.
"""
